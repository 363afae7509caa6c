// Runs of training: what they leave, that breaking them off changes nothing, and what goes wrong.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/parameters.h"
#include "train/checksums.h"
#include "training.h"

static void a_run_leaves_a_model_a_log_and_checkpoints(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    const char *out = in_folder("plain");
    assert_ok(train(out, &options, &result, &err));
    assert_int_equal(result.steps, STEPS);
    assert_int_equal(result.tokens, STEPS * BATCH * CONTEXT);
    assert_true(result.loss < 4.0); // ln 97 = 4.6 is what knowing nothing costs
    assert_int_equal(count_lines(in_folder("plain/log.jsonl")), STEPS);
    assert_int_equal(count_lines(in_folder("plain/log.csv")), STEPS + 1);
    rrt_model *model = open_path(out), *checkpoint = open_path(in_folder("plain/checkpoints/00000024"));
    assert_non_null(rrt_model_tokenizer(model));
    assert_memory_equal(model->embedding->weight, checkpoint->embedding->weight,
                        model->shape.hidden * sizeof(float));
    assert_false(rrt__path_exists(in_folder("plain/checkpoints/00000020")));
    rrt_model_close(model);
    rrt_model_close(checkpoint);

    // What is there is not lost by mistake, and is replaced on demand.
    assert_fails(RRT_STATUS_EXISTS, "--resume auto", train(out, &options, &result, &err));
    options.overwrite = 1;
    assert_ok(train(out, &options, &result, &err));
    // A finished run that is resumed is finished still; with more tokens it goes on.
    options = usual();
    options.resume = 1;
    assert_ok(train(out, &options, &result, &err));
    assert_int_equal(result.steps, STEPS);
    options.tokens *= 2;
    assert_ok(train(out, &options, &result, &err));
    assert_int_equal(result.steps, 2 * STEPS);
}

static int stop_after(void *user, const char *stage, double done, double total)
{
    (void)done;
    (void)total;
    int *left = user;
    return strcmp(stage, "train") == 0 && --*left == 0;
}

// Broken off after every third step and resumed, with a teacher: the same bytes.
static void check_stop_and_resume(rrt_optimizer_kind optimizer, const char *whole, const char *pieces)
{
    rrt_error err = {0};
    rrt_train_result result;
    rrt_model *teacher = open_golden("llama");
    rrt_train_options options = usual();
    options.teacher = teacher;
    options.kd_weight = 0.5;
    options.optimizer = optimizer;
    assert_ok(train(in_folder(whole), &options, &result, &err));
    options.resume = 1;
    rrt_status status = RRT_STATUS_CANCELLED;
    int times = 0;
    for (; status == RRT_STATUS_CANCELLED; times++) {
        int left = 3;
        const rrt_progress progress = {stop_after, &left};
        options.progress = &progress;
        status = train(in_folder(pieces), &options, &result, &err);
    }
    assert_ok(status);
    assert_in_range(times, STEPS / 3, STEPS / 3 + 1);
    assert_same_file(in_folder(whole), in_folder(pieces), "model.safetensors");
    rrt_model_close(teacher);
}

static void a_run_that_was_stopped_resumes_to_the_same_bytes(void **state)
{
    (void)state;
    check_stop_and_resume(RRT_OPTIMIZER_ADAMW, "whole", "pieces");
    assert_int_equal(count_lines(in_folder("pieces/log.jsonl")), STEPS);
    check_stop_and_resume(RRT_OPTIMIZER_MUON, "whole-muon", "pieces-muon");
}

static pid_t start_training(const char *out)
{
    pid_t child = fork();
    if (child != 0) return child;
    const char *binary = getenv("RRT_BINARY");
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    dup2(null, 2);
    execl(binary, "rrt", "train", in_folder("student"), "-o", out, "--data", text_path, "--tokens", "12800",
          "--batch", "2", "--ctx", "16", "-t", "1", "--checkpoint-steps", "7", "--resume", "auto",
          (char *)NULL);
    _exit(127);
}

static int wait_for(pid_t child)
{
    int outcome = 0;
    waitpid(child, &outcome, 0);
    return outcome;
}

// kill -9 at ten random moments.
static void a_run_that_was_killed_resumes_to_the_same_bytes(void **state)
{
    (void)state;
    if (!getenv("RRT_BINARY")) skip();
    rrt_model_close(open_student());
    assert_int_equal(wait_for(start_training(in_folder("undisturbed"))), 0);
    int kills = 0;
    for (uint64_t i = 0; i < 400; i++) {
        pid_t child = start_training(in_folder("killed"));
        usleep((useconds_t)(5000 + rrt__random_bits(3, 0, i) % 60000));
        if (kills < 10) kill(child, SIGKILL);
        int outcome = wait_for(child);
        kills += WIFSIGNALED(outcome);
        if (WIFSIGNALED(outcome)) continue;
        assert_int_equal(outcome, 0);
        break;
    }
    assert_true(kills > 0);
    assert_same_file(in_folder("undisturbed"), in_folder("killed"), "model.safetensors");
    assert_int_equal(count_lines(in_folder("killed/log.jsonl")), 400);
}

typedef struct sabotage {
    rrt_model *model;
    uint64_t step; // after which a weight becomes value
    int events, often;
    float value;
    const char *event;
} sabotage;

static void spoil(void *user, const rrt_train_step *step)
{
    sabotage *s = user;
    s->events += step->event != NULL;
    if (step->event) s->event = step->event;
    if (step->step != s->step && !s->often) return;
    s->model->final_norm.gain[3] = s->value;
    if (!s->often) s->step = 0;
}

static void a_spoilt_step_is_rolled_back(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    sabotage s = {.model = open_student(), .step = 12, .value = NAN};
    options.report = spoil;
    options.user = &s;
    assert_ok(rrt_train(s.model, in_folder("spoilt"), &options, &result, &err));
    assert_int_equal(s.events, 1);
    assert_int_equal(result.steps, STEPS);
    assert_true(isfinite(result.loss));
    rrt_model_close(s.model);

    s = (sabotage){.model = open_student(), .often = 1, .value = NAN};
    assert_fails(RRT_STATUS_NUMERIC, "not finite at step",
                 rrt_train(s.model, in_folder("hopeless"), &options, &result, &err));
    rrt_model_close(s.model);

    // Finite, but far off.
    s = (sabotage){.model = open_student(), .step = 22, .value = 1e4f};
    assert_ok(rrt_train(s.model, in_folder("jump"), &options, &result, &err));
    assert_string_equal(s.event, "the loss jumped");
    assert_true(result.loss < 4.0);
    rrt_model_close(s.model);
}

// Entries of the folder whose name begins so.
static int count_beginning(const char *name)
{
    int count = 0;
    DIR *entries = opendir(folder);
    for (struct dirent *entry; (entry = readdir(entries));)
        count += strncmp(entry->d_name, name, strlen(name)) == 0;
    closedir(entries);
    return count;
}

static void impossible_runs_leave_nothing_behind(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    const char *const nothing[] = {in_folder("nothing.txt")};
    assert_ok(train(in_folder("base"), &options, &result, &err));

    options.resume = 1;
    options.learning_rate = 1e-3;
    assert_fails(RRT_STATUS_MISMATCH, "learning_rate 0.003, now it is 0.001",
                 train(in_folder("base"), &options, &result, &err));
    // Somebody's model is no run to go on with.
    rrt_model_close(open_student());
    options = usual();
    options.resume = 1;
    assert_fails(RRT_STATUS_EXISTS, "exists already", train(in_folder("student"), &options, &result, &err));
    options = usual();
    options.files = nothing;
    assert_fails(RRT_STATUS_IO, "nothing.txt", train(in_folder("r1"), &options, &result, &err));
    options.n_files = 0;
    assert_fails(RRT_STATUS_ARGUMENT, "no text", train(in_folder("r2"), &options, &result, &err));
    options = usual();
    options.tokens = 0;
    assert_fails(RRT_STATUS_ARGUMENT, "Neither tokens nor minutes",
                 train(in_folder("r3"), &options, &result, &err));
    options = usual();
    options.context = 4096;
    assert_fails(RRT_STATUS_ARGUMENT, "the context is 4096", train(in_folder("r4"), &options, &result, &err));
    options = usual();
    options.at_a_time = 3;
    assert_fails(RRT_STATUS_ARGUMENT, "do not divide", train(in_folder("r5"), &options, &result, &err));
    options = usual();
    rrt_model *other = open_in_gradients("llama"); // a vocabulary of 29
    options.teacher = other;
    assert_fails(RRT_STATUS_MISMATCH, "vocabularies: 97 and 29",
                 train(in_folder("r6"), &options, &result, &err));
    rrt_model_close(other);
    // A run that cannot begin leaves nothing, under no name.
    for (int i = 1; i <= 6; i++) {
        char name[8];
        snprintf(name, sizeof name, "r%d", i);
        assert_false(rrt__path_exists(in_folder(name)));
        assert_int_equal(count_beginning(name), 0);
    }
}

// What is somebody's stays, whatever a run replaces or sweeps.
static void foreign_files_survive_every_run(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    static const char *const names[] = {
        "kept/checkpoints/best/config.json", "kept/notes.tmp-1.md",     "kept/checkpoints/notes",
        "kept/checkpoints/00000001/notes",   "project/data/corpus.txt", "project/log.jsonl"};
    enum { NAMES = sizeof names / sizeof *names };
    assert_ok(train(in_folder("kept"), &options, &result, &err));
    mkdir(in_folder("kept/checkpoints/best"), 0777);
    mkdir(in_folder("kept/checkpoints/00000001"), 0777);
    mkdir(in_folder("project"), 0777);
    mkdir(in_folder("project/data"), 0777);
    mkdir(in_folder("kept.tmp-00000001"), 0777); // of a process that has died
    for (int i = 0; i < NAMES; i++) assert_ok(rrt__file_write(in_folder(names[i]), "mine", 4, &err));
    options.resume = 1;
    options.tokens *= 2;
    assert_ok(train(in_folder("kept"), &options, &result, &err));
    assert_int_equal(count_beginning("kept"), 1);
    assert_fails(RRT_STATUS_EXISTS, "no run that could go on",
                 train(in_folder("project"), &options, &result, &err));
    options.resume = 0;
    options.overwrite = 1;
    assert_fails(RRT_STATUS_EXISTS, "which rrt did not write",
                 train(in_folder("kept"), &options, &result, &err));
    assert_fails(RRT_STATUS_EXISTS, "no result of rrt", train(in_folder("project"), &options, &result, &err));
    for (int i = 0; i < NAMES; i++) assert_true(rrt__path_exists(in_folder(names[i])));

    // No link is written to; the run that is replaced stands until the new one has begun.
    options = usual();
    assert_ok(train(in_folder("linked"), &options, &result, &err));
    assert_int_equal(rename(in_folder("linked/checkpoints"), in_folder("elsewhere")), 0);
    assert_int_equal(symlink(in_folder("elsewhere"), in_folder("linked/checkpoints")), 0);
    options.resume = 1;
    assert_fails(RRT_STATUS_EXISTS, "checkpoints", train(in_folder("linked"), &options, &result, &err));
    options.resume = 0;
    options.overwrite = 1;
    assert_fails(RRT_STATUS_EXISTS, "'checkpoints'", train(in_folder("linked"), &options, &result, &err));
    unlink(in_folder("linked/checkpoints"));
    assert_int_equal(rename(in_folder("elsewhere"), in_folder("linked/checkpoints")), 0);
    options.n_files = 0;
    assert_fails(RRT_STATUS_ARGUMENT, "no text", train(in_folder("linked"), &options, &result, &err));
    assert_true(rrt__path_exists(in_folder("linked/checkpoints/00000024/state.json")));
    options = usual();
    options.overwrite = 1;
    assert_ok(train(in_folder("linked"), &options, &result, &err));
    assert_int_equal(count_beginning("linked"), 1);
}

typedef struct rival {
    const char *out;
    rrt_status plain, resumed, forced;
} rival;

// While a run is at work: others are refused, and told why.
static void intrude(void *user, const rrt_train_step *step)
{
    rival *r = user;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    if (step->step != 7) return;
    r->plain = train(r->out, &options, &result, &err);
    assert_non_null(strstr(err.message, "another run is at work"));
    options.resume = 1;
    r->resumed = train(r->out, &options, &result, &err);
    assert_non_null(strstr(err.message, "another run is at work"));
    options.resume = 0;
    options.overwrite = 1;
    r->forced = train(r->out, &options, &result, &err);
    assert_non_null(strstr(err.message, "another run is at work"));
}

static void a_run_at_work_refuses_a_second_one(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    char path[256];
    rival r = {.out = lasting(path, "shared-out")};
    options.report = intrude;
    options.user = &r;
    for (int i = 0; i < 3; i++) {
        options.resume = i == 1;
        options.overwrite = i == 2;
        options.tokens = (uint64_t)(i == 1 ? 2 : 1) * STEPS * BATCH * CONTEXT;
        r.plain = r.resumed = r.forced = i == 1 ? RRT_STATUS_EXISTS : RRT_STATUS_OK; // resumed after step 7
        assert_ok(train(r.out, &options, &result, &err));
        assert_int_equal(r.plain, RRT_STATUS_EXISTS);
        assert_int_equal(r.resumed, RRT_STATUS_EXISTS);
        assert_int_equal(r.forced, RRT_STATUS_EXISTS);
        assert_int_equal(count_lines(in_folder("shared-out/log.jsonl")), options.tokens / BATCH / CONTEXT);
    }
}

// A run is resumed with the student and the teacher of before.
static void a_run_resumes_only_with_its_student_and_teacher(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    rrt_model *teacher = open_golden("llama"), *student = open_student();
    rrt_teach_options teach = {.context = CONTEXT, .top = 97, .threads = 1};
    char paths[4][256];
    const char *out = lasting(paths[0], "identity"), *stored = lasting(paths[1], "identity-stored"),
               *one = lasting(paths[2], "one-store"), *other = lasting(paths[3], "other-store");
    options.teacher = teacher;
    options.kd_weight = 0.5;
    assert_ok(train(out, &options, &result, &err));
    options.resume = 1;
    options.threads = 2;
    assert_ok(train(out, &options, &result, &err)); // the same on any number of threads
    student->slots[1].matrix[RRT__MATRIX_UP].weight[5] += 1e-3f;
    assert_fails(RRT_STATUS_MISMATCH, "another student", rrt_train(student, out, &options, &result, &err));
    rrt_model_close(student);
    student = open_student();
    student->final_norm.gain[0] = nextafterf(student->final_norm.gain[0], 2);
    assert_fails(RRT_STATUS_MISMATCH, "another student", rrt_train(student, out, &options, &result, &err));
    rrt_model_close(student);
    teacher->final_norm.gain[3] *= 2;
    assert_fails(RRT_STATUS_MISMATCH, "another teacher", train(out, &options, &result, &err));
    rrt_teach_result taught;
    assert_ok(rrt_teach(teacher, options.files, 1, other, &teach, &taught, &err));
    teacher->final_norm.gain[3] /= 2;
    assert_ok(rrt_teach(teacher, options.files, 1, one, &teach, &taught, &err));
    assert_ok(train(out, &options, &result, &err));
    options.teacher = NULL;
    assert_fails(RRT_STATUS_MISMATCH, "another teacher, or none", train(out, &options, &result, &err));
    options.n_files = 0;
    options.store = one;
    assert_ok(train(stored, &options, &result, &err));
    options.store = other;
    assert_fails(RRT_STATUS_MISMATCH, "another teacher", train(stored, &options, &result, &err));
    rrt_model_close(teacher);
}

// Replaces a word in a checkpoint's state, with its checksum as it would be.
static void rewrite_state(const char *checkpoint, const char *from, const char *to)
{
    rrt_error err = {0};
    rrt__string text = {0}, changed = {0};
    char path[4096];
    assert_ok(rrt__path_join(path, checkpoint, "state.json", &err));
    assert_ok(rrt__file_read(&text, path, &err));
    char *at = strstr(text.data, from);
    assert_non_null(at);
    assert_ok(rrt__string_append(&changed, text.data, (size_t)(at - text.data), &err));
    assert_ok(rrt__string_append(&changed, to, strlen(to), &err));
    assert_ok(rrt__string_append(&changed, at + strlen(from), strlen(at + strlen(from)), &err));
    assert_ok(rrt__file_write(path, changed.data, changed.length, &err));
    assert_ok(rrt__path_join(path, checkpoint, "checksums.json", &err));
    unlink(path);
    assert_ok(rrt__checksums_write(checkpoint, &err));
    rrt__string_free(&text);
    rrt__string_free(&changed);
}

static void overwrite_byte(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
}

// Text and shards that are not what they were: refused, and the run goes on once they are back.
static void changed_data_is_refused_until_it_is_back(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    const char *out = in_folder("data-run"), *shard = in_folder("data-run/data/0000.tokens");
    assert_ok(train(out, &options, &result, &err));
    options.resume = 1;
    options.tokens *= 2;
    overwrite_byte(shard, 700);
    assert_fails(RRT_STATUS_FORMAT, "0000.tokens", train(out, &options, &result, &err));
    overwrite_byte(shard, 700);
    overwrite_byte(text_path, 5);
    assert_fails(RRT_STATUS_MISMATCH, "other text", train(out, &options, &result, &err));
    overwrite_byte(text_path, 5);
    unlink(shard); // made again from the text
    assert_ok(train(out, &options, &result, &err));
    assert_int_equal(result.steps, 2 * STEPS);
}

// One bit of any file of a checkpoint.
static void a_changed_checkpoint_is_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    char paths[2][256];
    const char *out = lasting(paths[0], "checked"),
               *checkpoint = lasting(paths[1], "checked/checkpoints/00000024");
    assert_ok(train(out, &options, &result, &err));
    options.resume = 1;
    DIR *entries = opendir(checkpoint);
    int files = 0;
    for (struct dirent *entry; (entry = readdir(entries));) {
        char path[4096];
        struct stat info;
        if (entry->d_name[0] == '.') continue;
        assert_ok(rrt__path_join(path, checkpoint, entry->d_name, &err));
        assert_int_equal(stat(path, &info), 0);
        for (int i = 1; i < 4; i++) {
            long at = info.st_size * i / 4;
            overwrite_byte(path, at);
            rrt_status status = train(out, &options, &result, &err);
            // What is changed in the list itself may be no more than space between words.
            if (strcmp(entry->d_name, "checksums.json") != 0 || status) {
                assert_true(status == RRT_STATUS_FORMAT || status == RRT_STATUS_IO);
                assert_non_null(strstr(err.hint, "damaged"));
            }
            overwrite_byte(path, at);
        }
        files++;
    }
    closedir(entries);
    assert_true(files >= 7);
    // What is missing is called missing.
    rewrite_state(checkpoint, "\"batch\"", "\"patch\"");
    assert_fails(RRT_STATUS_FORMAT, "does not say what batch", train(out, &options, &result, &err));
    rewrite_state(checkpoint, "\"patch\"", "\"batch\"");
    rewrite_state(checkpoint, "\"student\"", "\"studend\"");
    assert_fails(RRT_STATUS_FORMAT, "\"student\" is missing", train(out, &options, &result, &err));
    rewrite_state(checkpoint, "\"studend\"", "\"student\"");
    assert_ok(train(out, &options, &result, &err));
}

// A stored teacher that knows every token teaches what the teacher itself does, but for f16.
static void cached_logits_teach_as_the_teacher_does(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result online, stored;
    rrt_model *teacher = open_golden("llama");
    rrt_train_options options = usual();
    const rrt_teach_options teach = {.context = CONTEXT, .top = 97, .threads = 1};
    rrt_teach_result taught;
    assert_ok(rrt_teach(teacher, options.files, 1, in_folder("store"), &teach, &taught, &err));
    options.teacher = teacher;
    assert_ok(train(in_folder("online"), &options, &online, &err));
    options.teacher = NULL;
    options.store = in_folder("store");
    options.n_files = 0;
    assert_ok(train(in_folder("stored"), &options, &stored, &err));
    assert_near(stored.loss, online.loss, 0.01 * online.loss);
    options.kd_temperature = 2;
    assert_fails(RRT_STATUS_UNSUPPORTED, "temperature", train(in_folder("s2"), &options, &stored, &err));
    options.kd_temperature = 1;
    options.context = 8;
    assert_fails(RRT_STATUS_MISMATCH, "context of 16", train(in_folder("s3"), &options, &stored, &err));
    rrt_model_close(teacher);
}

// A disk that is full while a checkpoint is written: an error, and the checkpoint before is still good.
static void a_full_disk_spares_the_last_checkpoint(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    options.tokens /= 2;
    assert_ok(train(in_folder("full"), &options, &result, &err));
    options.tokens *= 2;
    options.resume = 1;
    rrt_model *student = open_student();
    struct rlimit before, small = {20000, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    rrt_status status = rrt_train(student, in_folder("full"), &options, &result, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    rrt_model_close(student);
    assert_int_equal(status, RRT_STATUS_IO);
    assert_non_null(strstr(err.message, "cannot write"));
    assert_ok(train(in_folder("full"), &options, &result, &err));
    options.resume = 0;
    assert_ok(train(in_folder("full-whole"), &options, &result, &err));
    assert_int_equal(result.steps, STEPS);
}

static void a_model_can_be_trained_from_scratch(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    rrt_model *model, *again;
    rrt_model_close(open_student());
    assert_ok(rrt_model_create(&model, in_folder("student"), 5, &err));
    assert_ok(rrt_model_create(&again, in_folder("student"), 5, &err));
    assert_memory_equal(model->embedding->weight, again->embedding->weight, 64 * sizeof(float));
    assert_true(model->plan.loops == 2 && model->embedding->weight[0] != 0 && model->final_norm.gain[0] == 1);
    assert_ok(rrt_train(model, in_folder("scratch"), &options, &result, &err));
    rrt_model_close(model);
    rrt_model_close(again);
    assert_fails(RRT_STATUS_IO, "config.json", rrt_model_create(&model, in_folder("nowhere"), 5, &err));
}

static void the_report_holds_the_run_and_escapes_its_name(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string page = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    const char *runs[] = {in_folder("a</script>b"), in_folder("nowhere")};
    mkdir(in_folder("a<"), 0777); // the name has a slash in it
    assert_ok(train(runs[0], &options, &result, &err));
    assert_ok(rrt_train_report(runs, 1, in_folder("page.html"), 0, &err));
    assert_ok(rrt__file_read(&page, in_folder("page.html"), &err));
    assert_non_null(strstr(page.data, "a\\u003c/script>b"));
    assert_non_null(strstr(page.data, "\"step\":24"));
    assert_non_null(strstr(page.data, "\"learning_rate\":0.003,")); // of the settings
    assert_non_null(strstr(page.data, "\"sharing\":\"cycle\""));    // of the plan
    assert_null(strstr(page.data, "/* charts"));
    assert_null(strstr(page.data, "/*DATA*/"));
    assert_fails(RRT_STATUS_EXISTS, "page.html", rrt_train_report(runs, 1, in_folder("page.html"), 0, &err));
    assert_fails(RRT_STATUS_IO, "nowhere", rrt_train_report(runs, 2, in_folder("page.html"), 1, &err));
    rrt__string_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_leaves_a_model_a_log_and_checkpoints),
        cmocka_unit_test(a_run_that_was_stopped_resumes_to_the_same_bytes),
        cmocka_unit_test(a_run_that_was_killed_resumes_to_the_same_bytes),
        cmocka_unit_test(a_spoilt_step_is_rolled_back),
        cmocka_unit_test(impossible_runs_leave_nothing_behind),
        cmocka_unit_test(a_full_disk_spares_the_last_checkpoint),
        cmocka_unit_test(changed_data_is_refused_until_it_is_back),
        cmocka_unit_test(cached_logits_teach_as_the_teacher_does),
        cmocka_unit_test(a_model_can_be_trained_from_scratch),
        cmocka_unit_test(the_report_holds_the_run_and_escapes_its_name),
        cmocka_unit_test(foreign_files_survive_every_run),
        cmocka_unit_test(a_run_at_work_refuses_a_second_one),
        cmocka_unit_test(a_run_resumes_only_with_its_student_and_teacher),
        cmocka_unit_test(a_changed_checkpoint_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

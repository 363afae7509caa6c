// Files that appear whole or not at all.
#include <sys/stat.h>

#include "base/destination.h"
#include "base/own.h"
#include "models.h"

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    temp_folder(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next = (next + 1) % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const char *text)
{
    rrt_error err = {0};
    assert_ok(rrt__file_write(path, text, strlen(text), &err));
}

static void assert_content(const char *path, const char *expected)
{
    rrt_error err = {0};
    rrt__string text = {0};
    assert_ok(rrt__file_read(&text, path, &err));
    assert_string_equal(text.data, expected);
    rrt__string_free(&text);
}

static size_t count_entries(void)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));) count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void a_file_appears_only_when_it_is_complete(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    const char *path = in_folder("result");
    assert_ok(rrt__destination_open(&d, path, RRT__DESTINATION_FILE, false, &err));
    write_file(d.temporary, "new");
    assert_false(rrt__path_exists(path)); // not before it is complete
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(path, "new");
    assert_int_equal(count_entries(), 1);

    assert_fails(RRT_STATUS_EXISTS, "--force",
                 rrt__destination_open(&d, path, RRT__DESTINATION_FILE, false, &err));
    assert_content(path, "new");

    assert_ok(rrt__destination_open(&d, path, RRT__DESTINATION_FILE, true, &err));
    write_file(d.temporary, "newer");
    assert_content(path, "new"); // the old one stands until then
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(path, "newer");

    assert_ok(rrt__destination_open(&d, path, RRT__DESTINATION_FILE, true, &err));
    write_file(d.temporary, "half");
    rrt__destination_discard(&d);
    assert_content(path, "newer");
    assert_int_equal(count_entries(), 1);
    unlink(path);
}

static void write_inside(const rrt__destination *d, const char *name, const char *text)
{
    char path[4096];
    assert_int_equal(rrt__path_join(path, d->temporary, name, NULL), RRT_STATUS_OK);
    write_file(path, text);
}

static void a_folder_appears_only_when_it_is_complete(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    const char *path = in_folder("model/"); // a slash at the end does not matter
    assert_ok(rrt__destination_open(&d, path, RRT__DESTINATION_FOLDER, false, &err));
    write_inside(&d, "config.json", "1");
    write_inside(&d, "generation_config.json", "1");
    assert_false(rrt__path_exists(in_folder("model")));
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(in_folder("model/config.json"), "1");
    assert_fails(RRT_STATUS_EXISTS, "model",
                 rrt__destination_open(&d, path, RRT__DESTINATION_FOLDER, false, &err));

    assert_ok(rrt__destination_open(&d, path, RRT__DESTINATION_FOLDER, true, &err));
    write_inside(&d, "config.json", "2");
    assert_content(in_folder("model/config.json"), "1");
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(in_folder("model/config.json"), "2");
    assert_false(
        rrt__path_exists(in_folder("model/generation_config.json"))); // the new folder, not a mixture
    assert_int_equal(count_entries(), 1);

    assert_ok(rrt__destination_open(&d, path, RRT__DESTINATION_FOLDER, true, &err));
    write_inside(&d, "config.json", "3");
    rrt__destination_discard(&d);
    assert_content(in_folder("model/config.json"), "2");
    assert_int_equal(count_entries(), 1);

    // What is not ours stays.
    unlink(in_folder("model/config.json"));
    write_file(in_folder("model/diary"), "dear");
    assert_fails(RRT_STATUS_EXISTS, "no result",
                 rrt__destination_open(&d, in_folder("model/"), RRT__DESTINATION_FOLDER, true, &err));
    assert_fails(RRT_STATUS_EXISTS, "no result",
                 rrt__destination_open(&d, in_folder("model"), RRT__DESTINATION_FILE, true, &err));
    assert_content(in_folder("model/diary"), "dear");
    unlink(in_folder("model/diary"));

    // A file takes the place of a folder, and a folder that of a file.
    assert_ok(rrt__destination_open(&d, in_folder("model"), RRT__DESTINATION_FILE, true, &err));
    write_file(d.temporary, "file");
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(in_folder("model"), "file");
    assert_ok(rrt__destination_open(&d, in_folder("model"), RRT__DESTINATION_FOLDER, true, &err));
    assert_ok(rrt__destination_commit(&d, &err));
    assert_true(rrt__path_is_folder(in_folder("model")));
    assert_int_equal(count_entries(), 1);
    rmdir(in_folder("model"));
}

static void impossible_destinations_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    char path[5000];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_fails(RRT_STATUS_ARGUMENT, "too long",
                 rrt__destination_open(&d, path, RRT__DESTINATION_FILE, true, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "empty", rrt__destination_open(&d, "", false, true, &err));
    assert_fails(RRT_STATUS_IO, "nowhere",
                 rrt__destination_open(&d, in_folder("nowhere/model"), RRT__DESTINATION_FOLDER, false, &err));
    // A dangling link is something that exists.
    assert_int_equal(symlink("/nowhere", in_folder("link")), 0);
    assert_fails(RRT_STATUS_EXISTS, "link",
                 rrt__destination_open(&d, in_folder("link"), RRT__DESTINATION_FILE, false, &err));
    unlink(in_folder("link"));
    // Nothing to move.
    assert_ok(rrt__destination_open(&d, in_folder("none"), RRT__DESTINATION_FILE, false, &err));
    unlink(d.temporary);
    assert_fails(RRT_STATUS_IO, "none", rrt__destination_commit(&d, &err));
    rrt__destination_discard(&d);
    assert_int_equal(count_entries(), 0);
    // A failed commit leaves the old one standing.
    write_file(in_folder("old"), "old");
    assert_ok(rrt__destination_open(&d, in_folder("old"), RRT__DESTINATION_FILE, true, &err));
    unlink(d.temporary);
    assert_fails(RRT_STATUS_IO, "old", rrt__destination_commit(&d, &err));
    rrt__destination_discard(&d);
    assert_content(in_folder("old"), "old");
    unlink(in_folder("old"));
}

// The name is checked again when the result takes it: minutes have passed.
static void a_name_taken_meanwhile_is_not_overwritten(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d, e;
    for (int is_folder = 0; is_folder < 2; is_folder++) {
        assert_ok(
            rrt__destination_open(&d, in_folder("model"), (rrt__destination_kind)is_folder, false, &err));
        assert_ok(
            rrt__destination_open(&e, in_folder("model"), (rrt__destination_kind)is_folder, false, &err));
        assert_string_not_equal(d.temporary, e.temporary); // each writes to its own
        assert_ok(rrt__destination_commit(&d, &err));
        assert_fails(RRT_STATUS_EXISTS, "--force", rrt__destination_commit(&e, &err));
        rrt__destination_discard(&e);
        assert_int_equal(count_entries(), 1);
        remove(in_folder("model"));
    }
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        assert_ok(rrt__destination_open(&d, in_folder("model"), RRT__DESTINATION_FOLDER, overwrite, &err));
        assert_int_equal(mkdir(in_folder("model"), 0777), 0);
        write_file(in_folder("model/thesis"), "years");
        assert_fails(RRT_STATUS_EXISTS, "model", rrt__destination_commit(&d, &err));
        rrt__destination_discard(&d);
        assert_content(in_folder("model/thesis"), "years");
        assert_int_equal(count_entries(), 1);
        unlink(in_folder("model/thesis"));
        rmdir(in_folder("model"));
    }
}

static void a_folder_that_holds_other_folders_is_not_replaced(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    assert_int_equal(mkdir(in_folder("model"), 0777), 0);
    write_file(in_folder("model/config.json"), "{}");
    assert_int_equal(mkdir(in_folder("model/notes"), 0777), 0);
    assert_fails(RRT_STATUS_EXISTS, "'notes'",
                 rrt__destination_open(&d, in_folder("model"), RRT__DESTINATION_FOLDER, true, &err));
    assert_content(in_folder("model/config.json"), "{}");
    // One that appears meanwhile.
    rmdir(in_folder("model/notes"));
    assert_ok(rrt__destination_open(&d, in_folder("model"), RRT__DESTINATION_FOLDER, true, &err));
    assert_int_equal(mkdir(in_folder("model/notes"), 0777), 0);
    assert_fails(RRT_STATUS_EXISTS, "'notes'", rrt__destination_commit(&d, &err));
    rrt__destination_discard(&d);
    assert_content(in_folder("model/config.json"), "{}");
    assert_int_equal(count_entries(), 1);
    remove_folder(in_folder("model"));
}

// A temporary as a process that has died leaves it: nobody holds it. Its path.
static const char *leave_temporary(const char *name, rrt__destination_kind kind)
{
    rrt_error err = {0};
    rrt__destination d;
    assert_ok(rrt__destination_open(&d, in_folder(name), kind, true, &err));
    close(d.lock);
    return in_folder(strrchr(d.temporary, '/') + 1);
}

static void leftovers_of_dead_processes_are_swept(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d, e;
    char path[256];
    static const char *const others[] = {"notes.tmp-1.md", "model.tmp-0123456", "model.tmp-0123456X",
                                         "other.tmp-01234567", "model.tmp-01234567.md"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) write_file(in_folder(others[i]), "mine");
    // Of the living nothing is swept.
    assert_ok(rrt__destination_open(&d, in_folder("model"), RRT__DESTINATION_FOLDER, true, &err));
    write_inside(&d, "config.json", "1");
    snprintf(path, sizeof path, "%s", leave_temporary("model", RRT__DESTINATION_FILE));
    assert_true(rrt__path_exists(path));
    assert_ok(rrt__destination_open(&e, in_folder("model"), RRT__DESTINATION_FOLDER, true, &err));
    assert_false(rrt__path_exists(path));
    assert_true(rrt__path_exists(d.temporary));
    rrt__destination_discard(&e);
    assert_ok(rrt__destination_commit(&d, &err));
    // A folder with what rrt writes goes, one with anything else stays as it is.
    assert_int_equal(mkdir(in_folder("model.tmp-00000001"), 0777), 0);
    write_file(in_folder("model.tmp-00000001/config.json"), "half");
    assert_int_equal(mkdir(in_folder("model.tmp-00000002"), 0777), 0);
    write_file(in_folder("model.tmp-00000002/config.json"), "half");
    write_file(in_folder("model.tmp-00000002/diary"), "mine");
    rrt__destination_sweep(in_folder("model/"));
    assert_false(rrt__path_exists(in_folder("model.tmp-00000001")));
    assert_content(in_folder("model.tmp-00000002/config.json"), "half");
    assert_content(in_folder("model.tmp-00000002/diary"), "mine");
    remove_folder(in_folder("model.tmp-00000002"));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_content(in_folder(others[i]), "mine");
        unlink(in_folder(others[i]));
    }
    // What stepped aside comes back, unless something has taken its place.
    assert_int_equal(rename(in_folder("model"), in_folder("model.old-01234567")), 0);
    rrt__destination_sweep(in_folder("model"));
    assert_content(in_folder("model/config.json"), "1");
    assert_int_equal(mkdir(in_folder("model.old-01234567"), 0777), 0);
    rrt__destination_sweep(in_folder("model"));
    assert_int_equal(count_entries(), 1);
    remove_folder(in_folder("model"));
}

// No link is followed, and what is neither a file nor a folder is left alone.
static void links_are_neither_followed_nor_replaced(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    assert_int_equal(mkdir(in_folder("disk"), 0777), 0);
    write_file(in_folder("disk/config.json"), "mine");
    assert_int_equal(symlink(in_folder("disk"), in_folder("link")), 0);
    assert_int_equal(symlink(in_folder("disk/config.json"), in_folder("file-link")), 0);
    assert_int_equal(mkfifo(in_folder("fifo"), 0666), 0);
    static const char *const names[] = {"link", "link/", "file-link", "fifo"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_fails(RRT_STATUS_EXISTS, "not replaced",
                     rrt__destination_open(&d, in_folder(names[i]), RRT__DESTINATION_FOLDER, true, &err));
        assert_fails(RRT_STATUS_EXISTS, "not replaced",
                     rrt__destination_open(&d, in_folder(names[i]), RRT__DESTINATION_FILE, true, &err));
    }
    assert_false(rrt__own_remove(in_folder("link")));
    assert_int_equal(mkdir(in_folder("model"), 0777), 0);
    write_file(in_folder("model/config.json"), "1");
    assert_int_equal(symlink(in_folder("disk"), in_folder("model/base")), 0);
    assert_fails(RRT_STATUS_EXISTS, "'base'",
                 rrt__destination_open(&d, in_folder("model"), RRT__DESTINATION_FOLDER, true, &err));
    assert_false(rrt__own_remove(in_folder("model")));
    assert_content(in_folder("model/config.json"), "1");
    assert_content(in_folder("disk/config.json"), "mine");
    unlink(in_folder("link"));
    unlink(in_folder("file-link"));
    unlink(in_folder("fifo"));
    unlink(in_folder("model/base"));
    remove_folder(in_folder("model"));
    remove_folder(in_folder("disk"));
}

// Folders of `rrt train`: replaced by another run alone, by none while one is at work, and known by their
// marker.
static void only_runs_replace_runs_and_none_that_is_at_work(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    int lock, other;
    assert_int_equal(mkdir(in_folder("run"), 0777), 0);
    assert_int_equal(mkdir(in_folder("run/data"), 0777), 0);
    write_file(in_folder("run/data/0000.tokens"), "ids");
    write_file(in_folder("run/log.jsonl"), "{}");
    assert_fails(RRT_STATUS_EXISTS, "no result",
                 rrt__destination_open(&d, in_folder("run"), RRT__DESTINATION_RUN, true, &err));
    assert_ok(rrt__run_mark(&lock, in_folder("run"), &err));
    assert_true(rrt__run_is_marked(in_folder("run")));
    assert_fails(RRT_STATUS_EXISTS, "another run is at work", rrt__run_hold(&other, in_folder("run"), &err));
    assert_fails(RRT_STATUS_EXISTS, "another run is at work",
                 rrt__destination_open(&d, in_folder("run"), RRT__DESTINATION_RUN, true, &err));
    close(lock);
    assert_fails(RRT_STATUS_EXISTS, "is a run of rrt train",
                 rrt__destination_open(&d, in_folder("run"), RRT__DESTINATION_FOLDER, true, &err));
    assert_ok(rrt__destination_open(&d, in_folder("run"), RRT__DESTINATION_RUN, true, &err));
    // It is held until it is replaced.
    assert_fails(RRT_STATUS_EXISTS, "another run is at work", rrt__run_hold(&other, in_folder("run"), &err));
    write_file(in_folder("run/data/corpus.txt"), "mine");
    assert_fails(RRT_STATUS_EXISTS, "'corpus.txt'", rrt__destination_commit(&d, &err));
    rrt__destination_discard(&d);
    assert_content(in_folder("run/data/corpus.txt"), "mine");
    assert_content(in_folder("run/log.jsonl"), "{}");
    unlink(in_folder("run/data/corpus.txt"));
    assert_ok(rrt__destination_open(&d, in_folder("run"), RRT__DESTINATION_RUN, true, &err));
    write_inside(&d, "config.json", "2");
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(in_folder("run/config.json"), "2");
    assert_false(rrt__path_exists(in_folder("run/data")));
    assert_int_equal(count_entries(), 1);
    // A file of this name is not yet a marker.
    write_file(in_folder("run/run.lock"), "mine");
    assert_false(rrt__run_is_marked(in_folder("run")));
    remove_folder(in_folder("run"));
}

static void results_get_the_permissions_of_the_umask(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    struct stat info;
    mode_t mask = umask(027);
    for (int is_folder = 0; is_folder < 2; is_folder++) {
        assert_ok(
            rrt__destination_open(&d, in_folder("result"), (rrt__destination_kind)is_folder, false, &err));
        assert_ok(rrt__destination_commit(&d, &err));
        assert_int_equal(stat(in_folder("result"), &info), 0);
        assert_int_equal(info.st_mode & 0777, is_folder ? 0750 : 0640);
        remove(in_folder("result"));
    }
    umask(mask);
}

static void paths_inside_a_folder_are_recognised(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_folder("a"), 0777), 0);
    write_file(in_folder("a/x"), "");
    assert_int_equal(symlink(in_folder("a"), in_folder("link")), 0);
    assert_true(rrt__path_is_at_or_in(in_folder("a"), in_folder("a/")));
    assert_true(rrt__path_is_at_or_in(in_folder("link"), in_folder("a")));
    assert_true(rrt__path_is_at_or_in(in_folder("a/x"), in_folder("a")));
    assert_true(rrt__path_is_at_or_in(in_folder("link/x"), in_folder("a")));
    assert_true(rrt__path_is_at_or_in(in_folder("a/nothing"), in_folder("a")));
    assert_true(rrt__path_is_at_or_in("CMakeLists.txt", "."));
    assert_false(rrt__path_is_at_or_in(in_folder("b"), in_folder("a")));
    assert_false(rrt__path_is_at_or_in(in_folder("a/x"), in_folder("b")));
    assert_false(rrt__path_is_at_or_in(folder, in_folder("a")));
    assert_true(rrt__path_is_at_or_in(in_folder("a/x"), folder)); // at any depth
    assert_true(rrt__path_is_at_or_in(in_folder("link/x"), "/"));
    remove_folder(in_folder("a"));
    unlink(in_folder("link"));
}

static void only_regular_files_are_mapped(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__map map;
    write_file(in_folder("empty"), "");
    assert_ok(rrt__map_open(&map, in_folder("empty"), &err));
    assert_int_equal(map.size_bytes, 0);
    rrt__map_close(&map);
    write_file(in_folder("full"), "some bytes");
    assert_ok(rrt__map_open(&map, in_folder("full"), &err));
    assert_int_equal(map.size_bytes, 10);
    assert_memory_equal(map.data, "some bytes", 10);
    rrt__map_close(&map);
    rrt__map_close(&map); // twice is fine
    assert_fails(RRT_STATUS_IO, folder, rrt__map_open(&map, folder, &err));
    assert_fails(RRT_STATUS_IO, "nowhere", rrt__map_open(&map, in_folder("nowhere"), &err));
    assert_fails(RRT_STATUS_IO, "''", rrt__map_open(&map, "", &err));
    assert_fails(RRT_STATUS_IO, "/dev/null", rrt__map_open(&map, "/dev/null", &err));
    assert_int_equal(mkfifo(in_folder("fifo"), 0666), 0);
    assert_fails(RRT_STATUS_IO, "not a regular file",
                 rrt__map_open(&map, in_folder("fifo"), &err)); // at once
    unlink(in_folder("fifo"));
    unlink(in_folder("empty"));
    unlink(in_folder("full"));
}

static void failed_reads_and_writes_name_the_path(void **state)
{
    (void)state;
    rrt_error err = {0};
    assert_ok(rrt__file_write(in_folder("empty"), NULL, 0, &err));
    assert_content(in_folder("empty"), "");
    unlink(in_folder("empty"));
    assert_fails(RRT_STATUS_IO, "/dev/full", rrt__file_write("/dev/full", "x", 1, &err));
    assert_fails(RRT_STATUS_IO, "nowhere", rrt__file_write(in_folder("nowhere/x"), "x", 1, &err));
    rrt__string text = {0};
    assert_fails(RRT_STATUS_IO, folder, rrt__file_read(&text, folder, &err)); // a folder
    rrt__string_free(&text);
    char path[4096], name[4096];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_fails(RRT_STATUS_ARGUMENT, "too long", rrt__path_join(path, folder, name, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_appears_only_when_it_is_complete),
        cmocka_unit_test(a_folder_appears_only_when_it_is_complete),
        cmocka_unit_test(impossible_destinations_are_refused),
        cmocka_unit_test(a_name_taken_meanwhile_is_not_overwritten),
        cmocka_unit_test(a_folder_that_holds_other_folders_is_not_replaced),
        cmocka_unit_test(leftovers_of_dead_processes_are_swept),
        cmocka_unit_test(links_are_neither_followed_nor_replaced),
        cmocka_unit_test(only_runs_replace_runs_and_none_that_is_at_work),
        cmocka_unit_test(results_get_the_permissions_of_the_umask),
        cmocka_unit_test(paths_inside_a_folder_are_recognised),
        cmocka_unit_test(only_regular_files_are_mapped),
        cmocka_unit_test(failed_reads_and_writes_name_the_path),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

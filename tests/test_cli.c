// The command line as a user meets it: exit codes, one-line errors, JSON keys, and nothing but results on
// stdout.
#include "cli.h"

static char recursive[128]; // a model in the workspace: cycle 2 x 2 with a LoRA

static int set_up(void **state)
{
    (void)state;
    rrt_error err = {0};
    temp_folder(workspace);
    rrt_model *original = open_golden("llama");
    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 2, 2, 0, 0, &err));
    rrt_model *model = tie(original, &plan, RRT__NORMS_TIED);
    assert_ok(rrt__model_add_lora(model, 3, RRT__MATRIX_Q, 2, &err));
    snprintf(recursive, sizeof recursive, "%s/recursive", workspace);
    assert_ok(rrt_model_save(model, recursive, NULL, &err));
    copy_file(RRT_TEST_DATA "/models/llama", recursive, "tokenizer.json");
    rrt_model_close(model);
    rrt_model_close(original);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(workspace);
    return 0;
}

static void inspect_counts_parameters_and_bytes(void **state)
{
    (void)state;
    json_t *json = run_json("inspect %s", recursive);
    assert_string_equal(json_string_value(json_object_get(json, "family")), "llama");
    static const struct {
        const char *key;
        double value;
    } expected[] = {{"layers", 4},  {"loops", 2}, {"layers_per_block", 2}, {"prelude", 0}, {"coda", 0},
                    {"hidden", 32}, {"vocab", 97}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_number(json, expected[i].key, expected[i].value, 0);
    const json_t *params = json_object_get(json, "params");
    double shared = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 40 * 32), lora = 2 * (32 + 32), norm = 5 * 32,
           embedding = 2 * 97 * 32;
    assert_number(params, "shared", shared, 0);
    assert_number(params, "lora", lora, 0);
    assert_number(params, "norm", norm, 0);
    assert_number(params, "body", shared + lora + norm, 0);
    assert_number(params, "embedding", embedding, 0);
    assert_number(params, "total", shared + lora + norm + embedding, 0);
    assert_number(json, "file_bytes", 4 * (shared + lora + norm + embedding) + 2048, 2048);
    assert_number(json_object_get(json, "types"), "F32", 2 * 9 + 2 + 3, 0);
    assert_number(json, "kv_bytes_per_token", 4 * 2 * 16 * 2, 0);
    assert_string_equal(json_string_value(json_object_get(json, "name")), "recursive");
    assert_string_equal(json_string_value(json_object_get(json, "tokenizer")), "byte-level BPE");
    assert_true(json_is_false(json_object_get(json, "chat_template")));
    json_decref(json);
    json = run_json("inspect %s --kv-type f32", recursive);
    assert_number(json, "kv_bytes_per_token", 4 * 2 * 16 * 4, 0);
    json_decref(json);
    result *r = run("inspect %s", recursive);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out.data, "2 x 2"));
}

static void chat_replies_to_each_line_of_its_input(void **state)
{
    (void)state;
    char model[4096];
    snprintf(model, sizeof model, "%s", golden_path("llama"));
    assert_error(1, "no chat template", "chat -m %s </dev/null", model);
    assert_error(2, "'alpaca'", "chat -m %s --chat-template alpaca </dev/null", model);
    assert_error(2, "kwargs", "chat -m %s --chat-template-kwargs [] </dev/null", model);
    assert_error(1, "the tag 'include'", "chat -m %s --chat-template \"{%% include 'x' %%}\" </dev/null",
                 model);
    assert_error(1, "tokenizer", "chat -m %s </dev/null", golden_path("neox"));
    write_text("template",
               "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
               "{% if messages | length > 9 or system %}{{ raise_exception('enough') }}{% endif %}");
    assert_error(2, "exclude", "chat -m %s --chat-template x --chat-template-file template </dev/null",
                 model);
    assert_error(1, "enough",
                 "chat -m %s --chat-template-file template --chat-template-kwargs '{\"system\": 1}' "
                 "<<'END'\nthe cat\nEND",
                 model);
    result *r = run("chat -m %s --chat-template-file template -n 3 -t 1 </dev/null", model);
    assert_int_equal(r->code, 0);
    assert_int_equal(r->out.length, 0);
    // Two messages, two replies; the second goes on from the first.
    r = run("chat -m %s --chat-template-file template --show-prompt --system cat -n 3 -t 1 <<'END'\nthe "
            "cat\nthe mat\nEND",
            model);
    assert_int_equal(r->code, 0);
    int lines = 0;
    for (const char *at = r->out.data; *at; at++) lines += *at == '\n';
    assert_true(lines >= 2);
    assert_non_null(strstr(r->err.data, "system: cat\nuser: the cat\nassistant: "));
    // The model's context of 128 tokens is full at some point, which is said.
    r = run("chat -m %s --chat-template-file template -n 1000 -t 1 <<'END'\nthe cat\nthe cat\nEND", model);
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err.data, "context"));
}

static void logits_match_the_golden(void **state)
{
    (void)state;
    golden g = golden_open("neox");
    char tokens[1024] = "";
    for (size_t i = 0; i < g.count; i++)
        snprintf(tokens + strlen(tokens), 16, "%s%d", i ? "," : "", g.ids[i]);
    json_t *json = run_json("logits -m %s --tokens %s --top 5 --kv-type f32", golden_path("neox"), tokens);
    const json_t *top = json_object_get(json, "top");
    const float *last = g.logits + (g.count - 1) * g.vocab;
    double before = INFINITY, sum = 0;
    assert_int_equal(json_array_size(top), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *entry = json_array_get(top, i);
        json_int_t id = json_integer_value(json_object_get(entry, "id"));
        assert_number(entry, "logit", last[id], LOGIT_TOLERANCE);
        assert_true(last[id] <= before);
        before = last[id];
    }
    for (size_t i = 0; i < g.vocab; i++) sum += exp(last[i]);
    assert_number(json, "logsumexp", log(sum), LOGIT_TOLERANCE);
    json_decref(json);
    golden_close(&g);

    json_t *all = run_json("logits -m %s --tokens 1,2,3 --top 1", recursive);
    json_t *one = run_json("logits -m %s --tokens 1,2,3 --top 1 --loops 1", recursive);
    assert_true(fabs(json_number_value(json_object_get(all, "logsumexp")) -
                     json_number_value(json_object_get(one, "logsumexp"))) > 1e-4);
    json_decref(all);
    json_decref(one);
    assert_error(1, "2 loops", "logits -m %s --tokens 1 --loops 2 --json", golden_path("llama"));
}

static void generate_gives_the_same_text_streamed_and_as_json(void **state)
{
    (void)state;
    json_t *json = run_json("generate -m %s -p 'the cat' -n 6", recursive),
           *ids = json_object_get(json, "ids");
    const char *text = json_string_value(json_object_get(json, "text"));
    assert_true(json_array_size(ids) >= 1 && json_array_size(ids) <= 6);
    assert_int_equal(json_array_size(json_object_get(json, "exit_depths")), json_array_size(ids));
    assert_number(json, "mean_loops", 2, 0);
    assert_true(json_number_value(json_object_get(json, "tokens_per_s")) > 0);
    assert_true(json_number_value(json_object_get(json, "prompt_tokens_per_s")) > 0);
    result *r = run("generate -m %s -p 'the cat' -n 6 -t 1", recursive); // the same text, streamed
    assert_int_equal(r->code, 0);
    assert_int_equal(r->out.length, strlen(text) + 1);
    assert_memory_equal(r->out.data, text, strlen(text));
    assert_int_equal(r->err.length, 0);
    json_decref(json);

    char first[4096];
    snprintf(first, sizeof first, "%s",
             run("generate -m %s -p 'the cat' -n 20 --temp 1 --seed 4 -t 1", recursive)->out.data);
    assert_string_equal(run("generate -m %s -p 'the cat' -n 20 --temp 1 --seed 4 -t 1", recursive)->out.data,
                        first);
    assert_string_not_equal(
        run("generate -m %s -p 'the cat' -n 20 --temp 1 --seed 5 -t 1", recursive)->out.data, first);
    assert_error(2, "-p TEXT", "generate -m %s", recursive);
    assert_error(1, "tokenizer", "generate -m %s -p a", golden_path("neox")); // it has none
    // A full context ends the text; it is no failure. The last token needs no place.
    json = run_json("generate -m %s -p 'the cat' -n 500 --ignore-eos", recursive);
    assert_string_equal(json_string_value(json_object_get(json, "stop")), "context");
    assert_int_equal(json_array_size(json_object_get(json, "ids")), 128 - 3 + 1); // after 3 of the prompt
    json_decref(json);
    r = run("generate -m %s -p 'the cat' -n 500 --ignore-eos", recursive);
    assert_int_equal(r->code, 0);
    assert_true(r->out.length > 100);
    assert_non_null(strstr(r->err.data, "context of 128"));
    char words[1024] = "";
    while (strlen(words) < 1000) strcat(words, "the cat ");
    assert_error(2, "context of 128", "generate -m %s -p '%s'", recursive, words);
}

static void eval_gives_the_figures_of_the_library(void **state)
{
    (void)state;
    rrt_error err = {0};
    char text[2048] = "";
    while (strlen(text) < 1000) strcat(text, "the cat sat on the mat and the rat ate the fat oat. ");
    write_text("text", text);
    // Against the library, which the other tests hold to the goldens.
    rrt_model *model = open_path(recursive), *teacher = open_golden("llama");
    int32_t *ids;
    size_t count;
    rrt_eval_ppl_result ppl;
    rrt_eval_kl_result kl;
    const rrt_eval_options options = {.threads = 1, .context = 32, .max_tokens = 100};
    assert_ok(rrt_encode(rrt_model_tokenizer(model), text, strlen(text), NULL, &ids, &count, &err));
    assert_ok(rrt_eval_ppl(model, ids, count, &options, &ppl, &err));
    assert_ok(rrt_eval_kl(model, teacher, ids, count, &options, &kl, &err));
    rrt_ids_free(ids);
    rrt_model_close(teacher);
    rrt_model_close(model);

    json_t *json = run_json("eval ppl -m %s -f text --ctx 32 --max-tokens 100", recursive);
    assert_number(json, "ppl", ppl.ppl, 1e-6 * ppl.ppl);
    assert_number(json, "nll_per_token", ppl.nll_per_token, 1e-6);
    assert_number(json, "tokens", 93, 0); // 3 windows of 31
    json_decref(json);
    json = run_json("eval ppl -m %s --ctx 32 --max-tokens 100 <text", recursive); // standard input
    assert_number(json, "tokens", 93, 0);
    json_decref(json);
    json = run_json("eval kl -m %s --teacher %s -f text --ctx 32 --max-tokens 100", recursive,
                    golden_path("llama"));
    assert_number(json, "kl", kl.kl, 1e-6);
    assert_number(json, "top1_agreement", kl.top1_agreement, 1e-6);
    assert_number(json, "tokens", 93, 0);
    json_decref(json);

    assert_error(2, "--teacher", "eval kl -m %s -f text", recursive);
    assert_error(2, "ppl", "eval");
    assert_error(2, "'ppk'", "eval ppk");
    assert_error(2, "teacher", "eval ppl --teacher x -m %s -f text", recursive);
    assert_error(1, "nothere", "eval ppl -m %s -f nothere", recursive);
    write_text("bad", "the \xff cat");
    assert_error(1, "bad", "eval ppl -m %s -f bad", recursive);
    // What a file lacks is not a usage error; an option that the model cannot follow is.
    write_text("empty", "");
    assert_error(1, "empty: ", "eval ppl -m %s -f empty", recursive);
    assert_error(1, "standard input: ", "eval ppl -m %s <empty", recursive);
    assert_error(1, "empty: ", "convert %s none --init calibrated --calib empty", golden_path("llama"));
    write_text("short", "the cat");
    assert_error(1, "short: ", "convert %s none --target-params 60%% --calib short", golden_path("llama"));
    result *more = run("eval ppl -m %s -f text --loops 3", recursive);
    assert_int_equal(more->code, 0);
    assert_non_null(strstr(more->err.data, "3 loops, more than the 2"));
    assert_error(1, "no loop boundary", "eval ppl -m %s -f text --loops 3", golden_path("llama"));
    assert_error(2, "129", "eval ppl -m %s -f text --ctx 129", recursive);
}

static void eval_exits_measures_each_loop_and_rule(void **state)
{
    (void)state;
    char text[2048] = "";
    while (strlen(text) < 1000) strcat(text, "the cat sat on the mat and the rat ate the fat oat. ");
    write_text("text", text);
    json_t *json = run_json("eval exits -m %s -f text --ctx 32 --max-tokens 100", recursive);
    assert_int_equal(json_array_size(json_object_get(json, "loops")), 2);
    assert_number(json, "mean_loops", 2, 0);
    assert_number(json, "tokens", 93, 0);
    assert_null(json_object_get(json, "sweep"));
    json_decref(json);
    json = run_json("eval exits -m %s -f text --ctx 32 --max-tokens 100 --exit confidence:0 --kv copy "
                    "--kv-type f32",
                    recursive);
    const json_t *first = json_array_get(json_object_get(json, "loops"), 0);
    assert_number(json, "mean_loops", 1, 1e-6); // every token is as sure as that
    assert_number(first, "share", 1, 1e-6);
    assert_number(json, "ppl", json_number_value(json_object_get(first, "ppl")), 1e-3);
    assert_int_equal(json_array_size(json_object_get(json, "calibrated")), 3);
    json_decref(json);
    json = run_json("eval exits -m %s -f text --ctx 32 --max-tokens 100 --exit margin:0.1 --trace rule.txt "
                    "--oracle-trace oracle.txt",
                    recursive);
    json_decref(json);
    json = run_json("bench -m %s --batching depth --exit-trace rule.txt -b 2 -r 1", recursive);
    const json_t *exits = json_object_get(json_array_get(json_object_get(json, "rows"), 0), "exits");
    long generated = 0;
    for (size_t i = 0; i < json_array_size(exits); i++)
        generated += json_integer_value(json_array_get(exits, i));
    assert_int_equal(generated, 8 * 31); // a window a request
    json_decref(json);
    assert_error(1, "oracle.txt: ", "eval exits -m %s -f text --ctx 32 --oracle-trace oracle.txt", recursive);
    assert_error(2, "--save is for", "eval exits -m %s -f text --ctx 32 --save", recursive);
    result *r = run("eval exits -m %s -f text --ctx 32 --max-tokens 100 --exit state:0.5 -t 1", recursive);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out.data, "left by rule"));
    assert_error(2, "loops:N, confidence:P", "eval exits -m %s -f text --exit sure:1", recursive);
    assert_error(2, "propagate, copy", "eval exits -m %s -f text --exit oracle --kv some", recursive);
    assert_error(2, "--exit RULE", "eval exits -m %s -f text --kv copy", recursive);
    assert_error(2, "--kv-type is for", "eval exits -m %s -f text --kv-type f32", recursive);
    assert_error(1, "--kv shared", "eval exits -m %s -f text --exit oracle --kv shared", recursive);
    assert_error(1, "rrt train MODEL --gates", "eval exits -m %s -f text --exit gate:0.5", recursive);
    assert_error(1, "no loop boundary", "eval exits -m %s -f text --exit margin:0.5", golden_path("llama"));
}

// A model that has diverged: its perplexity is beyond what a number can hold, which JSON has to say too.
static void a_perplexity_beyond_range_is_null_in_json(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = open_golden("llama");
    for (size_t i = 0; i < model->shape.vocab * model->shape.hidden; i++) model->head->weight[i] *= 1e4f;
    char path[128];
    snprintf(path, sizeof path, "%s/diverged", workspace);
    assert_ok(rrt_model_save(model, path, NULL, &err));
    rrt_model_close(model);
    write_text("text", "the cat sat on the mat and the rat ate the fat oat");
    json_t *json = run_json("eval ppl -m diverged -f text");
    assert_true(json_is_null(json_object_get(json, "ppl")));
    assert_true(json_number_value(json_object_get(json, "nll_per_token")) > 710);
    json_decref(json);
    json = run_json("eval kl -m diverged --teacher %s -f text", golden_path("llama"));
    assert_true(json_is_null(json_object_get(json, "ppl")));
    assert_true(json_is_number(json_object_get(json, "teacher_ppl")));
    json_decref(json);
    assert_non_null(strstr(run("eval ppl -m diverged -f text")->out.data, "inf"));
}

static void tokenize_goes_from_text_to_ids_and_back(void **state)
{
    (void)state;
    const char *byte_level = "'" RRT_TEST_DATA "/tokenizer-smollm'";
    golden g = golden_open("llama");
    const json_t *sample = json_object_get(g.json, "text"), *expected = json_object_get(sample, "ids");
    write_text("sample", json_string_value(json_object_get(sample, "text")));
    json_t *json = run_json("tokenize -m %s -f sample", recursive);
    assert_true(json_equal(json_object_get(json, "ids"), expected));
    json_decref(json);
    json = run_json("tokenize -m %s --bos <sample", recursive);
    assert_true(json_array_size(json_object_get(json, "ids")) >= json_array_size(expected));
    json_decref(json);
    // Text to ids to text, both plain and as JSON.
    assert_int_equal(run("tokenize -m %s -f sample >ids", recursive)->code, 0);
    assert_string_equal(run("tokenize -m %s --decode -f ids", recursive)->out.data,
                        json_string_value(json_object_get(sample, "text")));
    json = run_json("tokenize -m %s --decode -f ids", recursive);
    assert_true(json_equal(json_object_get(json, "text"), json_object_get(sample, "text")));
    json_decref(json);
    // A character cut in two: as it is, and in JSON one U+FFFD.
    write_text("euro", "a\xe2\x82\xac");
    assert_string_equal(run("tokenize -m %s -f euro", byte_level)->out.data, "68 162 228 109\n");
    write_text("pieces", "68 162 228");
    assert_string_equal(run("tokenize -m %s --decode -f pieces", byte_level)->out.data, "a\xe2\x82");
    json = run_json("tokenize -m %s --decode -f pieces", byte_level);
    assert_string_equal(json_string_value(json_object_get(json, "text")), "a\xef\xbf\xbd");
    json_decref(json);
    // A special token in the text is text, unless it is asked for.
    write_text("special", "<|endoftext|>");
    json = run_json("tokenize -m %s --special -f special", golden_path("llama"));
    assert_int_equal(json_array_size(json_object_get(json, "ids")), 1);
    json_decref(json);
    json = run_json("tokenize -m %s -f special", golden_path("llama"));
    assert_true(json_array_size(json_object_get(json, "ids")) > 1);
    json_decref(json);
    write_text("wild", "1 2 ninety");
    assert_error(1, "ninety", "tokenize -m %s --decode -f wild", recursive);
    golden_close(&g);
}

static void a_conversion_in_shards_is_the_same_model(void **state)
{
    (void)state;
    json_decref(run_json("convert %s whole --loops 2", golden_path("llama")));
    assert_true(is_there("whole/model.safetensors"));
    json_decref(run_json("convert %s cut --loops 2 --max-shard-size 30k", golden_path("llama")));
    assert_false(is_there("cut/model.safetensors"));
    assert_true(is_there("cut/model.safetensors.index.json"));
    assert_true(is_there("cut/model-00001-of-00003.safetensors"));
    json_t *whole = run_json("inspect whole"), *cut = run_json("inspect cut");
    assert_true(json_equal(json_object_get(whole, "params"), json_object_get(cut, "params")));
    json_decref(cut);
    json_decref(whole);
    whole = run_json("logits -m whole --tokens 1,2,3"), cut = run_json("logits -m cut --tokens 1,2,3");
    assert_true(json_equal(whole, cut));
    json_decref(cut);
    json_decref(whole);
    // Replaced by one file, the shards are gone.
    json_decref(run_json("convert %s cut --loops 2 --force", golden_path("llama")));
    assert_true(is_there("cut/model.safetensors"));
    assert_false(is_there("cut/model-00001-of-00003.safetensors"));
    assert_error(2, "--max-shard-size", "convert %s none --max-shard-size 0", golden_path("llama"));
    assert_error(2, "'5GB'", "convert %s none --max-shard-size 5GB", golden_path("llama"));
    assert_false(is_there("none"));
}

// What is no plain text is not read as it stands; what never ends, ends.
static void only_plain_text_of_bounded_size_is_read(void **state)
{
    (void)state;
    write_text("lines.jsonl", "{\"text\": \"the cat sat on the mat\"}\n");
    assert_error(1, "only plain text", "eval ppl -m %s -f lines.jsonl", recursive);
    assert_error(1, "more than 512 MB", "eval ppl -m %s -f /dev/zero", recursive);
    write_text("plain", "the cat sat on the mat");
    write_text("marked", "\xef\xbb\xbfthe cat sat on the mat");
    json_t *plain = run_json("eval ppl -m %s -f plain", recursive),
           *marked = run_json("eval ppl -m %s -f marked", recursive);
    assert_true(
        json_equal(json_object_get(plain, "nll_per_token"), json_object_get(marked, "nll_per_token")));
    assert_true(json_equal(json_object_get(plain, "ppl"), json_object_get(marked, "ppl")));
    json_decref(plain);
    json_decref(marked);
    assert_error(1, "regular file", "inspect /dev/zero");
}

static void convert_does_not_destroy_inputs_or_foreign_files(void **state)
{
    (void)state;
    const char *source = golden_path("llama");
    assert_error(2, "empty", "convert %s ''", source);
    assert_error(1, "create it first", "convert %s nowhere/model", source);
    assert_error(1, "exists already", "convert %s recursive", source);
    // --force does not destroy what is read.
    assert_int_equal(run("convert %s mine --sharing none", source)->code, 0);
    assert_error(2, "mine", "convert mine mine/ --loops 2 --force");
    assert_error(2, "would destroy", "convert ./mine mine --loops 2 --force");
    assert_error(2, "mine/config.json", "convert %s mine --init calibrated --calib mine/config.json --force",
                 source);
    // Nor what rrt did not write.
    write_text("mine/text", "the cat sat on the mat");
    assert_error(1, "'text'", "convert %s mine --loops 2 --force", source);
    assert_true(is_there("mine/text"));
    assert_int_equal(run("inspect mine")->code, 0);
}

// Known wrong before any work, and so nothing is left behind; no option is ignored.
static void usage_errors_of_convert_leave_nothing_behind(void **state)
{
    (void)state;
    const char *source = golden_path("llama");
    write_text("text", "the cat sat on the mat and the rat ate the fat oat");
    assert_error(2, "f32, bf16, f16", "convert nowhere none --dtype fp16");
    assert_error(2, "stepwise, average", "convert nowhere none --init mean");
    assert_error(2, "svd, zero", "convert nowhere none --lora-init one");
    assert_error(2, "--calib FILE", "convert %s none --init calibrated", source);
    assert_error(2, "--calib FILE", "convert %s none --target-params 60%%", source);
    assert_error(2, "--calib is for", "convert %s none --init average --calib text", source);
    assert_error(2, "--calib-tokens is for", "convert %s none --calib-tokens 100", source);
    assert_error(2, "leave --init out", "convert %s none --target-params 60%% --init lower --calib text",
                 source);
    assert_error(2, "leave them out", "convert %s none --target-params 60%% --rank 4 --calib text", source);
    assert_false(is_there("none"));
}

static void teach_stores_logits_and_replaces_them_only_by_force(void **state)
{
    (void)state;
    char text[512] = "", lines[600];
    while (strlen(text) < 400) strcat(text, "the cat sat on the mat and the rat ate the fat oat. ");
    snprintf(lines, sizeof lines, "{\"text\": \"%s\"}\n", text);
    write_text("text", text);
    write_text("lines.jsonl", lines);
    write_text("short", "the cat");
    json_t *json = run_json("teach -m %s --data text lines.jsonl -o store --ctx 16 --top 4", recursive);
    json_int_t tokens = json_integer_value(json_object_get(json, "tokens"));
    assert_true(tokens > 0 && tokens % 16 == 0);
    assert_true(json_integer_value(json_object_get(json, "bytes")) > tokens * 4 * 6);
    json_decref(json);
    // The same files, one option each; an existing store is replaced only by force.
    assert_error(1, "--force", "teach -m %s --data text -o store --ctx 16", recursive);
    assert_error(2, "would destroy", "teach -m %s --data store/0000.tokens -o store --force", recursive);
    assert_error(2, "would destroy", "train %s -o ./ --data text --tokens 1k --force", recursive);
    json =
        run_json("teach --data text --data lines.jsonl -m %s -o store --ctx 16 --top 4 --force", recursive);
    assert_number(json, "tokens", (double)tokens, 0);
    json_decref(json);
    json = run_json("teach -m %s --data text -o store --ctx 16 --top 4 --max-tokens 40 --force", recursive);
    assert_number(json, "tokens", 32, 0);
    json_decref(json);
    result *r = run("teach -m %s --data text -o store --ctx 16 --force -t 1", recursive);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out.data, "store: logits for"));
    assert_int_equal(r->err.length, 0);

    assert_error(2, "--data FILE", "teach -m %s -o new", recursive);
    assert_error(2, "-o STORE", "teach -m %s --data text", recursive);
    assert_error(2, "-m MODEL", "teach --data text -o new");
    assert_error(2, "too few", "teach -m %s --data short -o new --ctx 16", recursive);
    assert_error(1, "nothere", "teach -m %s --data text nothere -o new", recursive);
    write_text("bad.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n");
    assert_error(1, "bad.jsonl: line 2, byte 14", "teach -m %s --data bad.jsonl -o new", recursive);
    assert_error(1, "tokenizer", "teach -m %s --data text -o new", golden_path("neox"));
}

static void impossible_exit_options_of_train_are_refused(void **state)
{
    (void)state;
    write_text("text", "the cat sat on the mat and the rat ate the fat oat");
    const char *const bad[] = {"some", "weighted:1", "aggressive:", "aggressive:x", "aggressive:-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_error(2, "aggressive:0.1 (any weight)",
                     "train %s -o new --data text --tokens 64 --exit-loss %s", recursive, bad[i]);
    assert_error(2, "--exit-loss", "train %s -o new --data text --tokens 64 --exit-kd", recursive);
    assert_error(2, "only 'shared'", "train %s -o new --data text --tokens 64 --kv per-depth", recursive);
    assert_false(is_there("new"));
    assert_int_equal(run("train %s -o new --data text --tokens 64 --ctx 16 --batch 2 -t 1 --exit-loss "
                         "aggressive:0.3 --exit-kd",
                         recursive)
                         ->code,
                     0);
}

static void usage_errors_exit_with_code_2(void **state)
{
    (void)state;
    assert_error(2, "a verb is missing", " ");
    assert_error(2, "'dance'", "dance");
    assert_error(2, "'--colour'", "inspect --colour %s", recursive);
    assert_error(2, "'-x'", "inspect -x %s", recursive);
    assert_error(2, "an argument is missing", "inspect");
    assert_error(2, "one argument too many", "inspect %s %s", recursive, recursive);
    assert_error(2, "-m MODEL is missing", "logits --tokens 1");
    assert_error(2, "--tokens", "logits -m %s", recursive);
    assert_error(2, "--tokens", "logits -m %s --tokens 1,x", recursive);
    assert_error(2, "'' is not", "logits -m %s --tokens 1 --top ''", recursive);
    assert_error(2, "needs a value", "logits -m %s --tokens", recursive);
    assert_error(2, "out of range", "logits -m %s --tokens 1 -t 0", recursive);
    assert_error(2, "the vocabulary has 0 to 96", "logits -m %s --tokens 97", recursive);
    assert_error(2, "'f8' are not known", "inspect %s --kv-type f8", recursive);
    static const char *const with_kv_type[] = {"logits --tokens 1",
                                               "generate -p a",
                                               "chat",
                                               "bench",
                                               "bench --batching depth -n 8",
                                               "eval ppl -f text",
                                               "eval exits -f text --exit loops:1"};
    write_text("text", "the cat sat on the mat");
    for (size_t i = 0; i < sizeof with_kv_type / sizeof *with_kv_type; i++)
        assert_error(2, "'f8' are not known: f16, f32 or q8_0", "%s -m %s --kv-type f8", with_kv_type[i],
                     recursive);
}

static void failures_of_files_exit_with_code_1(void **state)
{
    (void)state;
    assert_error(1, "nowhere", "inspect nowhere");
    write_text("junk.gguf", "this is not a model at all, whatever its name says");
    assert_error(1, "junk.gguf", "inspect junk.gguf");
    assert_error(1, "junk.gguf", "logits -m junk.gguf --tokens 1");
    assert_error(1, "''", "inspect ''");
    // What was given, and what to give instead.
    assert_error(1, "pass the folder", "inspect %s/config.json", recursive);
    assert_error(1, "pass the folder", "inspect %s/model.safetensors", recursive);
    assert_error(1, "pass the folder", "tokenize -m %s/model.safetensors <junk.gguf", recursive);
    write_text("page.gguf", "<!DOCTYPE html><html>a page that says no such model</html>");
    assert_error(1, "web page", "inspect page.gguf");
    // Control characters of a name do not reach the terminal.
    assert_error(1, "a?[31mb", "inspect $(printf 'a\\033[31mb')");
    // What a file gets wrong is not a usage error: 1, not 2.
    char path[64];
    copy_golden(path, "llama");
    update_json(path, "config.json",
                json_pack("{s:{s:i, s:s, s:i, s:[i,i,i,i]}}", "rrt", "format_version", 1, "sharing", "cycle",
                          "loops", 3, "plan", 0, 1, 0, 1));
    assert_error(1, path, "inspect %s", path);
    update_json(path, "config.json", json_pack("{s:{s:i}}", "rrt", "format_version", 9));
    assert_error(1, "use a newer rrt", "inspect %s", path);
    remove_folder(path);
    // A tokenizer that is not known is missed only where there is text.
    copy_golden(path, "llama");
    update_json(path, "tokenizer.json", json_pack("{s:{s:s}}", "model", "type", "Unigram"));
    json_decref(run_json("inspect %s", path));
    json_decref(run_json("logits -m %s --tokens 1,2", path));
    assert_error(1, "Unigram", "generate -m %s -p a", path);
    assert_error(1, "Unigram", "eval ppl -m %s -f junk.gguf", path);
    assert_non_null(strstr(run("convert %s silent --loops 2", path)->err.data, "no tokenizer"));
    remove_folder(path);
    // A result that cannot be written is a failure.
    result *r = run("inspect %s >/dev/full", recursive);
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err.data, "standard output: cannot write: No space left"));
}

int main(void)
{
    if (!getenv("RRT_BINARY")) {
        fprintf(stderr, "skipped: RRT_BINARY does not name the program to test\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inspect_counts_parameters_and_bytes),
        cmocka_unit_test(logits_match_the_golden),
        cmocka_unit_test(chat_replies_to_each_line_of_its_input),
        cmocka_unit_test(generate_gives_the_same_text_streamed_and_as_json),
        cmocka_unit_test(eval_gives_the_figures_of_the_library),
        cmocka_unit_test(eval_exits_measures_each_loop_and_rule),
        cmocka_unit_test(a_perplexity_beyond_range_is_null_in_json),
        cmocka_unit_test(tokenize_goes_from_text_to_ids_and_back),
        cmocka_unit_test(a_conversion_in_shards_is_the_same_model),
        cmocka_unit_test(convert_does_not_destroy_inputs_or_foreign_files),
        cmocka_unit_test(only_plain_text_of_bounded_size_is_read),
        cmocka_unit_test(usage_errors_of_convert_leave_nothing_behind),
        cmocka_unit_test(teach_stores_logits_and_replaces_them_only_by_force),
        cmocka_unit_test(impossible_exit_options_of_train_are_refused),
        cmocka_unit_test(usage_errors_exit_with_code_2),
        cmocka_unit_test(failures_of_files_exit_with_code_1),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

// What `rrt train` says of a model, and where `rrt report` and `rrt bench` write their pages.
#include "cli.h"

static const char *const recursive = "recursive"; // two loops with LoRA

static int set_up(void **state)
{
    (void)state;
    temp_folder(workspace);
    json_decref(run_json("convert %s %s --loops 2 --rank 2", golden_path("llama"), recursive));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(workspace);
    return 0;
}

// What a run measures as it goes: KL to a teacher that is a model, else cross-entropy; worse is said.
static void train_says_whether_the_model_got_better(void **state)
{
    (void)state;
    rrt_error err = {0};
    write_text("text", "the cat sat on the mat and the rat ate the fat oat");
    write_text("heldout", "the rat sat on the fat cat");
    const char *const sizes = "--data text --tokens 640 --ctx 16 --batch 2";
    assert_error(2, "--heldout FILE", "train %s -o measured %s --eval-every 64", recursive, sizes);
    assert_error(2, "is trained on", "train %s -o measured %s --heldout ./text", recursive, sizes);
    assert_error(1, "nothere", "train %s -o measured %s --heldout nothere", recursive, sizes);
    assert_false(is_there("measured"));
    result *r = run("train %s -o measured %s --heldout heldout --teacher %s --lr 1e-3 -t 1 --json", recursive,
                    sizes, golden_path("llama"));
    assert_int_equal(r->code, 0);
    assert_null(strstr(r->err.data, "worse"));
    json_t *json;
    assert_ok(rrt__json_parse(&json, r->out.data, r->out.length, &err));
    double start = json_number_value(json_object_get(json, "heldout_kl_start")),
           end = json_number_value(json_object_get(json, "heldout_kl"));
    assert_true(end > 0 && end < start);
    assert_null(json_object_get(json, "heldout_loss"));
    json_decref(json);
    json = run_json("eval kl -m measured --teacher %s -f heldout --ctx 16", golden_path("llama"));
    assert_number(json, "kl", end, 1e-9);
    json_decref(json);
    r = run("train %s -o worse %s --heldout heldout --lr 10 --clip 0 -t 1 --json", recursive, sizes);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out.data, "\"heldout_loss_start\""));
    assert_non_null(strstr(r->err.data, "rrt: the model got worse: its held-out cross-entropy is "));
}

static void a_report_replaces_only_what_report_wrote(void **state)
{
    (void)state;
    write_text("text", "the cat sat on the mat and the rat ate the fat oat");
    assert_int_equal(
        run("train %s -o drawn --data text --tokens 64 --ctx 16 --batch 2 -t 1", recursive)->code, 0);
    assert_string_equal(run("report drawn -o page.html")->out.data, "page.html: curves of 1 run\n");
    json_t *json = run_json("report drawn drawn -o page.html"); // again, without --force
    assert_number(json, "runs", 2, 0);
    assert_string_equal(json_string_value(json_object_get(json, "page")), "page.html");
    json_decref(json);
    write_text("page.html", "<!doctype html>\n<html lang=\"en\">\n<p>Somebody's.");
    assert_error(1, "page.html", "report drawn -o page.html");
    assert_error(1, "drawn", "report drawn -o drawn/log.jsonl");
    assert_int_equal(run("report drawn -o page.html --force")->code, 0);
    // Another verb's page is somebody else's; it is refused before there is anything to wait for.
    assert_error(1, "page.html", "bench -m %s --batching depth -p 4 -n 4 -r 1 --html page.html", recursive);
    for (int i = 0; i < 2; i++) {
        result *r = run("bench -m %s --batching depth -b 2 -p 4 -n 4 -r 1 -t 1 --html bench.html", recursive);
        assert_int_equal(r->code, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(train_says_whether_the_model_got_better),
        cmocka_unit_test(a_report_replaces_only_what_report_wrote),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

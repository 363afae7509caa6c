// generate and chat as they are typed: where a text comes from and where it ends; conversations by a script,
// loaded, saved, and broken off.
#include <pty.h>
#include <signal.h>
#include <unistd.h>

#include "base/utf8.h"
#include "cli.h"

static char model[4096]; // tiny: its replies are nonsense

static int set_up(void **state)
{
    (void)state;
    temp_folder(workspace);
    snprintf(model, sizeof model, "%s", golden_path("llama"));
    write_text("template", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(workspace);
    return 0;
}

static const char *text_of(const json_t *json)
{
    return json_string_value(json_object_get(json, "text"));
}

static void a_prompt_comes_from_anywhere(void **state)
{
    (void)state;
    write_text("prompt", "the cat\n");
    write_text("prompt-dos", "\xef\xbb\xbfthe cat\r\n");
    write_text("prompt-open", "the cat");
    json_t *expected = run_json("generate -m %s -n 8 -p 'the cat'", model);
    static const char *const ways[] = {"-p - <prompt",       "-p - <prompt-open", "-f prompt",
                                       "-f prompt-dos",      "-f - <prompt",      "'-pthe cat'",
                                       "--prompt='the cat'", "--file=prompt"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char redirected[64] = "", options[64];
        snprintf(options, sizeof options, "%s", ways[i]);
        char *input = strchr(options, '<');
        if (input) snprintf(redirected, sizeof redirected, "%s", input);
        if (input) *input = '\0';
        json_t *json = run_json("generate -m %s -n8 %s %s", model, options, redirected);
        assert_true(json_equal(json_object_get(json, "ids"), json_object_get(expected, "ids")));
        json_decref(json);
    }
    json_decref(expected);
    write_text("two-breaks", "the cat\n\n"); // one of them is the prompt's
    json_t *one = run_json("generate -m %s -n 8 -f two-breaks", model),
           *same = run_json("generate -m %s -n 8 -p 'the cat\n'", model);
    assert_true(json_equal(json_object_get(one, "ids"), json_object_get(same, "ids")));
    json_decref(one);
    json_decref(same);
    write_text("nothing", "\n");
    write_text("bad", "the \xff cat");
    assert_error(2, "-f FILE", "generate -m %s", model);
    assert_error(2, "exclude each other", "generate -m %s -p a -f prompt", model);
    assert_error(2, "the prompt", "generate -m %s -p ''", model);
    assert_error(1, "nothing: the prompt is empty", "generate -m %s -f nothing", model);
    assert_error(1, "standard input: the prompt is empty", "generate -m %s -p - <nothing", model);
    assert_error(1, "nowhere", "generate -m %s -f nowhere", model);
    assert_error(1, "bad: ", "generate -m %s -f bad", model);
}

// Whatever the model says: the text ends before what its own text has in the middle.
static void a_text_ends_before_a_stop_string(void **state)
{
    (void)state;
    json_t *whole = run_json("generate -m %s -p 'the cat' -n 40 --ignore-eos", model);
    const char *text = text_of(whole);
    for (size_t at = 5; at + 4 < strlen(text); at += 7) {
        char stop[5] = {0};
        memcpy(stop, text + at, 4);
        if (rrt__utf8_first_invalid(stop, 4) != 4 || stop[3] == '\n') continue; // the shell drops it
        write_text("stop", stop);
        size_t end = (size_t)(strstr(text, stop) - text);
        json_t *json =
            run_json("generate -m %s -p 'the cat' -n 40 --ignore-eos --stop nosuch \"$(cat stop)\"", model);
        assert_int_equal(strlen(text_of(json)), end);
        assert_memory_equal(text_of(json), text, end);
        assert_string_equal(json_string_value(json_object_get(json, "stop")), "stop");
        json_decref(json);
        result *r = run("generate -m %s -p 'the cat' -n 40 --ignore-eos --stop \"$(cat stop)\" -t 1", model);
        assert_int_equal(r->code, 0);
        assert_int_equal(r->out.length, end + 1); // nothing of it was streamed
        assert_memory_equal(r->out.data, text, end);
    }
    json_decref(whole);
    assert_error(2, "1 to 1024", "generate -m %s -p a --stop ''", model);
    assert_error(2, "at most 4", "generate -m %s -p a --stop a b c d e", model);
}

static void assert_message(const json_t *messages, size_t i, const char *role, const char *content)
{
    const json_t *message = json_array_get(messages, i);
    assert_string_equal(json_string_value(json_object_get(message, "role")), role);
    if (content) assert_string_equal(json_string_value(json_object_get(message, "content")), content);
}

static json_t *read_json(const char *name)
{
    rrt_error err = {0};
    json_t *json;
    char path[4096];
    assert_ok(rrt__path_join(path, workspace, name, &err));
    assert_ok(rrt__json_read(&json, path, &err));
    return json;
}

static void a_script_gives_a_conversation(void **state)
{
    (void)state;
    write_text("script", "the cat\r\n\nthe mat\n/exit\nthe rat\n");
    json_t *json =
               run_json("chat -m %s --chat-template-file template --system 'the oat' -n 5 -f script", model),
           *messages = json_object_get(json, "messages"), *reply;
    assert_int_equal(json_array_size(messages), 5);
    assert_message(messages, 0, "system", "the oat");
    assert_message(messages, 1, "user", "the cat"); // and the empty line is none
    assert_message(messages, 2, "assistant", NULL);
    assert_message(messages, 3, "user", "the mat"); // and /exit ends
    size_t i;
    assert_int_equal(json_array_size(json_object_get(json, "replies")), 2);
    json_array_foreach(json_object_get(json, "replies"), i, reply)
    {
        size_t count = json_array_size(json_object_get(reply, "ids"));
        assert_true(count <= 5);
        assert_int_equal(json_array_size(json_object_get(reply, "exit_depths")), count);
        assert_true(json_is_number(json_object_get(reply, "tokens_per_s")));
        assert_true(json_is_string(json_object_get(reply, "stop")));
    }
    // Standard input is a script too, and what is streamed is what is told.
    result *r = run("chat -m %s --chat-template-file template --system 'the oat' -n 5 -t 1 <script", model);
    assert_int_equal(r->code, 0);
    char expected[4096];
    snprintf(expected, sizeof expected, "%s\n%s\n",
             json_string_value(json_object_get(json_array_get(messages, 2), "content")),
             json_string_value(json_object_get(json_array_get(messages, 4), "content")));
    assert_string_equal(r->out.data, expected);
    json_decref(json);
    write_text("again", "the cat\n/reset\nthe mat\n");
    r = run("chat -m %s --chat-template-file template --system 'the oat' -n 5 -t 1 --save reset.json <again",
            model);
    assert_int_equal(r->code, 0);
    json = read_json("reset.json");
    assert_int_equal(json_array_size(json_object_get(json, "messages")), 3);
    assert_message(json_object_get(json, "messages"), 0, "system", "the oat");
    assert_message(json_object_get(json, "messages"), 1, "user", "the mat");
    json_decref(json);
    assert_error(1, "nowhere", "chat -m %s --chat-template-file template -f nowhere", model);
}

static void a_saved_conversation_can_be_continued(void **state)
{
    (void)state;
    write_text("one", "the cat\n");
    write_text("two", "the mat\n");
    write_text("both", "the cat\nthe mat\n");
    char chat[4200];
    snprintf(chat, sizeof chat, "chat -m %s --chat-template-file template -n 5 -t 1", model);
    assert_int_equal(run("%s --save whole.json <both", chat)->code, 0);
    assert_int_equal(run("%s --save parts.json <one", chat)->code, 0);
    // What is there is replaced by force only, or where the conversation is from.
    assert_error(1, "--force", "%s --save parts.json <one", chat);
    assert_int_equal(run("%s --load parts.json --save parts.json <two", chat)->code, 0);
    json_t *whole = read_json("whole.json"), *parts = read_json("parts.json");
    assert_int_equal(json_array_size(json_object_get(whole, "messages")), 4);
    assert_true(json_equal(whole, parts));
    json_decref(whole);
    json_decref(parts);
    assert_int_equal(run("%s --save parts.json --force <one", chat)->code, 0);
    // A conversation that waits for a reply gets it first.
    write_text("open.json", "{\"messages\": [{\"role\": \"user\", \"content\": \"the cat\"}]}");
    assert_int_equal(run("%s --load open.json --save done.json </dev/null", chat)->code, 0);
    json_t *done = read_json("done.json"), *once = read_json("parts.json");
    assert_true(json_equal(done, once));
    json_decref(done);
    json_decref(once);
    assert_error(2, "exclude each other", "%s --load open.json --system x </dev/null", chat);
    write_text("list.json", "[1]");
    write_text("half.json", "{\"messages\": [{\"role\": \"user\"}]}");
    assert_error(1, "list.json: not a conversation", "%s --load list.json </dev/null", chat);
    assert_error(1, "half.json: message 1", "%s --load half.json </dev/null", chat);
    assert_error(1, "create it first", "%s --save nowhere/chat.json <one", chat);
    assert_error(2, "would destroy", "%s --save one --force -f one", chat);
}

// Ctrl-C while a reply is written: what was said by then is saved, whole, and the shell sees the signal.
// The reply would go on for long: 100,000 tokens, by a model whose context is as large.
static void ctrl_c_saves_the_conversation(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[64], command[8192], saved[4096];
    copy_golden(path, "llama");
    update_json(path, "config.json", json_pack("{s:i}", "max_position_embeddings", 200000));
    snprintf(
        command, sizeof command,
        "cd %s && exec %s chat -m %s --chat-template-file template -n 100000 --ignore-eos --ctx 120000 -t 1 "
        "--save broken.json >streamed 2>err <one",
        workspace, getenv("RRT_BINARY"), path);
    assert_ok(rrt__path_join(saved, workspace, "streamed", &err));
    write_text("one", "the cat\nthe mat\n");
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    rrt__string streamed = {0};
    while (streamed.length < 10) { // the reply is under way
        usleep(10000);
        streamed.length = 0;
        if (rrt__path_exists(saved)) assert_ok(rrt__file_read(&streamed, saved, &err));
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
    }
    int status;
    assert_int_equal(kill(child, SIGINT), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    json_t *json = read_json("broken.json"), *messages = json_object_get(json, "messages");
    assert_int_equal(json_array_size(messages), 2); // the second message was never read
    assert_message(messages, 0, "user", "the cat");
    assert_message(messages, 1, "assistant", NULL);
    assert_true(json_string_length(json_object_get(json_array_get(messages, 1), "content")) >= 9);
    json_decref(json);
    rrt__string_free(&streamed);
    remove_folder(path);
    assert_true(is_there("broken.json"));
}

// Waits for the next prompt of a chat at a terminal, and types.
static void type(int terminal, const char *text)
{
    char byte = 0;
    while (byte != '>') assert_int_equal(read(terminal, &byte, 1), 1);
    assert_int_equal(write(terminal, text, strlen(text)), (ssize_t)strlen(text));
}

static void lines_are_edited_at_a_terminal(void **state)
{
    (void)state;
    if (strstr(run("--version")->out.data, "line editing: none")) skip();
    char command[8192];
    snprintf(
        command, sizeof command,
        "cd %s && exec %s chat -m %s --chat-template-file template -n 5 -t 1 --save typed.json >typed.out",
        workspace, getenv("RRT_BINARY"), model);
    int terminal, status;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    if (child == 0) {
        setenv("TERM", "xterm", 1);
        setenv("HOME", workspace, 1); // no ~/.editrc
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    type(terminal, "cat\001the \n"); // Ctrl-A: to the beginning of the line
    type(terminal, "\033[A\n");      // up: the line before
    type(terminal, "/exit\n");
    for (char rest[256]; read(terminal, rest, sizeof rest) > 0;) {
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    close(terminal);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    json_t *json = read_json("typed.json"), *messages = json_object_get(json, "messages");
    assert_int_equal(json_array_size(messages), 4);
    assert_message(messages, 0, "user", "the cat");
    assert_message(messages, 2, "user", "the cat");
    json_decref(json);
}

int main(void)
{
    if (!getenv("RRT_BINARY")) {
        fprintf(stderr, "skipped: RRT_BINARY does not name the program to test\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_comes_from_anywhere),
        cmocka_unit_test(a_text_ends_before_a_stop_string),
        cmocka_unit_test(a_script_gives_a_conversation),
        cmocka_unit_test(a_saved_conversation_can_be_continued),
        cmocka_unit_test(ctrl_c_saves_the_conversation),
        cmocka_unit_test(lines_are_edited_at_a_terminal),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

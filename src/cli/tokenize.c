#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "cli/cli.h"

static rrt_status print_ids(const int32_t *ids, size_t count, bool json, rrt_error *err)
{
    if (!json) {
        for (size_t i = 0; i < count; i++) printf("%s%d", i ? " " : "", ids[i]);
        putchar('\n');
        return RRT_STATUS_OK;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, json_integer(ids[i]));
    return rrt__cli_print_json(json_pack("{s:o}", "ids", list), err);
}

static rrt_status encode(const rrt_tokenizer *tokenizer, const rrt__string *text,
                         const rrt_encode_options *options, bool json, rrt_error *err)
{
    int32_t *ids;
    size_t count;
    RRT__TRY(rrt_encode(tokenizer, text->data, text->length, options, &ids, &count, err));
    rrt_status status = print_ids(ids, count, json, err);
    rrt_ids_free(ids);
    return status;
}

// JSON text has to be UTF-8: bytes that tokens leave broken become U+FFFD, as other tools have it.
static rrt_status print_text(const rrt__string *bytes, bool json, rrt_error *err)
{
    if (!json) {
        fwrite(bytes->data, 1, bytes->length, stdout);
        return RRT_STATUS_OK;
    }
    rrt__string valid = {0};
    rrt_status status = rrt__string_append(&valid, "", 0, err);
    for (size_t at = 0; !status && at < bytes->length;) {
        size_t good = rrt__utf8_first_invalid(bytes->data + at, bytes->length - at);
        status = rrt__string_append(&valid, bytes->data + at, good, err);
        at += good;
        if (!status && at < bytes->length) status = rrt__string_append(&valid, "\xef\xbf\xbd", 3, err);
        at++;
    }
    if (!status)
        status = rrt__cli_print_json(json_pack("{s:s#}", "text", valid.data, (int)valid.length), err);
    rrt__string_free(&valid);
    return status;
}

// ids: whole numbers apart by spaces, commas or brackets.
static rrt_status decode(const rrt_tokenizer *tokenizer, const rrt__string *text, bool json, rrt_error *err)
{
    rrt__string bytes = {0};
    rrt_status status = rrt__string_append(&bytes, "", 0, err);
    const char *at = text->data, *end = text->data + text->length;
    while (!status && at < end) {
        if (strchr(" \t\r\n,[]", *at) && *at) {
            at++;
            continue;
        }
        char *after;
        long id = strtol(at, &after, 10);
        size_t length;
        const char *token = after > at && id >= 0 && id <= INT32_MAX
                                ? rrt_token_bytes(tokenizer, (int32_t)id, &length)
                                : NULL;
        if (!token)
            status = rrt__fail(err, RRT_STATUS_FORMAT,
                               "byte %td: '%.20s' is not an id of the vocabulary (0 to %d)", at - text->data,
                               at, rrt_tokenizer_vocab(tokenizer) - 1);
        else
            status = rrt__string_append(&bytes, token, length, err);
        at = after;
    }
    if (!status) status = print_text(&bytes, json, err);
    rrt__string_free(&bytes);
    return status;
}

int rrt__cli_tokenize(int argc, char **argv)
{
    const char *model = NULL, *file = NULL;
    bool bos = false, special = false, back = false;
    const rrt__option options[] = {
        {'m', "model", "MODEL", RRT__OPTION_STRING, &model, 0, 0, "whose tokenizer"},
        {'f', "file", "FILE", RRT__OPTION_STRING, &file, 0, 0, "read FILE instead of standard input"},
        {0, "bos", NULL, RRT__OPTION_FLAG, &bos, 0, 0, "put BOS in front"},
        {0, "special", NULL, RRT__OPTION_FLAG, &special, 0, 0, "special tokens in the text become their ids"},
        {0, "decode", NULL, RRT__OPTION_FLAG, &back, 0, 0, "read ids, print text"},
    };
    const rrt__cli_usage usage = {"rrt tokenize -m MODEL [-f FILE]", "Text to token ids, or back.", options,
                                  sizeof options / sizeof *options, 0};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_tokenizer *tokenizer = NULL;
    rrt__string text = {0};
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    if (!model) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "-m MODEL is missing"));
    RRT__GOTO(rrt_tokenizer_open(&tokenizer, model, &err));
    RRT__GOTO(rrt__file_read(&text, file ? file : "-", &err));
    status = back ? decode(tokenizer, &text, common.json, &err)
                  : encode(tokenizer, &text, &(rrt_encode_options){bos, special}, common.json, &err);
    status = rrt__cli_in_file(&err, status, file);
done:
    rrt__string_free(&text);
    rrt_tokenizer_close(tokenizer);
    return rrt__cli_finish(status, &err);
}

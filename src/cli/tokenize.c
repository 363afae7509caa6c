#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
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

// ids: whole numbers apart by spaces, commas or brackets.
static rrt_status parse_ids(const rrt_tokenizer *tokenizer, const rrt__string *text, int32_t **ids,
                            size_t *count, rrt_error *err)
{
    size_t capacity = 0;
    const char *at = text->data, *end = text->data + text->length;
    for (*count = 0; at < end;) {
        if (strchr(" \t\r\n,[]", *at) && *at) {
            at++;
            continue;
        }
        char *after;
        long id = strtol(at, &after, 10);
        if (after == at || id < 0 || id >= rrt_tokenizer_vocab(tokenizer))
            return rrt__fail(err, RRT_STATUS_FORMAT,
                             "byte %td: '%.20s' is not an id of the vocabulary (0 to %d)", at - text->data,
                             at, rrt_tokenizer_vocab(tokenizer) - 1);
        RRT__TRY(rrt__array_reserve(ids, &capacity, *count + 1, sizeof **ids, err));
        (*ids)[(*count)++] = (int32_t)id;
        at = after;
    }
    return RRT_STATUS_OK;
}

static rrt_status decode(const rrt_tokenizer *tokenizer, const rrt__string *text, bool json, rrt_error *err)
{
    int32_t *ids = NULL;
    char *bytes = NULL;
    size_t count, length;
    rrt_status status = parse_ids(tokenizer, text, &ids, &count, err);
    if (!status) status = rrt_decode(tokenizer, ids, count, &bytes, &length, err);
    // The space that encoding put in front is not the text's.
    size_t skip = !status && length && *bytes == ' ' && rrt_tokenizer_adds_space(tokenizer);
    if (!status && json)
        status =
            rrt__cli_print_json(json_pack("{s:o}", "text", rrt__json_text(bytes + skip, length - skip)), err);
    else if (!status)
        fwrite(bytes + skip, 1, length - skip, stdout);
    rrt_text_free(bytes);
    rrt__free(ids);
    return status;
}

int rrt__cli_tokenize(int argc, char **argv)
{
    const char *model = NULL, *file = NULL;
    bool bos = false, special = false, back = false;
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Text"),
        {'m', "model", "MODEL", RRT__OPTION_STRING, &model, 0, 0, "the model whose tokenizer is used"},
        {'f', "file", "FILE", RRT__OPTION_STRING, &file, 0, 0,
         "the file to read (default, and -: standard input)"},
        {0, "bos", NULL, RRT__OPTION_FLAG, &bos, 0, 0, "put BOS in front"},
        {0, "special", NULL, RRT__OPTION_FLAG, &special, 0, 0, "special tokens in the text become their ids"},
        {0, "decode", NULL, RRT__OPTION_FLAG, &back, 0, 0, "read ids, print text"},
    };
    const rrt__cli_usage usage = {.line = "rrt tokenize -m MODEL [-f FILE]",
                                  .about = "Turns text into token ids, or ids back into text.",
                                  .examples = "echo 'the cat' | rrt tokenize -m model.gguf\n"
                                              "rrt tokenize -m model.gguf -f ids.txt --decode",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options};
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

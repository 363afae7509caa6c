#include "tokenizer/declared.h"

#include <stdlib.h>
#include <string.h>

static const char *const named[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                    "pad_token", "cls_token", "mask_token"};
static const char *const lists[] = {"additional_special_tokens", "extra_special_tokens"};
enum { N_NAMED = sizeof named / sizeof *named, N_LISTS = sizeof lists / sizeof *lists };

static rrt_status fail_memory(rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the added tokens");
}

// --- the older files ------------------------------------------------------------------------------------

// The text of a token: a string, or an object with the content; NULL if it is neither.
static const char *text_of(const json_t *token)
{
    return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

static bool is_named(const json_t *config, const char *text)
{
    for (size_t i = 0; i < N_NAMED; i++) {
        const char *other = text_of(json_object_get(config, named[i]));
        if (other && strcmp(other, text) == 0) return true;
    }
    for (size_t i = 0; i < N_LISTS; i++) {
        const json_t *list = json_object_get(config, lists[i]), *token;
        size_t k;
        json_array_foreach(list, k, token)
        {
            const char *other = text_of(token);
            if (other && strcmp(other, text) == 0) return true;
        }
    }
    return false;
}

// From text → id to "added_tokens_decoder".
static json_t *make_decoder(json_t *added, const json_t *config)
{
    json_t *decoder = json_object(), *id;
    const char *text;
    json_object_foreach(added, text, id)
    {
        char key[32];
        snprintf(key, sizeof key, "%lld", json_is_integer(id) ? (long long)json_integer_value(id) : -1);
        json_t *token = json_pack("{s:s, s:b}", "content", text, "special", is_named(config, text));
        if (json_object_set_new(decoder, key, token) == 0) continue;
        json_decref(decoder);
        return NULL;
    }
    return decoder;
}

static rrt_status take_older_files(json_t *config, const char *folder, rrt_error *err)
{
    json_t *map = NULL, *added = NULL, *decoder = NULL;
    rrt_status status = RRT_STATUS_OK;
    RRT__GOTO(rrt__json_read_object(&map, folder, "special_tokens_map.json", err));
    if (map && json_object_update(config, map) != 0) RRT__GOTO(fail_memory(err));
    RRT__GOTO(rrt__json_read_object(&added, folder, "added_tokens.json", err));
    if (!added) goto done;
    decoder = make_decoder(added, config);
    if (!decoder || json_object_set(config, "added_tokens_decoder", decoder) != 0)
        RRT__GOTO(fail_memory(err));
done:
    json_decref(map);
    json_decref(added);
    json_decref(decoder);
    return status;
}

// --- tokens with an id ----------------------------------------------------------------------------------

static rrt_status read_flags(const json_t *token, unsigned *flags, rrt_error *err)
{
    static const struct {
        const char *key;
        unsigned flag;
    } known[] = {{"special", RRT__TOKEN_SPECIAL},
                 {"single_word", RRT__TOKEN_WORD},
                 {"lstrip", RRT__TOKEN_LEFT},
                 {"rstrip", RRT__TOKEN_RIGHT}};
    *flags = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        bool is_set;
        RRT__TRY(rrt__json_bool_or(token, known[i].key, false, &is_set, err));
        if (is_set) *flags |= known[i].flag;
    }
    return RRT_STATUS_OK;
}

static rrt_status append(rrt__declarations *to, int64_t id, const char *text, unsigned flags, rrt_error *err)
{
    RRT__TRY(rrt__array_reserve(&to->list, &to->capacity, to->count + 1, sizeof *to->list, err));
    to->list[to->count++] = (rrt__declared){id, {text, strlen(text)}, flags};
    return RRT_STATUS_OK;
}

static rrt_status read_declared(rrt__declarations *to, const char *key, const json_t *token, rrt_error *err)
{
    const char *text;
    char *end;
    unsigned flags;
    long long id = strtoll(key, &end, 10);
    if (end == key || *end || id < 0 || id >= RRT__MAX_TOKENS)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the key is no id from 0 to %d", RRT__MAX_TOKENS - 1);
    if (!json_is_object(token)) return rrt__fail(err, RRT_STATUS_FORMAT, "the token is no object");
    RRT__TRY(rrt__json_string(token, "content", &text, err));
    if (!*text) return rrt__fail(err, RRT_STATUS_FORMAT, "\"content\" is empty");
    RRT__TRY(read_flags(token, &flags, err));
    return append(to, id, text, flags, err);
}

static int compare(const void *a_pointer, const void *b_pointer)
{
    const rrt__declared *a = a_pointer, *b = b_pointer;
    return (a->id > b->id) - (a->id < b->id);
}

static rrt_status sort(rrt__declarations *declared, rrt_error *err)
{
    if (declared->count) qsort(declared->list, declared->count, sizeof *declared->list, compare);
    for (size_t i = 1; i < declared->count; i++)
        if (declared->list[i].id == declared->list[i - 1].id)
            return rrt__fail(err, RRT_STATUS_FORMAT, "two added tokens have the id %lld",
                             (long long)declared->list[i].id);
    return RRT_STATUS_OK;
}

rrt_status rrt__declared_read(rrt__declarations *out, json_t *config, const char *folder, rrt_error *err)
{
    const char *key;
    json_t *tokens, *token;
    if (folder && rrt__json_is_absent(json_object_get(config, "added_tokens_decoder")))
        RRT__TRY(take_older_files(config, folder, err));
    if (rrt__json_is_absent(json_object_get(config, "added_tokens_decoder"))) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_object(config, "added_tokens_decoder", &tokens, err));
    json_object_foreach(tokens, key, token)
    {
        rrt_status status = read_declared(out, key, token, err);
        if (status) return rrt__at(err, status, "added_tokens_decoder.%.40s", key);
    }
    return sort(out, err);
}

// --- named tokens ---------------------------------------------------------------------------------------

static rrt_status add_special(rrt__declarations *to, const json_t *token, const json_t *vocab, size_t *total,
                              rrt_error *err)
{
    const char *text = text_of(token);
    unsigned flags = 0;
    if (!text || !*text)
        return rrt__fail(err, RRT_STATUS_FORMAT, "a named token is neither a text nor an object with one");
    for (size_t i = 0; i < to->count; i++)
        if (to->list[i].text.length == strlen(text) &&
            memcmp(to->list[i].text.data, text, to->list[i].text.length) == 0) {
            to->list[i].flags |= RRT__TOKEN_SPECIAL;
            return RRT_STATUS_OK;
        }
    if (json_is_object(token)) RRT__TRY(read_flags(token, &flags, err));
    const json_t *known = json_object_get(vocab, text);
    int64_t id = known ? json_integer_value(known) : (int64_t)(*total)++;
    return append(to, id, text, flags | RRT__TOKEN_SPECIAL, err);
}

rrt_status rrt__declared_add_named(rrt__declarations *to, json_t *config, const json_t *vocab, size_t *total,
                                   rrt_error *err)
{
    for (size_t i = 0; i < N_NAMED; i++) {
        const json_t *token = json_object_get(config, named[i]);
        if (rrt__json_is_absent(token)) continue;
        rrt_status status = add_special(to, token, vocab, total, err);
        if (status) return rrt__at(err, status, "%s", named[i]);
    }
    for (size_t i = 0; i < N_LISTS; i++) {
        const json_t *list = json_object_get(config, lists[i]), *token;
        const char *name;
        size_t k;
        rrt_status status = RRT_STATUS_OK;
        json_array_foreach(list, k, token) if (!status) status = add_special(to, token, vocab, total, err);
        json_object_foreach((json_t *)list, name, token) if (!status) status =
            add_special(to, token, vocab, total, err);
        if (status) return rrt__at(err, status, "%s", lists[i]);
    }
    return sort(to, err);
}

void rrt__declared_close(rrt__declarations *declared)
{
    rrt__free(declared->list);
}

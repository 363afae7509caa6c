// Loads a tokenizer from Hugging Face's tokenizer.json and tokenizer_config.json.
#include <string.h>

#include "tokenizer/tokenizer_inside.h"

static rrt__slice slice(const char *text)
{
    return (rrt__slice){text, strlen(text)};
}

// Refuses settings of the BPE model that change ids and are not supported.
static rrt_status check_model(const json_t *model, rrt_error *err)
{
    const char *type, *text;
    RRT__TRY(rrt__json_string_or(model, "type", "BPE", &type, err)); // old files omit it
    if (strcmp(type, "BPE") != 0)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the model type '%.100s' is not known, only BPE", type);
    static const char *const texts[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        RRT__TRY(rrt__json_string_or(model, texts[i], "", &text, err));
        if (*text) return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"%s\" is not supported", texts[i]);
    }
    double dropout;
    RRT__TRY(rrt__json_real_or(model, "dropout", 0, &dropout, err));
    return dropout == 0 ? RRT_STATUS_OK
                        : rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"dropout\" is not supported");
}

static rrt_status read_vocab(rrt__vocab *vocab, json_t *tokens, rrt_error *err)
{
    const char *text;
    size_t length;
    json_t *id;
    json_object_keylen_foreach(tokens, text, length, id)
    {
        if (!json_is_integer(id))
            return rrt__fail(err, RRT_STATUS_FORMAT, "model.vocab: the id of '%.100s' is not an integer",
                             text);
        rrt_status status = rrt__vocab_put(vocab, json_integer_value(id), (rrt__slice){text, length}, err);
        if (status) return rrt__at(err, status, "model.vocab");
    }
    return RRT_STATUS_OK;
}

// "left right", or ["left", "right"].
static rrt_status read_merge(rrt_tokenizer *tokenizer, const json_t *merge, rrt_error *err)
{
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (json_is_string(merge))
        return rrt__merges_put_line(&tokenizer->merges, &tokenizer->vocab,
                                    (rrt__slice){json_string_value(merge), json_string_length(merge)}, err);
    if (json_array_size(merge) != 2 || !json_is_string(left) || !json_is_string(right))
        return rrt__fail(err, RRT_STATUS_FORMAT, "a merge is neither a string nor two strings");
    return rrt__merges_put(&tokenizer->merges, &tokenizer->vocab,
                           (rrt__slice){json_string_value(left), json_string_length(left)},
                           (rrt__slice){json_string_value(right), json_string_length(right)}, err);
}

static rrt_status read_merges(rrt_tokenizer *tokenizer, const json_t *model, rrt_error *err)
{
    json_t *merges;
    const char *unknown;
    RRT__TRY(rrt__json_array(model, "merges", &merges, err));
    RRT__TRY(rrt__json_string_or(model, "unk_token", NULL, &unknown, err));
    int32_t unknown_id = unknown ? rrt__vocab_find(&tokenizer->vocab, slice(unknown)) : -1;
    if (unknown && unknown_id < 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "model.unk_token '%.100s' is not in the vocabulary",
                         unknown);
    RRT__TRY(
        rrt__merges_open(&tokenizer->merges, &tokenizer->vocab, unknown_id, json_array_size(merges), err));
    RRT__TRY(rrt__json_bool_or(model, "fuse_unk", false, &tokenizer->merges.fuses_unknown, err));
    for (size_t rank = 0; rank < json_array_size(merges); rank++) {
        rrt_status status = read_merge(tokenizer, json_array_get(merges, rank), err);
        if (status) return rrt__at(err, status, "model.merges[%zu]", rank);
    }
    return RRT_STATUS_OK;
}

static rrt_status read_added_token(rrt__vocab *vocab, const json_t *json, rrt_error *err)
{
    int64_t id;
    const char *text;
    bool special, normalized, is_set;
    RRT__TRY(rrt__json_int(json, "id", 0, RRT__MAX_TOKENS, &id, err));
    RRT__TRY(rrt__json_string(json, "content", &text, err));
    RRT__TRY(rrt__json_bool_or(json, "special", false, &special, err));
    RRT__TRY(rrt__json_bool_or(json, "normalized", !special, &normalized, err));
    static const struct {
        const char *key;
        unsigned flag;
    } known[] = {{"single_word", RRT__TOKEN_WORD}, {"lstrip", RRT__TOKEN_LEFT}, {"rstrip", RRT__TOKEN_RIGHT}};
    unsigned flags = (special ? RRT__TOKEN_SPECIAL : 0) | (normalized ? RRT__TOKEN_NORMALIZED : 0);
    for (size_t i = 0; i < 3; i++) {
        RRT__TRY(rrt__json_bool_or(json, known[i].key, false, &is_set, err));
        if (is_set) flags |= known[i].flag;
    }
    return rrt__vocab_put_added(vocab, id, slice(text), flags, err);
}

// How many added tokens are not in the model's vocabulary.
static size_t count_fresh(const json_t *added, const json_t *tokens)
{
    size_t fresh = 0;
    for (size_t i = 0; i < json_array_size(added); i++) {
        const char *text = json_string_value(json_object_get(json_array_get(added, i), "content"));
        fresh += text && !json_object_get(tokens, text);
    }
    return fresh;
}

static rrt_status read_tokens(rrt_tokenizer *tokenizer, const json_t *json, rrt_error *err)
{
    json_t *model, *tokens, *added = json_object_get(json, "added_tokens");
    RRT__TRY(rrt__json_object(json, "model", &model, err));
    rrt_status status = check_model(model, err);
    if (status) return rrt__at(err, status, "model");
    RRT__TRY(rrt__json_object(model, "vocab", &tokens, err));
    RRT__TRY(rrt__json_bool_or(model, "ignore_merges", false, &tokenizer->ignores_merges, err));
    if (!rrt__json_is_absent(added)) RRT__TRY(rrt__json_array(json, "added_tokens", &added, err));
    tokenizer->vocab.is_sentencepiece = !rrt__pipeline_is_byte_level(json_object_get(json, "pre_tokenizer"));
    RRT__TRY(rrt__json_bool_or(model, "byte_fallback", false, &tokenizer->vocab.falls_back, err));
    RRT__TRY(rrt__vocab_open(&tokenizer->vocab, json_object_size(tokens) + count_fresh(added, tokens), err));
    RRT__TRY(read_vocab(&tokenizer->vocab, tokens, err));
    RRT__TRY(read_merges(tokenizer, model, err));
    for (size_t i = 0; i < json_array_size(added); i++) {
        status = read_added_token(&tokenizer->vocab, json_array_get(added, i), err);
        if (status) return rrt__at(err, status, "added_tokens[%zu]", i);
    }
    return RRT_STATUS_OK;
}

// The id of a token of the model or of an added token.
static rrt_status find_any(const rrt__vocab *vocab, const char *text, int32_t *id, rrt_error *err)
{
    *id = rrt__vocab_find(vocab, slice(text));
    for (int32_t i = 0; *id < 0 && i < vocab->count; i++) {
        rrt__slice other = rrt__vocab_text(vocab, i);
        if (other.length == strlen(text) && memcmp(other.data, text, other.length) == 0) *id = i;
    }
    if (*id >= 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "'%.100s' is not in the vocabulary", text);
}

// config[key]: a string, or an object with the content; -1 if absent.
static rrt_status read_named(const rrt__vocab *vocab, const json_t *config, const char *key, int32_t *id,
                             rrt_error *err)
{
    const json_t *value = json_object_get(config, key);
    const char *text;
    *id = -1;
    if (rrt__json_is_absent(value)) return RRT_STATUS_OK;
    rrt_status status = json_is_object(value) ? rrt__json_string(value, "content", &text, err)
                                              : rrt__json_string(config, key, &text, err);
    if (!status) status = find_any(vocab, text, id, err);
    return status ? rrt__at(err, status, "tokenizer_config.json: %s", key) : RRT_STATUS_OK;
}

// A string, or a list of named templates, of which "default" is used.
static rrt_status read_chat_template(rrt_tokenizer *tokenizer, rrt_error *err)
{
    const json_t *value = json_object_get(tokenizer->config, "chat_template");
    if (!json_is_array(value))
        return rrt__json_string_or(tokenizer->config, "chat_template", NULL, &tokenizer->chat_template, err);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *entry = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, "default") == 0)
            return rrt__json_string(entry, "template", &tokenizer->chat_template, err);
    }
    return RRT_STATUS_OK;
}

// around: the tokens that tokenizer.json adds around a text; they apply unless config says otherwise.
static rrt_status read_config(rrt_tokenizer *tokenizer, const rrt__around *around, rrt_error *err)
{
    RRT__TRY(read_named(&tokenizer->vocab, tokenizer->config, "bos_token", &tokenizer->bos, err));
    RRT__TRY(read_named(&tokenizer->vocab, tokenizer->config, "eos_token", &tokenizer->eos, err));
    if (around->prefix) {
        int32_t id;
        RRT__TRY(find_any(&tokenizer->vocab, around->prefix, &id, err));
        if (tokenizer->bos < 0) tokenizer->bos = id;
        if (tokenizer->bos != id)
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                             "the token put in front of a text, '%.100s', is not bos_token", around->prefix);
    }
    RRT__TRY(rrt__json_bool_or(tokenizer->config, "add_bos_token", around->prefix != NULL,
                               &tokenizer->adds_bos, err));
    RRT__TRY(rrt__json_bool_or(tokenizer->config, "add_eos_token", around->suffix != NULL,
                               &tokenizer->adds_eos, err));
    tokenizer->adds_bos = tokenizer->adds_bos && tokenizer->bos >= 0;
    tokenizer->adds_eos = tokenizer->adds_eos && tokenizer->eos >= 0;
    rrt__tokenizer_end_by_text(tokenizer);
    return read_chat_template(tokenizer, err);
}

json_t *rrt__config_new(void)
{
    return json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                     "clean_up_tokenization_spaces", 0);
}

rrt_status rrt__tokenizer_from_json(rrt_tokenizer **out, json_t *json, json_t *config, rrt_error *err)
{
    rrt_tokenizer *tokenizer;
    rrt__around around;
    *out = NULL;
    RRT__TRY(rrt__alloc(&tokenizer, 1, sizeof *tokenizer, "a tokenizer", err));
    tokenizer->source = json_dumps(json, JSON_COMPACT);
    tokenizer->config = config ? json_incref(config) : rrt__config_new();
    rrt_status status = RRT_STATUS_OK;
    if (!tokenizer->source) RRT__GOTO(rrt__fail(err, RRT_STATUS_MEMORY, "out of memory for a tokenizer"));
    RRT__GOTO(read_tokens(tokenizer, json, err));
    RRT__GOTO(rrt__pipeline_read(tokenizer, json, &around, err));
    RRT__GOTO(rrt__added_open(&tokenizer->raw, &tokenizer->vocab, NULL, err));
    RRT__GOTO(rrt__added_open(&tokenizer->normalized, &tokenizer->vocab, &tokenizer->normalizer, err));
    RRT__GOTO(read_config(tokenizer, &around, err));
done:
    if (status)
        rrt_tokenizer_close(tokenizer);
    else
        *out = tokenizer;
    return status;
}

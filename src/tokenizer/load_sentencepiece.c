// Loads a tokenizer from a SentencePiece model and the files of Hugging Face that lie beside it.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tokenizer/declared.h"
#include "tokenizer/sentencepiece.h"

// --- tokens ---------------------------------------------------------------------------------------------

// Gives pieces the names that are declared for their ids. They no longer merge: nothing leads to the new
// name.
static void rename_pieces(rrt__sentencepiece *m, const rrt__declarations *declared)
{
    for (size_t i = 0; i < declared->count; i++) {
        const rrt__declared *d = &declared->list[i];
        if (d->id >= (int64_t)m->count) continue;
        rrt__model_piece *p = &m->pieces[d->id];
        if (p->text.length == d->text.length && memcmp(p->text.data, d->text.data, d->text.length) == 0)
            continue;
        p->text = d->text;
        if (p->type == RRT__TYPE_NORMAL) p->type = RRT__TYPE_UNUSED;
    }
}

static rrt_status add_pieces(rrt__parts *to, const rrt__sentencepiece *m, rrt_error *err)
{
    for (size_t id = 0; id < m->count; id++) {
        rrt_status status = rrt__parts_add_token(to, id, m->pieces[id].text, err);
        if (status) return rrt__at(err, status, "piece %zu", id);
    }
    return RRT_STATUS_OK;
}

// Fills ids that nothing is declared for, up to the last declared one. *total: the number of ids.
static rrt_status fill_gaps(rrt__parts *to, const rrt__declarations *declared, size_t *total, rrt_error *err)
{
    enum { MAX_GAP = 1 << 16 }; // ids are counted, not listed: a file of few bytes could ask for millions
    for (size_t i = 0; i < declared->count; i++) {
        size_t id = (size_t)declared->list[i].id;
        if (id > *total + MAX_GAP)
            return rrt__fail(err, RRT_STATUS_FORMAT, "the added token %zu lies too far behind id %zu", id,
                             *total - 1);
        for (; *total < id; ++*total) {
            char name[32];
            int length = snprintf(name, sizeof name, "[PAD%zu]", *total);
            RRT__TRY(rrt__parts_add_token(to, *total, (rrt__slice){name, (size_t)length}, err));
        }
        if (id == *total) ++*total;
    }
    return RRT_STATUS_OK;
}

static rrt_status add_merges(rrt__parts *to, const rrt__sentencepiece *m, size_t total, rrt_error *err)
{
    float *scores;
    RRT__TRY(rrt__alloc(&scores, total, sizeof *scores, "the pieces' scores", err));
    for (size_t id = 0; id < total; id++)
        scores[id] = id < m->count && m->pieces[id].type == RRT__TYPE_NORMAL ? m->pieces[id].score : NAN;
    rrt_status status = rrt__merges_from_scores(to->merges, to->vocab, scores, err);
    rrt__free(scores);
    return status;
}

// A piece that no file declares. User-defined ones are looked for in the text with its spaces marked, and no
// space is put behind them: added tokens are looked for before, and do get one.
static rrt_status add_by_type(rrt__parts *to, const rrt__model_piece *p, size_t id, rrt_error *err)
{
    if (p->type == RRT__TYPE_UNKNOWN || p->type == RRT__TYPE_CONTROL)
        return rrt__parts_add_added(to, (int64_t)id, p->text, RRT__TOKEN_SPECIAL, err);
    if (p->type != RRT__TYPE_USER_DEFINED) return RRT_STATUS_OK;
    if (!to->adds_space && !to->strips_spaces)
        return rrt__parts_add_added(to, (int64_t)id, p->text, RRT__TOKEN_NORMALIZED, err);
    if (!to->isolated) to->isolated = json_array();
    return json_array_append_new(to->isolated, json_stringn(p->text.data, p->text.length)) == 0
               ? RRT_STATUS_OK
               : rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the user-defined pieces");
}

// Declared tokens are found in the text as it is written, whatever "normalized" says: a normalizer of
// transformers that could change them does not exist here.
static rrt_status add_added(rrt__parts *to, const rrt__sentencepiece *m, const rrt__declarations *declared,
                            rrt_error *err)
{
    size_t next = 0;
    for (size_t id = 0; id < m->count; id++) {
        if (next < declared->count && declared->list[next].id == (int64_t)id)
            next++;
        else
            RRT__TRY(add_by_type(to, &m->pieces[id], id, err));
    }
    for (size_t i = 0; i < declared->count; i++) {
        const rrt__declared *d = &declared->list[i];
        const json_t *known = json_object_getn(to->vocab, d->text.data, d->text.length);
        if (known && json_integer_value(known) != d->id)
            return rrt__fail(err, RRT_STATUS_FORMAT, "the added token %lld, '%.100s', is piece %lld as well",
                             (long long)d->id, d->text.data, (long long)json_integer_value(known));
        RRT__TRY(rrt__parts_add_added(to, d->id, d->text, d->flags, err));
    }
    return RRT_STATUS_OK;
}

// --- settings -------------------------------------------------------------------------------------------

// "legacy": spaces are put behind added tokens as well; older files do not say so. Newer ones leave it to a
// class of transformers, which looks for a space first.
static rrt_status read_spaces(rrt__parts *to, const rrt__sentencepiece *m, rrt_error *err)
{
    bool is_legacy;
    RRT__TRY(rrt__json_bool_or(to->config, "add_prefix_space", m->adds_space, &to->adds_space, err));
    RRT__TRY(rrt__json_bool_or(to->config, "legacy", true, &is_legacy, err));
    to->strips_spaces = m->strips_spaces;
    to->only_first = to->adds_space && !is_legacy;
    if (to->only_first && to->strips_spaces)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "\"legacy\": false with remove_extra_whitespaces is not supported");
    return RRT_STATUS_OK;
}

// config[name] = the control piece of this text, unless the config says something of it.
static rrt_status set_control(rrt__parts *to, const rrt__sentencepiece *m, const char *name, rrt__slice text,
                              rrt_error *err)
{
    if (json_object_get(to->config, name)) return RRT_STATUS_OK;
    const json_t *id = json_object_getn(to->vocab, text.data, text.length);
    if (!id || m->pieces[json_integer_value(id)].type != RRT__TYPE_CONTROL) return RRT_STATUS_OK;
    return json_object_set_new(to->config, name, json_stringn(text.data, text.length)) == 0
               ? RRT_STATUS_OK
               : rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the tokenizer's settings");
}

static rrt_status set_pieces(rrt__parts *to, const rrt__sentencepiece *m, rrt_error *err)
{
    size_t id = 0;
    while (id < m->count && m->pieces[id].type != RRT__TYPE_UNKNOWN) id++;
    if (id < m->count) to->unknown = json_stringn(m->pieces[id].text.data, m->pieces[id].text.length);
    if (id < m->count && !json_object_get(to->config, "unk_token"))
        json_object_set(to->config, "unk_token", to->unknown);
    RRT__TRY(set_control(to, m, "bos_token", m->bos, err));
    return set_control(to, m, "eos_token", m->eos, err);
}

// What is written again has a tokenizer.json: settings that transformers would apply once more go away, and
// so does a class that would build another pipeline.
static rrt_status settle_config(json_t *config, rrt_error *err)
{
    static const char *const done[] = {"added_tokens_decoder", "add_prefix_space", "auto_map",  "legacy",
                                       "sp_model_kwargs",      "use_fast",         "vocab_file"};
    static const char *const texts[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    bool adds_bos, adds_eos;
    RRT__TRY(rrt__json_bool_or(config, "add_bos_token", true, &adds_bos, err));
    RRT__TRY(rrt__json_bool_or(config, "add_eos_token", false, &adds_eos, err));
    for (size_t i = 0; i < sizeof done / sizeof *done; i++) json_object_del(config, done[i]);
    int failed = json_object_set_new(config, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    failed |= json_object_set_new(config, "add_bos_token", json_boolean(adds_bos));
    failed |= json_object_set_new(config, "add_eos_token", json_boolean(adds_eos));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *content = json_object_get(json_object_get(config, texts[i]), "content");
        if (content) failed |= json_object_set(config, texts[i], content);
    }
    return failed ? rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the tokenizer's settings")
                  : RRT_STATUS_OK;
}

static rrt_status build(rrt_tokenizer **out, rrt__sentencepiece *m, rrt__parts *to,
                        rrt__declarations *declared, const char *folder, rrt_error *err)
{
    size_t total = m->count;
    RRT__TRY(rrt__declared_read(declared, to->config, folder, err));
    rename_pieces(m, declared);
    RRT__TRY(add_pieces(to, m, err));
    RRT__TRY(fill_gaps(to, declared, &total, err));
    RRT__TRY(set_pieces(to, m, err));
    RRT__TRY(rrt__declared_add_named(declared, to->config, to->vocab, &total, err));
    RRT__TRY(read_spaces(to, m, err));
    RRT__TRY(add_merges(to, m, total, err));
    RRT__TRY(add_added(to, m, declared, err));
    RRT__TRY(settle_config(to->config, err));
    return rrt__parts_load(out, to, err);
}

rrt_status rrt__tokenizer_from_sentencepiece(rrt_tokenizer **out, const char *data, size_t length,
                                             const json_t *config, const char *folder, rrt_error *err)
{
    rrt__sentencepiece m;
    rrt__parts to = {.config = config ? json_copy((json_t *)config) : NULL};
    rrt__declarations declared = {0};
    *out = NULL;
    rrt_status status = rrt__sentencepiece_read(&m, data, length, err);
    to.falls_back = m.falls_back;
    if (!status) status = rrt__parts_open(&to, err);
    if (!status) status = build(out, &m, &to, &declared, folder, err);
    rrt__parts_close(&to);
    rrt__declared_close(&declared);
    rrt__sentencepiece_close(&m);
    return status;
}

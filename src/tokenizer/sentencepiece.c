// Field numbers are those of SentencePiece's sentencepiece_model.proto.
#include "tokenizer/sentencepiece.h"

#include "format/protobuf.h"
#include "tokenizer/parts.h"

static rrt_status read_piece(rrt__sentencepiece *m, rrt__proto message, rrt_error *err)
{
    rrt__proto_field f;
    rrt__model_piece p = {{"", 0}, 0, RRT__TYPE_NORMAL};
    for (;;) {
        RRT__TRY(rrt__proto_next(&message, &f, err));
        if (!f.number) break;
        if (f.number == 1 && f.wire == RRT__PROTO_BYTES) p.text = f.bytes;
        if (f.number == 2 && f.wire == RRT__PROTO_FIXED32) p.score = rrt__proto_float(&f);
        if (f.number == 3 && f.wire == RRT__PROTO_VARINT) p.type = (int32_t)f.value;
    }
    if (m->count == RRT__MAX_TOKENS)
        return rrt__fail(err, RRT_STATUS_FORMAT, "at most %d pieces are possible", RRT__MAX_TOKENS);
    RRT__TRY(rrt__array_reserve(&m->pieces, &m->capacity, m->count + 1, sizeof *m->pieces, err));
    m->pieces[m->count++] = p;
    return RRT_STATUS_OK;
}

static rrt_status read_trainer(rrt__sentencepiece *m, rrt__proto message, rrt_error *err)
{
    rrt__proto_field f;
    for (;;) {
        RRT__TRY(rrt__proto_next(&message, &f, err));
        if (!f.number) return RRT_STATUS_OK;
        bool is_number = f.wire == RRT__PROTO_VARINT, is_text = f.wire == RRT__PROTO_BYTES;
        if (f.number == 3 && is_number) m->kind = (int32_t)f.value;
        if (f.number == 24 && is_number) m->marks_ends = f.value;
        if (f.number == 35 && is_number) m->falls_back = f.value;
        if (f.number == 46 && is_text) m->bos = f.bytes;
        if (f.number == 47 && is_text) m->eos = f.bytes;
    }
}

static rrt_status read_normalizer(rrt__sentencepiece *m, rrt__proto message, rrt_error *err)
{
    rrt__proto_field f;
    for (;;) {
        RRT__TRY(rrt__proto_next(&message, &f, err));
        if (!f.number) return RRT_STATUS_OK;
        bool is_number = f.wire == RRT__PROTO_VARINT, is_text = f.wire == RRT__PROTO_BYTES;
        if (f.number == 1 && is_text) m->normalization = f.bytes;
        if (f.number == 2 && is_text) m->charsmap = f.bytes;
        if (f.number == 3 && is_number) m->adds_space = f.value;
        if (f.number == 4 && is_number) m->strips_spaces = f.value;
        if (f.number == 5 && is_number) m->marks_spaces = f.value;
    }
}

static rrt_status read_denormalizer(rrt__sentencepiece *m, rrt__proto message, rrt_error *err)
{
    rrt__proto_field f;
    for (;;) {
        RRT__TRY(rrt__proto_next(&message, &f, err));
        if (!f.number) return RRT_STATUS_OK;
        if (f.number == 2 && f.wire == RRT__PROTO_BYTES) m->changes_output = f.bytes.length > 0;
    }
}

static rrt_status read_model(rrt__sentencepiece *m, const char *data, size_t length, rrt_error *err)
{
    rrt__proto message = {data, data + length, data};
    rrt__proto_field f;
    // A field that is left out has the format's default, which is not always zero.
    *m = (rrt__sentencepiece){.kind = 1, .bos = {"<s>", 3}, .eos = {"</s>", 4}};
    m->adds_space = m->strips_spaces = m->marks_spaces = true;
    for (;;) {
        RRT__TRY(rrt__proto_next(&message, &f, err));
        if (!f.number) break;
        if (f.wire != RRT__PROTO_BYTES) continue;
        rrt__proto inside = rrt__proto_inside(&message, &f);
        if (f.number == 1) RRT__TRY(read_piece(m, inside, err));
        if (f.number == 2) RRT__TRY(read_trainer(m, inside, err));
        if (f.number == 3) RRT__TRY(read_normalizer(m, inside, err));
        if (f.number == 5) RRT__TRY(read_denormalizer(m, inside, err));
    }
    return m->count ? RRT_STATUS_OK : rrt__fail(err, RRT_STATUS_FORMAT, "the model has no pieces");
}

// What a file that is none gets to hear: Llama 3's tokenizer.model, for one, is a list of tiktoken's.
static rrt_status hint_other_kinds(rrt_error *err, rrt_status status)
{
    return status == RRT_STATUS_FORMAT
               ? rrt__hint(err, status,
                           "rrt reads SentencePiece's models; of other kinds transformers makes a "
                           "tokenizer.json: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)")
               : status;
}

static rrt_status check_model(const rrt__sentencepiece *m, rrt_error *err)
{
    static const char *const kinds[] = {"", "unigram", "BPE", "words", "characters"};
    if (m->kind != 2) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                      "the SentencePiece model is of the kind '%s' (model_type %lld)",
                                      m->kind >= 0 && m->kind <= 4 ? kinds[m->kind] : "", (long long)m->kind);
        return rrt__hint(err, status, "rrt knows BPE only, here and in a tokenizer.json");
    }
    if (m->charsmap.length) {
        rrt_status status = rrt__fail(
            err, RRT_STATUS_UNSUPPORTED, "the normalization '%.*s' (precompiled_charsmap) is not supported",
            (int)(m->normalization.length < 100 ? m->normalization.length : 100), m->normalization.data);
        return rrt__hint(err, status,
                         "with a tokenizer.json, which AutoTokenizer.from_pretrained(FOLDER)"
                         ".save_pretrained(FOLDER) of transformers makes, rrt does what that says");
    }
    const char *setting = m->marks_ends       ? "treat_whitespace_as_suffix true"
                          : !m->marks_spaces  ? "escape_whitespaces false"
                          : m->changes_output ? "a denormalizer_spec"
                                              : NULL;
    return setting ? rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s is not supported", setting) : RRT_STATUS_OK;
}

rrt_status rrt__sentencepiece_read(rrt__sentencepiece *out, const char *data, size_t length, rrt_error *err)
{
    rrt_status status = hint_other_kinds(err, read_model(out, data, length, err));
    return status ? status : check_model(out, err);
}

void rrt__sentencepiece_close(rrt__sentencepiece *model)
{
    rrt__free(model->pieces);
}

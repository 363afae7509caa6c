// The parts a tokenizer is made of, shared by the files of this folder:
//
//     text ─ added tokens cut out ─ NFC, ▁ ─ added tokens cut out ─ ▁, splits (regex) ─ symbols ─ merges ─▶
//     ids
//            added.c                normalize.c                     normalize.c, split.c  merges.c
//
// There are two alphabets. Byte-level (GPT-2): a symbol is a byte, and its token is written as a character
// that prints. SentencePiece: a symbol is a character, spaces are written "▁", and a character that has no
// token becomes its bytes' ("<0xE2>").
#ifndef RRT__TOKENIZER_PARTS_H
#define RRT__TOKENIZER_PARTS_H

#include <stdatomic.h>

#include "base/memory.h"
#include "tokenizer/tokenizer.h"

enum {
    RRT__MAX_TOKENS = 1 << 24,
    RRT__MAX_MERGES = 1 << 24,
    RRT__MAX_ADDED_BYTES = 1024, // of one added token: bounds the work per byte of text
    RRT__MAX_SPLITS = 16,
};

enum {
    RRT__TOKEN_ADDED = 1,      // matched in the text before BPE sees it
    RRT__TOKEN_SPECIAL = 2,    // … but only if the caller asked for special tokens
    RRT__TOKEN_NORMALIZED = 4, // … and after NFC rather than before
    RRT__TOKEN_ENDS = 8,       // ends a generation
};

// Both strings lie in vocab.pool. text is the source's: for tokens of the model, written in the alphabet
// ("Ġthe", "▁the"); bytes is what it stands for (" the"). Added tokens stand for themselves.
typedef struct rrt__token {
    size_t text, text_length; // text_length 0: not put yet
    size_t bytes, bytes_length;
    unsigned flags;
} rrt__token;

// Tokens by id, and a hash index of those of the BPE model by text.
typedef struct rrt__vocab {
    rrt__token *tokens;
    int32_t count;
    bool is_sentencepiece; // the alphabet; else byte-level
    rrt__string pool;
    int32_t *slots; // id + 1, 0 where free
    size_t n_slots; // a power of two
    uint64_t seed;
} rrt__vocab;

// Makes room for ids 0..count-1. As many tokens have to follow: ids have no gaps.
rrt_status rrt__vocab_open(rrt__vocab *vocab, size_t count, bool is_sentencepiece, rrt_error *err);
void rrt__vocab_close(rrt__vocab *vocab);
// Adds a token of the BPE model; its text is valid UTF-8. Fails with FORMAT on an id that is out of range or
// used, and on text that is empty or used.
rrt_status rrt__vocab_put(rrt__vocab *vocab, int64_t id, rrt__slice text, rrt_error *err);
// Adds an added token, or makes the model's token of this id and text one. flags without RRT__TOKEN_ADDED.
rrt_status rrt__vocab_put_added(rrt__vocab *vocab, int64_t id, rrt__slice text, unsigned flags,
                                rrt_error *err);
// The id of a token of the BPE model, -1 if there is none.
int32_t rrt__vocab_find(const rrt__vocab *vocab, rrt__slice text);
rrt__slice rrt__vocab_text(const rrt__vocab *vocab, int32_t id);
// Writes how the alphabet writes a byte to out and returns its length: a character of the byte-level one
// (UTF-8), or "<0xE2>".
size_t rrt__byte_text(const rrt__vocab *vocab, unsigned char byte, char out[8]);

// What two neighbouring tokens become. A lower rank goes first.
typedef struct rrt__merge {
    int32_t left, right, result;
} rrt__merge;

// The merges by rank, and a hash index of them by pair.
typedef struct rrt__merges {
    rrt__merge *by_rank;
    size_t count, capacity;
    uint32_t *slots; // rank + 1, 0 where free
    size_t n_slots;  // a power of two
    uint64_t seed;
    int32_t byte_ids[256];        // the token each byte starts as, -1: the byte is left out
    const rrt__vocab *characters; // SentencePiece: where a character's token is looked for first; else NULL
    bool fuses_unknown;           // unknown tokens in a row are one
    int32_t unknown;              // -1: there is none
} rrt__merges;

rrt_status rrt__merges_open(rrt__merges *merges, const rrt__vocab *vocab, int32_t unknown, size_t capacity,
                            rrt_error *err);
void rrt__merges_close(rrt__merges *merges);
// The merge of the next rank. Fails with FORMAT on tokens the vocabulary lacks and on a pair that has a merge
// already.
rrt_status rrt__merges_put(rrt__merges *merges, const rrt__vocab *vocab, rrt__slice left, rrt__slice right,
                           rrt_error *err);
// The same for "left right".
rrt_status rrt__merges_put_line(rrt__merges *merges, const rrt__vocab *vocab, rrt__slice line,
                                rrt_error *err);

// Appends to an array the merges, "left right", of a SentencePiece vocabulary, an object from text to id.
// scores: by id; NAN: not merged. No piece has a space in it.
rrt_status rrt__merges_from_scores(json_t *merges, json_t *vocab, const float *scores, rrt_error *err);

// A growing list of ids, and the room BPE works in.
typedef struct rrt__ids {
    int32_t *data;
    size_t count, capacity;
} rrt__ids;
rrt_status rrt__ids_append(rrt__ids *ids, int32_t id, rrt_error *err);

typedef struct rrt__bpe {
    struct rrt__symbol *symbols;
    uint64_t *queue;
    size_t symbols_capacity, queue_capacity, n_queue;
} rrt__bpe;
void rrt__bpe_close(rrt__bpe *bpe);
// Appends the ids of one pre-token, in O(length · log length).
rrt_status rrt__bpe_encode(rrt__bpe *bpe, const rrt__merges *merges, const char *text, size_t length,
                           rrt__ids *ids, rrt_error *err);

// One pre-tokenizer step: cuts the text at every match of a pattern, and keeps the matches, what lies
// between, or both.
typedef struct rrt__split {
    struct pcre2_real_code_8 *code;
    bool keeps_matches, keeps_gaps;
} rrt__split;

typedef struct rrt__splits {
    rrt__split steps[RRT__MAX_SPLITS];
    size_t count;
} rrt__splits;

extern const char *const rrt__gpt2_pattern;

// Adds a step. literal: pattern is a plain string, else a regular expression as Hugging Face's tokenizers
// read it (Oniguruma's syntax): UNSUPPORTED if it uses what PCRE2 reads differently, FORMAT if it is none.
rrt_status rrt__splits_add(rrt__splits *splits, const char *pattern, bool literal, bool keeps_matches,
                           bool keeps_gaps, rrt_error *err);
void rrt__splits_close(rrt__splits *splits);

// Room that matching needs, per encode call.
typedef struct rrt__matcher {
    struct pcre2_real_match_data_8 *data;
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_jit_stack_8 *stack;
} rrt__matcher;
rrt_status rrt__matcher_open(rrt__matcher *matcher, rrt_error *err);
void rrt__matcher_close(rrt__matcher *matcher);
// Hands each pre-token of text[0..length), valid UTF-8, to `each` in order.
rrt_status rrt__splits_run(const rrt__splits *splits, const rrt__matcher *matcher, const char *text,
                           size_t length,
                           rrt_status (*each)(void *user, const char *text, size_t length, rrt_error *err),
                           void *user, rrt_error *err);

// How spaces become "▁", which SentencePiece writes for them, and where one is put in front.
typedef enum rrt__prepend {
    RRT__PREPEND_NEVER,
    RRT__PREPEND_ALWAYS,
    RRT__PREPEND_UNLESS_THERE, // unless the text begins with one
    RRT__PREPEND_FIRST,        // the same, and only to the first piece of a text
} rrt__prepend;
typedef struct rrt__spaces {
    bool replaces;
    rrt__prepend prepend;
} rrt__spaces;

extern const char rrt__space_mark[]; // "▁"

static inline bool rrt__spaces_change(const rrt__spaces *spaces)
{
    return spaces->replaces || spaces->prepend != RRT__PREPEND_NEVER;
}
// Appends what becomes of text[0..length), which is not empty. is_first: it begins the whole text.
rrt_status rrt__spaces_apply(const rrt__spaces *spaces, rrt__string *out, const char *text, size_t length,
                             bool is_first, rrt_error *err);

// What is done to a text between the two searches for added tokens.
typedef struct rrt__normalizer {
    bool nfc;
    rrt__spaces spaces;
} rrt__normalizer;
// Appends what becomes of text[0..length), valid UTF-8, in O(length).
rrt_status rrt__normalize(const rrt__normalizer *normalizer, rrt__string *out, const char *text,
                          size_t length, rrt_error *err);
// Whether the text could change.
bool rrt__normalize_needed(const rrt__normalizer *normalizer, const char *text, size_t length);

// Appends text[0..length), valid UTF-8, in normal form C, in O(length).
rrt_status rrt__normalize_nfc(rrt__string *out, const char *text, size_t length, rrt_error *err);
// The added tokens that are looked for in one pass over the text, sorted by their text.
typedef struct rrt__added {
    struct rrt__added_token *tokens;
    size_t count;
    uint32_t first[257]; // tokens that begin with byte b: [first[b], first[b + 1])
    rrt__string pool;    // their texts, normalised where the pass comes after the normalizer
} rrt__added;
// normalizer: NULL for those that are looked for before it.
rrt_status rrt__added_open(rrt__added *added, const rrt__vocab *vocab, const rrt__normalizer *normalizer,
                           rrt_error *err);
void rrt__added_close(rrt__added *added);
// The next match at or after *at: the longest of those that begin first. Returns its id and sets *at and
// *length, or returns -1.
int32_t rrt__added_find(const rrt__added *added, const char *text, size_t text_length, size_t *at,
                        size_t *length);

// Bytes [begin, end) of a text.
typedef struct rrt__range {
    size_t begin, end;
} rrt__range;

// rrt_encode, with parts of the text in which no special token is parsed, whatever the options say.
rrt_status rrt__encode(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                       const rrt_encode_options *options, const rrt__range *plain, size_t n_plain,
                       int32_t **ids, size_t *count, rrt_error *err);

struct rrt_tokenizer {
    atomic_int more_owners; // beside the first: a converted model shares its source's tokenizer
    rrt__vocab vocab;
    rrt__merges merges;
    rrt__splits splits;
    rrt__normalizer normalizer;
    rrt__added raw, normalized; // added tokens looked for before and after the normalizer
    rrt__spaces spaces;         // of the pre-tokenizer
    bool adds_space;            // the decoder strips the first space of a text
    bool ignores_merges;        // a pre-token that is a token of the model needs no merges
    bool adds_bos;
    int32_t bos, eos;          // -1 if there is none
    char *source;              // tokenizer.json as text: its tree takes several times the memory
    json_t *config;            // tokenizer_config.json
    const char *chat_template; // in config, NULL if there is none
};

// The name that GGUF files have for how a byte-level tokenizer.json prepares a text (tokenizer.ggml.pre);
// NULL if they have none.
const char *rrt__gguf_pre_of(const json_t *json);

// A tokenizer_config.json that says nothing in particular; NULL if out of memory.
json_t *rrt__config_new(void);

// The normalizer, pre-tokenizer, decoder and post-processor of a tokenizer.json.
// *prefix: the special token that its post-processor puts in front of a text, NULL if none. Lives as long as
// json.
rrt_status rrt__pipeline_read(rrt_tokenizer *tokenizer, json_t *json, const char **prefix, rrt_error *err);

#endif

// The parts of a tokenizer, shared by the files of this folder:
//
//     text ─ added tokens ─ NFC, ▁ ─────── added tokens ─ ▁, splits (regex) ─ symbols, merges ─▶ ids
//            added.c        normalize.c    added.c        steps.c, match.c    merges.c
//
// There are two alphabets. Byte-level (GPT-2): a symbol is a byte, and its token is written as a printable
// character. SentencePiece: a symbol is a character, spaces are written "▁", and a character without a token
// becomes its bytes ("<0xE2>").
#ifndef RRT__TOKENIZER_INSIDE_H
#define RRT__TOKENIZER_INSIDE_H

#include <stdatomic.h>

#include "base/memory.h"
#include "tokenizer/tokenizer.h"

enum {
    RRT__MAX_TOKENS = 1 << 24,
    RRT__MAX_MERGES = 1 << 24,
    RRT__MAX_ADDED_BYTES = 1024, // per added token: bounds the work per byte of text
    RRT__MAX_STEPS = 32,         // per normalizer or pre-tokenizer
};

enum {
    RRT__TOKEN_ADDED = 1,      // matched in the text before BPE
    RRT__TOKEN_SPECIAL = 2,    // … but only if the caller parses special tokens
    RRT__TOKEN_NORMALIZED = 4, // … and after normalisation instead of before
    RRT__TOKEN_ENDS = 8,       // ends a generation
    RRT__TOKEN_LEFT = 16,      // an added token that includes the white space before it
    RRT__TOKEN_RIGHT = 32,     // … after it
    RRT__TOKEN_WORD = 64,      // … that counts only if no word continues before or after it
};

// Both strings are in vocab.pool. text is the source's: for tokens of the model, written in the alphabet
// ("Ġthe", "▁the"); bytes is the text that it represents (" the"). For added tokens both are the same.
typedef struct rrt__vocab_token {
    size_t text, text_length; // text_length 0: not yet set
    size_t bytes, bytes_length;
    unsigned flags;
} rrt__vocab_token;

// Tokens by id, and a hash index of the BPE model's tokens by text.
typedef struct rrt__vocab {
    rrt__vocab_token *tokens;
    int32_t count;
    bool is_sentencepiece; // the alphabet is characters; else byte-level
    bool falls_back;       // SentencePiece: a character without a token becomes its bytes
    rrt__string pool;
    int32_t *slots; // id + 1, 0: free
    size_t n_slots; // a power of two
    uint64_t seed;
} rrt__vocab;

// Allocates ids 0..count-1. All of them must be set afterwards: ids have no gaps. Set is_sentencepiece and
// falls_back before.
rrt_status rrt__vocab_open(rrt__vocab *vocab, size_t count, rrt_error *err);
void rrt__vocab_close(rrt__vocab *vocab);
// Adds a token of the BPE model; its text is valid UTF-8. FORMAT for an id that is out of range or used, and
// for a text that is empty or used.
rrt_status rrt__vocab_put(rrt__vocab *vocab, int64_t id, rrt__slice text, rrt_error *err);
// Adds an added token, or marks the model's token of this id and text as one. flags:
// without RRT__TOKEN_ADDED.
rrt_status rrt__vocab_put_added(rrt__vocab *vocab, int64_t id, rrt__slice text, unsigned flags,
                                rrt_error *err);
// The id of a token of the BPE model; -1 if there is none.
int32_t rrt__vocab_find(const rrt__vocab *vocab, rrt__slice text);
rrt__slice rrt__vocab_text(const rrt__vocab *vocab, int32_t id);
// Writes the token of a byte to out and returns its length: a character of the byte-level alphabet (UTF-8),
// or "<0xE2>".
size_t rrt__byte_text(const rrt__vocab *vocab, unsigned char byte, char out[8]);
// Writes a byte in the byte-level alphabet.
size_t rrt__alphabet_write(unsigned char byte, char out[4]);
// Appends the bytes of a text in the byte-level alphabet; sets false and appends nothing if it is not in
// the alphabet.
rrt_status rrt__alphabet_read(rrt__string *out, rrt__slice text, bool *is_in_alphabet, rrt_error *err);

// The token that two adjacent tokens merge to. Lower ranks merge first.
typedef struct rrt__merge {
    int32_t left, right, result;
} rrt__merge;

// The merges by rank, and a hash index by pair.
typedef struct rrt__merges {
    rrt__merge *by_rank;
    size_t count, capacity;
    uint32_t *slots; // rank + 1, 0: free
    size_t n_slots;  // a power of two
    uint64_t seed;
    int32_t byte_ids[256];        // the initial token of each byte; -1: none
    const rrt__vocab *characters; // SentencePiece: vocabulary for the initial tokens of characters; else NULL
    bool fuses_unknown;           // consecutive unknown tokens become one
    int32_t unknown;              // -1: none
} rrt__merges;

rrt_status rrt__merges_open(rrt__merges *merges, const rrt__vocab *vocab, int32_t unknown, size_t capacity,
                            rrt_error *err);
void rrt__merges_close(rrt__merges *merges);
// Adds the merge of the next rank. FORMAT for tokens that the vocabulary lacks and for a duplicate pair.
rrt_status rrt__merges_put(rrt__merges *merges, const rrt__vocab *vocab, rrt__slice left, rrt__slice right,
                           rrt_error *err);
// The same for "left right".
rrt_status rrt__merges_put_line(rrt__merges *merges, const rrt__vocab *vocab, rrt__slice line,
                                rrt_error *err);

// Appends to an array the merges, "left right", of a SentencePiece vocabulary, an object from text to id.
// scores: by id; NAN: not merged. No piece contains a space. UNSUPPORTED for an overlong piece.
rrt_status rrt__merges_from_scores(json_t *merges, json_t *vocab, const float *scores, rrt_error *err);

// A growing list of ids, and BPE's buffers.
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

// A search pattern: a plain string, or a regular expression.
typedef struct rrt__pattern {
    char *text;                     // the string, or the PCRE2 expression
    struct pcre2_real_code_8 *code; // NULL: a string
} rrt__pattern;

// Buffers for matching, per encode call.
typedef struct rrt__matcher {
    struct pcre2_real_match_data_8 *data;
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_jit_stack_8 *stack;
} rrt__matcher;
rrt_status rrt__matcher_open(rrt__matcher *matcher, rrt_error *err);
void rrt__matcher_close(rrt__matcher *matcher);

// literal: text is a plain string, else a regular expression in the syntax of Hugging Face's tokenizers
// (Oniguruma): UNSUPPORTED if PCRE2 reads a part of it differently, FORMAT if it is invalid.
rrt_status rrt__pattern_open(rrt__pattern *pattern, const char *text, bool literal, rrt_error *err);
void rrt__pattern_close(rrt__pattern *pattern);
bool rrt__pattern_matches_empty(const rrt__pattern *pattern);
// The next match at or after `from`: [*begin, *end), or both SIZE_MAX if there is none.
rrt_status rrt__pattern_find(const rrt__pattern *pattern, const rrt__matcher *matcher, const char *text,
                             size_t length, size_t from, size_t *begin, size_t *end, rrt_error *err);

// The treatment of a pre-tokenizer step's matches.
typedef enum rrt__behavior {
    RRT__BEHAVIOR_REMOVED,
    RRT__BEHAVIOR_ISOLATED,   // a separate piece
    RRT__BEHAVIOR_PREVIOUS,   // joined to the text before it
    RRT__BEHAVIOR_NEXT,       // … after it
    RRT__BEHAVIOR_CONTIGUOUS, // adjacent matches are one piece
} rrt__behavior;

// When a space, or the "▁" for it, is prepended.
typedef enum rrt__prepend {
    RRT__PREPEND_NEVER,
    RRT__PREPEND_UNLESS_THERE, // unless the piece begins with one
    RRT__PREPEND_FIRST,        // the same, and only for the first piece of a text
} rrt__prepend;

typedef enum rrt__step_kind {
    RRT__STEP_SPLIT,    // splits the text at every match of a pattern
    RRT__STEP_MARKS,    // replaces spaces by "▁", SentencePiece's mark
    RRT__STEP_SPACE,    // prepends a space
    RRT__STEP_ALPHABET, // rewrites bytes in the byte-level alphabet
} rrt__step_kind;

typedef struct rrt__step {
    rrt__step_kind kind;
    rrt__pattern pattern;
    rrt__behavior behavior;
    bool inverts; // matches and the text between them swap roles
    rrt__prepend prepend;
} rrt__step;

// A pre-tokenizer: each step processes the pieces of the step before.
typedef struct rrt__steps {
    rrt__step list[RRT__MAX_STEPS];
    size_t count;
} rrt__steps;

extern const char *const rrt__gpt2_pattern;
extern const char rrt__space_mark[]; // "▁"

// Adds the next step, zeroed.
rrt_status rrt__steps_add(rrt__steps *steps, rrt__step_kind kind, rrt__step **out, rrt_error *err);
rrt_status rrt__steps_add_split(rrt__steps *steps, const char *pattern, bool literal, rrt__behavior behavior,
                                bool inverts, rrt_error *err);
void rrt__steps_close(rrt__steps *steps);
// Whether the resulting pieces are in the byte-level alphabet.
bool rrt__steps_end_in_alphabet(const rrt__steps *steps);

// Buffers of runs over texts, reused from one to the next.
typedef struct rrt__encoding_step {
    const rrt__matcher *matcher;
    rrt__string rewritten[RRT__MAX_STEPS]; // by step: a piece after the step
    rrt_status (*each)(void *user, const char *text, size_t length, rrt_error *err);
    void *user;
} rrt__encoding_step;
void rrt__stepper_close(rrt__encoding_step *stepper);
// Passes each pre-token of text[0..length), valid UTF-8, to `each` in order. is_first: the text's beginning
// is included.
rrt_status rrt__steps_run(const rrt__steps *steps, rrt__encoding_step *stepper, const char *text,
                          size_t length, bool is_first, rrt_error *err);

// Steps of normalisation, between the two searches for added tokens.
typedef enum rrt__normal_kind {
    RRT__NORMAL_NFC,
    RRT__NORMAL_NFD,
    RRT__NORMAL_NFKC,
    RRT__NORMAL_NFKD,
    RRT__NORMAL_LOWERCASE,
    RRT__NORMAL_STRIP,         // strips white space at the ends
    RRT__NORMAL_STRIP_ACCENTS, // removes combining marks
    RRT__NORMAL_NMT,           // removes control characters, replaces unusual spaces by plain ones
    RRT__NORMAL_PREPEND,
    RRT__NORMAL_REPLACE,
} rrt__normal_kind;

typedef struct rrt__normal {
    rrt__normal_kind kind;
    bool left, right;     // STRIP
    rrt__pattern pattern; // REPLACE
    char *content;        // PREPEND, REPLACE
} rrt__normal;

typedef struct rrt__normalizer {
    rrt__normal list[RRT__MAX_STEPS];
    size_t count;
} rrt__normalizer;

rrt_status rrt__normalizer_add(rrt__normalizer *normalizer, rrt__normal_kind kind, rrt__normal **out,
                               rrt_error *err);
void rrt__normalizer_close(rrt__normalizer *normalizer);
// Appends text[0..length), valid UTF-8, normalised, in O(length).
rrt_status rrt__normalize(const rrt__normalizer *normalizer, const rrt__matcher *matcher, rrt__string *out,
                          const char *text, size_t length, rrt_error *err);
// Whether normalisation could change the text.
bool rrt__normalize_needed(const rrt__normalizer *normalizer, const char *text, size_t length);

// Appends text[0..length), valid UTF-8, in a Unicode normal form, in O(length).
rrt_status rrt__normal_form(rrt__string *out, const char *text, size_t length, bool composes, bool compatible,
                            rrt_error *err);

// White space, by Unicode.
bool rrt__is_space(uint32_t codepoint);
// A letter, mark, decimal digit or connector: a character of words.
bool rrt__is_word(uint32_t codepoint);
// A combining mark.
bool rrt__is_accent(uint32_t codepoint);

// The added tokens for one pass over the text, sorted by their text. Of two with the same text, which a
// normalizer can cause, the special one or the one with the lower id takes precedence.
typedef struct rrt__added {
    struct rrt__added_token *tokens;
    size_t count;
    uint32_t first[257]; // tokens that begin with byte b: [first[b], first[b + 1])
    rrt__string pool;    // their texts, normalised for the pass after the normalizer
} rrt__added;
// normalizer: NULL for the pass before it.
rrt_status rrt__added_open(rrt__added *added, const rrt__vocab *vocab, const rrt__normalizer *normalizer,
                           rrt_error *err);
void rrt__added_close(rrt__added *added);
// The next match at or after *at: the longest of the leftmost. Returns its id and sets *at and *length, or
// returns -1.
int32_t rrt__added_find(const rrt__added *added, const char *text, size_t text_length, size_t *at,
                        size_t *length);
// The extent of an added token found, including the white space that it takes.
typedef struct rrt__extent {
    size_t left, right;
    size_t done;       // end of the text that has become tokens
    size_t spaces_end; // end of the white space after an earlier token
} rrt__extent;
// For the token at text[begin, end): sets left and right. False if the text around it prevents the match.
bool rrt__added_extent(rrt__extent *extent, unsigned flags, const char *text, size_t length, size_t begin,
                       size_t end);

// Bytes [begin, end) of a text.
typedef struct rrt__range {
    size_t begin, end;
} rrt__range;

// rrt_encode, with ranges of the text in which no special tokens are parsed, whatever the options.
rrt_status rrt__encode_text(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                            const rrt_encode_options *options, const rrt__range *plain, size_t n_plain,
                            int32_t **ids, size_t *count, rrt_error *err);

struct rrt_tokenizer {
    atomic_int more_owners; // besides the first: a converted model shares its source's tokenizer
    rrt__vocab vocab;
    rrt__merges merges;
    rrt__steps steps;
    rrt__normalizer normalizer;
    rrt__added raw, normalized; // added tokens for the passes before and after the normalizer
    bool adds_space;            // drop the first space of decoded text
    bool ignores_merges;        // a pre-token that is a token of the model needs no merges
    bool adds_bos, adds_eos;
    int32_t bos, eos;          // -1: none
    char *source;              // tokenizer.json as text: its tree takes several times the memory
    json_t *config;            // tokenizer_config.json
    json_t *token_ids;         // bos, eos and pad of config.json; NULL if the source has no such file
    json_t *generation;        // generation_config.json; NULL if there is none
    int32_t limit;             // first id without a row in the model's embedding; 0: none
    const char *chat_template; // in config; NULL: none
};

// Tokens that end a generation: adds one; sets those recognised by their text, and EOS; sets only EOS and
// those of a model's "eos_token_id", an id or a list (FORMAT if it is neither).
void rrt__tokenizer_end_at(rrt_tokenizer *tokenizer, int32_t id);
void rrt__tokenizer_end_by_text(rrt_tokenizer *tokenizer);
bool rrt__token_ends_by_text(const rrt__vocab *vocab, int32_t id);
rrt_status rrt__tokenizer_end_at_listed(rrt_tokenizer *tokenizer, const json_t *ids, rrt_error *err);

// The id of a token named in tokenizer_config.json; -1: none.
int32_t rrt__tokenizer_named(const rrt_tokenizer *tokenizer, const char *name);

// Reads token_ids and generation from a folder, and from them the tokens that end a generation.
rrt_status rrt__tokenizer_read_token_ids(rrt_tokenizer *tokenizer, const char *folder, rrt_error *err);
// *out = the tokenizer in a file of rrt__tokenizer_pack; NULL if it has none.
rrt_status rrt__tokenizer_unpack(rrt_tokenizer **out, const rrt__gguf *gguf, rrt_error *err);

// A default tokenizer_config.json; NULL if out of memory.
json_t *rrt__config_new(void);

// The tokens that a tokenizer.json adds around a text, NULL: none; valid as long as the JSON.
typedef struct rrt__around {
    const char *prefix, *suffix;
} rrt__around;

// Reads the normalizer, pre-tokenizer, decoder and post-processor of a tokenizer.json.
rrt_status rrt__pipeline_read(rrt_tokenizer *tokenizer, json_t *json, rrt__around *around, rrt_error *err);
// Whether a pre-tokenizer rewrites bytes in the byte-level alphabet.
bool rrt__pipeline_is_byte_level(const json_t *steps);

#endif

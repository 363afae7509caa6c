// The parts a tokenizer is made of, shared by the files of this folder:
//
//     text ─ added tokens cut out ─ NFC, ▁ ─ added tokens cut out ─ ▁, splits (regex) ─ symbols ─ merges ─▶
//     ids
//            added.c                normalize.c                     normalize.c, split.c  merges.c
//
// There are two alphabets. Byte-level (GPT-2): a symbol is a byte, and its token is written as a character
// that prints. SentencePiece: a symbol is a character, spaces are written "▁", and a character that has no
// token becomes its bytes' ("<0xE2>").
#ifndef RRT__TOKENIZER_INSIDE_H
#define RRT__TOKENIZER_INSIDE_H

#include <stdatomic.h>

#include "base/memory.h"
#include "tokenizer/tokenizer.h"

enum {
    RRT__MAX_TOKENS = 1 << 24,
    RRT__MAX_MERGES = 1 << 24,
    RRT__MAX_ADDED_BYTES = 1024, // of one added token: bounds the work per byte of text
    RRT__MAX_STEPS = 32,         // of a normalizer or pre-tokenizer
};

enum {
    RRT__TOKEN_ADDED = 1,      // matched in the text before BPE sees it
    RRT__TOKEN_SPECIAL = 2,    // … but only if the caller asked for special tokens
    RRT__TOKEN_NORMALIZED = 4, // … and after NFC rather than before
    RRT__TOKEN_ENDS = 8,       // ends a generation
    RRT__TOKEN_LEFT = 16,      // an added token that takes the white space in front of it along
    RRT__TOKEN_RIGHT = 32,     // … behind it
    RRT__TOKEN_WORD = 64,      // … that counts only where no word goes on before or behind it
};

// Both strings lie in vocab.pool. text is the source's: for tokens of the model, written in the alphabet
// ("Ġthe", "▁the"); bytes is what it stands for (" the"). Added tokens stand for themselves.
typedef struct rrt__vocab_token {
    size_t text, text_length; // text_length 0: not put yet
    size_t bytes, bytes_length;
    unsigned flags;
} rrt__vocab_token;

// Tokens by id, and a hash index of those of the BPE model by text.
typedef struct rrt__vocab {
    rrt__vocab_token *tokens;
    int32_t count;
    bool is_sentencepiece; // the alphabet is characters; else byte-level
    bool falls_back;       // SentencePiece's: a character without a token becomes its bytes'
    rrt__string pool;
    int32_t *slots; // id + 1, 0 where free
    size_t n_slots; // a power of two
    uint64_t seed;
} rrt__vocab;

// Makes room for ids 0..count-1. As many tokens have to follow: ids have no gaps.
// is_sentencepiece and falls_back are set before.
rrt_status rrt__vocab_open(rrt__vocab *vocab, size_t count, rrt_error *err);
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
// Writes the token of a byte to out and returns its length: a character of the byte-level alphabet (UTF-8),
// or
// "<0xE2>".
size_t rrt__byte_text(const rrt__vocab *vocab, unsigned char byte, char out[8]);
// A byte in the byte-level alphabet.
size_t rrt__alphabet_write(unsigned char byte, char out[4]);
// Appends the bytes that a text in the byte-level alphabet stands for, or nothing and false if it is not in
// it.
rrt_status rrt__alphabet_read(rrt__string *out, rrt__slice text, bool *is_in_alphabet, rrt_error *err);

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
    int32_t byte_ids[256];        // the token each byte starts as, -1: it has none
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

// What a text is searched for: a plain string, or a regular expression.
typedef struct rrt__pattern {
    char *text;                     // the string, or the expression in PCRE2's words
    struct pcre2_real_code_8 *code; // NULL: a string
} rrt__pattern;

// Room that matching needs, per encode call.
typedef struct rrt__matcher {
    struct pcre2_real_match_data_8 *data;
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_jit_stack_8 *stack;
} rrt__matcher;
rrt_status rrt__matcher_open(rrt__matcher *matcher, rrt_error *err);
void rrt__matcher_close(rrt__matcher *matcher);

// literal: text is a plain string, else a regular expression as Hugging Face's tokenizers read it
// (Oniguruma's syntax): UNSUPPORTED if it uses what PCRE2 reads differently, FORMAT if it is none.
rrt_status rrt__pattern_open(rrt__pattern *pattern, const char *text, bool literal, rrt_error *err);
void rrt__pattern_close(rrt__pattern *pattern);
bool rrt__pattern_matches_empty(const rrt__pattern *pattern);
// The next match at or after `from`: [*begin, *end), or both SIZE_MAX if there is none.
rrt_status rrt__pattern_find(const rrt__pattern *pattern, const rrt__matcher *matcher, const char *text,
                             size_t length, size_t from, size_t *begin, size_t *end, rrt_error *err);

// What becomes of a match of a pre-tokenizer's step, and of the text between matches.
typedef enum rrt__behavior {
    RRT__BEHAVIOR_REMOVED,
    RRT__BEHAVIOR_ISOLATED,   // a piece of its own
    RRT__BEHAVIOR_PREVIOUS,   // joins the text in front of it
    RRT__BEHAVIOR_NEXT,       // … behind it
    RRT__BEHAVIOR_CONTIGUOUS, // neighbouring matches are one piece
} rrt__behavior;

// Where a space, or "▁" that stands for it, is put in front.
typedef enum rrt__prepend {
    RRT__PREPEND_NEVER,
    RRT__PREPEND_UNLESS_THERE, // unless the piece begins with one
    RRT__PREPEND_FIRST,        // the same, and only to the first piece of a text
} rrt__prepend;

typedef enum rrt__step_kind {
    RRT__STEP_SPLIT,    // cuts the text at every match of a pattern
    RRT__STEP_MARKS,    // spaces become "▁", SentencePiece's mark for them
    RRT__STEP_SPACE,    // puts a space in front
    RRT__STEP_ALPHABET, // bytes become what the byte-level alphabet writes for them
} rrt__step_kind;

typedef struct rrt__step {
    rrt__step_kind kind;
    rrt__pattern pattern;
    rrt__behavior behavior;
    bool inverts; // matches and what lies between them change places
    rrt__prepend prepend;
} rrt__step;

// A pre-tokenizer: each step takes the pieces of the step before.
typedef struct rrt__steps {
    rrt__step list[RRT__MAX_STEPS];
    size_t count;
} rrt__steps;

extern const char *const rrt__gpt2_pattern;
extern const char rrt__space_mark[]; // "▁"

// The next step, zeroed.
rrt_status rrt__steps_add(rrt__steps *steps, rrt__step_kind kind, rrt__step **out, rrt_error *err);
rrt_status rrt__steps_add_split(rrt__steps *steps, const char *pattern, bool literal, rrt__behavior behavior,
                                bool inverts, rrt_error *err);
void rrt__steps_close(rrt__steps *steps);
// Whether a piece has been rewritten in the byte-level alphabet when it comes out.
bool rrt__steps_end_in_alphabet(const rrt__steps *steps);

// What a run over texts needs, kept from one to the next.
typedef struct rrt__encoding_step {
    const rrt__matcher *matcher;
    rrt__string rewritten[RRT__MAX_STEPS]; // by step: a piece as it left the step
    rrt_status (*each)(void *user, const char *text, size_t length, rrt_error *err);
    void *user;
} rrt__encoding_step;
void rrt__stepper_close(rrt__encoding_step *stepper);
// Hands each pre-token of text[0..length), valid UTF-8, to `each` in order. is_first: it begins the whole
// text.
rrt_status rrt__steps_run(const rrt__steps *steps, rrt__encoding_step *stepper, const char *text,
                          size_t length, bool is_first, rrt_error *err);

// What is done to a text between the two searches for added tokens.
typedef enum rrt__normal_kind {
    RRT__NORMAL_NFC,
    RRT__NORMAL_NFD,
    RRT__NORMAL_NFKC,
    RRT__NORMAL_NFKD,
    RRT__NORMAL_LOWERCASE,
    RRT__NORMAL_STRIP,         // white space at the ends
    RRT__NORMAL_STRIP_ACCENTS, // combining marks
    RRT__NORMAL_NMT,           // control characters go, odd spaces become plain ones
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
// Appends what becomes of text[0..length), valid UTF-8, in O(length).
rrt_status rrt__normalize(const rrt__normalizer *normalizer, const rrt__matcher *matcher, rrt__string *out,
                          const char *text, size_t length, rrt_error *err);
// Whether the text could change.
bool rrt__normalize_needed(const rrt__normalizer *normalizer, const char *text, size_t length);

// Appends text[0..length), valid UTF-8, in one of Unicode's normal forms, in O(length).
rrt_status rrt__normal_form(rrt__string *out, const char *text, size_t length, bool composes, bool compatible,
                            rrt_error *err);

// White space, as Unicode has it.
bool rrt__is_space(uint32_t codepoint);
// A letter, mark, decimal digit or connector: what words consist of.
bool rrt__is_word(uint32_t codepoint);
// A combining mark.
bool rrt__is_accent(uint32_t codepoint);

// The added tokens that are looked for in one pass over the text, sorted by their text. Of two with the same
// text, which a normalizer can make, the special one or the one of the lower id counts.
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
// What an added token that was found takes up, with the white space that it takes along.
typedef struct rrt__extent {
    size_t left, right;
    size_t done;       // how far the text went to tokens already
    size_t spaces_end; // up to here all is white space behind an earlier token
} rrt__extent;
// For the token at text[begin, end): sets left and right. False if it does not count, by what stands around
// it.
bool rrt__added_extent(rrt__extent *extent, unsigned flags, const char *text, size_t length, size_t begin,
                       size_t end);

// Bytes [begin, end) of a text.
typedef struct rrt__range {
    size_t begin, end;
} rrt__range;

// rrt_encode, with parts of the text in which no special token is parsed, whatever the options say.
rrt_status rrt__encode_text(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                            const rrt_encode_options *options, const rrt__range *plain, size_t n_plain,
                            int32_t **ids, size_t *count, rrt_error *err);

struct rrt_tokenizer {
    atomic_int more_owners; // beside the first: a converted model shares its source's tokenizer
    rrt__vocab vocab;
    rrt__merges merges;
    rrt__steps steps;
    rrt__normalizer normalizer;
    rrt__added raw, normalized; // added tokens looked for before and after the normalizer
    bool adds_space;            // the first space of what is decoded is none of the text's
    bool ignores_merges;        // a pre-token that is a token of the model needs no merges
    bool adds_bos, adds_eos;
    int32_t bos, eos;   // -1 if there is none
    char *source;       // tokenizer.json as text: its tree takes several times the memory
    json_t *config;     // tokenizer_config.json
    json_t *token_ids;  // bos, eos and pad as config.json has them; NULL if the source has no such file
    json_t *generation; // generation_config.json; NULL likewise
    int32_t limit;      // ids from here on have no row in the model's embedding; 0: all have
    const char *chat_template; // in config, NULL if there is none
};

// Tokens that end a generation: one more; those whose texts say so, and EOS; only EOS and those that a
// model's "eos_token_id" says, an id or a list (FORMAT if it is neither).
void rrt__tokenizer_end_at(rrt_tokenizer *tokenizer, int32_t id);
void rrt__tokenizer_end_by_text(rrt_tokenizer *tokenizer);
bool rrt__token_ends_by_text(const rrt__vocab *vocab, int32_t id);
rrt_status rrt__tokenizer_end_at_listed(rrt_tokenizer *tokenizer, const json_t *ids, rrt_error *err);

// The id of the token that tokenizer_config.json names, -1 if it names none.
int32_t rrt__tokenizer_named(const rrt_tokenizer *tokenizer, const char *name);

// Reads token_ids and generation from a folder, and with them which tokens end a generation.
rrt_status rrt__tokenizer_read_token_ids(rrt_tokenizer *tokenizer, const char *folder, rrt_error *err);
// *out = the tokenizer of a file that rrt__tokenizer_pack wrote into, NULL if it has none.
rrt_status rrt__tokenizer_unpack(rrt_tokenizer **out, const rrt__gguf *gguf, rrt_error *err);

// A tokenizer_config.json that says nothing in particular; NULL if out of memory.
json_t *rrt__config_new(void);

// The tokens that a tokenizer.json puts around a text, NULL if none; they live as long as the JSON.
typedef struct rrt__around {
    const char *prefix, *suffix;
} rrt__around;

// The normalizer, pre-tokenizer, decoder and post-processor of a tokenizer.json.
rrt_status rrt__pipeline_read(rrt_tokenizer *tokenizer, json_t *json, rrt__around *around, rrt_error *err);
// Whether a pre-tokenizer writes bytes in the byte-level alphabet.
bool rrt__pipeline_is_byte_level(const json_t *steps);

#endif

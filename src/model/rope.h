// Rotary positions: by what angle each pair of a head's values turns from one position to the next, and how
// models stretch these angles beyond the context that they were trained with first.
#ifndef RRT__ROPE_H
#define RRT__ROPE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum rrt__rope_kind {
    RRT__ROPE_DEFAULT,
    RRT__ROPE_LINEAR,   // all angles divided by factor
    RRT__ROPE_DYNAMIC,  // the base grows with texts that are longer than original_context (NTK)
    RRT__ROPE_YARN,     // slow pairs divided by factor, fast ones not, a ramp between (arXiv 2309.00071)
    RRT__ROPE_LONGROPE, // a divisor for each pair, others beyond original_context (arXiv 2402.13753)
    RRT__ROPE_LLAMA3,   // as yarn, with its own ramp over the wavelengths
    RRT__ROPE_KIND_COUNT
} rrt__rope_kind;

enum { RRT__ROPE_MAX_PAIRS = 256 }; // of the kinds that need a table

typedef struct rrt__rope {
    rrt__rope_kind kind;
    double base, factor;
    double original_context; // tokens
    double attention_factor; // cosine and sine are multiplied by it; 0: they stay
    double slow, fast;       // yarn: turns (beta_slow, beta_fast); llama3: low_, high_freq_factor
    bool exact_ramp;         // yarn: the ramp's ends are not rounded
    float short_divisors[RRT__ROPE_MAX_PAIRS], long_divisors[RRT__ROPE_MAX_PAIRS]; // longrope: [rotary / 2]
} rrt__rope;

// The name that transformers' configurations have for a kind; NULL for none of that name.
const char *rrt__rope_name(rrt__rope_kind kind);
bool rrt__rope_parse(rrt__rope_kind *kind, const char *name);

// frequency[rotary / 2]: the angles per position in a text that is to have so many tokens. In f32 throughout,
// as models were trained: the rounding is part of the model.
void rrt__rope_frequencies(const rrt__rope *rope, size_t rotary, size_t tokens, float *frequency);

// Texts of lengths of equal class are rotated alike: keys of one can serve the other.
size_t rrt__rope_length_class(const rrt__rope *rope, size_t tokens);

// Angles of another base without any stretching: those of local layers.
void rrt__rope_plain_frequencies(double base, size_t rotary, float *frequency);

#endif

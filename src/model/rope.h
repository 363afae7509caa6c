// Rotary positions: the angle by which each pair of a head's values turns per position, and the methods that
// stretch these angles beyond the context of the original training.
#ifndef RRT__ROPE_H
#define RRT__ROPE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum rrt__rope_kind {
    RRT__ROPE_DEFAULT,
    RRT__ROPE_LINEAR,   // all angles divided by factor
    RRT__ROPE_DYNAMIC,  // the base grows for texts longer than original_context (NTK)
    RRT__ROPE_YARN,     // slow pairs divided by factor, fast ones not, a ramp between (arXiv 2309.00071)
    RRT__ROPE_LONGROPE, // a divisor per pair, another set beyond original_context (arXiv 2402.13753)
    RRT__ROPE_LLAMA3,   // like yarn, with its own ramp over the wavelengths
    RRT__ROPE_KIND_COUNT
} rrt__rope_kind;

enum { RRT__ROPE_MAX_PAIRS = 256 }; // of the kinds that need a table

typedef struct rrt__rope {
    rrt__rope_kind kind;
    double base, factor;
    double original_context; // tokens
    double attention_factor; // factor of cosine and sine; 0: 1
    double slow, fast;       // yarn: turns (beta_slow, beta_fast); llama3: low_, high_freq_factor
    bool exact_ramp;         // yarn: do not round the ramp's ends
    float short_divisors[RRT__ROPE_MAX_PAIRS], long_divisors[RRT__ROPE_MAX_PAIRS]; // longrope: [rotary / 2]
} rrt__rope;

// The kind's name in transformers' configurations; NULL if it has none.
const char *rrt__rope_name(rrt__rope_kind kind);
bool rrt__rope_parse(rrt__rope_kind *kind, const char *name);

// frequency[rotary / 2]: the angles per position for a text of up to `tokens` tokens. All in f32, as models
// were trained: the rounding is part of the model.
void rrt__rope_frequencies(const rrt__rope *rope, size_t rotary, size_t tokens, float *frequency);

// Texts whose lengths have the same class are rotated alike: one can reuse the other's keys.
size_t rrt__rope_length_class(const rrt__rope *rope, size_t tokens);

// Angles for `base` without any stretching: for local layers.
void rrt__rope_plain_frequencies(double base, size_t rotary, float *frequency);

#endif

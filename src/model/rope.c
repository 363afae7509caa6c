// The formulas are those of transformers' modeling_rope_utils.py.
#include "model/rope.h"

#include <math.h>
#include <string.h>

static const char *const names[RRT__ROPE_KIND_COUNT] = {"default", "linear",   "dynamic",
                                                        "yarn",    "longrope", "llama3"};
static const double PI = 3.14159265358979323846;

const char *rrt__rope_name(rrt__rope_kind kind)
{
    return names[kind];
}

bool rrt__rope_parse(rrt__rope_kind *kind, const char *name)
{
    for (int i = 0; i < RRT__ROPE_KIND_COUNT; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *kind = (rrt__rope_kind)i;
        return true;
    }
    return false;
}

size_t rrt__rope_length_class(const rrt__rope *rope, size_t tokens)
{
    bool depends = rope->kind == RRT__ROPE_DYNAMIC || rope->kind == RRT__ROPE_LONGROPE;
    if (!depends || (double)tokens <= rope->original_context) return 0;
    return rope->kind == RRT__ROPE_DYNAMIC ? tokens : 1;
}

void rrt__rope_plain_frequencies(double base, size_t rotary, float *frequency)
{
    for (size_t p = 0; p < rotary / 2; p++)
        frequency[p] = 1.0f / powf((float)base, (float)(2 * p) / (float)rotary);
}

static void set_dynamic(const rrt__rope *rope, size_t rotary, size_t tokens, float *frequency)
{
    double length = (double)tokens > rope->original_context ? (double)tokens : rope->original_context;
    double grown = rope->factor * length / rope->original_context - (rope->factor - 1);
    double exponent = (double)rotary / (double)(rotary - 2);
    rrt__rope_plain_frequencies(rotary > 2 ? rope->base * pow(grown, exponent) : rope->base, rotary,
                                frequency);
}

// The pair that makes this many turns over the original context.
static double pair_of_turns(const rrt__rope *rope, size_t rotary, double turns)
{
    return (double)rotary * log(rope->original_context / (turns * 2 * PI)) / (2 * log(rope->base));
}

static void stretch_yarn(const rrt__rope *rope, size_t rotary, float *frequency)
{
    double low = pair_of_turns(rope, rotary, rope->fast), high = pair_of_turns(rope, rotary, rope->slow);
    if (!rope->exact_ramp) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0 ? low : 0;
    high = high < (double)rotary - 1 ? high : (double)rotary - 1;
    if (low == high) high += 0.001; // no division by zero
    for (size_t p = 0; p < rotary / 2; p++) {
        float ramp = ((float)p - (float)low) / (float)(high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        frequency[p] = frequency[p] / (float)rope->factor * ramp + frequency[p] * (1 - ramp);
    }
}

static void stretch_llama3(const rrt__rope *rope, size_t rotary, float *frequency)
{
    float factor = (float)rope->factor;
    double longest = rope->original_context / rope->slow, shortest = rope->original_context / rope->fast;
    for (size_t p = 0; p < rotary / 2; p++) {
        double wave = (float)(2 * PI) / frequency[p]; // positions per turn
        float keep =
            ((float)(rope->original_context / wave) - (float)rope->slow) / (float)(rope->fast - rope->slow);
        if (wave > longest)
            frequency[p] /= factor;
        else if (wave >= shortest)
            frequency[p] = (1 - keep) * frequency[p] / factor + keep * frequency[p];
    }
}

void rrt__rope_frequencies(const rrt__rope *rope, size_t rotary, size_t tokens, float *frequency)
{
    rrt__rope_plain_frequencies(rope->base, rotary, frequency);
    const float *divisors = rrt__rope_length_class(rope, tokens) ? rope->long_divisors : rope->short_divisors;
    switch (rope->kind) {
    case RRT__ROPE_LINEAR:
        for (size_t p = 0; p < rotary / 2; p++) frequency[p] /= (float)rope->factor;
        break;
    case RRT__ROPE_DYNAMIC:
        set_dynamic(rope, rotary, tokens, frequency);
        break;
    case RRT__ROPE_YARN:
        stretch_yarn(rope, rotary, frequency);
        break;
    case RRT__ROPE_LONGROPE:
        for (size_t p = 0; p < rotary / 2; p++)
            frequency[p] = 1.0f / (divisors[p] * powf((float)rope->base, (float)(2 * p) / (float)rotary));
        break;
    case RRT__ROPE_LLAMA3:
        stretch_llama3(rope, rotary, frequency);
        break;
    default:
        break;
    }
}

#include <stdlib.h>

#include "convert/conversion.h"

// One purchase: the next 32 ranks of one LoRA.
typedef struct unit {
    int depth, matrix;
    size_t ranks;
    uint64_t price; // parameters
    double gain;    // share of the matrix's output energy recovered, per parameter
} unit;

// Best first; ties in the order of depths and matrices, so that the result is deterministic.
static int compare(const void *a, const void *b)
{
    const unit *x = a, *y = b;
    if (x->gain != y->gain) return x->gain > y->gain ? -1 : 1;
    if (x->depth != y->depth) return x->depth < y->depth ? -1 : 1;
    return x->matrix - y->matrix;
}

// Singular values descend, so each unit of a LoRA is worth less than the one before: sorting by gain keeps
// their order.
static size_t list_units(const rrt__conversion *c, float *const *energies, unit *units)
{
    size_t count = 0;
    for (int d = 0; d < c->model->plan.n_depths; d++) {
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            const float *energy = energies[rrt__conversion_at(d, m)];
            if (!energy) continue;
            size_t out, in;
            rrt__shape_matrix(&c->model->shape, m, &out, &in);
            size_t side = out < in ? out : in;
            for (size_t rank = 0; rank < side; rank += RRT__RANK_UNIT) {
                unit u = {d, m, side - rank < RRT__RANK_UNIT ? side - rank : RRT__RANK_UNIT, 0, 0};
                u.price = u.ranks * (out + in);
                for (size_t i = 0; i < u.ranks; i++) u.gain += energy[rank + i] / (double)u.price;
                units[count++] = u;
            }
        }
    }
    qsort(units, count, sizeof *units, compare);
    return count;
}

static void buy(rrt__conversion *c, const unit *units, size_t count)
{
    uint64_t left = c->recipe->lora_budget;
    for (size_t i = 0; i < count; i++) {
        if (units[i].price > left) break; // stop: a later, cheaper unit of the same LoRA would leave a gap
        left -= units[i].price;
        c->rank[rrt__conversion_at(units[i].depth, units[i].matrix)] += units[i].ranks;
    }
}

rrt_status rrt__conversion_spend_budget(rrt__conversion *c, rrt_error *err)
{
    const rrt__plan *plan = &c->model->plan;
    rrt__arena arena = {0};
    float **energies;
    unit *units;
    size_t n_units = 0;
    rrt_status status;
    RRT__GOTO(rrt__arena_alloc(&arena, &energies, (size_t)plan->n_depths * RRT__MATRIX_COUNT,
                               sizeof *energies, "spectra", err));
    for (int d = 0; d < plan->n_depths; d++) {
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            size_t out, in;
            if (!rrt__recipe_is_shared(c->recipe, plan->slot[d]) || !rrt__family_has(c->model->family, m))
                continue;
            rrt__shape_matrix(&c->model->shape, m, &out, &in);
            size_t side = out < in ? out : in;
            n_units += (side + RRT__RANK_UNIT - 1) / RRT__RANK_UNIT;
            RRT__GOTO(rrt__arena_alloc(&arena, &energies[rrt__conversion_at(d, m)], side, sizeof(float),
                                       "a spectrum", err));
        }
    }
    RRT__GOTO(rrt__arena_alloc(&arena, &units, n_units, sizeof *units, "ranks to buy", err));
    RRT__GOTO(rrt__conversion_spectra(c, energies, err));
    buy(c, units, list_units(c, energies, units));
done:
    rrt__arena_free(&arena);
    return status;
}

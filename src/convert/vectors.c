#include <string.h>

#include "convert/conversion.h"
#include "kernels/algebra.h"
#include "model/read.h"
#include "model/unroll.h"

static void add_scaled(float *out, const float *x, size_t count, float scale)
{
    for (size_t i = 0; out && i < count; i++) out[i] += scale * x[i];
}

static void add_depth(rrt__conversion *c, rrt__depth *to, const rrt__depth *from, float scale)
{
    const rrt__shape *shape = &c->source->shape;
    for (int i = 0; i < RRT__NORM_COUNT; i++) {
        add_scaled(to->norm[i].gain, from->norm[i].gain, from->norm[i].width, scale);
        add_scaled(to->norm[i].bias, from->norm[i].bias, from->norm[i].width, scale);
    }
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in;
        rrt__shape_matrix(shape, m, &out, &in);
        add_scaled(to->bias[m], from->bias[m], out, scale);
    }
}

// y += W·x
static rrt_status add_product(rrt__conversion *c, float *y, const rrt__linear *linear, const float *x,
                              rrt_error *err)
{
    const rrt__rows rows = rrt__linear_rows(linear);
    float *weight;
    RRT__TRY(rrt__alloc(&weight, linear->out * linear->in, sizeof *weight, "a copy of a matrix", err));
    rrt_status status = rrt__rows_read(&rows, 0, linear->out, linear->in, c->recipe->threads, weight, err);
    if (!status)
        rrt__algebra_multiply(y, 1, (rrt__operand){weight, linear->in, false}, (rrt__operand){x, 1, false},
                              linear->out, 1, linear->in, 1, 1);
    rrt__free(weight);
    return status;
}

// The gain went into the weights (put_layer in weights.c); the norm's bias goes through them into their
// biases. Norms that no linear layer reads stay as they are.
static rrt_status fold(rrt__conversion *c, rrt__depth *to, const rrt__depth *from, const rrt__slot *weights,
                       rrt_error *err)
{
    size_t hidden = c->source->shape.hidden;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        rrt__norm_place place = rrt__matrix_norm(m);
        const float *bias = place == RRT__NORM_COUNT ? NULL : from->norm[place].bias;
        if (to->bias[m] && bias) RRT__TRY(add_product(c, to->bias[m], &weights->matrix[m], bias, err));
    }
    for (int i = 0; i < RRT__NORM_INPUTS; i++) {
        for (size_t k = 0; k < hidden && to->norm[i].gain; k++) to->norm[i].gain[k] = 1;
        if (to->norm[i].bias) memset(to->norm[i].bias, 0, hidden * sizeof(float));
    }
    return RRT_STATUS_OK;
}

// Attention kinds belong to a depth, not a slot: each depth keeps those of its source layer.
static void copy_attention(rrt__conversion *c)
{
    for (int d = 0; d < c->model->plan.n_depths; d++)
        c->model->depths[d].attention = c->source->depths[rrt__recipe_depth_layer(c->recipe, d)].attention;
}

static void convert_tied(rrt__conversion *c, int slot)
{
    const rrt__plan *plan = &c->model->plan;
    rrt__depth *to = &c->model->depths[rrt__model_first_depth(c->model, slot)];
    const rrt__depth *from = c->source->depths;
    int layer = rrt__recipe_slot_layer(c->recipe, slot), count = 0;
    if (layer >= 0) {
        add_depth(c, to, &from[layer], 1);
        return;
    }
    for (int d = 0; d < plan->n_depths; d++) count += plan->slot[d] == slot;
    for (int d = 0; d < plan->n_depths; d++)
        if (plan->slot[d] == slot)
            add_depth(c, to, &from[rrt__recipe_depth_layer(c->recipe, d)], 1.0f / (float)count);
}

static rrt_status convert_own(rrt__conversion *c, int depth, rrt_error *err)
{
    const rrt__depth *from = &c->source->depths[rrt__recipe_depth_layer(c->recipe, depth)];
    add_depth(c, &c->model->depths[depth], from, 1);
    if (c->recipe->norms != RRT__NORMS_FOLDED) return RRT_STATUS_OK;
    return fold(c, &c->model->depths[depth], from, from->slot, err);
}

rrt_status rrt__conversion_vectors(rrt__conversion *c, rrt_error *err)
{
    const rrt__plan *plan = &c->model->plan;
    bool is_tied = c->recipe->norms == RRT__NORMS_TIED;
    copy_attention(c);
    for (int s = 0; s < plan->n_slots && is_tied; s++) convert_tied(c, s);
    for (int d = 0; d < plan->n_depths && !is_tied; d++) RRT__TRY(convert_own(c, d, err));
    if (c->recipe->loop_gain != 1) rrt__model_scale_later_loops(c->model, c->recipe->loop_gain);
    return RRT_STATUS_OK;
}

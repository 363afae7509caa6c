#include <string.h>

#include "convert/base.h"
#include "convert/convert.h"
#include "kernels/algebra.h"
#include "model/read.h"

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
    rrt_status status = rrt__rows_read(&rows, 0, linear->out, linear->in, c->options.threads, weight, err);
    if (!status)
        rrt__algebra_multiply(y, 1, (rrt__operand){weight, linear->in, false}, (rrt__operand){x, 1, false},
                              linear->out, 1, linear->in, 1, 1);
    rrt__free(weight);
    return status;
}

// The gain went into the weights (put_layer in weights.c); what is left of the norm's bias goes through
// them. Norms that no linear layer reads stay as they are.
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

// How a depth attends is not the slot's: it stays that of the layer which the depth stands for.
static void copy_attention(rrt__conversion *c)
{
    const rrt__plan *plan = &c->model->plan;
    for (int d = 0; d < plan->n_depths; d++)
        c->model->depths[d].attention =
            c->source->depths[rrt__depth_layer(plan, d, c->source->plan.n_depths)].attention;
}

static void convert_tied(rrt__conversion *c, int slot, int n_layers)
{
    const rrt__plan *plan = &c->model->plan;
    rrt__depth *to = &c->model->depths[rrt__model_first_depth(c->model, slot)];
    const rrt__depth *from = c->source->depths;
    int layer = rrt__slot_layer(c->options.init, plan, slot, n_layers), count = 0;
    if (layer >= 0) {
        add_depth(c, to, &from[layer], 1);
        return;
    }
    for (int d = 0; d < plan->n_depths; d++) count += plan->slot[d] == slot;
    for (int d = 0; d < plan->n_depths; d++)
        if (plan->slot[d] == slot)
            add_depth(c, to, &from[rrt__depth_layer(plan, d, n_layers)], 1.0f / (float)count);
}

rrt_status rrt__convert_vectors(rrt__conversion *c, rrt_error *err)
{
    int n_layers = c->source->plan.n_depths;
    const rrt__plan *plan = &c->model->plan;
    copy_attention(c);
    for (int s = 0; s < plan->n_slots && c->norms == RRT__NORMS_TIED; s++) convert_tied(c, s, n_layers);
    for (int d = 0; d < plan->n_depths && c->norms != RRT__NORMS_TIED; d++) {
        int layer = rrt__depth_layer(plan, d, n_layers);
        add_depth(c, &c->model->depths[d], &c->source->depths[layer], 1);
        if (c->norms == RRT__NORMS_FOLDED)
            RRT__TRY(fold(c, &c->model->depths[d], &c->source->depths[layer], &c->source->slots[layer], err));
    }
    return RRT_STATUS_OK;
}

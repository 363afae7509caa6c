// From a quantised model back to f32, for what reads or changes weights.
#include "base/team.h"
#include "model/model.h"

typedef struct unpacking {
    const rrt__packed *from;
    float *to;
} unpacking;

static void unpack_rows(rrt__team team, void *argument)
{
    const unpacking *u = argument;
    rrt__share share = rrt__team_share(team, u->from->out, RRT__GROUP);
    for (size_t r = share.begin; r < share.end; r++) rrt__packed_row(u->from, r, u->to + r * u->from->in);
}

static rrt_status unpack(rrt_model *model, rrt__packed *from, float **to, rrt_error *err)
{
    if (!from->data) return RRT_STATUS_OK; // a matrix that the family has not, or a LoRA of rank 0
    RRT__TRY(
        rrt__arena_alloc(&model->arena, to, from->out * from->in, sizeof(float), "an unpacked matrix", err));
    rrt__team_run(0, unpack_rows, &(unpacking){from, *to});
    from->data = NULL;
    return RRT_STATUS_OK;
}

rrt_status rrt_model_unpack(rrt_model *model, rrt_error *err)
{
    if (!model->is_packed) return RRT_STATUS_OK;
    RRT__TRY(unpack(model, model->packed_embedding, &model->embedding, err));
    model->head = model->embedding;
    if (!model->shape.tied_head) RRT__TRY(unpack(model, model->packed_head, &model->head, err));
    for (int i = 0; i < model->plan.n_slots * RRT__MATRIX_COUNT; i++) {
        rrt__linear *linear = &model->slots[i / RRT__MATRIX_COUNT].matrix[i % RRT__MATRIX_COUNT];
        RRT__TRY(unpack(model, &linear->packed, &linear->weight, err));
    }
    for (int i = 0; i < model->plan.n_depths * RRT__MATRIX_COUNT; i++) {
        rrt__lora *lora = &model->depths[i / RRT__MATRIX_COUNT].lora[i % RRT__MATRIX_COUNT];
        RRT__TRY(unpack(model, &lora->packed_a, &lora->a, err));
        RRT__TRY(unpack(model, &lora->packed_b, &lora->b, err));
    }
    model->is_packed = false;
    return RRT_STATUS_OK;
}

#include "pass/weights.h"

double rrt__weights_of_matrix(const rrt_model *model, int depth, rrt__matrix matrix)
{
    const rrt__linear *w = &model->depths[depth].slot->matrix[matrix];
    const rrt__lora *lora = &model->depths[depth].lora[matrix];
    return (double)w->out * (double)w->in + (double)lora->rank * (double)(w->out + w->in);
}

static double of_depths(const rrt_model *model, int begin, int end)
{
    double weights = 0;
    for (int d = begin; d < end; d++)
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            weights += rrt__weights_of_matrix(model, d, (rrt__matrix)m);
    return weights;
}

rrt__model_weights rrt__model_weights_of(const rrt_model *model)
{
    rrt__depth_range prelude = rrt__plan_prelude(&model->plan), coda = rrt__plan_coda(&model->plan);
    return (rrt__model_weights){.prelude = of_depths(model, prelude.begin, prelude.end),
                                .loop = of_depths(model, prelude.end, coda.begin) / model->plan.loops,
                                .head = of_depths(model, coda.begin, coda.end) +
                                        (double)model->head->out * (double)model->head->in};
}

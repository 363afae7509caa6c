#include "model/exit.h"

#include <math.h>

float rrt__gate_logit(const rrt__gate *gate, const float *hidden, size_t width, float *scale)
{
    float dot = 0, square = 0;
    for (size_t i = 0; i < width; i++) {
        dot += gate->weight[i] * hidden[i];
        square += hidden[i] * hidden[i];
    }
    *scale = 1 / sqrtf(square / (float)width + 1e-12f);
    return dot * *scale + gate->bias[0];
}

size_t rrt__argmax(const float *x, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

#include "train/optimizer.h"

#include <math.h>
#include <string.h>

typedef struct gathering {
    rrt__optimizer *optimizer;
    size_t capacity, n; // n: parameters visited, frozen ones included
    int part;           // which of the four fields this visit sets
} gathering;

static float **part_of(rrt__trained *trained, int part)
{
    float **parts[] = {&trained->values, &trained->gradient, &trained->mean, &trained->variance};
    return parts[part];
}

static rrt_status gather_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    gathering *g = user;
    rrt__optimizer *o = g->optimizer;
    if (o->options.scale[p->kind] == 0) return RRT_STATUS_OK;
    RRT__TRY(rrt__array_reserve(&o->parameters, &g->capacity, g->n + 1, sizeof *o->parameters, err));
    rrt__trained *trained = &o->parameters[g->n++];
    if (g->part == 0)
        *trained = (rrt__trained){
            .count = rrt__parameter_count(p), .rows = p->rows, .columns = p->columns, .kind = p->kind};
    *part_of(trained, g->part) = p->values;
    return RRT_STATUS_OK;
}

// Visits four models of the same shape in the same order.
static rrt_status gather(rrt__optimizer *o, const rrt_model *model, rrt_error *err)
{
    const rrt_model *parts[] = {model, o->gradient, o->mean, o->variance};
    gathering g = {.optimizer = o};
    for (g.part = 0; g.part < 4; g.part++, o->n_parameters = g.n, g.n = 0)
        RRT__TRY(rrt__model_each_parameter(parts[g.part], &model->family->hf, gather_one, &g, err));
    return RRT_STATUS_OK;
}

static bool is_muons(const rrt__optimizer *o, const rrt__trained *p)
{
    return o->options.muon && p->columns && p->kind != RRT__PARAMETER_EMBEDDING;
}

static rrt_status create_muon(rrt__optimizer *o, int n_threads, rrt_error *err)
{
    size_t max_count = 0, longest = 0; // longest shorter side
    for (size_t i = 0; i < o->n_parameters; i++) {
        const rrt__trained *p = &o->parameters[i];
        size_t side = p->rows < p->columns ? p->rows : p->columns;
        if (!is_muons(o, p)) continue;
        if (p->count > max_count) max_count = p->count;
        if (side > longest) longest = side;
    }
    return rrt__muon_create(&o->muon, &o->arena, max_count, longest, n_threads, err);
}

rrt_status rrt__optimizer_create(rrt__optimizer *o, rrt_model *model, const rrt__optimizer_options *options,
                                 int n_threads, rrt_error *err)
{
    *o = (rrt__optimizer){.options = *options, .kernels = rrt__gradient_kernels_get()};
    size_t threads = (size_t)rrt__team_threads(n_threads);
    rrt_status status;
    RRT__GOTO(rrt__model_create_like(&o->gradient, model, err));
    RRT__GOTO(rrt__model_create_like(&o->mean, model, err));
    RRT__GOTO(rrt__model_create_like(&o->variance, model, err));
    RRT__GOTO(rrt__arena_alloc(&o->arena, &o->squares, threads, sizeof *o->squares, "sums", err));
    RRT__GOTO(gather(o, model, err));
    if (options->muon) RRT__GOTO(create_muon(o, n_threads, err));
done:
    if (status) rrt__optimizer_free(o);
    return status;
}

void rrt__optimizer_free(rrt__optimizer *o)
{
    rrt_model_close(o->gradient);
    rrt_model_close(o->mean);
    rrt_model_close(o->variance);
    rrt__free(o->parameters);
    rrt__arena_free(&o->arena);
    *o = (rrt__optimizer){0};
}

double rrt__optimizer_norm(rrt__team team, rrt__optimizer *o)
{
    double sum = 0;
    for (size_t i = 0; i < o->n_parameters; i++) {
        const rrt__trained *p = &o->parameters[i];
        rrt__share share = rrt__team_share(team, p->count, 16);
        if (p->kind == RRT__PARAMETER_GATE) continue; // gates affect no other parameter
        sum += o->kernels->sum_squares(p->gradient + share.begin, share.end - share.begin);
    }
    o->squares[team.ith] = sum;
    rrt__team_barrier(team);
    sum = 0;
    for (int t = 0; t < team.nth; t++) sum += o->squares[t];
    rrt__team_barrier(team);
    return sqrt(sum);
}

// Muon with Nesterov momentum, scaled to the size of AdamW's updates (a root mean square of 0.2 per value),
// so that both share a learning rate (Liu et al. 2025).
static void update_muon(rrt__team team, const rrt__optimizer *o, const rrt__trained *p, const rrt__adam *step)
{
    const float keep = 0.95f, add = (1 - keep) * step->gradient_scale;
    rrt__share own = rrt__team_share(team, p->count, 16);
    float longer = (float)(p->rows > p->columns ? p->rows : p->columns);
    float rate = step->learning_rate * 0.2f * sqrtf(longer);
    float decay = 1 - step->learning_rate * step->weight_decay;
    for (size_t i = own.begin; i < own.end; i++) {
        p->mean[i] = keep * p->mean[i] + add * p->gradient[i];
        o->muon.direction[i] = keep * p->mean[i] + add * p->gradient[i];
    }
    rrt__muon_orthogonalize(team, &o->muon, p->rows, p->columns);
    for (size_t i = own.begin; i < own.end; i++)
        p->values[i] = decay * p->values[i] - rate * o->muon.direction[i];
    rrt__team_barrier(team);
}

void rrt__optimizer_update(rrt__team team, rrt__optimizer *o, double norm, double learning_rate)
{
    const rrt__optimizer_options *options = &o->options;
    double n = (double)o->step + 1;
    rrt__adam step = {.beta1 = (float)options->beta1,
                      .beta2 = (float)options->beta2,
                      .epsilon = (float)options->epsilon,
                      .correction1 = (float)(1 / (1 - pow(options->beta1, n))),
                      .correction2 = (float)(1 / (1 - pow(options->beta2, n)))};
    float clip = (float)(options->clip > 0 && norm > options->clip ? options->clip / norm : 1);
    for (size_t i = 0; i < o->n_parameters; i++) {
        const rrt__trained *p = &o->parameters[i];
        rrt__share own = rrt__team_share(team, p->count, 16);
        step.learning_rate = (float)(learning_rate * options->scale[p->kind]);
        step.gradient_scale = p->kind == RRT__PARAMETER_GATE ? 1 : clip;
        step.weight_decay = p->columns ? (float)options->weight_decay : 0;
        if (is_muons(o, p))
            update_muon(team, o, p, &step);
        else
            o->kernels->adam(p->values + own.begin, p->mean + own.begin, p->variance + own.begin,
                             p->gradient + own.begin, own.end - own.begin, &step);
        memset(p->gradient + own.begin, 0, (own.end - own.begin) * sizeof(float));
    }
    rrt__team_barrier(team);
}

void rrt__optimizer_clear(rrt__team team, rrt__optimizer *o)
{
    for (size_t i = 0; i < o->n_parameters; i++) {
        rrt__share share = rrt__team_share(team, o->parameters[i].count, 16);
        memset(o->parameters[i].gradient + share.begin, 0, (share.end - share.begin) * sizeof(float));
    }
    rrt__team_barrier(team);
}

double rrt__schedule(double progress, double warmup, double min)
{
    if (progress < warmup) return progress / warmup;
    double part = warmup < 1 ? (progress - warmup) / (1 - warmup) : 1;
    if (part > 1) part = 1;
    return min + (1 - min) * 0.5 * (1 + cos(3.14159265358979323846 * part));
}

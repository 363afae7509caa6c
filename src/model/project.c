#include "model/project.h"

#include "kernels/gemm.h"

// Rows as a matrix reads them: codes of x where the model is quantised, else x itself.
typedef struct operand {
    const float *x;
    rrt__codes codes;
} operand;

static rrt__codes skip_rows(rrt__codes c, size_t rows, size_t blocks)
{
    size_t at = rows * c.blocks;
    return (rrt__codes){c.codes + at * RRT__BLOCK, c.scales + at, c.sums + at, blocks};
}

// This thread's share of the rows' blocks becomes codes. No barrier.
static rrt__codes quantise(rrt__team team, const rrt__kernels *kernels, rrt__codes room, const float *x,
                           size_t rows, size_t in)
{
    room.blocks = rrt__packed_blocks(in);
    rrt__share share = rrt__team_share(team, rows * room.blocks, 1);
    for (size_t i = share.begin; i < share.end;) {
        size_t row = i / room.blocks, block = i % room.blocks, blocks = room.blocks - block;
        if (blocks > share.end - i) blocks = share.end - i;
        size_t begin = block * RRT__BLOCK, end = (block + blocks) * RRT__BLOCK;
        kernels->quantise(room.codes + i * RRT__BLOCK, room.scales + i, room.sums + i, x + row * in + begin,
                          (end < in ? end : in) - begin);
        i += blocks;
    }
    return room;
}

// y[rows, out] = W · x, or +=; this thread's share of the outputs (or, in f32, of the longer side).
static void multiply(rrt__team team, const rrt__kernels *kernels, float *y, operand x, const float *weight,
                     const rrt__packed *packed, size_t rows, size_t out, size_t in, int accumulate)
{
    if (!packed->data) {
        rrt__gemm(team, y, x.x, weight, rows, out, in, accumulate);
        return;
    }
    rrt__share groups = rrt__team_share(team, rrt__packed_groups(out), 1);
    kernels->multiply(y, packed, x.codes, rows, groups.begin, groups.end, accumulate);
}

static const rrt__lora *lora_of(const rrt__block *b, const rrt__segment *segment, rrt__matrix m)
{
    return &b->model->depths[segment->depth].lora[m];
}

// low_rank = A·x for each segment that has a LoRA on the matrix. Segments lie one after the other there:
// their ranks may differ. Returns whether there is one.
static bool reduce(const rrt__block *b, rrt__matrix m, operand x)
{
    bool any = false;
    float *low_rank = b->ws->low_rank[m];
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__segment *segment = &b->segments[s];
        const rrt__lora *lora = lora_of(b, segment, m);
        size_t in = b->slot->matrix[m].in, rows = segment->end - segment->begin;
        if (!lora->rank) continue;
        any = true;
        operand own = {x.x + segment->begin * in, skip_rows(x.codes, segment->begin, x.codes.blocks)};
        multiply(b->team, b->ws->kernels, low_rank, own, lora->a, &lora->packed_a, rows, lora->rank, in, 0);
        low_rank += rows * lora->rank;
    }
    return any;
}

static void quantise_low_rank(const rrt__block *b, rrt__matrix m)
{
    const float *low_rank = b->ws->low_rank[m];
    rrt__codes codes = b->ws->low_rank_codes[m];
    for (size_t s = 0; s < b->n_segments; s++) {
        size_t rank = lora_of(b, &b->segments[s], m)->rank, rows = b->segments[s].end - b->segments[s].begin;
        if (!rank) continue;
        codes = quantise(b->team, b->ws->kernels, codes, low_rank, rows, rank);
        codes = skip_rows(codes, rows, 0);
        low_rank += rows * rank;
    }
}

// y += B·low_rank.
static void expand(const rrt__block *b, rrt__matrix m, float *y)
{
    size_t out = b->slot->matrix[m].out;
    operand x = {b->ws->low_rank[m], b->ws->low_rank_codes[m]};
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__segment *segment = &b->segments[s];
        const rrt__lora *lora = lora_of(b, segment, m);
        size_t rows = segment->end - segment->begin;
        if (!lora->rank) continue;
        x.codes.blocks = rrt__model_is_packed(b->model) ? rrt__packed_blocks(lora->rank) : 0;
        multiply(b->team, b->ws->kernels, y + segment->begin * out, x, lora->b, &lora->packed_b, rows, out,
                 lora->rank, 1);
        x = (operand){x.x + rows * lora->rank, skip_rows(x.codes, rows, 0)};
    }
}

static void add_bias(const rrt__block *b, rrt__matrix m, float *y)
{
    size_t width = b->slot->matrix[m].out;
    rrt__share columns = rrt__team_share(b->team, width, RRT__GEMM_GRAIN);
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__segment *segment = &b->segments[s];
        const float *bias = b->model->depths[segment->depth].bias[m];
        for (size_t r = segment->begin; r < segment->end; r++)
            for (size_t c = columns.begin; c < columns.end; c++) y[r * width + c] += bias[c];
    }
}

void rrt__project(const rrt__block *b, rrt__matrix first, int count, const float *x, float *const *y,
                  int accumulate)
{
    bool any_lora = false, any_bias = false, packed = rrt__model_is_packed(b->model);
    operand rows = {.x = x};
    if (packed) {
        rows.codes = quantise(b->team, b->ws->kernels, b->ws->codes, x, b->n_rows, b->slot->matrix[first].in);
        rrt__team_barrier(b->team);
    }
    for (int i = 0; i < count; i++) {
        any_lora |= reduce(b, first + (rrt__matrix)i, rows);
        any_bias |= b->model->shape.has_bias[first + (rrt__matrix)i];
    }
    for (int i = 0; i < count; i++) {
        const rrt__linear *linear = &b->slot->matrix[first + (rrt__matrix)i];
        multiply(b->team, b->ws->kernels, y[i], rows, linear->weight, &linear->packed, b->n_rows, linear->out,
                 linear->in, accumulate);
    }
    if (any_lora) rrt__team_barrier(b->team);
    if (any_lora && packed) {
        for (int i = 0; i < count; i++) quantise_low_rank(b, first + (rrt__matrix)i);
        rrt__team_barrier(b->team);
    }
    for (int i = 0; i < count && any_lora; i++) expand(b, first + (rrt__matrix)i, y[i]);
    if (any_bias) rrt__team_barrier(b->team);
    for (int i = 0; i < count; i++)
        if (b->model->shape.has_bias[first + (rrt__matrix)i]) add_bias(b, first + (rrt__matrix)i, y[i]);
}

void rrt__project_head(rrt__team team, const rrt_model *model, rrt__workspace *ws, const float *x,
                       size_t rows, float *logits)
{
    size_t vocab = model->shape.vocab, hidden = model->shape.hidden;
    operand in = {.x = x};
    if (rrt__model_is_packed(model)) {
        in.codes = quantise(team, ws->kernels, ws->codes, x, rows, hidden);
        rrt__team_barrier(team);
    }
    multiply(team, ws->kernels, logits, in, model->head, model->packed_head, rows, vocab, hidden, 0);
}

#include "pass/project.h"

// The rows as matrices read them: x itself, and its quantised values for quantised matrices.
typedef struct operand {
    const float *x;
    rrt__quantised quantised;
} operand;

// The operand after `rows` rows of width `in`.
static operand skip_rows(operand o, size_t rows, size_t in)
{
    o.x += rows * in;
    if (o.quantised.blocks) o.quantised = rrt__quantised_skip(o.quantised, rows * o.quantised.blocks);
    return o;
}

// Quantises this thread's share of the rows' blocks. No barrier.
static rrt__quantised quantise(const rrt__pass *p, rrt__quantised room, const float *x, size_t rows,
                               size_t in)
{
    room.blocks = rrt__packed_blocks(in);
    rrt__share share = rrt__team_share(p->team, rows * room.blocks, 1);
    for (size_t i = share.begin; i < share.end;) {
        size_t row = i / room.blocks, block = i % room.blocks, blocks = room.blocks - block;
        if (blocks > share.end - i) blocks = share.end - i;
        size_t begin = block * RRT__BLOCK, end = (block + blocks) * RRT__BLOCK;
        p->ws->kernels->quantise(rrt__quantised_skip(room, i), x + row * in + begin,
                                 (end < in ? end : in) - begin);
        i += blocks;
    }
    return room;
}

// y[rows, out] = W · x, or +=; this thread's share of the outputs (or, by BLAS, of the longer side).
static void multiply(const rrt__pass *p, float *y, operand x, const rrt__linear *w, size_t rows,
                     int accumulate)
{
    if (w->storage == RRT__STORAGE_F32 && p->products.kind != RRT__PRODUCTS_BY_ROW) {
        rrt__gemm_share(p->team, p->products, y, x.x, w->weight, rows, w->out, w->in, accumulate);
        return;
    }
    rrt__share groups = rrt__team_share(p->team, rrt__linear_groups(w->out), 1);
    if (rrt__storage_is_packed(w->storage))
        p->ws->kernels->multiply_packed(y, w, x.quantised, rows, groups.begin, groups.end, accumulate);
    else
        p->ws->kernels->multiply_plain(y, w, x.x, rows, groups.begin, groups.end, accumulate);
}

static const rrt__lora *lora_of(const rrt__block *b, size_t segment, rrt__matrix m)
{
    return &rrt__block_depth(b, segment)->lora[m];
}

static size_t rows_of(const rrt__block *b, size_t segment)
{
    return b->segments[segment].end - b->segments[segment].begin;
}

// Whether some of the `count` matrices from `first` on, or their LoRAs, read quantised values of x.
static bool reads_quantised(const rrt__block *b, const rrt__matrix *matrices, int count)
{
    bool any = false;
    for (int i = 0; i < count; i++) {
        any |= rrt__storage_is_packed(b->slot->matrix[matrices[i]].storage);
        for (size_t s = 0; s < b->n_segments; s++)
            any |= rrt__storage_is_packed(lora_of(b, s, matrices[i])->a.storage);
    }
    return any;
}

// low_rank = A·x for each segment with a LoRA on the matrix. The segments follow each other in low_rank,
// since their ranks may differ. Returns whether there is one.
static bool reduce(const rrt__block *b, rrt__matrix m, operand x)
{
    bool any = false;
    float *low_rank = b->pass->ws->low_rank[m];
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__lora *lora = lora_of(b, s, m);
        if (!lora->rank) continue;
        any = true;
        multiply(b->pass, low_rank, skip_rows(x, b->segments[s].begin, lora->a.in), &lora->a, rows_of(b, s),
                 0);
        low_rank += rows_of(b, s) * lora->rank;
    }
    return any;
}

// The part of the matrix's remaining buffer for a segment's quantised low_rank; no blocks if it needs none.
static rrt__quantised low_rank_quantised(rrt__quantised left, const rrt__lora *lora)
{
    left.blocks = rrt__storage_is_packed(lora->b.storage) ? rrt__packed_blocks(lora->rank) : 0;
    return left;
}

static bool quantise_low_rank(const rrt__block *b, rrt__matrix m)
{
    bool any = false;
    operand at = {b->pass->ws->low_rank[m], b->pass->ws->low_rank_quantised[m]};
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__lora *lora = lora_of(b, s, m);
        at.quantised = low_rank_quantised(at.quantised, lora);
        if (at.quantised.blocks) quantise(b->pass, at.quantised, at.x, rows_of(b, s), lora->rank);
        any |= at.quantised.blocks > 0;
        at = skip_rows(at, rows_of(b, s), lora->rank);
    }
    return any;
}

// y += B·low_rank.
static void expand(const rrt__block *b, rrt__matrix m, float *y)
{
    size_t out = b->slot->matrix[m].out;
    operand at = {b->pass->ws->low_rank[m], b->pass->ws->low_rank_quantised[m]};
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__lora *lora = lora_of(b, s, m);
        if (!lora->rank) continue;
        at.quantised = low_rank_quantised(at.quantised, lora);
        multiply(b->pass, y + b->segments[s].begin * out, at, &lora->b, rows_of(b, s), 1);
        at = skip_rows(at, rows_of(b, s), lora->rank);
    }
}

static void add_bias(const rrt__block *b, rrt__matrix m, float *y)
{
    size_t width = b->slot->matrix[m].out;
    rrt__share columns = rrt__team_share(b->pass->team, width, RRT__GEMM_GRAIN);
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__segment *segment = &b->segments[s];
        const float *bias = rrt__block_depth(b, s)->bias[m];
        for (size_t r = segment->begin; r < segment->end; r++)
            for (size_t c = columns.begin; c < columns.end; c++) y[r * width + c] += bias[c];
    }
}

void rrt__project_share(const rrt__block *b, const rrt__matrix *matrices, int count, const float *x,
                        float *const *y, int accumulate)
{
    bool any_lora = false, any_bias = false, any_quantised = false;
    operand rows = {.x = x};
    if (reads_quantised(b, matrices, count)) {
        rows.quantised =
            quantise(b->pass, b->pass->ws->quantised, x, b->n_rows, b->slot->matrix[matrices[0]].in);
        rrt__team_barrier(b->pass->team);
    }
    for (int i = 0; i < count; i++) {
        any_lora |= reduce(b, matrices[i], rows);
        any_bias |= b->pass->model->shape.has_bias[matrices[i]];
    }
    for (int i = 0; i < count; i++)
        multiply(b->pass, y[i], rows, &b->slot->matrix[matrices[i]], b->n_rows, accumulate);
    if (any_lora) rrt__team_barrier(b->pass->team);
    for (int i = 0; i < count && any_lora; i++) any_quantised |= quantise_low_rank(b, matrices[i]);
    if (any_quantised) rrt__team_barrier(b->pass->team);
    for (int i = 0; i < count && any_lora; i++) expand(b, matrices[i], y[i]);
    if (any_bias) rrt__team_barrier(b->pass->team);
    for (int i = 0; i < count; i++)
        if (b->pass->model->shape.has_bias[matrices[i]]) add_bias(b, matrices[i], y[i]);
}

void rrt__project_head_share(const rrt__pass *p, const rrt__linear *head, const float *x, size_t rows,
                             float *logits)
{
    operand in = {.x = x};
    if (rrt__storage_is_packed(head->storage)) {
        in.quantised = quantise(p, p->ws->quantised, x, rows, head->in);
        rrt__team_barrier(p->team);
    }
    multiply(p, logits, in, head, rows, 0);
}

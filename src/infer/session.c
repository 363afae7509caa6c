#include "rrt/session.h"

#include "pass/exit.h"
#include "pass/loop.h"

enum { CHUNK_ROWS = 256 }; // rows of a prefill step: enough for full GEMM speed, with little memory

struct rrt_session {
    const rrt_model *model;
    int threads;
    rrt__team_fit fit;
    int loops;
    bool prefix_lm;
    rrt__sequence sequence;
    rrt__workspace workspace;
    size_t positions, rows; // capacity of the workspace
    size_t n_tokens;
    float *logits;
    float gates[RRT__MAX_DEPTHS];
};

rrt_status rrt_session_open(rrt_session **out, const rrt_model *model, const rrt_session_options *options,
                            rrt_error *err)
{
    const rrt_session_options defaults = {0};
    if (!options) options = &defaults;
    rrt__kv_types kv_type;
    *out = NULL;
    RRT__TRY(rrt__kv_types_parse(&kv_type, options->kv_type, err));
    RRT__TRY(rrt__alloc(out, 1, sizeof **out, "a session", err));
    rrt_session *session = *out;
    session->model = model;
    session->prefix_lm = options->prefix_lm;
    session->threads = rrt__team_threads(options->threads);
    rrt__sequence_init(&session->sequence, model, kv_type,
                       options->tokens ? options->tokens : model->shape.context);
    session->loops = options->loops ? options->loops : model->plan.loops;
    session->sequence.loops = session->loops;
    rrt_status status = rrt__plan_check_loops(&model->plan, session->loops, err);
    if (!status && session->prefix_lm && model->kv_window)
        status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                           "text that attends both ways runs at once: the model was opened with kv last");
    if (!status) status = rrt__alloc(&session->logits, model->shape.vocab, sizeof(float), "logits", err);
    if (status) {
        rrt_session_close(session);
        *out = NULL;
    }
    return status;
}

void rrt_session_close(rrt_session *session)
{
    if (!session) return;
    rrt__sequence_free(&session->sequence);
    rrt__workspace_free(&session->workspace);
    rrt__free(session->logits);
    rrt__free(session);
}

size_t rrt_session_tokens(const rrt_session *session)
{
    return session->n_tokens;
}

const float *rrt_session_logits(const rrt_session *session)
{
    return session->n_tokens ? session->logits : NULL;
}

const float *rrt_session_gates(const rrt_session *session, size_t *count)
{
    *count = session->n_tokens ? (size_t)rrt__gate_count(session->model, session->loops) : 0;
    return session->gates;
}

// Makes room for a step of `rows` rows that ends at position `end`; grows by doubling, so that a long chat
// does not allocate at every token.
static rrt_status reserve(rrt_session *session, size_t rows, size_t end, rrt_error *err)
{
    RRT__TRY(rrt__sequence_reserve(&session->sequence, end, err));
    if (rows <= session->rows && end <= session->positions) return RRT_STATUS_OK;
    size_t positions = 2 * end < session->model->shape.context ? 2 * end : session->model->shape.context;
    rows = rows > session->rows ? rows : session->rows;
    rrt__workspace_free(&session->workspace);
    session->rows = session->positions = 0;
    RRT__TRY(
        rrt__workspace_create(&session->workspace, session->model, rows, positions, session->threads, err));
    session->rows = rows;
    session->positions = positions;
    return RRT_STATUS_OK;
}

typedef struct step {
    rrt_session *session;
    const int32_t *ids;
    rrt__span span;
    bool is_last;
} step;

// Runs loop n, and asks its gate about the last row.
static void run_loop(const rrt__pass *pass, const step *s, int n)
{
    rrt_session *session = s->session;
    const rrt_model *model = session->model;
    rrt__walk_range(pass, rrt__plan_loop(&model->plan, n));
    if (!s->is_last || n > rrt__gate_count(model, session->loops)) return;
    const float *last = session->workspace.hidden + (s->span.count - 1) * model->shape.hidden;
    if (pass->team.ith == 0) session->gates[n - 1] = (float)rrt__gate_probability(model, n, last);
    rrt__team_barrier(pass->team);
}

static void run_step(rrt__team team, void *argument)
{
    step *s = argument;
    rrt_session *session = s->session;
    const rrt__plan *plan = &session->model->plan;
    const rrt__pass pass = rrt__pass_make(team, session->model, &session->workspace, &s->span, 1);
    rrt__forward_embed(&pass, s->ids);
    rrt__walk_range(&pass, rrt__plan_prelude(plan));
    for (int n = 1; n <= session->loops; n++) run_loop(&pass, s, n);
    rrt__walk_range(&pass, rrt__plan_coda(plan));
    if (s->is_last) rrt__forward_logits(&pass, s->span.count - 1, 1, session->logits);
}

static rrt_status check_ids(const rrt_session *session, const int32_t *ids, size_t count, rrt_error *err)
{
    size_t vocab = session->model->shape.vocab, context = session->sequence.tokens;
    if (context > session->model->shape.context) context = session->model->shape.context;
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= vocab)
            return rrt__fail(err, RRT_STATUS_ARGUMENT, "token %zu is id %d: the vocabulary has 0 to %zu", i,
                             ids[i], vocab - 1);
    if (count > context - session->n_tokens) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu tokens after %zu do not fit the context of %zu", count,
                      session->n_tokens, context);
        return rrt__hint(err, status, "shorten the text or ask for fewer tokens");
    }
    return RRT_STATUS_OK;
}

rrt_status rrt_session_append(rrt_session *session, const int32_t *ids, size_t count, rrt_error *err)
{
    RRT__TRY(check_ids(session, ids, count, err));
    size_t begin = session->n_tokens;
    bool is_prefix = session->prefix_lm && begin == 0; // runs whole: all of it attends to all of it
    size_t max_rows = is_prefix || count < CHUNK_ROWS ? count : CHUNK_ROWS;
    // Allocates first, so that a failure leaves the session unchanged.
    if (count) RRT__TRY(reserve(session, max_rows, begin + count, err));
    for (size_t done = 0; done < count;) {
        size_t rows = count - done < max_rows ? count - done : max_rows;
        rows = rrt__kv_window_rows(session->model, begin + done, rows);
        const rrt__span span = {&session->sequence, begin + done, rows, is_prefix};
        step s = {session, ids + done, span, done + rows == count};
        rrt__team_run_fitting(&session->fit, session->threads, run_step, &s);
        done += rows;
    }
    if (count) RRT__TRY(rrt__logits_check(session->logits, session->model->shape.vocab, err));
    session->n_tokens = begin + count;
    return RRT_STATUS_OK;
}

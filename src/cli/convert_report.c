#include "cli/convert_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORST = 5 }; // matrices that a summary shows

static const char *plan_text(const char *sharing, int prelude, int loops, int block, int coda)
{
    static char text[96];
    if (loops == 1)
        snprintf(text, sizeof text, "%d layers", prelude + block + coda);
    else if (prelude || coda)
        snprintf(text, sizeof text, "%s %d + %d x %d + %d", sharing, prelude, loops, block, coda);
    else
        snprintf(text, sizeof text, "%s %d x %d", sharing, loops, block);
    return text;
}

static void print_sizes(const rrt_model_info *before, uint64_t body, uint64_t lora, uint64_t total)
{
    printf("body    %s -> %s parameters (%.1f %%), of them LoRA %s\n", rrt__cli_count(before->params_body),
           rrt__cli_count(body), 100.0 * (double)body / (double)before->params_body, rrt__cli_count(lora));
    printf("total   %s -> %s parameters\n", rrt__cli_count(before->params_total), rrt__cli_count(total));
}

static json_t *frontier_json(const rrt_convert_frontier *frontier)
{
    json_t *list = json_array();
    for (size_t i = 0; i < frontier->n_candidates; i++) {
        const rrt_convert_candidate *c = &frontier->candidates[i];
        json_t *kl = c->failed ? json_null() : json_real(c->kl);
        json_array_append_new(list,
                              json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:o, s:b, s:b}", "loops", c->loops,
                                        "layers_per_block", c->layers_per_block, "prelude", c->prelude,
                                        "coda", c->coda, "lora_budget", (json_int_t)c->lora_budget,
                                        "params_body", (json_int_t)c->params_body, "kl", kl, "failed",
                                        c->failed, "on_frontier", c->on_frontier));
    }
    return list;
}

rrt_status rrt__converted_print_json(const rrt__converted *c, const rrt_model *source, rrt_error *err)
{
    const rrt_convert_report *report = &c->report;
    rrt_model_info before, after;
    rrt_model_describe(source, &before);
    rrt_model_describe(c->model, &after);
    json_t *rows = json_array(), *kept = json_array();
    for (size_t i = 0; i < report->n_kept_layers; i++)
        json_array_append_new(kept, json_integer(report->kept_layers[i]));
    for (size_t i = 0; i < report->n_rows; i++) {
        const rrt_convert_row *r = &report->rows[i];
        json_array_append_new(rows, json_pack("{s:i, s:i, s:s, s:i, s:f, s:f}", "depth", r->depth, "slot",
                                              r->slot, "matrix", r->matrix, "rank", r->rank, "residual",
                                              r->residual, "kept", r->kept));
    }
    return rrt__cli_print_json(json_pack("{s:o, s:o, s:o, s:o, s:o, s:i, s:f}", "params",
                                         rrt__cli_params_json(&after), "params_before",
                                         rrt__cli_params_json(&before), "report", rows, "frontier",
                                         frontier_json(&c->frontier), "kept_layers", kept, "mixed_slots",
                                         report->mixed_slots, "seconds", report->seconds),
                               err);
}

static void print_frontier(const rrt_convert_frontier *frontier, const rrt_model_info *before)
{
    if (frontier->n_candidates)
        printf("prelude + loops x layers + coda    body (of it)     LoRA budget   mean KL\n");
    for (size_t i = 0; i < frontier->n_candidates; i++) {
        const rrt_convert_candidate *c = &frontier->candidates[i];
        char kl[32];
        snprintf(kl, sizeof kl, "%.4f", c->kl);
        printf("%7d + %d x %2d + %-2d          %10s (%4.1f %%)  %10s  %10s %s\n", c->prelude, c->loops,
               c->layers_per_block, c->coda, rrt__cli_count(c->params_body),
               100.0 * (double)c->params_body / (double)before->params_body, rrt__cli_count(c->lora_budget),
               c->failed ? "not finite" : kl, c->on_frontier ? "*" : "");
    }
    if (frontier->n_candidates) printf("* no other plan has both fewer parameters and a lower KL\n\n");
}

// What of a matrix is neither in the shared weight nor in the LoRA.
static double left_of(const rrt_convert_row *r)
{
    return r->residual * (1 - r->kept);
}

static int by_what_is_left(const void *a, const void *b)
{
    const rrt_convert_row *x = a, *y = b;
    double difference = left_of(y) - left_of(x);
    if (difference != 0) return difference > 0 ? 1 : -1;
    return x->depth != y->depth ? x->depth - y->depth : strcmp(x->matrix, y->matrix);
}

static void print_row(const rrt_convert_row *r)
{
    printf("%5d %5d  %-6s %5d  %13.2f %%  %10.2f %%  %5.2f %%\n", r->depth, r->slot, r->matrix, r->rank,
           100 * r->residual, 100 * r->kept, 100 * left_of(r));
}

// All rows, or the worst of them.
static rrt_status print_rows(const rrt_convert_report *report, bool verbose, rrt_error *err)
{
    rrt_convert_row *rows;
    size_t count = report->n_rows, shown = verbose || count < WORST ? count : WORST;
    double mean = 0;
    if (count == 0) return RRT_STATUS_OK;
    RRT__TRY(rrt__alloc(&rows, count, sizeof *rows, "a table", err));
    memcpy(rows, report->rows, count * sizeof *rows);
    for (size_t i = 0; i < count; i++) mean += left_of(&rows[i]) / (double)count;
    if (!verbose) qsort(rows, count, sizeof *rows, by_what_is_left);
    printf("%sdepth  slot  matrix  rank  lost by sharing  kept by LoRA  left\n", verbose ? "" : "\n");
    for (size_t i = 0; i < shown; i++) print_row(&rows[i]);
    if (shown < count)
        printf("… the %zu matrices with most left, of %zu; mean left %.2f %% (--verbose shows all)\n", shown,
               count, 100 * mean);
    rrt__free(rows);
    return RRT_STATUS_OK;
}

// "0+15 1+16 … 14+29": which of the source's layers share a slot.
static void print_tied(const rrt_convert_report *report)
{
    enum { SHOWN = 4 };
    int last = -1;
    size_t slots = 0;
    for (size_t i = 0; i < report->n_rows; i++)
        if (report->rows[i].slot > last) {
            last = report->rows[i].slot;
            slots++;
        }
    if (slots) printf("tied    layers");
    last = -1;
    for (size_t i = 0, nth = 0; i < report->n_rows; i++) {
        int slot = report->rows[i].slot, before = -1;
        if (slot <= last) continue;
        last = slot;
        if (++nth == SHOWN && slots > SHOWN + 1) printf(" …");
        if (nth >= SHOWN && nth < slots && slots > SHOWN + 1) continue;
        for (size_t k = i; k < report->n_rows; k++) {
            if (report->rows[k].slot != slot || report->rows[k].depth == before) continue;
            printf("%s%d", before < 0 ? " " : "+", report->rows[k].depth);
            before = report->rows[k].depth;
        }
    }
    if (slots) printf("\n");
}

rrt_status rrt__converted_print(const rrt__converted *c, const rrt_model *source, const char *path,
                                bool verbose, rrt_error *err)
{
    rrt_model_info before, after, written;
    rrt_model *result;
    const rrt_convert_report *report = &c->report;
    rrt_model_describe(source, &before);
    rrt_model_describe(c->model, &after);
    RRT__TRY(rrt_model_open_deferred(&result, path, NULL, err));
    rrt_model_describe(result, &written);
    rrt_model_close(result);
    print_frontier(&c->frontier, &before);
    if (verbose) RRT__TRY(print_rows(report, true, err));
    if (verbose) printf("\n");
    printf("plan    %s, norms %s\n",
           plan_text(after.sharing, after.prelude, after.loops, after.layers_per_block, after.coda),
           after.norms);
    print_tied(report);
    if (report->n_kept_layers) printf("kept    layers");
    for (size_t i = 0; i < report->n_kept_layers; i++) printf(" %d", report->kept_layers[i]);
    if (report->n_kept_layers) printf("\n");
    print_sizes(&before, after.params_body, after.params_lora, after.params_total);
    printf("file    %s -> %s\n", rrt__cli_bytes(before.file_bytes), rrt__cli_bytes(written.file_bytes));
    printf("time    %.1f s\n", report->seconds);
    return verbose ? RRT_STATUS_OK : print_rows(report, false, err);
}

rrt_status rrt__forecast_print(const rrt_convert_forecast *f, const rrt_model *source, bool json,
                               rrt_error *err)
{
    rrt_model_info before;
    rrt_model_describe(source, &before);
    if (json)
        return rrt__cli_print_json(
            json_pack("{s:b, s:s, s:i, s:i, s:i, s:i, s:I, s:{s:I, s:I, s:I}, s:f, s:I}", "dry_run", 1,
                      "sharing", f->sharing, "loops", f->loops, "layers_per_block", f->layers_per_block,
                      "prelude", f->prelude, "coda", f->coda, "plans", (json_int_t)f->plans, "params",
                      "total", (json_int_t)f->params_total, "body", (json_int_t)f->params_body, "lora",
                      (json_int_t)f->params_lora, "seconds", f->seconds, "peak_rss_bytes",
                      (json_int_t)f->peak_bytes),
            err);
    printf("plan    %s\n", plan_text(f->sharing, f->prelude, f->loops, f->layers_per_block, f->coda));
    if (f->plans > 1) printf("search  about %zu plans, of which this is the first\n", f->plans);
    print_sizes(&before, f->params_body, f->params_lora, f->params_total);
    printf("time    about %s, reading and writing files aside\n", rrt__cli_duration(f->seconds));
    printf("memory  about %s at its peak\n", rrt__cli_bytes(f->peak_bytes));
    printf("nothing was written (--dry-run)\n");
    return RRT_STATUS_OK;
}

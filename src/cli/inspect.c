#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "pass/kv.h"

// Bytes of keys and values that a token takes while the model decodes.
static rrt_status measure_kv(size_t *bytes, const rrt_model *model, const char *kv_type, rrt_error *err)
{
    rrt__kv_types type;
    RRT__TRY(rrt__kv_types_parse(&type, kv_type, err));
    *bytes = rrt__page_bytes(model, type) / RRT__PAGE_TOKENS;
    return RRT_STATUS_OK;
}

// What text becomes ids by, or why nothing can.
static const char *tokenizer_text(const rrt_model *model, const rrt_model_info *i)
{
    static rrt_error why;
    if (i->tokenizer) return i->tokenizer;
    rrt_model_check_tokenizer(model, &why);
    return why.message;
}

// Of each type how many tensors there are, or how many bytes.
static json_t *types_json(const rrt_model_type *types, size_t count, bool wants_bytes)
{
    json_t *json = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_set_new(json, types[i].name,
                            json_integer((json_int_t)(wants_bytes ? types[i].bytes : types[i].tensors)));
    return json;
}

// Those that --exit agreement:P chooses from.
static json_t *thresholds_json(const rrt_model *model)
{
    json_t *list = json_array();
    for (size_t i = 0; i < model->n_calibrated; i++) {
        const rrt__calibrated_exit *c = &model->calibrated[i];
        json_array_append_new(list,
                              json_pack("{s:f, s:s, s:f, s:s, s:s, s:i, s:f}", "agreement", c->agreement,
                                        "rule", c->rule, "threshold", c->threshold, "kv", c->kv, "kv_type",
                                        c->kv_type, "loops", c->loops, "mean_loops", c->mean_loops));
    }
    return list;
}

static void print_thresholds(const rrt_model *model)
{
    for (size_t i = 0; i < model->n_calibrated; i++) {
        const rrt__calibrated_exit *c = &model->calibrated[i];
        printf("%-12s--exit agreement:%g%% is %s:%g with K/V %s %s: %.2f of %d loops\n", i ? "" : "exits",
               100 * c->agreement, c->rule, c->threshold, c->kv, c->kv_type, c->mean_loops, c->loops);
    }
    if (model->has_stale_thresholds) printf("exits       the stored thresholds are of other weights\n");
}

static rrt_status print_json(const rrt_model *model, const rrt_model_info *i, size_t kv_bytes, rrt_error *err)
{
    json_t *plan =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:s}", "family", i->family, "layers", i->layers,
                  "loops", i->loops, "layers_per_block", i->layers_per_block, "prelude", i->prelude, "coda",
                  i->coda, "sharing", i->sharing, "norms", i->norms, "kv", i->kv);
    json_t *shape = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "hidden", i->hidden, "heads", i->heads,
                              "kv_heads", i->kv_heads, "head_dim", i->head_dim, "ffn", i->ffn, "vocab",
                              i->vocab, "context", i->context);
    json_object_update(plan, shape);
    json_decref(shape);
    json_object_set_new(plan, "trained_loops", json_integer(i->trained_loops));
    json_object_set_new(plan, "loop_norm", json_boolean(i->loop_norm));
    if (i->params_gate && i->exit_threshold < 1)
        json_object_set_new(plan, "exit_threshold", json_real(i->exit_threshold));
    json_object_set_new(plan, "params", rrt__cli_params_json(i));
    json_object_set_new(plan, "name", json_string(i->name));
    rrt_model_type types[RRT_MODEL_TYPES];
    json_object_set_new(plan, "types", types_json(types, rrt_model_types(model, types), false));
    json_object_set_new(plan, "resident_bytes",
                        types_json(types, rrt_model_resident_types(model, types), true));
    json_object_set_new(plan, "tokenizer", json_string(tokenizer_text(model, i)));
    json_object_set_new(plan, "chat_template", json_boolean(i->has_chat_template));
    if (strcmp(i->kv, "last") == 0)
        json_object_set_new(plan, "kv_window", json_integer((json_int_t)i->kv_window));
    json_object_set_new(plan, "exit_thresholds", thresholds_json(model));
    json_object_set_new(plan, "kv_bytes_per_token", json_integer((json_int_t)kv_bytes));
    json_object_set_new(plan, "file_bytes", json_integer((json_int_t)i->file_bytes));
    return rrt__cli_print_json(plan, err);
}

static void print_types(const char *title, const rrt_model_type *types, size_t count)
{
    printf("%-12s", title);
    for (size_t i = 0; i < count; i++)
        printf("%s%llu %s (%s)", i ? ", " : "", (unsigned long long)types[i].tensors, types[i].name,
               rrt__cli_bytes(types[i].bytes));
    printf("\n");
}

static void print_text(const rrt_model *model, const rrt_model_info *i, size_t kv_bytes)
{
    printf("name        %s\n", i->name);
    printf("family      %s\n", i->family);
    if (i->loops > 1)
        printf(
            "plan        %d x %d (loops x layers), prelude %d, coda %d, sharing %s, norms %s%s, K/V %s: %d "
            "layers deep\n",
            i->loops, i->layers_per_block, i->prelude, i->coda, i->sharing, i->norms,
            i->loop_norm ? " and between loops" : "", i->kv, i->layers);
    else
        printf("plan        %d layers, each used once\n", i->layers);
    printf("shape       hidden %d, heads %d of %d, K/V heads %d, MLP %d, vocabulary %d, context %d\n",
           i->hidden, i->heads, i->head_dim, i->kv_heads, i->ffn, i->vocab, i->context);
    printf("parameters  %s: body %s (shared %s, LoRA %s, norms %s), embedding %s\n",
           rrt__cli_count(i->params_total), rrt__cli_count(i->params_body), rrt__cli_count(i->params_shared),
           rrt__cli_count(i->params_lora), rrt__cli_count(i->params_norm),
           rrt__cli_count(i->params_embedding));
    if (i->params_gate)
        printf("gates       after each loop but the last; used %s\n",
               i->exit_threshold < 1 ? "unless another exit rule is given" : "where --exit gate:P is given");
    print_thresholds(model);
    printf("tokenizer   %s; chat template: %s\n", tokenizer_text(model, i),
           i->has_chat_template ? "yes" : "no");
    rrt_model_type types[RRT_MODEL_TYPES];
    print_types("types", types, rrt_model_types(model, types));
    print_types("in memory", types, rrt_model_resident_types(model, types));
    printf("keys/values %s per token, %s for the whole context\n", rrt__cli_bytes(kv_bytes),
           rrt__cli_bytes(kv_bytes * (uint64_t)i->context));
    printf("file        %s\n", rrt__cli_bytes(i->file_bytes));
}

int rrt__cli_inspect(int argc, char **argv)
{
    rrt__cli_kv kv = {0};
    const char *kv_type;
    rrt__cli_model which = {0};
    const rrt__option options[] = {RRT__OPTION_GROUP("As it would run"), RRT__CLI_KV_ROWS(&kv, "f16"),
                                   RRT__CLI_KV_LAST_ROW(&which), RRT__CLI_LOOPS_ROWS(&which)};
    const rrt__cli_usage usage = {.line = "rrt inspect MODEL",
                                  .about = "Tells what is in a model: name, family, plan, shape, parameters, "
                                           "tokenizer, types, memory. Reads no weights.",
                                  .examples = "rrt inspect model.gguf\n"
                                              "rrt inspect recursive --json",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .positional = 1};
    rrt_error err = {0};
    rrt__cli_common common;
    char *path;
    rrt_model *model = NULL;
    rrt_model_info info;
    size_t kv_bytes;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, &path, &err));
    RRT__GOTO(rrt__cli_kv_type(&kv, &kv_type, &err));
    which.path = path;
    RRT__GOTO(rrt__cli_open_deferred(&model, &which, &err));
    RRT__GOTO(measure_kv(&kv_bytes, model, kv_type, &err));
    rrt_model_describe(model, &info);
    if (common.json)
        RRT__GOTO(print_json(model, &info, kv_bytes, &err));
    else
        print_text(model, &info, kv_bytes);
done:
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}

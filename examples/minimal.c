// Continues a text with a model: cc minimal.c $(pkg-config --cflags --libs rrt) && ./a.out MODEL "Once upon a
// time"
#include <rrt/rrt.h>

#include <stdio.h>
#include <string.h>

static int fail(const rrt_error *err)
{
    fprintf(stderr, "%s: %s (%s)\n", err->where, err->message, err->hint);
    return 1;
}

int main(int argc, char **argv)
{
    rrt_error err = {0};
    rrt_model *model;
    rrt_session *session;
    rrt_model_info info;
    int32_t *ids, id;
    size_t count, length;

    if (argc != 3) return fprintf(stderr, "usage: minimal MODEL TEXT\n"), 2;
    if (rrt_model_open(&model, argv[1], NULL, &err)) return fail(&err);
    const rrt_tokenizer *tokenizer = rrt_model_tokenizer(model);
    rrt_model_describe(model, &info);
    if (rrt_model_check_tokenizer(model, &err) ||
        rrt_encode(tokenizer, argv[2], strlen(argv[2]), NULL, &ids, &count, &err))
        return fail(&err);
    if (rrt_session_open(&session, model, NULL, &err)) return fail(&err);
    if (rrt_session_append(session, ids, count, &err)) return fail(&err);

    const rrt_sampling sampling = {.temperature = 0.8f, .top_p = 0.95f, .seed = 1};
    for (int i = 0; i < 32; i++) {
        if (rrt_sample(rrt_session_logits(session), (size_t)info.vocab, &sampling,
                       rrt_session_tokens(session), &id, &err) ||
            rrt_session_append(session, &id, 1, &err))
            return fail(&err);
        if (rrt_tokenizer_ends(tokenizer, id)) break;
        const char *bytes = rrt_token_bytes(tokenizer, id, &length);
        fwrite(bytes, 1, length, stdout);
    }
    putchar('\n');
    rrt_session_close(session);
    rrt_ids_free(ids);
    rrt_model_close(model);
    return 0;
}

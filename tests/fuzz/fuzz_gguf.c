// GGUF files: whatever the bytes are, parsing ends with a result or an error, and a result can be used.
#include "checkpoint/checkpoint.h"
#include "use_tensors.h"

enum { SMALL = 4096 }; // items of an array that is read

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static rrt_status take_string(void *user, size_t index, rrt__slice string, rrt_error *err)
{
    size_t *sum = user;
    (void)err;
    for (size_t i = 0; i < string.length; i++) *sum += (unsigned char)string.data[i] + index;
    return RRT_STATUS_OK;
}

static void use_key(const rrt__gguf *gguf, const char *key, rrt_error *err)
{
    static int64_t integers[SMALL];
    static float reals[SMALL];
    double real;
    bool flag;
    rrt__slice string;
    size_t count, sum = 0;
    rrt__gguf_int(gguf, key, INT64_MIN, INT64_MAX, integers, err);
    rrt__gguf_int_or(gguf, key, 0, 1000, 0, integers, err);
    rrt__gguf_real_or(gguf, key, 0, &real, err);
    rrt__gguf_bool_or(gguf, key, false, &flag, err);
    if (!rrt__gguf_string(gguf, key, &string, err)) take_string(&sum, 0, string, err);
    rrt__gguf_each_string(gguf, key, take_string, &sum, err);
    if (rrt__gguf_array_count(gguf, key, &count, err) || count > SMALL) return;
    rrt__gguf_ints(gguf, key, integers, count, err);
    rrt__gguf_reals(gguf, key, reals, count, err);
}

// What its metadata say of a model, and the angles that follow.
static void use_config(const rrt__gguf *gguf, rrt_error *err)
{
    rrt__config config;
    float frequency[RRT__ROPE_MAX_PAIRS];
    if (rrt__config_from_gguf(&config, gguf, err)) return;
    const rrt__shape *shape = &config.shape;
    if (shape->rotary / 2 > RRT__ROPE_MAX_PAIRS) return;
    rrt__rope_frequencies(&shape->rope, shape->rotary, shape->context, frequency);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {
        "general.alignment",     "general.architecture",  "int8", "int16", "uint64", "real", "flag",
        "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "ints", "x"};
    rrt_error err;
    rrt__gguf *gguf;
    if (rrt__gguf_parse(&gguf, data, size, "fuzz", &err)) {
        if (gguf || err.status == RRT_STATUS_OK || !err.message[0]) __builtin_trap();
        return 0;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) use_key(gguf, keys[i], &err);
    use_tensors(rrt__gguf_tensors(gguf));
    use_config(gguf, &err);
    rrt__gguf_close(gguf);
    return 0;
}

// Any bytes as a chat template, and behind a NUL as the JSON of its variables; what compiles is rendered.
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char fixed[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \" héllo <|im_end|>\\n\"}, {\"role\": \"assistant\", "
    "\"content\": [{\"type\": \"text\", \"text\": \"a\"}], \"tool_calls\": [{\"function\": {\"name\": \"f\", "
    "\"arguments\": {\"x\": 1.5, \"y\": [null, true]}}}]}], \"tools\": [{\"name\": \"f\", \"k\": -3}], "
    "\"n\": 7, "
    "\"s\": \"a,b c\", \"bos_token\": \"<s>\", \"add_generation_prompt\": true}";

// The text has to be valid UTF-8, with a mark for each byte.
static void render(const rrt__template *compiled, json_t *json)
{
    rrt__template_input inputs[16];
    size_t count = 0;
    const char *name;
    json_t *value;
    rrt__rendered out;
    rrt_error err;
    json_object_foreach(json, name, value)
    {
        if (count < sizeof inputs / sizeof *inputs)
            inputs[count++] = (rrt__template_input){name, value, .word_key = "role"};
    }
    if (!rrt__template_render(compiled, inputs, count, 1700000000, &out, &err) &&
        (rrt__utf8_first_invalid(out.text.data, out.text.length) != out.text.length ||
         out.marks.length != out.text.length || out.text.length > RRT__TEMPLATE_MAX_OUTPUT))
        abort();
    rrt__rendered_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = size ? memchr(text, '\0', size) : NULL;
    size_t length = end ? (size_t)(end - text) : size;
    rrt__template *compiled;
    json_t *json = NULL;
    rrt_error err;
    if (rrt__template_compile(&compiled, text, length, &err)) return 0;
    if (end && rrt__json_parse(&json, end + 1, size - length - 1, &err)) json = NULL;
    if (!end && rrt__json_parse(&json, fixed, sizeof fixed - 1, &err)) abort();
    if (json) render(compiled, json);
    json_decref(json);
    rrt__template_free(compiled);
    return 0;
}

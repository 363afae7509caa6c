// Any bytes as JSON; what is read is written and read again, and has to be the same.
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_numbers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rrt_error err;
    json_t *json, *again;
    rrt__string written = {0};
    if (rrt__json_parse(&json, (const char *)data, size, &err)) return 0;
    char *text = json_dumps(json, JSON_INDENT(2));
    if (!text || rrt__json_numbers_from_jansson(&written, text, &err)) abort();
    if (rrt__json_parse(&again, written.data, written.length, &err) || !json_equal(json, again)) abort();
    free(text);
    rrt__string_free(&written);
    json_decref(json);
    json_decref(again);
    return 0;
}

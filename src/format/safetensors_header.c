#include <stdlib.h>
#include <string.h>

#include "format/safetensors_inside.h"

enum { MAX_HEADER_BYTES = 100 * 1000 * 1000 }; // the format's limit

// Location of a tensor of any dtype, relative to the data.
typedef struct span {
    size_t begin, end;
    const char *name;
} span;

typedef struct reading {
    const unsigned char *data;
    size_t size_bytes, data_begin; // data_begin: start of the tensors' data, after the header
    const char *path;
    rrt__arena *arena;
    rrt__tensor_table *table;
    span *spans;
    size_t n_spans;
} reading;

typedef struct dtype_row {
    const char *name;
    size_t bytes;
    rrt__dtype dtype; // RRT__DTYPE_COUNT: the table omits the tensor
} dtype_row;

static rrt_status find_dtype(const json_t *json, const dtype_row **out, rrt_error *err)
{
    static const dtype_row rows[] = {
        {"F32", 4, RRT__DTYPE_F32},   {"F16", 2, RRT__DTYPE_F16},   {"BF16", 2, RRT__DTYPE_BF16},
        {"I8", 1, RRT__DTYPE_COUNT},  {"I16", 2, RRT__DTYPE_COUNT}, {"I32", 4, RRT__DTYPE_COUNT},
        {"I64", 8, RRT__DTYPE_COUNT}, {"U8", 1, RRT__DTYPE_COUNT},  {"U16", 2, RRT__DTYPE_COUNT},
        {"U32", 4, RRT__DTYPE_COUNT}, {"U64", 8, RRT__DTYPE_COUNT}, {"BOOL", 1, RRT__DTYPE_COUNT},
    };
    const char *name;
    RRT__TRY(rrt__json_string(json, "dtype", &name, err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *out = &rows[i];
        if (strcmp(rows[i].name, name) == 0) return RRT_STATUS_OK;
    }
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED, "its dtype is %.40s: F32, F16 and BF16 are read", name);
    bool is_quantised = name[0] == 'F' && (name[1] == '4' || name[1] == '8') && name[2] == '_';
    return rrt__hint(err, status,
                     is_quantised ? "the weights are quantised: take the original, or its GGUF"
                                  : "convert the model to BF16 first");
}

// Item i of the array `key`, as a size.
static rrt_status get_size(const json_t *array, size_t i, const char *key, size_t *out, rrt_error *err)
{
    const json_t *item = json_array_get(array, i);
    if (!json_is_integer(item) || json_integer_value(item) < 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\": item %zu is not an integer of at least 0", key, i);
    *out = (size_t)json_integer_value(item);
    return RRT_STATUS_OK;
}

static rrt_status get_shape(const json_t *json, rrt__tensor *tensor, rrt_error *err)
{
    json_t *shape;
    RRT__TRY(rrt__json_array(json, "shape", &shape, err));
    if (json_array_size(shape) > RRT__TENSOR_MAX_DIMS)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%zu dimensions, at most %d are read",
                         json_array_size(shape), RRT__TENSOR_MAX_DIMS);
    tensor->n_dims = (int)json_array_size(shape);
    for (int i = 0; i < tensor->n_dims; i++)
        RRT__TRY(get_size(shape, (size_t)i, "shape", &tensor->shape[i], err));
    return RRT_STATUS_OK;
}

static rrt_status get_span(const reading *r, const json_t *json, span *place, rrt_error *err)
{
    json_t *offsets;
    size_t data_bytes = r->size_bytes - r->data_begin;
    RRT__TRY(rrt__json_array(json, "data_offsets", &offsets, err));
    if (json_array_size(offsets) != 2)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"data_offsets\" has %zu items, 2 are expected",
                         json_array_size(offsets));
    RRT__TRY(get_size(offsets, 0, "data_offsets", &place->begin, err));
    RRT__TRY(get_size(offsets, 1, "data_offsets", &place->end, err));
    if (place->begin <= place->end && place->end <= data_bytes) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_FORMAT,
                  "it lies at [%zu, %zu) of the data, which has %zu bytes from byte %zu of the file on",
                  place->begin, place->end, data_bytes, r->data_begin);
    return rrt__hint(err, status, "the file is cut off or damaged: fetch it again");
}

static rrt_status read_tensor(reading *r, const char *key, const json_t *json, rrt_error *err)
{
    const dtype_row *row;
    char *name;
    size_t count;
    if (!key[0]) return rrt__fail(err, RRT_STATUS_FORMAT, "its name is empty");
    if (!json_is_object(json))
        return rrt__fail(err, RRT_STATUS_FORMAT, "its description is not a JSON object");
    RRT__TRY(rrt__arena_copy(r->arena, &name, key, strlen(key), err));
    rrt__tensor tensor = {.name = name, .path = r->path};
    span *place = &r->spans[r->n_spans++];
    place->name = name;
    RRT__TRY(find_dtype(json, &row, err));
    RRT__TRY(get_shape(json, &tensor, err));
    RRT__TRY(get_span(r, json, place, err));
    if (!rrt__tensor_count(&tensor, &count) || !rrt__size_mul(count, row->bytes, &tensor.size_bytes))
        return rrt__fail(err, RRT_STATUS_FORMAT, "its size overflows 64 bits");
    tensor.file_offset = r->data_begin + place->begin;
    if (tensor.size_bytes != place->end - place->begin)
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "its shape and dtype %s make %zu bytes, but it has %zu (byte %zu)", row->name,
                         tensor.size_bytes, place->end - place->begin, tensor.file_offset);
    if (row->dtype == RRT__DTYPE_COUNT) return RRT_STATUS_OK;
    tensor.dtype = row->dtype;
    tensor.data = r->data + tensor.file_offset;
    return rrt__tensor_table_add(r->table, &tensor, err);
}

static rrt_status check_metadata(json_t *metadata, rrt_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"__metadata__\" is not a JSON object");
    json_object_foreach(metadata, key, value) if (!json_is_string(value)) return rrt__fail(
        err, RRT_STATUS_FORMAT, "\"__metadata__\" has something other than a string at \"%.80s\"", key);
    return RRT_STATUS_OK;
}

static int compare_spans(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static rrt_status check_cover(reading *r, rrt_error *err)
{
    size_t at = 0, data_bytes = r->size_bytes - r->data_begin;
    qsort(r->spans, r->n_spans, sizeof *r->spans, compare_spans);
    for (size_t i = 0; i < r->n_spans; i++) {
        const span *place = &r->spans[i];
        if (place->begin != at)
            return rrt__fail(err, RRT_STATUS_FORMAT,
                             "%s: tensor '%.80s' begins at byte %zu of the data, %zu is expected",
                             place->begin < at ? "an overlap" : "a hole", place->name, place->begin, at);
        at = place->end;
    }
    if (at == data_bytes) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT,
                     "a hole: the tensors end at byte %zu of the data, which has %zu bytes", at, data_bytes);
}

static rrt_status parse_json(reading *r, json_t **header, rrt_error *err)
{
    uint64_t length = 0;
    if (r->size_bytes < sizeof length) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_FORMAT, "%zu bytes are too few for a safetensors file", r->size_bytes);
        return rrt__hint(err, status, "the file is cut off: fetch it again");
    }
    memcpy(&length, r->data, sizeof length);
    size_t room = r->size_bytes - sizeof length;
    if (room > MAX_HEADER_BYTES) room = MAX_HEADER_BYTES;
    if (length > room) {
        rrt_status status = rrt__fail(err, RRT_STATUS_FORMAT,
                                      "the header claims %llu bytes (byte 0): at most %zu are possible",
                                      (unsigned long long)length, room);
        return rrt__hint(err, status, "the file is cut off, or is no safetensors file: fetch it again");
    }
    const char *text = (const char *)r->data + sizeof length;
    if (length == 0 || text[0] != '{')
        return rrt__fail(err, RRT_STATUS_FORMAT, "the header does not begin with '{' (byte 8)");
    r->data_begin = sizeof length + length;
    rrt_status status = rrt__json_parse(header, text, length, err);
    return status ? rrt__at(err, status, "the header from byte 8 on") : RRT_STATUS_OK;
}

static rrt_status read_tensors(reading *r, json_t *header, rrt_error *err)
{
    const char *key;
    json_t *value;
    RRT__TRY(rrt__alloc(&r->spans, json_object_size(header), sizeof *r->spans, "a list of tensors", err));
    json_object_foreach(header, key, value)
    {
        bool is_metadata = strcmp(key, "__metadata__") == 0;
        rrt_status status = is_metadata ? check_metadata(value, err) : read_tensor(r, key, value, err);
        if (status) return is_metadata ? status : rrt__at(err, status, "tensor '%.80s'", key);
    }
    return check_cover(r, err);
}

rrt_status rrt__safetensors_read_header(rrt__tensor_table *table, rrt__arena *arena,
                                        const unsigned char *data, size_t size_bytes, const char *path,
                                        json_t **header, rrt_error *err)
{
    reading r = {.data = data, .size_bytes = size_bytes, .path = path, .arena = arena, .table = table};
    *header = NULL;
    rrt_status status = parse_json(&r, header, err);
    if (!status) status = read_tensors(&r, *header, err);
    rrt__free(r.spans);
    if (!status) return RRT_STATUS_OK;
    json_decref(*header);
    *header = NULL;
    return rrt__at(err, status, "%s", path);
}

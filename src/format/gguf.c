// Layout of the file: magic, version, number of tensors and of metadata entries; the entries; the tensors'
// names, shapes, types and offsets; padding to the alignment; the tensors' data.
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "format/gguf_inside.h"

enum {
    MAX_NAME_BYTES = 64, // ggml's limit
    DEFAULT_ALIGNMENT = 32,
    MIN_ENTRY_BYTES = 8 + 1 + 4 + 1,     // key, type, value
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8 // name, n_dims, type, offset
};

typedef struct header {
    uint64_t n_tensors, n_entries;
} header;

static rrt_status fail_magic(const unsigned char *magic, rrt_error *err)
{
    bool is_download = magic[0] == '<';
    rrt_status status =
        rrt__fail(err, RRT_STATUS_FORMAT,
                  "not a GGUF file: it begins with the bytes %02x %02x %02x %02x, 47 47 55 46 are expected",
                  magic[0], magic[1], magic[2], magic[3]);
    return rrt__hint(err, status, "%s",
                     is_download ? "a web page was saved in its place: fetch it again"
                                 : "of a Hugging Face model, pass the folder and not a file in it");
}

static rrt_status check_version(uint32_t version, rrt_error *err)
{
    if (version == 2 || version == 3) return RRT_STATUS_OK;
    if (version != 0 && (version & 0xffff) == 0)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a big-endian GGUF file: little-endian ones are read");
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED, "GGUF version %u (byte 4): 2 and 3 are read", version);
    return rrt__hint(err, status, "convert the model again with a current convert_hf_to_gguf.py");
}

// Accepts a count only if the rest of the file could hold that many, so that the file's size bounds
// the memory.
static rrt_status take_count(rrt__gguf_reader *reader, size_t min_bytes, uint64_t *count, const char *what,
                             rrt_error *err)
{
    RRT__TRY(rrt__gguf_take_u64(reader, count, what, err));
    size_t possible = (reader->size_bytes - reader->at) / min_bytes;
    if (*count <= possible) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_FORMAT, "%s is %llu (byte %zu), but the file has room for %zu at most",
                  what, (unsigned long long)*count, reader->at - 8, possible);
    return rrt__hint(err, status, "the file is cut off or damaged: fetch it again");
}

static rrt_status take_header(rrt__gguf_reader *reader, header *out, rrt_error *err)
{
    const unsigned char *magic;
    uint32_t version;
    RRT__TRY(rrt__gguf_take(reader, 4, &magic, "the magic", err));
    if (memcmp(magic, "GGUF", 4) != 0) return fail_magic(magic, err);
    RRT__TRY(rrt__gguf_take_u32(reader, &version, "the version", err));
    RRT__TRY(check_version(version, err));
    RRT__TRY(take_count(reader, MIN_TENSOR_BYTES, &out->n_tensors, "the number of tensors", err));
    return take_count(reader, MIN_ENTRY_BYTES, &out->n_entries, "the number of metadata entries", err);
}

static rrt_status take_entries(rrt__gguf *gguf, rrt__gguf_reader *reader, uint64_t count, rrt_error *err)
{
    for (uint64_t i = 0; i < count; i++) {
        rrt__gguf_entry entry = {0};
        rrt_status status = rrt__gguf_take_entry(reader, &entry, err);
        if (status && entry.key.length)
            return rrt__at(err, status, "metadata '%.*s'", (int)entry.key.length, entry.key.data);
        if (status) return rrt__at(err, status, "metadata entry %llu", (unsigned long long)i);
        RRT__TRY(rrt__array_reserve(&gguf->entries, &gguf->entries_capacity, gguf->n_entries + 1,
                                    sizeof entry, err));
        gguf->entries[gguf->n_entries++] = entry;
    }
    return rrt__gguf_sort_entries(gguf, err);
}

// The ids of ggml_type; gaps are types that ggml has removed.
static const char *const ggml_types[] = {
    [0] = "F32",     [1] = "F16",    [2] = "Q4_0",     [3] = "Q4_1",    [6] = "Q5_0",     [7] = "Q5_1",
    [8] = "Q8_0",    [9] = "Q8_1",   [10] = "Q2_K",    [11] = "Q3_K",   [12] = "Q4_K",    [13] = "Q5_K",
    [14] = "Q6_K",   [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S",
    [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S",   [23] = "IQ4_XS", [24] = "I8",      [25] = "I16",
    [26] = "I32",    [27] = "I64",   [28] = "F64",     [29] = "IQ1_M",  [30] = "BF16",    [34] = "TQ1_0",
    [35] = "TQ2_0",  [39] = "MXFP4",
};

enum { GGML_TYPE_COUNT = sizeof ggml_types / sizeof *ggml_types };

uint32_t rrt__gguf_type_of(rrt__dtype dtype)
{
    uint32_t id = 0;
    while (!ggml_types[id] || strcmp(ggml_types[id], rrt__dtype_name(dtype)) != 0) id++;
    return id;
}

static rrt_status find_dtype(uint32_t id, rrt__dtype *out, rrt_error *err)
{
    const char *name = id < GGML_TYPE_COUNT && ggml_types[id] ? ggml_types[id] : "unknown";
    char readable[128] = "";
    for (rrt__dtype dtype = 0; dtype < RRT__DTYPE_COUNT; dtype++) {
        *out = dtype;
        if (strcmp(rrt__dtype_name(dtype), name) == 0) return RRT_STATUS_OK;
        size_t length = strlen(readable);
        snprintf(readable + length, sizeof readable - length, "%s%s", length ? ", " : "",
                 rrt__dtype_name(dtype));
    }
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED, "its type is %s (number %u): %s are read", name, id, readable);
    return rrt__hint(err, status, "quantise the model to one of these types");
}

// The file lists the innermost dimension first.
static rrt_status take_shape(rrt__gguf_reader *reader, rrt__tensor *tensor, rrt_error *err)
{
    uint32_t n_dims;
    RRT__TRY(rrt__gguf_take_u32(reader, &n_dims, "the number of dimensions", err));
    if (n_dims > RRT__TENSOR_MAX_DIMS)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%u dimensions (byte %zu), at most %d are possible", n_dims,
                         reader->at - 4, RRT__TENSOR_MAX_DIMS);
    tensor->n_dims = (int)n_dims;
    for (int i = tensor->n_dims - 1; i >= 0; i--) {
        uint64_t size;
        RRT__TRY(rrt__gguf_take_u64(reader, &size, "a dimension", err));
        if (size == 0)
            return rrt__fail(err, RRT_STATUS_FORMAT, "dimension %d is 0 (byte %zu), at least 1 is expected",
                             i, reader->at - 8);
        tensor->shape[i] = size;
    }
    return RRT_STATUS_OK;
}

// Sets size_bytes from shape and type.
static rrt_status measure(rrt__tensor *tensor, rrt_error *err)
{
    size_t block_values = rrt__dtype_block_values(tensor->dtype), count;
    size_t row = tensor->n_dims ? tensor->shape[tensor->n_dims - 1] : 1;
    if (row % block_values != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "its rows have %zu values, a multiple of %zu is expected for %s", row, block_values,
                         rrt__dtype_name(tensor->dtype));
    if (!rrt__tensor_count(tensor, &count) ||
        !rrt__size_mul(count / block_values, rrt__dtype_block_bytes(tensor->dtype), &tensor->size_bytes))
        return rrt__fail(err, RRT_STATUS_FORMAT, "its size overflows 64 bits");
    return RRT_STATUS_OK;
}

// Sets all but the absolute offset: the data's start is known only after the last tensor, so file_offset is
// relative until then.
static rrt_status take_tensor(rrt__gguf *gguf, rrt__gguf_reader *reader, rrt__tensor *tensor, rrt_error *err)
{
    rrt__slice name;
    char *copy;
    uint32_t type;
    uint64_t offset;
    RRT__TRY(rrt__gguf_take_string(reader, MAX_NAME_BYTES, &name, "a tensor's name", err));
    if (name.length == 0 || memchr(name.data, 0, name.length) ||
        rrt__utf8_first_invalid(name.data, name.length) != name.length)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the name before byte %zu is empty or not valid UTF-8",
                         reader->at);
    RRT__TRY(rrt__arena_copy(&gguf->arena, &copy, name.data, name.length, err));
    *tensor = (rrt__tensor){.name = copy, .path = gguf->path, .map = gguf->map};
    RRT__TRY(take_shape(reader, tensor, err));
    RRT__TRY(rrt__gguf_take_u32(reader, &type, "the type", err));
    RRT__TRY(find_dtype(type, &tensor->dtype, err));
    RRT__TRY(rrt__gguf_take_u64(reader, &offset, "the offset", err));
    tensor->file_offset = offset;
    return measure(tensor, err);
}

static rrt_status place_tensor(rrt__tensor *tensor, const rrt__gguf_reader *reader, size_t begin,
                               size_t alignment, rrt_error *err)
{
    size_t offset = tensor->file_offset, room = reader->size_bytes > begin ? reader->size_bytes - begin : 0;
    if (offset % alignment != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "its offset %zu is not a multiple of the alignment %zu",
                         offset, alignment);
    if (offset > room || tensor->size_bytes > room - offset) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_FORMAT, "it has %zu bytes at %zu + %zu, but the file ends at byte %zu",
                      tensor->size_bytes, begin, offset, reader->size_bytes);
        return rrt__hint(err, status, "the file is cut off: fetch it again");
    }
    tensor->file_offset = begin + offset;
    tensor->data = reader->data + tensor->file_offset;
    return RRT_STATUS_OK;
}

static rrt_status take_tensors(rrt__gguf *gguf, rrt__gguf_reader *reader, uint64_t count, rrt_error *err)
{
    for (uint64_t i = 0; i < count; i++) {
        rrt__tensor tensor = {0};
        rrt_status status = take_tensor(gguf, reader, &tensor, err);
        if (status && tensor.name) return rrt__at(err, status, "tensor '%s'", tensor.name);
        if (status) return rrt__at(err, status, "tensor %llu", (unsigned long long)i);
        RRT__TRY(rrt__tensor_table_add(&gguf->table, &tensor, err));
    }
    int64_t alignment;
    RRT__TRY(rrt__gguf_int_or(gguf, "general.alignment", 1, 1 << 30, DEFAULT_ALIGNMENT, &alignment, err));
    if ((alignment & (alignment - 1)) != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "general.alignment is %lld, a power of two is expected",
                         (long long)alignment);
    size_t begin = (reader->at + (size_t)alignment - 1) & ~((size_t)alignment - 1);
    for (size_t i = 0; i < gguf->table.count; i++) {
        rrt__tensor *tensor = &gguf->table.tensors[i];
        rrt_status status = place_tensor(tensor, reader, begin, (size_t)alignment, err);
        if (status) return rrt__at(err, status, "tensor '%s'", tensor->name);
    }
    return rrt__tensor_table_seal(&gguf->table, err);
}

static rrt_status parse(rrt__gguf *gguf, const void *data, size_t size_bytes, rrt_error *err)
{
    rrt__gguf_reader reader = {data, size_bytes, 0};
    header counts;
    RRT__TRY(take_header(&reader, &counts, err));
    RRT__TRY(take_entries(gguf, &reader, counts.n_entries, err));
    return take_tensors(gguf, &reader, counts.n_tensors, err);
}

// Takes ownership of the map, also on failure.
static rrt_status parse_new(rrt__gguf **out, const void *data, size_t size_bytes, const char *path,
                            rrt__map map, rrt_error *err)
{
    rrt__gguf *gguf = NULL;
    char *path_copy;
    rrt_status status = RRT_STATUS_OK;
    RRT__GOTO(rrt__alloc(&gguf, 1, sizeof *gguf, "a GGUF file's header", err));
    gguf->map = map;
    map = (rrt__map){0};
    RRT__GOTO(rrt__arena_copy(&gguf->arena, &path_copy, path, strlen(path), err));
    gguf->path = path_copy;
    status = parse(gguf, data, size_bytes, err);
    if (status) rrt__at(err, status, "%s", path);
done:
    if (status) {
        rrt__map_close(&map);
        rrt__gguf_close(gguf);
        gguf = NULL;
    }
    *out = gguf;
    return status;
}

rrt_status rrt__gguf_open_one(rrt__gguf **out, const char *path, rrt_error *err)
{
    *out = NULL;
    rrt__map map;
    RRT__TRY(rrt__map_open(&map, path, err));
    return parse_new(out, map.data, map.size_bytes, path, map, err);
}

rrt_status rrt__gguf_parse(rrt__gguf **out, const void *data, size_t size_bytes, const char *path,
                           rrt_error *err)
{
    return parse_new(out, data, size_bytes, path, (rrt__map){0}, err);
}

void rrt__gguf_close(rrt__gguf *gguf)
{
    while (gguf) {
        rrt__gguf *next = gguf->next;
        rrt__tensor_table_free(&gguf->table);
        rrt__free(gguf->entries);
        rrt__arena_free(&gguf->arena);
        rrt__map_close(&gguf->map);
        rrt__free(gguf);
        gguf = next;
    }
}

const rrt__tensor_table *rrt__gguf_tensors(const rrt__gguf *gguf)
{
    return &gguf->table;
}

size_t rrt__gguf_file_bytes(const rrt__gguf *gguf)
{
    size_t bytes = 0;
    for (; gguf; gguf = gguf->next) bytes += gguf->map.size_bytes;
    return bytes;
}

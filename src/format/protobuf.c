#include "format/protobuf.h"

#include <string.h>

static rrt_status fail_at(const rrt__proto *message, const char *at, const char *what, rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_FORMAT, "%s at byte %zu", what, (size_t)(at - message->begin));
}

// Seven bits a byte, the lowest first; at most ten bytes.
static rrt_status take_varint(rrt__proto *message, uint64_t *out, rrt_error *err)
{
    const char *start = message->at;
    *out = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (message->at == message->end) return fail_at(message, start, "the number is cut off", err);
        unsigned char byte = (unsigned char)*message->at++;
        if (shift == 63 && byte > 1) break;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return RRT_STATUS_OK;
    }
    return fail_at(message, start, "the number is longer than 64 bits", err);
}

static rrt_status take_bytes(rrt__proto *message, uint64_t length, rrt__slice *out, rrt_error *err)
{
    if (length > (uint64_t)(message->end - message->at))
        return fail_at(message, message->at, "the field is longer than the message that holds it", err);
    *out = (rrt__slice){message->at, (size_t)length};
    message->at += length;
    return RRT_STATUS_OK;
}

static rrt_status take_fixed(rrt__proto *message, size_t length, rrt__proto_field *field, rrt_error *err)
{
    RRT__TRY(take_bytes(message, length, &field->bytes, err));
    for (size_t i = length; i-- > 0;) field->value = field->value << 8 | (unsigned char)field->bytes.data[i];
    return RRT_STATUS_OK;
}

rrt_status rrt__proto_next(rrt__proto *message, rrt__proto_field *field, rrt_error *err)
{
    const char *start = message->at;
    uint64_t key, length;
    *field = (rrt__proto_field){0};
    if (message->at == message->end) return RRT_STATUS_OK;
    RRT__TRY(take_varint(message, &key, err));
    if (key >> 3 == 0 || key >> 3 >= 1u << 29)
        return fail_at(message, start, "the field has an impossible number", err);
    field->number = (uint32_t)(key >> 3);
    field->wire = (rrt__proto_wire)(key & 7);
    switch (field->wire) {
    case RRT__PROTO_VARINT:
        return take_varint(message, &field->value, err);
    case RRT__PROTO_FIXED64:
        return take_fixed(message, 8, field, err);
    case RRT__PROTO_FIXED32:
        return take_fixed(message, 4, field, err);
    case RRT__PROTO_BYTES:
        RRT__TRY(take_varint(message, &length, err));
        return take_bytes(message, length, &field->bytes, err);
    default:
        return fail_at(message, start, "the field is of a kind that is not known", err);
    }
}

rrt__proto rrt__proto_inside(const rrt__proto *message, const rrt__proto_field *field)
{
    return (rrt__proto){field->bytes.data, field->bytes.data + field->bytes.length, message->begin};
}

float rrt__proto_float(const rrt__proto_field *field)
{
    uint32_t bits = (uint32_t)field->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Reads messages of protocol buffers, field by field, from bytes that nobody vouches for.
#ifndef RRT__PROTOBUF_H
#define RRT__PROTOBUF_H

#include "format/gguf.h"

// The rest of a message. begin: where the file's bytes begin, for errors.
typedef struct rrt__proto {
    const char *at, *end, *begin;
} rrt__proto;

typedef enum rrt__proto_wire {
    RRT__PROTO_VARINT = 0,
    RRT__PROTO_FIXED64 = 1,
    RRT__PROTO_BYTES = 2, // a string, a message, a packed list
    RRT__PROTO_FIXED32 = 5,
} rrt__proto_wire;

typedef struct rrt__proto_field {
    uint32_t number; // 0: the message's end
    rrt__proto_wire wire;
    uint64_t value;   // of a number, by its bits
    rrt__slice bytes; // in the message
} rrt__proto_field;

// Takes the next field, whatever its number. FORMAT, with the byte, for one that the message does not hold as
// a whole, and for groups, which nobody writes any more.
rrt_status rrt__proto_next(rrt__proto *message, rrt__proto_field *field, rrt_error *err);

// The message in a field of bytes.
rrt__proto rrt__proto_inside(const rrt__proto *message, const rrt__proto_field *field);

float rrt__proto_float(const rrt__proto_field *field);

#endif

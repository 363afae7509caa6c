// JSON numbers that jansson cannot hold: integers beyond 64 bits, reals beyond double, and the NaN and
// Infinity of Python. Many files contain them in unused places ("model_max_length":
// 1000000000000000019884624838656), so they are read as numbers that no use accepts.
//
// A large integer becomes the nearest double, and a number beyond double one of three reserved values. These
// three, and whole numbers from 2^63 on, are written back as they were.
#ifndef RRT__JSON_NUMBERS_H
#define RRT__JSON_NUMBERS_H

#include "base/memory.h"

#define RRT__JSON_INFINITE 0x1.fffffffffffffp+1023 // DBL_MAX
#define RRT__JSON_NAN 0x1.ffffffffffffep+1023      // the next lower double

// Rewrites text[0..length) so that jansson accepts its numbers. Leaves *out empty if jansson accepts
// it unchanged.
rrt_status rrt__json_numbers_for_jansson(rrt__string *out, const char *text, size_t length, rrt_error *err);

// The offset in text[0..length) of byte `position` of the rewritten text. *column: the character's position
// in its line, which is corrected likewise.
size_t rrt__json_numbers_position(const char *text, size_t length, size_t position, int *column);

// Appends a text that jansson wrote with 17 digits: each real number with as few digits as needed, and
// reserved values as the numbers that they represent.
rrt_status rrt__json_numbers_from_jansson(rrt__string *out, const char *text, rrt_error *err);

// The number's text for messages: "Infinity", "1e+30", "0.5".
const char *rrt__json_number_name(double number, char room[32]);

#endif

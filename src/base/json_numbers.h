// Numbers of JSON texts that jansson has no room for: integers beyond 64 bits, reals beyond double, and the
// NaN and Infinity that Python writes and reads. Files are full of them where nobody looks
// ("model_max_length": 1000000000000000019884624838656), so they are read as numbers that no use of ours
// accepts.
//
// A large integer becomes the nearest double, and what double cannot hold one of three that stand for it.
// Those three, and whole numbers from 2^63 on, are written back as what they were.
#ifndef RRT__JSON_NUMBERS_H
#define RRT__JSON_NUMBERS_H

#include "base/memory.h"

#define RRT__JSON_INFINITE 0x1.fffffffffffffp+1023 // DBL_MAX
#define RRT__JSON_NAN 0x1.ffffffffffffep+1023      // the double below it

// Rewrites text[0..length) so that jansson takes its numbers. Appends nothing and leaves *out empty where it
// does as it is.
rrt_status rrt__json_numbers_for_jansson(rrt__string *out, const char *text, size_t length, rrt_error *err);

// Where byte `position` of the rewritten text was in text[0..length). *column: the character's place in its
// line, which is changed likewise.
size_t rrt__json_numbers_position(const char *text, size_t length, size_t position, int *column);

// Appends a text that jansson wrote with 17 digits, each real number as short as it can be, and those that
// stand for others as what they stand for.
rrt_status rrt__json_numbers_from_jansson(rrt__string *out, const char *text, rrt_error *err);

// How the number reads in a message: "Infinity", "1e+30", "0.5".
const char *rrt__json_number_name(double number, char room[32]);

#endif

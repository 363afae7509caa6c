// Regular expressions of Hugging Face's tokenizers, which are Oniguruma's, in PCRE2's words.
#ifndef RRT__PATTERN_H
#define RRT__PATTERN_H

#include "base/memory.h"

// Appends to out the PCRE2 pattern that matches the same as `pattern` does in Oniguruma. What the two may
// read differently, and what no known tokenizer uses, fails with UNSUPPORTED and its byte offset.
rrt_status rrt__pattern_translate(rrt__string *out, const char *pattern, rrt_error *err);

#endif

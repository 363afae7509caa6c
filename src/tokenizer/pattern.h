// Translates regular expressions of Hugging Face's tokenizers (Oniguruma) to PCRE2.
#ifndef RRT__PATTERN_H
#define RRT__PATTERN_H

#include "base/memory.h"

// Appends to out the PCRE2 pattern equivalent to Oniguruma's `pattern`. UNSUPPORTED, with the byte offset,
// for constructs that the two may read differently and that no known tokenizer uses.
rrt_status rrt__pattern_translate(rrt__string *out, const char *pattern, rrt_error *err);

#endif

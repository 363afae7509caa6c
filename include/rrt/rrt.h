// rrt: Relaxed Recursive Transformers (Bae et al., ICLR 2025) in C. This header includes all of the
// public API.
#ifndef RRT_H
#define RRT_H

#include "rrt/bench.h"
#include "rrt/chat.h"
#include "rrt/convert.h"
#include "rrt/engine.h"
#include "rrt/eval.h"
#include "rrt/export.h"
#include "rrt/model.h"
#include "rrt/session.h"
#include "rrt/status.h"
#include "rrt/tokenizer.h"
#include "rrt/train.h"

#ifdef __cplusplus
extern "C" {
#endif

RRT_API const char *rrt_version(void);     // "0.1.0"
RRT_API const char *rrt_cpu_kernels(void); // the kernels in use: "avx2", "reference"

#ifdef __cplusplus
}
#endif
#endif

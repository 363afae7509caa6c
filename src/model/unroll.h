// Changes a model's plan: from a recursive model to a plain one, which other programs can run, and back.
#ifndef RRT__UNROLL_H
#define RRT__UNROLL_H

#include "model/model.h"

// A model with another plan whose depth i is depth depths[i] of `model`, without LoRA. Where both have loop
// boundaries, it has gates and shares keys and values as `model` does; the last gate also stands at
// boundaries that `model` lacks. Its matrices are deferred to those of `model`, which does not change and
// must outlive it. They share the tokenizer.
rrt_status rrt__replan(rrt_model **out, const rrt_model *model, const short *depths, const rrt__plan *plan,
                       rrt__norms_mode norms, rrt_error *err);

// Gives `to` the gates of `from`, and shared keys and values, where both have loop boundaries, as above.
rrt_status rrt__copy_boundaries(rrt_model *to, const rrt_model *from, rrt_error *err);

// A model without sharing whose layer i is depth depths[i] of `model`; LoRA is merged into the weights (W +
// B·A) or dropped. Deferred as above. threads 0: one per core.
rrt_status rrt__unroll(rrt_model **out, const rrt_model *model, const short *depths, int count,
                       bool merges_lora, int threads, rrt_error *err);

// Scales what later loops add to the hidden state: gains and biases of the norms after attention and MLP, if
// the family has them, else of those before. Norms must be per depth.
void rrt__model_scale_later_loops(rrt_model *model, float factor);

// A deferred matrix of the model becomes W + B·A. lora belongs to that matrix; its own matrices are in memory
// or outlive the model.
rrt_status rrt__merge_lora(rrt_model *model, rrt__linear *linear, const rrt__lora *lora, int threads,
                           rrt_error *err);

#endif

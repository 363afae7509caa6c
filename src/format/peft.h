// Folders with a PEFT adapter.
#ifndef RRT__PEFT_H
#define RRT__PEFT_H

#include "base/file.h"

#define RRT__PEFT_CONFIG "adapter_config.json"
#define RRT__PEFT_WEIGHTS "adapter_model.safetensors"
#define RRT__PEFT_PREFIX "base_model.model."
#define RRT__PEFT_BASE "base"

bool rrt__peft_is_adapter(const char *folder);

// The base that the adapter names, a folder or a file; exports of ours contain it, wherever the folder
// was moved.
rrt_status rrt__peft_find_base(char base[4096], const char *folder, rrt_error *err);

#endif

#include "format/peft.h"

#include <stdio.h>

#include "base/json.h"

bool rrt__peft_is_adapter(const char *folder)
{
    char path[4096];
    return !rrt__path_join(path, folder, RRT__PEFT_CONFIG, NULL) && rrt__path_exists(path);
}

rrt_status rrt__peft_find_base(char base[4096], const char *folder, rrt_error *err)
{
    char path[4096];
    const char *name;
    json_t *json;
    RRT__TRY(rrt__path_join(base, folder, RRT__PEFT_BASE, err));
    if (rrt__path_is_folder(base)) return RRT_STATUS_OK;
    RRT__TRY(rrt__path_join(path, folder, RRT__PEFT_CONFIG, err));
    RRT__TRY(rrt__json_read(&json, path, err));
    rrt_status status = rrt__json_string(json, "base_model_name_or_path", &name, err);
    if (!status) snprintf(base, 4096, "%s", name);
    bool is_there = !status && rrt__path_exists(base);
    if (!status && !is_there) {
        status = rrt__fail(err, RRT_STATUS_IO, "the base model '%.200s' is not there", name);
        rrt__hint(err, status, "put its folder into the adapter's, as '" RRT__PEFT_BASE "'");
    }
    json_decref(json);
    return status ? rrt__at(err, status, RRT__PEFT_CONFIG) : RRT_STATUS_OK;
}

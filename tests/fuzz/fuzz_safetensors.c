// safetensors files: whatever the bytes are, parsing ends with a result or an error, and a result can be
// used.
#include "format/safetensors.h"
#include "use_tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rrt_error err;
    rrt__safetensors *file;
    if (rrt__safetensors_parse(&file, data, size, "fuzz", &err)) {
        if (file || err.status == RRT_STATUS_OK || !err.message[0]) __builtin_trap();
        return 0;
    }
    if (rrt__safetensors_file_bytes(file) != size) __builtin_trap();
    use_tensors(rrt__safetensors_tensors(file));
    rrt__safetensors_close(file);
    return 0;
}

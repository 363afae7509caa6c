// How much memory the server may come to take. What is there once the model is loaded is measured; keys and
// values are touched page by page, and requests fill what they are given.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "serve/server_inside.h"

enum {
    TREE_BYTES_PER_BYTE = 64, // of a body: its JSON, its text and the tokens, at the worst
    SHORT_BODY_BYTES = 64000, // of those that are read beside a long one
    CONNECTION_BYTES = 51200, // libmicrohttpd's room for a head, and a reply that is small
    KV_TOKEN_BYTES = 64,      // of a token reserved for a request, beside its keys and values
    SPARE_BYTES = 64000000,   // what malloc keeps of what was freed, and threads' stacks
};

// Memory of our own that is there now, and files that are mapped, read or not.
static size_t measure(void)
{
    size_t own = 0, mapped = 0, kib;
    char line[4096], name[16];
    uint64_t begin, end, inode;
    FILE *status = fopen("/proc/self/status", "r"), *maps = fopen("/proc/self/maps", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "%15[^:]: %zu", name, &kib) == 2 && strcmp(name, "RssAnon") == 0) own = kib * 1024;
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %" SCNu64, &begin, &end, &inode) == 3 && inode)
            mapped += end - begin;
    if (status) fclose(status);
    if (maps) fclose(maps);
    return own + mapped;
}

static double megabytes(size_t bytes)
{
    return (double)bytes / 1e6;
}

void rrt__bound_memory(rrt__server *server)
{
    const rrt__server_options *o = &server->options;
    rrt_engine_stats stats;
    rrt_engine_describe(server->engine, &stats);
    size_t tokens = o->engine.kv_tokens + o->engine.requests * 16;
    size_t model = measure() + SPARE_BYTES;
    size_t kv = tokens * (stats.kv_bytes_per_token + KV_TOKEN_BYTES);
    size_t reading = (o->max_body_bytes + SHORT_BODY_BYTES) * TREE_BYTES_PER_BYTE;
    size_t connections = o->max_connections * CONNECTION_BYTES;
    snprintf(server->memory, sizeof server->memory,
             "memory at most %.0f MB (%.0f the model and the program, %.0f keys and values, %.0f requests, "
             "%.0f reading them, %.0f connections)",
             megabytes(model + kv + o->max_bytes + reading + connections), megabytes(model), megabytes(kv),
             megabytes(o->max_bytes), megabytes(reading), megabytes(connections));
}

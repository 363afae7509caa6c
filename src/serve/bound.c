// Upper bound of the server's memory. Measures what is in use once the model is loaded; keys and values are
// touched page by page later, and requests fill their reservations.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "serve/server_inside.h"

enum {
    TREE_BYTES_PER_BYTE = 64, // worst case per byte of a body: its JSON, its text and the tokens
    SHORT_BODY_BYTES = 64000, // of bodies that are read beside a long one
    CONNECTION_BYTES = 51200, // libmicrohttpd's buffer for a head, and a small reply
    KV_TOKEN_BYTES = 64,      // of a token reserved for a request, besides its keys and values
    SPARE_BYTES = 64000000,   // freed memory that malloc keeps, and threads' stacks
};

// Our own memory in use, and mapped files, read or not.
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
    size_t kv = tokens * (stats.kv_bytes_per_token + KV_TOKEN_BYTES) + stats.kv_bytes_of_windows;
    size_t reading = (o->max_body_bytes + SHORT_BODY_BYTES) * TREE_BYTES_PER_BYTE;
    size_t connections = o->max_connections * CONNECTION_BYTES;
    snprintf(server->memory, sizeof server->memory,
             "memory at most %.0f MB (%.0f the model and the program, %.0f keys and values, %.0f requests, "
             "%.0f reading them, %.0f connections)",
             megabytes(model + kv + o->max_bytes + reading + connections), megabytes(model), megabytes(kv),
             megabytes(o->max_bytes), megabytes(reading), megabytes(connections));
}

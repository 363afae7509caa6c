// Fair shares of the server's resources: slots for requests, and memory for their data. A client is an API
// key or an address. One client alone may take most of it, but always leaves something for others: at most
// eight times what is free. Takes no locks.
#ifndef RRT__SERVE_SHARE_H
#define RRT__SERVE_SHARE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct rrt__client {
    struct rrt__client *next;
    char name[64];
    size_t exchanges; // it is removed with the last
    size_t slots, bytes;
    size_t running, turn; // used by the worker (turns.c): choices in the engine, and when it last got a slot
} rrt__client;

typedef struct rrt__fair_share {
    rrt__client *clients;
    size_t slots, bytes; // in use
    size_t max_slots, max_bytes;
} rrt__fair_share;

// Adds an exchange of a client, who may be new. NULL: out of memory.
rrt__client *rrt__share_enter(rrt__fair_share *share, const char *name);
void rrt__share_leave(rrt__fair_share *share, rrt__client *client);

bool rrt__share_take_slot(rrt__fair_share *share, rrt__client *client);
void rrt__share_free_slot(rrt__fair_share *share, rrt__client *client);

// `always`: for small amounts that cannot be refused.
bool rrt__share_take_bytes(rrt__fair_share *share, rrt__client *client, size_t bytes, bool always);
void rrt__share_free_bytes(rrt__fair_share *share, rrt__client *client, size_t bytes);

#endif

#include "serve/share.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

enum { TIMES_FREE = 8 };

rrt__client *rrt__share_enter(rrt__fair_share *share, const char *name)
{
    rrt__client *client = share->clients;
    while (client && strcmp(client->name, name) != 0) client = client->next;
    if (!client) {
        if (rrt__alloc(&client, 1, sizeof *client, "a client", NULL)) return NULL;
        snprintf(client->name, sizeof client->name, "%s", name);
        client->next = share->clients;
        share->clients = client;
    }
    client->exchanges++;
    return client;
}

void rrt__share_leave(rrt__fair_share *share, rrt__client *client)
{
    if (--client->exchanges) return;
    rrt__client **at = &share->clients;
    while (*at != client) at = &(*at)->next;
    *at = client->next;
    rrt__free(client);
}

static bool may_take(size_t asked, size_t own, size_t all, size_t max)
{
    size_t left = all < max ? max - all : 0;
    return asked <= left && (own + asked) / TIMES_FREE <= left - (left > 0);
}

bool rrt__share_take_slot(rrt__fair_share *share, rrt__client *client)
{
    if (!may_take(1, client->slots, share->slots, share->max_slots)) return false;
    share->slots++;
    client->slots++;
    return true;
}

void rrt__share_free_slot(rrt__fair_share *share, rrt__client *client)
{
    share->slots--;
    client->slots--;
}

bool rrt__share_take_bytes(rrt__fair_share *share, rrt__client *client, size_t bytes, bool always)
{
    if (!always && !may_take(bytes, client->bytes, share->bytes, share->max_bytes)) return false;
    share->bytes += bytes;
    client->bytes += bytes;
    return true;
}

void rrt__share_free_bytes(rrt__fair_share *share, rrt__client *client, size_t bytes)
{
    share->bytes -= bytes;
    client->bytes -= bytes;
}

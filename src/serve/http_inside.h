// What http.c (requests come in), exchange.c (replies go out) and connections.c (who is there) share.
#ifndef RRT__SERVE_HTTP_INSIDE_H
#define RRT__SERVE_HTTP_INSIDE_H

#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>

#include "base/memory.h"
#include "serve/http.h"

enum {
    RRT__MAX_UNREAD_BYTES = 1 << 20, // that a client may leave of a reply in pieces
    RRT__SMALL_BYTES = 16 << 10,     // of a reply, that are there for every connection
    RRT__MAX_SET = 8,
};

// A client. The socket stays open, and its number its own, until the connection is taken off the list.
typedef struct rrt__connection {
    struct rrt__connection *next, **at;
    int socket;
    char address[64];        // that it comes from
    double probed;           // when it was last asked whether it is still there
    double since;            // it began to send the request, or last took some of the reply
    rrt__exchange *exchange; // NULL between two requests
} rrt__connection;

typedef enum rrt__exchange_state {
    RRT__EXCHANGE_READING,
    RRT__EXCHANGE_WAITING, // for its answer
    RRT__EXCHANGE_REPLIED, // with all of it
    RRT__EXCHANGE_WRITING, // piece by piece
    RRT__EXCHANGE_ENDED,   // no more pieces
} rrt__exchange_state;

// Two own it: libmicrohttpd until the request is completed, and who has to answer until that is done.
struct rrt__exchange {
    rrt__http *http;
    struct MHD_Connection *handle;
    rrt__connection *connection; // NULL once libmicrohttpd is done with the request
    int owners;
    char *method, *path;
    rrt__client *client;
    size_t charged;      // bytes of its share, of which are
    size_t body_charged; // … the body's
    size_t held;         // … what was asked for
    bool has_slot;
    rrt__string body;
    rrt__body_state body_state;
    rrt__exchange_state state;
    int status;
    const char *type;
    struct {
        const char *name;
        char *value;
    } set[RRT__MAX_SET];
    int n_set;
    rrt__string out; // the reply, or pieces of it
    size_t taken;    // bytes of out that are sent
    bool is_received, is_suspended, is_gone;
};

struct rrt__http {
    rrt__http_options options;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock; // of all below, and of exchanges and connections. No call that wakes libmicrohttpd
                          // is made under it: that has locks of its own
    rrt__connection *connections;
    rrt__fair_share share;
    size_t n_exchanges;
    double patience_s;
    struct pollfd *polled;         // room for rrt__http_watch
    struct MHD_Connection **woken; // the same
    size_t polled_capacity, woken_capacity;
};

// Called under the lock: memory of the exchange's client. False: there is none.
bool rrt__exchange_charge(rrt__exchange *exchange, size_t bytes, bool always);
void rrt__exchange_refund(rrt__exchange *exchange, size_t bytes);
// Called under the lock. One owner less.
void rrt__exchange_release(rrt__exchange *exchange);
// Called under the lock: whether the caller has to resume the connection after it.
bool rrt__exchange_wake(rrt__exchange *exchange);

// A connection begins or ends (MHD_NotifyConnectionCallback).
void rrt__connection_notified(void *http, struct MHD_Connection *handle, void **context,
                              enum MHD_ConnectionNotificationCode code);
// Drops connections whose client is gone or too slow, or every one.
void rrt__connections_drop(rrt__http *http, bool every);

// --- listen.c ---
rrt_status rrt__listen(int *out, const rrt__http_options *options, rrt_error *err);
// As many connections as asked for, or as files may be open.
unsigned rrt__listen_limit(size_t asked);

// By the HTTP thread: sends what is there of the answer, or waits for it.
enum MHD_Result rrt__exchange_send(rrt__exchange *exchange);

#endif

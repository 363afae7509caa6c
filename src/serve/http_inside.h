// Shared by http.c (reads requests), exchange.c (sends replies) and connections.c (watches clients).
#ifndef RRT__SERVE_HTTP_INSIDE_H
#define RRT__SERVE_HTTP_INSIDE_H

#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>

#include "base/memory.h"
#include "serve/http.h"

enum {
    RRT__MAX_UNREAD_BYTES = 1 << 20, // max unread bytes of a reply in pieces
    RRT__SMALL_BYTES = 16 << 10,     // of a reply; reserved for every connection
    RRT__MAX_SET = 8,
};

// A client. The socket stays open, so its number is not reused, until the connection leaves the list.
typedef struct rrt__connection {
    struct rrt__connection *next, **at;
    int socket;
    char address[64];        // the client's
    double probed;           // when the client was last probed
    double since;            // start of sending the request, or last progress in taking the reply
    rrt__exchange *exchange; // NULL between requests
} rrt__connection;

typedef enum rrt__exchange_state {
    RRT__EXCHANGE_READING,
    RRT__EXCHANGE_WAITING, // for its reply
    RRT__EXCHANGE_REPLIED, // completely
    RRT__EXCHANGE_WRITING, // piece by piece
    RRT__EXCHANGE_ENDED,   // no more pieces
} rrt__exchange_state;

// Has two owners: libmicrohttpd until the request is completed, and the answering side until it has answered.
struct rrt__exchange {
    rrt__http *http;
    struct MHD_Connection *handle;
    rrt__connection *connection; // NULL once libmicrohttpd is done with the request
    int owners;
    char *method, *path;
    rrt__client *client;
    size_t charged;      // bytes of its share; of these
    size_t body_charged; // … for the body
    size_t held;         // … reserved on request
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
    pthread_mutex_t lock; // of all below, and of exchanges and connections. Calls that wake libmicrohttpd
                          // must not hold it: libmicrohttpd has its own locks
    rrt__connection *connections;
    rrt__fair_share share;
    size_t n_exchanges;
    double patience_s;
    struct pollfd *polled;         // buffer of rrt__http_watch
    struct MHD_Connection **woken; // the same
    size_t polled_capacity, woken_capacity;
};

// Call it under the lock: charges memory to the exchange's client. False: none left.
bool rrt__exchange_charge(rrt__exchange *exchange, size_t bytes, bool always);
void rrt__exchange_refund(rrt__exchange *exchange, size_t bytes);
// Call it under the lock. Removes one owner.
void rrt__exchange_release(rrt__exchange *exchange);
// Call it under the lock: whether the caller must resume the connection afterwards.
bool rrt__exchange_wake(rrt__exchange *exchange);

// A connection begins or ends (MHD_NotifyConnectionCallback).
void rrt__connection_notified(void *http, struct MHD_Connection *handle, void **context,
                              enum MHD_ConnectionNotificationCode code);
// Drops connections whose client is gone or too slow, or every one.
void rrt__connections_drop(rrt__http *http, bool every);

// --- listen.c ---
rrt_status rrt__listen(int *out, const rrt__http_options *options, rrt_error *err);
// The requested number of connections, or as many as the limit of open files allows.
unsigned rrt__listen_limit(size_t asked);

// By the HTTP thread: sends the available part of the reply, or waits for it.
enum MHD_Result rrt__exchange_send(rrt__exchange *exchange);

#endif

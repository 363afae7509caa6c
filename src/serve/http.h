// HTTP/1.1; the only user of libmicrohttpd. A thread of its own reads requests and sends replies. A request
// with its reply is an "exchange"; any thread may answer it, at once or piece by piece, and nobody waits for
// a client.
#ifndef RRT__SERVE_HTTP_H
#define RRT__SERVE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "serve/share.h"

typedef struct rrt__http rrt__http;
typedef struct rrt__exchange rrt__exchange;

typedef struct rrt__http_options {
    const char *host; // an address, or a name for one
    int port;         // 0: any free port
    size_t max_body_bytes, max_connections;
    size_t max_slots;  // max unanswered requests that need a slot
    size_t max_bytes;  // max memory of all requests: bodies, reservations, replies on their way
    double patience_s; // time limit for a client without progress in sending a request or taking a reply
    // Both are called by the HTTP thread: `admit` for the head of a request, and `handle` for the whole
    // request unless admit has replied. After that the exchange must be answered: by _reply, or by _begin
    // and _end.
    void (*admit)(void *user, rrt__exchange *exchange);
    void (*handle)(void *user, rrt__exchange *exchange);
    void *user;
} rrt__http_options;

// Starts to listen and serve. IO if the address is not available.
rrt_status rrt__http_open(rrt__http **out, const rrt__http_options *options, rrt_error *err);
int rrt__http_port(const rrt__http *http);
// Drops clients that are gone or too slow. Call it a few times a second.
void rrt__http_watch(rrt__http *http);
// Reduces the time limit for slow clients.
void rrt__http_hurry(rrt__http *http, double patience_s);
// Whether only programs on this machine can reach it.
bool rrt__http_is_local(const rrt__http *http);
// Number of open exchanges.
size_t rrt__http_open_exchanges(rrt__http *http);
// Number of slots in use.
size_t rrt__http_slots(rrt__http *http);
// Cuts open connections. All exchanges must have been answered, or never be used again.
void rrt__http_close(rrt__http *http);

typedef enum rrt__body_state {
    RRT__BODY_OK,
    RRT__BODY_TOO_LARGE, // more than max_body_bytes; known from the head if that gives the length
    RRT__BODY_NO_ROOM,   // no memory left for it, or for this client
    RRT__BODY_AMBIGUOUS, // its length is given twice: a proxy in front may have read another request
} rrt__body_state;

// The request: for admit and handle only. NULL for a missing header.
const char *rrt__exchange_method(const rrt__exchange *exchange);
const char *rrt__exchange_path(const rrt__exchange *exchange);
const char *rrt__exchange_header(const rrt__exchange *exchange, const char *name);
const char *rrt__exchange_body(const rrt__exchange *exchange, size_t *length);
rrt__body_state rrt__exchange_body_state(const rrt__exchange *exchange);
// Frees the body after it was read.
void rrt__exchange_drop_body(rrt__exchange *exchange);

// Names the client for fair sharing; until admit calls it, the address is the name.
void rrt__exchange_identify(rrt__exchange *exchange, const char *client);
rrt__client *rrt__exchange_client(const rrt__exchange *exchange);
// Takes a slot until the exchange is answered; reserves memory, besides body and reply, until the reply is
// sent. A later call replaces the reservation. False: not available, or not for this client.
bool rrt__exchange_take_slot(rrt__exchange *exchange);
void rrt__exchange_leave_slot(rrt__exchange *exchange); // before it is answered, if nobody waits
bool rrt__exchange_hold(rrt__exchange *exchange, size_t bytes);

// Sets a header of the reply before it begins. At most 8; name is kept, value copied.
void rrt__exchange_set(rrt__exchange *exchange, const char *name, const char *value);

// The whole reply; text is copied, type kept. The exchange must not be used afterwards. Without memory for a
// long reply, it becomes an error 503.
void rrt__exchange_reply(rrt__exchange *exchange, int status, const char *type, const char *text,
                         size_t length);

// A reply in pieces (status 200): each is sent as soon as it is written. Writing fails if the client is gone
// or was dropped because it left a megabyte unread (less if memory is short). After _end the exchange must
// not be used.
void rrt__exchange_begin(rrt__exchange *exchange, const char *type);
bool rrt__exchange_write(rrt__exchange *exchange, const char *text, size_t length);
void rrt__exchange_end(rrt__exchange *exchange);

// Whether nobody waits for the reply any more. It must be answered all the same.
bool rrt__exchange_is_gone(const rrt__exchange *exchange);

#endif

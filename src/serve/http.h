// HTTP/1.1 and all that rrt knows of libmicrohttpd. One thread of its own reads requests and sends replies. A
// request with its reply is an "exchange"; any thread may answer it, at once or piece by piece, and nobody
// waits for a client.
#ifndef RRT__SERVE_HTTP_H
#define RRT__SERVE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "serve/share.h"

typedef struct rrt__http rrt__http;
typedef struct rrt__exchange rrt__exchange;

typedef struct rrt__http_options {
    const char *host; // an address, or a name that stands for one
    int port;         // 0: any that is free
    size_t max_body_bytes, max_connections;
    size_t max_slots;  // requests that are not answered yet, of those that ask for a place
    size_t max_bytes;  // that requests hold together: bodies, what is held for them, replies on their way
    double patience_s; // for a client that sends a request, or takes a reply, too slowly
    // Both are called by the HTTP thread: `admit` when the head of a request is there, and, unless that has
    // replied, `handle` when all of it is. After that the exchange has to be answered: by _reply, or by
    // _begin and _end.
    void (*admit)(void *user, rrt__exchange *exchange);
    void (*handle)(void *user, rrt__exchange *exchange);
    void *user;
} rrt__http_options;

// Listens and serves from here on. IO if that address cannot be had.
rrt_status rrt__http_open(rrt__http **out, const rrt__http_options *options, rrt_error *err);
int rrt__http_port(const rrt__http *http);
// Drops clients that are gone or too slow. To be called a few times a second.
void rrt__http_watch(rrt__http *http);
// From now on slow clients have no more time than this.
void rrt__http_hurry(rrt__http *http, double patience_s);
// Whether only programs of this machine can reach it.
bool rrt__http_is_local(const rrt__http *http);
// Exchanges that are open.
size_t rrt__http_open_exchanges(rrt__http *http);
// Places that are taken.
size_t rrt__http_slots(rrt__http *http);
// Cuts off what is open. All exchanges have to be answered by now, or never to be touched again.
void rrt__http_close(rrt__http *http);

typedef enum rrt__body_state {
    RRT__BODY_OK,
    RRT__BODY_TOO_LARGE, // more than max_body_bytes; known from the head on where that says it
    RRT__BODY_NO_ROOM,   // there is no memory left for it, or for this client
    RRT__BODY_AMBIGUOUS, // its length is said twice: a proxy in front may have read another request
} rrt__body_state;

// The request: for admit and handle only. A header that is not there is NULL.
const char *rrt__exchange_method(const rrt__exchange *exchange);
const char *rrt__exchange_path(const rrt__exchange *exchange);
const char *rrt__exchange_header(const rrt__exchange *exchange, const char *name);
const char *rrt__exchange_body(const rrt__exchange *exchange, size_t *length);
rrt__body_state rrt__exchange_body_state(const rrt__exchange *exchange);
// Forgets the body, once it was read.
void rrt__exchange_drop_body(rrt__exchange *exchange);

// Who asks, to share what there is: until admit says a name, the address.
void rrt__exchange_identify(rrt__exchange *exchange, const char *client);
rrt__client *rrt__exchange_client(const rrt__exchange *exchange);
// A place until it is answered; memory, beside body and reply, until the reply has been sent. A later call
// replaces what is held. False: there is not as much, or not for this client.
bool rrt__exchange_take_slot(rrt__exchange *exchange);
void rrt__exchange_leave_slot(rrt__exchange *exchange); // before it is answered: nobody waits for that
bool rrt__exchange_hold(rrt__exchange *exchange, size_t bytes);

// A header of the reply, before that begins. At most 8; name is kept, value copied.
void rrt__exchange_set(rrt__exchange *exchange, const char *name, const char *value);

// The whole reply; text is copied, type kept. The exchange must not be used afterwards. Where there is no
// memory for a long one, it becomes an error of 503.
void rrt__exchange_reply(rrt__exchange *exchange, int status, const char *type, const char *text,
                         size_t length);

// A reply in pieces (status 200): each is sent as soon as it was written. Writing fails once the client is
// gone, or has left a megabyte unread, or less where memory is short, and is dropped. After _end the exchange
// must not be used.
void rrt__exchange_begin(rrt__exchange *exchange, const char *type);
bool rrt__exchange_write(rrt__exchange *exchange, const char *text, size_t length);
void rrt__exchange_end(rrt__exchange *exchange);

// Whether nobody waits for the reply any more. It has to be answered all the same.
bool rrt__exchange_is_gone(const rrt__exchange *exchange);

#endif

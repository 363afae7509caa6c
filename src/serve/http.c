#include "serve/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/http_inside.h"

// --- the request ----------------------------------------------------------------------------------------

const char *rrt__exchange_method(const rrt__exchange *x)
{
    return x->method;
}

const char *rrt__exchange_path(const rrt__exchange *x)
{
    return x->path;
}

const char *rrt__exchange_header(const rrt__exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->handle, MHD_HEADER_KIND, name);
}

const char *rrt__exchange_body(const rrt__exchange *x, size_t *length)
{
    *length = x->body.length;
    return x->body.length ? x->body.data : "";
}

rrt__body_state rrt__exchange_body_state(const rrt__exchange *x)
{
    return x->body_state;
}

void rrt__exchange_drop_body(rrt__exchange *x)
{
    rrt__string_free(&x->body);
    pthread_mutex_lock(&x->http->lock);
    rrt__exchange_refund(x, x->body_charged);
    x->body_charged = 0;
    pthread_mutex_unlock(&x->http->lock);
}

static rrt__connection *connection_of(struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static rrt__exchange *open_exchange(rrt__http *http, struct MHD_Connection *handle, const char *method,
                                    const char *path)
{
    rrt__exchange *x;
    rrt__connection *connection = connection_of(handle);
    if (!connection || rrt__alloc(&x, 1, sizeof *x, "an exchange", NULL)) return NULL;
    size_t method_bytes = strlen(method) + 1, path_bytes = strlen(path) + 1;
    x->method = rrt__malloc(method_bytes);
    x->path = rrt__malloc(path_bytes);
    if (!x->method || !x->path) {
        rrt__free(x->method);
        rrt__free(x->path);
        rrt__free(x);
        return NULL;
    }
    memcpy(x->method, method, method_bytes);
    memcpy(x->path, path, path_bytes);
    x->http = http;
    x->handle = handle;
    x->connection = connection;
    x->owners = 2;
    pthread_mutex_lock(&http->lock);
    x->client = rrt__share_enter(&http->share, connection->address);
    bool is_open = x->client != NULL;
    if (is_open) {
        http->n_exchanges++;
        connection->exchange = x;
        connection->since = rrt__now_seconds();
    }
    pthread_mutex_unlock(&http->lock);
    if (is_open) return x;
    rrt__free(x->method);
    rrt__free(x->path);
    rrt__free(x);
    return NULL;
}

static enum MHD_Result count_lengths(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    (void)value;
    size_t *count = user;
    *count += strcasecmp(name, "Content-Length") == 0 || strcasecmp(name, "Transfer-Encoding") == 0;
    return MHD_YES;
}

// Reads the body's announced length. Reserves its memory at once, so that growing does not copy it, and
// charges it as it arrives.
static void note_announced_bytes(rrt__exchange *x)
{
    size_t count = 0;
    const char *announced = rrt__exchange_header(x, "Content-Length");
    unsigned long long bytes = announced ? strtoull(announced, NULL, 10) : 0;
    MHD_get_connection_values(x->handle, MHD_HEADER_KIND, count_lengths, &count);
    if (count > 1)
        x->body_state = RRT__BODY_AMBIGUOUS;
    else if (bytes > x->http->options.max_body_bytes)
        x->body_state = RRT__BODY_TOO_LARGE;
    else if (bytes && rrt__array_reserve(&x->body.data, &x->body.capacity, bytes + 1, 1, NULL))
        x->body_state = RRT__BODY_NO_ROOM;
}

// A refused body is read, too: a client that is still sending does not see a reply.
static void receive(rrt__exchange *x, const char *bytes, size_t count)
{
    enum { GROWTH = 3 }; // the old and new memory of a growing string
    rrt__http *http = x->http;
    if (x->state != RRT__EXCHANGE_READING || x->body_state) return;
    if (count > http->options.max_body_bytes - x->body.length) {
        x->body_state = RRT__BODY_TOO_LARGE;
        return;
    }
    bool grows = x->body.length + count >= x->body.capacity; // its length was not announced
    size_t charge = grows ? count * GROWTH : count;
    pthread_mutex_lock(&http->lock);
    bool fits = rrt__exchange_charge(x, charge, false);
    if (fits) x->body_charged += charge;
    pthread_mutex_unlock(&http->lock);
    if (!fits || rrt__string_append(&x->body, bytes, count, NULL)) {
        x->body_state = RRT__BODY_NO_ROOM;
        rrt__exchange_drop_body(x);
    }
}

static bool begins_to_wait(rrt__exchange *x)
{
    pthread_mutex_lock(&x->http->lock);
    bool begins = x->state == RRT__EXCHANGE_READING;
    if (begins) x->state = RRT__EXCHANGE_WAITING;
    x->is_received = true;
    pthread_mutex_unlock(&x->http->lock);
    return begins;
}

// Called for the head of a request, for each piece of its body, once after that, and again whenever the
// exchange was woken.
static enum MHD_Result on_request(void *user, struct MHD_Connection *handle, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **context)
{
    (void)version;
    rrt__http *http = user;
    rrt__exchange *x = *context;
    if (!x) {
        x = *context = open_exchange(http, handle, method, path);
        if (!x) return MHD_NO;
        note_announced_bytes(x);
        http->options.admit(http->options.user, x);
        // Replies at once to a client that asks before it sends the body.
        bool asks = x->state == RRT__EXCHANGE_REPLIED && rrt__exchange_header(x, "Expect");
        return asks ? rrt__exchange_send(x) : MHD_YES;
    }
    if (*upload_bytes) {
        receive(x, upload, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (begins_to_wait(x)) {
        http->options.handle(http->options.user, x);
        // If suspended here, the exchange would be read after resuming and before it is answered, and a
        // client that sends no more would be taken for gone. libmicrohttpd calls again at once, and then no
        // longer reads.
        return MHD_YES;
    }
    return rrt__exchange_send(x);
}

static void on_completed(void *user, struct MHD_Connection *handle, void **context,
                         enum MHD_RequestTerminationCode code)
{
    (void)handle;
    (void)code;
    rrt__http *http = user;
    rrt__exchange *x = *context;
    *context = NULL;
    if (!x) return;
    pthread_mutex_lock(&http->lock);
    x->is_gone = true;
    x->connection->exchange = NULL;
    x->connection->since = rrt__now_seconds();
    x->connection = NULL;
    if (x->state == RRT__EXCHANGE_READING) rrt__exchange_release(x); // nobody has to answer it
    rrt__exchange_release(x);
    pthread_mutex_unlock(&http->lock);
}

// --- the server -----------------------------------------------------------------------------------------

size_t rrt__http_open_exchanges(rrt__http *http)
{
    pthread_mutex_lock(&http->lock);
    size_t count = http->n_exchanges;
    pthread_mutex_unlock(&http->lock);
    return count;
}

size_t rrt__http_slots(rrt__http *http)
{
    pthread_mutex_lock(&http->lock);
    size_t count = http->share.slots;
    pthread_mutex_unlock(&http->lock);
    return count;
}

// A path with a NUL would end there for us: it stays escaped, and so matches nothing.
static size_t unescape(void *user, struct MHD_Connection *handle, char *text)
{
    (void)user;
    (void)handle;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

rrt_status rrt__http_open(rrt__http **out, const rrt__http_options *options, rrt_error *err)
{
    rrt__http *http;
    int listening = -1;
    RRT__TRY(rrt__listen(&listening, options, err));
    rrt_status status = rrt__alloc(&http, 1, sizeof *http, "the HTTP server", err);
    if (status) {
        close(listening);
        return status;
    }
    http->options = *options;
    http->patience_s = options->patience_s;
    http->share = (rrt__fair_share){.max_slots = options->max_slots, .max_bytes = options->max_bytes};
    pthread_mutex_init(&http->lock, NULL);
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, listening, MHD_OPTION_CONNECTION_LIMIT,
        rrt__listen_limit(options->max_connections), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)options->patience_s, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, rrt__connection_notified, http,
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);
    if (!http->daemon) {
        close(listening);
        rrt__free(http);
        return rrt__fail(err, RRT_STATUS_IO, "cannot start the HTTP thread");
    }
    *out = http;
    return RRT_STATUS_OK;
}

static struct sockaddr_storage address_of(const rrt__http *http)
{
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof address;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_LISTEN_FD);
    getsockname(info->listen_fd, (struct sockaddr *)&address, &bytes);
    return address;
}

bool rrt__http_is_local(const rrt__http *http)
{
    const struct sockaddr_storage address = address_of(http);
    if (address.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&address)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)&address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

int rrt__http_port(const rrt__http *http)
{
    struct sockaddr_storage address = address_of(http);
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

void rrt__http_close(rrt__http *http)
{
    if (!http) return;
    rrt__connections_drop(http, true);
    MHD_stop_daemon(http->daemon);
    pthread_mutex_destroy(&http->lock);
    rrt__free(http->polled);
    rrt__free(http->woken);
    rrt__free(http);
}

// Passes replies from any thread to the HTTP thread.
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "serve/http_inside.h"

static void copy_text(char **out, const char *text)
{
    size_t bytes = strlen(text) + 1;
    *out = rrt__malloc(bytes);
    if (*out) memcpy(*out, text, bytes);
}

void rrt__exchange_release(rrt__exchange *x)
{
    if (--x->owners > 0) return;
    rrt__exchange_refund(x, x->charged);
    rrt__share_leave(&x->http->share, x->client);
    x->http->n_exchanges--;
    for (int i = 0; i < x->n_set; i++) rrt__free(x->set[i].value);
    rrt__string_free(&x->body);
    rrt__string_free(&x->out);
    rrt__free(x->method);
    rrt__free(x->path);
    rrt__free(x);
}

bool rrt__exchange_wake(rrt__exchange *x)
{
    bool was = x->is_suspended;
    x->is_suspended = false;
    return was;
}

// --- what an exchange holds -----------------------------------------------------------------------------

bool rrt__exchange_charge(rrt__exchange *x, size_t bytes, bool always)
{
    if (!rrt__share_take_bytes(&x->http->share, x->client, bytes, always)) return false;
    x->charged += bytes;
    return true;
}

void rrt__exchange_refund(rrt__exchange *x, size_t bytes)
{
    rrt__share_free_bytes(&x->http->share, x->client, bytes);
    x->charged -= bytes;
}

void rrt__exchange_identify(rrt__exchange *x, const char *name)
{
    rrt__fair_share *share = &x->http->share;
    pthread_mutex_lock(&x->http->lock);
    rrt__client *client = rrt__share_enter(share, name);
    if (client) rrt__share_leave(share, x->client);
    if (client) x->client = client;
    pthread_mutex_unlock(&x->http->lock);
}

rrt__client *rrt__exchange_client(const rrt__exchange *x)
{
    return x->client;
}

bool rrt__exchange_take_slot(rrt__exchange *x)
{
    pthread_mutex_lock(&x->http->lock);
    x->has_slot = rrt__share_take_slot(&x->http->share, x->client);
    pthread_mutex_unlock(&x->http->lock);
    return x->has_slot;
}

bool rrt__exchange_hold(rrt__exchange *x, size_t bytes)
{
    pthread_mutex_lock(&x->http->lock);
    bool fits = bytes <= x->held || rrt__exchange_charge(x, bytes - x->held, false);
    if (bytes < x->held) rrt__exchange_refund(x, x->held - bytes);
    if (fits) x->held = bytes;
    pthread_mutex_unlock(&x->http->lock);
    return fits;
}

// --- the reply ------------------------------------------------------------------------------------------

void rrt__exchange_set(rrt__exchange *x, const char *name, const char *value)
{
    if (x->n_set == RRT__MAX_SET) return;
    x->set[x->n_set].name = name;
    copy_text(&x->set[x->n_set].value, value);
    if (x->set[x->n_set].value) x->n_set++;
}

// A change by the answering side, made under the lock; then the HTTP thread is woken.
typedef struct change {
    rrt__exchange_state state;
    const char *text;
    size_t length;
    bool is_last; // the exchange is answered
} change;

// libmicrohttpd notices, and completes the request.
static void drop(rrt__exchange *x)
{
    x->is_gone = true;
    if (x->connection) shutdown(x->connection->socket, SHUT_RDWR);
}

// Call it under the lock. Adds to the pending reply; false: there is no memory, or the client is too
// far behind.
static bool append(rrt__exchange *x, const char *text, size_t length)
{
    size_t unread = x->out.length - x->taken + length, before = x->out.capacity;
    if (!length) return true;
    if (x->taken > x->out.length / 2) { // reuses sent bytes, also for a client that lags
        x->out.length -= x->taken;
        memmove(x->out.data, x->out.data + x->taken, x->out.length);
        x->taken = 0;
    }
    if (unread > RRT__MAX_UNREAD_BYTES || rrt__string_append(&x->out, text, length, NULL)) return false;
    size_t more = x->out.capacity - before;
    return !more || rrt__exchange_charge(x, more, unread <= RRT__SMALL_BYTES);
}

static void free_slot(rrt__exchange *x)
{
    if (x->has_slot) rrt__share_free_slot(&x->http->share, x->client);
    x->has_slot = false;
}

void rrt__exchange_leave_slot(rrt__exchange *x)
{
    pthread_mutex_lock(&x->http->lock);
    free_slot(x);
    pthread_mutex_unlock(&x->http->lock);
}

static bool apply(rrt__exchange *x, change c)
{
    rrt__http *http = x->http;
    struct MHD_Connection *handle = x->handle;
    pthread_mutex_lock(&http->lock);
    bool stays = !x->is_gone && append(x, c.text, c.length);
    if (!stays && !x->is_gone) drop(x);
    if (x->connection && x->taken == x->out.length - c.length) x->connection->since = rrt__now_seconds();
    x->state = c.state;
    bool wakes = rrt__exchange_wake(x);
    if (c.is_last) free_slot(x);
    if (c.is_last) rrt__exchange_release(x);
    pthread_mutex_unlock(&http->lock);
    // While it is suspended the connection cannot end, and only one thread wakes it.
    if (wakes) MHD_resume_connection(handle);
    return stays;
}

void rrt__exchange_reply(rrt__exchange *x, int status, const char *type, const char *text, size_t length)
{
    static const char none[] = "{\"error\":{\"message\":\"out of memory for this reply\",\"type\":"
                               "\"unavailable_error\",\"param\":null,\"code\":\"no_room\"}}";
    // Nobody reads it until it is replied: a long text is copied without the lock.
    bool fits = !rrt__string_append(&x->out, text, length, NULL);
    pthread_mutex_lock(&x->http->lock);
    fits = fits && rrt__exchange_charge(x, x->out.capacity, length <= RRT__SMALL_BYTES);
    pthread_mutex_unlock(&x->http->lock);
    if (!fits) rrt__string_free(&x->out);
    x->status = fits ? status : MHD_HTTP_SERVICE_UNAVAILABLE;
    x->type = fits ? type : "application/json";
    apply(x, (change){RRT__EXCHANGE_REPLIED, none, fits ? 0 : sizeof none - 1, true});
}

void rrt__exchange_begin(rrt__exchange *x, const char *type)
{
    x->status = MHD_HTTP_OK;
    x->type = type;
    apply(x, (change){RRT__EXCHANGE_WRITING, "", 0, false});
}

bool rrt__exchange_write(rrt__exchange *x, const char *text, size_t length)
{
    return apply(x, (change){RRT__EXCHANGE_WRITING, text, length, false});
}

void rrt__exchange_end(rrt__exchange *x)
{
    apply(x, (change){RRT__EXCHANGE_ENDED, "", 0, true});
}

bool rrt__exchange_is_gone(const rrt__exchange *x)
{
    pthread_mutex_lock(&x->http->lock);
    bool is_gone = x->is_gone;
    pthread_mutex_unlock(&x->http->lock);
    return is_gone;
}

// Gives libmicrohttpd bytes to send, and reuses their space.
static ssize_t take(void *user, uint64_t position, char *buffer, size_t max)
{
    (void)position;
    rrt__exchange *x = user;
    pthread_mutex_lock(&x->http->lock);
    size_t count = x->out.length - x->taken;
    ssize_t result = (ssize_t)(count < max ? count : max);
    if (x->is_gone) {
        result = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (count) {
        memcpy(buffer, x->out.data + x->taken, (size_t)result);
        x->taken += (size_t)result;
        x->connection->since = rrt__now_seconds();
        if (x->taken == x->out.length) x->taken = x->out.length = 0;
    } else if (x->state == RRT__EXCHANGE_ENDED) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        x->is_suspended = true; // otherwise 0 would be called for again at once
        MHD_suspend_connection(x->handle);
    }
    pthread_mutex_unlock(&x->http->lock);
    return result;
}

// libmicrohttpd does not check whether more will come.
static bool has_sent_all(const rrt__exchange *x)
{
    char byte;
    return recv(x->connection->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static enum MHD_Result queue(rrt__exchange *x, bool is_whole)
{
    enum { PIECE = 16384 };
    struct MHD_Response *response =
        is_whole ? MHD_create_response_from_buffer(x->out.length, x->out.data, MHD_RESPMEM_PERSISTENT)
                 : MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, take, x, NULL);
    if (!response) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", x->type);
    for (int i = 0; i < x->n_set; i++) MHD_add_response_header(response, x->set[i].name, x->set[i].value);
    if (has_sent_all(x)) MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(x->handle, (unsigned)x->status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result rrt__exchange_send(rrt__exchange *x)
{
    pthread_mutex_lock(&x->http->lock);
    rrt__exchange_state state = x->state;
    bool is_gone = x->is_gone, waits = state == RRT__EXCHANGE_WAITING && !is_gone;
    if (waits) {
        x->is_suspended = true;
        MHD_suspend_connection(x->handle);
    }
    pthread_mutex_unlock(&x->http->lock);
    if (waits) return MHD_YES;
    return is_gone ? MHD_NO : queue(x, state == RRT__EXCHANGE_REPLIED);
}

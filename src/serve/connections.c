// The list of connections, and which of them to drop.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "serve/http_inside.h"

// Of IPv6 only the network's part: a client can choose the rest.
static void note_address(rrt__connection *c)
{
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof address;
    getpeername(c->socket, (struct sockaddr *)&address, &bytes);
    if (address.ss_family == AF_INET6) {
        struct in6_addr a = ((const struct sockaddr_in6 *)&address)->sin6_addr;
        if (!IN6_IS_ADDR_V4MAPPED(&a)) memset(a.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &a, c->address, sizeof c->address);
    } else if (address.ss_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)&address)->sin_addr, c->address, sizeof c->address);
    }
}

void rrt__connection_notified(void *user, struct MHD_Connection *handle, void **context,
                              enum MHD_ConnectionNotificationCode code)
{
    rrt__http *http = user;
    rrt__connection *c = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        if (rrt__alloc(&c, 1, sizeof *c, "a connection", NULL)) return; // its requests are then refused
        c->socket = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->since = rrt__now_seconds();
        note_address(c);
        setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        // Otherwise the kernel buffers megabytes for each client that does not read.
        setsockopt(c->socket, SOL_SOCKET, SO_SNDBUF, &(int){1 << 17}, sizeof(int));
        *context = c;
        pthread_mutex_lock(&http->lock);
        c->next = http->connections;
        c->at = &http->connections;
        if (c->next) c->next->at = &c->next;
        http->connections = c;
        pthread_mutex_unlock(&http->lock);
    } else if (c) {
        pthread_mutex_lock(&http->lock);
        *c->at = c->next;
        if (c->next) c->next->at = c->at;
        pthread_mutex_unlock(&http->lock);
        rrt__free(c);
    }
}

// A client that sends no more may still wait for its reply (shutdown(SHUT_WR)) or have closed the connection:
// both look the same, but only a closed one refuses data. So we send a byte out of band, which readers do not
// see in the reply; in front of it, it would be an empty line, which clients must accept.
static void probe(rrt__connection *c, double now)
{
    enum { INTERVAL_S = 1 };
    if (now - c->probed < INTERVAL_S) return;
    c->probed = now;
    send(c->socket, "\n", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Whether it waits for a request, and has sent nothing that is unread.
static bool is_idle(const rrt__connection *c, double now)
{
    static const double moment_s = 0.2;
    int unread = 0;
    return now - c->since > moment_s && ioctl(c->socket, FIONREAD, &unread) == 0 && !unread;
}

// libmicrohttpd does not watch suspended connections: checks here whether the client has closed.
static bool is_gone(rrt__connection *c, const struct pollfd *polled, double now)
{
    if (polled->revents & (POLLHUP | POLLERR | POLLNVAL)) return true;
    if (!(polled->revents & POLLRDHUP)) return false;
    if (!c->exchange) return is_idle(c, now);   // no further request can come
    if (!c->exchange->is_received) return true; // it can never be complete
    // If a part of the reply is on its way, sending the next part detects it.
    if (c->exchange->state == RRT__EXCHANGE_WAITING) probe(c, now);
    return false;
}

// Whether a client makes no progress when it should send, or take available pieces. libmicrohttpd watches
// whole replies.
static bool is_too_slow(const rrt__http *http, const rrt__connection *c, double now)
{
    const rrt__exchange *x = c->exchange;
    bool is_its_turn =
        !x || !x->is_received || (x->state >= RRT__EXCHANGE_WRITING && x->taken < x->out.length);
    return is_its_turn && now - c->since > http->patience_s;
}

// Drops all if `every`, else those that are gone or too slow; returns how many connections to resume.
static size_t drop_connections(rrt__http *http, bool every)
{
    double now = rrt__now_seconds();
    size_t count = 0, n_woken = 0;
    for (rrt__connection *c = http->connections; c; c = c->next) {
        if (rrt__array_reserve(&http->polled, &http->polled_capacity, count + 1, sizeof *http->polled,
                               NULL) ||
            rrt__array_reserve(&http->woken, &http->woken_capacity, count + 1, sizeof(void *), NULL))
            break;
        http->polled[count++] = (struct pollfd){.fd = c->socket, .events = POLLRDHUP};
    }
    poll(http->polled, count, 0);
    const struct pollfd *polled = http->polled, *end = polled + count;
    for (rrt__connection *c = http->connections; c && polled < end; c = c->next, polled++) {
        rrt__exchange *x = c->exchange;
        if (!every && !is_too_slow(http, c, now) && !is_gone(c, polled, now)) continue;
        shutdown(c->socket, SHUT_RDWR);
        if (!x) continue;
        x->is_gone = true;
        if (rrt__exchange_wake(x)) http->woken[n_woken++] = x->handle;
    }
    return n_woken;
}

void rrt__connections_drop(rrt__http *http, bool every)
{
    pthread_mutex_lock(&http->lock);
    size_t n_woken = drop_connections(http, every);
    pthread_mutex_unlock(&http->lock);
    for (size_t i = 0; i < n_woken; i++) MHD_resume_connection(http->woken[i]);
}

void rrt__http_hurry(rrt__http *http, double patience_s)
{
    pthread_mutex_lock(&http->lock);
    if (patience_s < http->patience_s) http->patience_s = patience_s;
    pthread_mutex_unlock(&http->lock);
}

void rrt__http_watch(rrt__http *http)
{
    rrt__connections_drop(http, false);
}

// Opens the listening socket, and limits the number of connections.
#include <netdb.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve/http_inside.h"

rrt_status rrt__listen(int *out, const rrt__http_options *options, rrt_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    char port[16];
    snprintf(port, sizeof port, "%d", options->port);
    int code = getaddrinfo(options->host, port, &hints, &found);
    if (code)
        return rrt__fail(err, RRT_STATUS_IO, "%s: no such address: %s", options->host, gai_strerror(code));
    int s = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    rrt_status status = RRT_STATUS_OK;
    if (s >= 0) setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (s < 0 || bind(s, found->ai_addr, found->ai_addrlen) != 0 || listen(s, SOMAXCONN) != 0) {
        status = rrt__fail_errno(err, "cannot listen at %s, port %d", options->host, options->port);
        if (s >= 0) close(s);
    }
    freeaddrinfo(found);
    *out = s;
    return status;
}

// The requested number of connections, or as many as the limit of open files allows.
unsigned rrt__listen_limit(size_t asked)
{
    enum { OTHER_FILES = 64 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
    rlim_t wanted = asked + OTHER_FILES;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur < wanted && limit.rlim_cur > OTHER_FILES ? (unsigned)limit.rlim_cur - OTHER_FILES
                                                                   : (unsigned)asked;
}

// Access control. A web page in a browser must not reach a server on the same machine, neither by a name that
// it resolves to it (Host), nor from the page's own site (Origin).
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "serve/server_inside.h"

static bool is_listed(const rrt__list *list, const char *text, size_t length)
{
    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->items[i]) == length && strncasecmp(list->items[i], text, length) == 0) return true;
    return false;
}

// An address cannot be rebound; any other name must be one of the server's.
static bool is_our_name(const rrt__server *server, const char *host)
{
    char name[256];
    bool is_v6 = host[0] == '[';
    size_t length = is_v6 ? strcspn(++host, "]") : strcspn(host, ":");
    if (length >= sizeof name) return false;
    memcpy(name, host, length);
    name[length] = '\0';
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, name, address) == 1) return true;
    return strcasecmp(name, "localhost") == 0 || strcasecmp(name, server->options.host) == 0 ||
           is_listed(&server->options.hosts, name, length);
}

// Allows our own pages, and those that the operator named.
static bool may_come_from(const rrt__server *server, const char *origin, const char *host)
{
    const char *after = strstr(origin, "://");
    if (after && strcasecmp(after + 3, host) == 0) return true;
    return is_listed(&server->options.origins, origin, strlen(origin));
}

// Takes the same time wherever the strings differ.
static bool is_same(const char *a, const char *b, size_t length)
{
    unsigned char difference = 0;
    for (size_t i = 0; i < length; i++) difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}

// Clients with the same key share one client's quota.
static bool has_key(const rrt__server *server, rrt__exchange *exchange)
{
    static const char scheme[] = "Bearer ";
    const rrt__list *keys = &server->options.api_keys;
    if (!keys->count) return true;
    const char *given = rrt__exchange_header(exchange, "Authorization");
    if (!given || strncasecmp(given, scheme, sizeof scheme - 1) != 0) return false;
    given += sizeof scheme - 1;
    size_t known = SIZE_MAX;
    for (size_t i = 0; i < keys->count; i++) {
        size_t length = strlen(keys->items[i]);
        if (strlen(given) == length && is_same(given, keys->items[i], length)) known = i;
    }
    char name[32];
    snprintf(name, sizeof name, "key %zu", known);
    if (known < SIZE_MAX) rrt__exchange_identify(exchange, name);
    return known < SIZE_MAX;
}

bool rrt__access_check(const rrt__server *server, rrt__exchange *exchange, bool needs_key)
{
    const char *host = rrt__exchange_header(exchange, "Host");
    const char *origin = rrt__exchange_header(exchange, "Origin");
    if (host && !is_our_name(server, host)) {
        rrt__respond_error(
            exchange, 403, "permission_error", NULL, "host_not_allowed",
            "the Host of this request is not a name of this server (--allow-host NAME adds one)");
        return false;
    }
    if (origin && !may_come_from(server, origin, host ? host : "")) {
        rrt__respond_error(
            exchange, 403, "permission_error", NULL, "origin_not_allowed",
            "pages from this Origin may not use this server (--allow-origin ORIGIN lets them)");
        return false;
    }
    if (origin && is_listed(&server->options.origins, origin, strlen(origin))) {
        rrt__exchange_set(exchange, "Access-Control-Allow-Origin", origin);
        rrt__exchange_set(exchange, "Access-Control-Allow-Headers",
                          "Authorization, Content-Type, X-Request-Id");
        rrt__exchange_set(exchange, "Vary", "Origin");
    }
    if (needs_key && !has_key(server, exchange)) {
        rrt__exchange_set(exchange, "WWW-Authenticate", "Bearer");
        rrt__respond_error(exchange, 401, "authentication_error", NULL, "invalid_api_key",
                           "the API key is missing or wrong (Authorization: Bearer KEY)");
        return false;
    }
    return true;
}

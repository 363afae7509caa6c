// The HTTP seam by itself: pieces arrive as they are written, clients that are gone or slow are noticed, and
// bodies are bounded.
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/http.h"
#include "test.h"

enum { MAX_BODY = 1000, MAX_HELD = 100 << 20 };

static rrt__http *http;
static rrt__exchange *held; // by the tests; the HTTP thread puts it here
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void admit(void *user, rrt__exchange *x)
{
    (void)user;
    if (strcmp(rrt__exchange_path(x), "/refused") == 0) rrt__exchange_reply(x, 403, "text/plain", "no", 2);
}

static void handle(void *user, rrt__exchange *x)
{
    (void)user;
    size_t length;
    const char *body = rrt__exchange_body(x, &length);
    if (strcmp(rrt__exchange_path(x), "/held") == 0) {
        pthread_mutex_lock(&lock);
        held = x;
        pthread_mutex_unlock(&lock);
    } else if (rrt__exchange_body_state(x)) {
        rrt__exchange_reply(x, 413, "text/plain", "", 0);
    } else {
        rrt__exchange_reply(x, 200, "text/plain", body, length);
    }
}

static int set_up(void **state)
{
    (void)state;
    rrt_error err = {0};
    const rrt__http_options options = {.host = "127.0.0.1",
                                       .max_body_bytes = MAX_BODY,
                                       .max_connections = 100,
                                       .max_slots = 10,
                                       .max_bytes = MAX_HELD,
                                       .patience_s = 0.3,
                                       .admit = admit,
                                       .handle = handle};
    assert_ok(rrt__http_open(&http, &options, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rrt__http_close(http);
    return 0;
}

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int request(const char *text)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)rrt__http_port(http)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(s, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(s, text, strlen(text), 0), strlen(text));
    return s;
}

// What arrives next, within ms; "" if nothing does.
static const char *receive(int s, int ms)
{
    static char text[65536];
    struct pollfd polled = {.fd = s, .events = POLLIN};
    ssize_t length = poll(&polled, 1, ms) == 1 ? recv(s, text, sizeof text - 1, 0) : 0;
    text[length > 0 ? length : 0] = '\0';
    return text;
}

static bool has_ended(int s, int ms)
{
    char byte;
    struct pollfd polled = {.fd = s, .events = POLLIN};
    return poll(&polled, 1, ms) == 1 && recv(s, &byte, 1, 0) <= 0;
}

static rrt__exchange *wait_held(void)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        rrt__exchange *x = held;
        held = NULL;
        pthread_mutex_unlock(&lock);
        if (x) return x;
        wait_ms(1);
    }
}

#define HELD "GET /held HTTP/1.1\r\nHost: a\r\n\r\n"

static void pieces_arrive_alone(void **state)
{
    (void)state;
    int s = request(HELD);
    rrt__exchange *x = wait_held();
    rrt__exchange_begin(x, "text/event-stream");
    assert_non_null(strstr(receive(s, 1000), "200 OK"));
    for (int i = 0; i < 20; i++) {
        char piece[32], chunk[64];
        snprintf(piece, sizeof piece, "data: %d\n\n", i);
        snprintf(chunk, sizeof chunk, "%zX\r\n%s\r\n", strlen(piece), piece);
        assert_true(rrt__exchange_write(x, piece, strlen(piece)));
        char got[64] = "";
        for (double end = rrt__now_seconds() + 1; strlen(got) < strlen(chunk) && rrt__now_seconds() < end;)
            strncat(got, receive(s, 100), sizeof got - strlen(got) - 1);
        assert_string_equal(got, chunk); // nothing of it is held back until the next
    }
    rrt__exchange_end(x);
    assert_string_equal(receive(s, 1000), "0\r\n\r\n");
    close(s);
}

static void assert_notices(rrt__exchange *x)
{
    for (double end = rrt__now_seconds() + 1; !rrt__exchange_is_gone(x); wait_ms(5)) {
        rrt__http_watch(http);
        assert_true(rrt__now_seconds() < end);
    }
}

static void assert_none_open(void)
{
    for (double end = rrt__now_seconds() + 2; rrt__http_open_exchanges(http); wait_ms(5))
        assert_true(rrt__now_seconds() < end);
}

static void clients_that_are_gone_are_noticed(void **state)
{
    (void)state;
    close(request(HELD)); // while it waits
    rrt__exchange *x = wait_held();
    assert_notices(x);
    rrt__exchange_reply(x, 200, "text/plain", "late", 4);
    int s = request(HELD); // while it gets pieces
    x = wait_held();
    rrt__exchange_begin(x, "text/plain");
    assert_true(rrt__exchange_write(x, "a", 1));
    close(s);
    assert_notices(x);
    assert_false(rrt__exchange_write(x, "b", 1));
    rrt__exchange_end(x);
    assert_none_open();
}

static void a_slow_reader_is_cut_off_and_delays_nobody(void **state)
{
    (void)state;
    enum { PIECE = 10000 };
    char *piece = calloc(1, PIECE);
    int s = request(HELD);
    rrt__exchange *x = wait_held();
    rrt__exchange_begin(x, "text/plain");
    size_t written = 0;
    double start = rrt__now_seconds(), longest = 0, before = start;
    for (; rrt__exchange_write(x, piece, PIECE); written += PIECE) {
        double now = rrt__now_seconds();
        if (now - before > longest) longest = now - before;
        before = now;
        assert_true(written < 200 << 20);
    }
    assert_true(longest < 0.5); // the writer never waits for the reader
    assert_true(written >= 1000 * 1000);
    rrt__exchange_end(x);
    assert_none_open();
    close(s);
    s = request(HELD); // less than the bound, but it is never read
    x = wait_held();
    rrt__exchange_begin(x, "text/plain");
    int small = 4096;
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    while (rrt__now_seconds() - start < 20 && rrt__exchange_write(x, piece, PIECE)) {
        wait_ms(1);
        rrt__http_watch(http);
    }
    assert_true(rrt__exchange_is_gone(x));
    rrt__exchange_end(x);
    assert_none_open();
    close(s);
    free(piece);
}

// A client that sends no more is not gone, and is told from one that has closed; nothing of how that is found
// out is in what it reads.
static void a_half_closed_client_still_gets_its_reply(void **state)
{
    (void)state;
    int s = request(HELD);
    rrt__exchange *x = wait_held();
    shutdown(s, SHUT_WR);
    for (double end = rrt__now_seconds() + 2.3; rrt__now_seconds() < end; wait_ms(20)) rrt__http_watch(http);
    assert_false(rrt__exchange_is_gone(x));
    rrt__exchange_reply(x, 200, "text/plain", "at last", 7);
    const char *reply = receive(s, 1000);
    assert_ptr_equal(strstr(reply, "HTTP/1.1 200 OK"), reply);
    assert_non_null(strstr(reply, "\r\n\r\nat last"));
    assert_true(has_ended(s, 1000));
    close(s);
    s = request(HELD);
    x = wait_held();
    shutdown(s, SHUT_WR);
    wait_ms(50);
    rrt__http_watch(http);
    close(s);
    for (double end = rrt__now_seconds() + 3; !rrt__exchange_is_gone(x); wait_ms(5)) {
        rrt__http_watch(http);
        assert_true(rrt__now_seconds() < end);
    }
    rrt__exchange_reply(x, 200, "text/plain", "late", 4);
    assert_none_open();
}

// What is held counts until the reply is sent, and a place until it is answered.
static void bytes_count_until_sent_and_slots_until_answered(void **state)
{
    (void)state;
    int s = request(HELD);
    rrt__exchange *x = wait_held();
    assert_true(rrt__exchange_take_slot(x));
    assert_int_equal(rrt__http_slots(http), 1);
    assert_false(rrt__exchange_hold(x, MAX_HELD + 1));
    assert_true(rrt__exchange_hold(x, MAX_HELD / 2));
    assert_true(rrt__exchange_hold(x, MAX_HELD / 4));
    assert_true(rrt__exchange_hold(x, MAX_HELD / 4 * 3));
    int other = request(HELD);
    rrt__exchange *y = wait_held();
    assert_false(rrt__exchange_hold(y, MAX_HELD / 2));
    rrt__exchange_identify(y, "another");
    assert_true(rrt__exchange_hold(y, MAX_HELD / 8));
    rrt__exchange_reply(x, 200, "text/plain", "x", 1);
    assert_int_equal(rrt__http_slots(http), 0);
    assert_non_null(strstr(receive(s, 1000), "200 OK"));
    rrt__exchange_reply(y, 200, "text/plain", "y", 1);
    assert_non_null(strstr(receive(other, 1000), "200 OK"));
    close(s);
    close(other);
    assert_none_open();
}

// Takes part of a request, and then no more: it is cut off, unless it is we who are slow.
static void a_slow_sender_is_cut_off(void **state)
{
    (void)state;
    static const char *const beginnings[] = {
        "", "GET /a HT", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nabc",
        "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nabc"};
    int sockets[4], waiting = request(HELD);
    for (int i = 0; i < 4; i++) sockets[i] = request(beginnings[i]);
    for (double end = rrt__now_seconds() + 0.6; rrt__now_seconds() < end; wait_ms(20)) {
        rrt__http_watch(http);
        for (int i = 2; i < 4; i++) send(sockets[i], "x", 1, MSG_NOSIGNAL); // slowly
    }
    for (int i = 0; i < 4; i++) {
        assert_true(has_ended(sockets[i], 1000));
        close(sockets[i]);
    }
    rrt__exchange *x = wait_held();
    assert_false(rrt__exchange_is_gone(x));
    rrt__exchange_reply(x, 200, "text/plain", "at last", 7);
    assert_non_null(strstr(receive(waiting, 1000), "at last"));
    close(waiting);
    assert_none_open();
}

static void bodies_over_the_limit_are_refused(void **state)
{
    (void)state;
    char text[3 * MAX_BODY];
    for (int bytes = MAX_BODY - 1; bytes <= MAX_BODY + 1; bytes++) {
        int head =
            snprintf(text, sizeof text, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", bytes);
        memset(text + head, 'a', (size_t)bytes);
        text[head + bytes] = '\0';
        int s = request(text);
        assert_non_null(strstr(receive(s, 1000), bytes > MAX_BODY ? " 413 " : " 200 "));
        close(s);
    }
    int s = request("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    assert_string_equal(receive(s, 50), ""); // its body is taken first
    send(s, "abc", 3, 0);
    assert_non_null(strstr(receive(s, 1000), " 403 "));
    close(s);
}

// Whatever is under way when the server closes is cut off and freed.
static void closing_frees_what_is_under_way(void **state)
{
    (void)state;
    int a = request(HELD);
    rrt__exchange_reply(wait_held(), 200, "text/plain", "a", 1);
    int b = request(HELD);
    rrt__exchange *x = wait_held();
    rrt__exchange_begin(x, "text/plain");
    rrt__exchange_end(x);
    int c = request("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    rrt__http_close(http);
    close(a);
    close(b);
    close(c);
    set_up(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_arrive_alone),
        cmocka_unit_test(clients_that_are_gone_are_noticed),
        cmocka_unit_test(a_slow_reader_is_cut_off_and_delays_nobody),
        cmocka_unit_test(a_half_closed_client_still_gets_its_reply),
        cmocka_unit_test(bytes_count_until_sent_and_slots_until_answered),
        cmocka_unit_test(a_slow_sender_is_cut_off),
        cmocka_unit_test(bodies_over_the_limit_are_refused),
        cmocka_unit_test(closing_frees_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

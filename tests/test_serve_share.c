// Who gets how much of a server: never more than there is, nobody all of it, and all is given back.
#include "base/rng.h"
#include "serve/share.h"
#include "test.h"

enum { CLIENTS = 6, STEPS = 20000, MOST = 900 };

static void nothing_is_given_twice_and_all_comes_back(void **state)
{
    (void)state;
    rrt__fair_share share = {.max_slots = 18, .max_bytes = MOST};
    rrt__client *clients[CLIENTS];
    size_t held[CLIENTS] = {0}, slots[CLIENTS] = {0};
    uint64_t n_drawn = 0;
    for (int i = 0; i < CLIENTS; i++) clients[i] = rrt__share_enter(&share, (char[]){(char)('a' + i), 0});
    for (int step = 0; step < STEPS; step++) {
        int i = (int)(rrt__random_bits(1, 0, n_drawn++) % CLIENTS);
        size_t bytes = rrt__random_bits(1, 0, n_drawn++) % 100;
        if (rrt__random_bits(1, 0, n_drawn++) % 2) {
            if (rrt__share_take_bytes(&share, clients[i], bytes, false)) held[i] += bytes;
            slots[i] += rrt__share_take_slot(&share, clients[i]);
        } else {
            rrt__share_free_bytes(&share, clients[i], held[i]);
            held[i] = 0;
            if (slots[i]) rrt__share_free_slot(&share, clients[i]);
            slots[i] -= slots[i] > 0;
        }
        assert_true(share.bytes <= MOST && share.slots <= share.max_slots);
        for (int k = 0; k < CLIENTS; k++)
            assert_true(clients[k]->bytes == held[k] && clients[k]->slots == slots[k]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        rrt__share_free_bytes(&share, clients[i], held[i]);
        while (slots[i]--) rrt__share_free_slot(&share, clients[i]);
        rrt__share_leave(&share, clients[i]);
    }
    assert_null(share.clients);
    assert_true(share.bytes == 0 && share.slots == 0);
}

// One that takes all it can leaves something for a second, and these for a third.
static void no_client_can_take_everything(void **state)
{
    (void)state;
    for (size_t most = 1; most < 300; most++) {
        rrt__fair_share share = {.max_slots = most, .max_bytes = most};
        rrt__client *clients[3];
        size_t got[3] = {0}, n_bytes[3] = {0};
        for (int i = 0; i < 3; i++) {
            clients[i] = rrt__share_enter(&share, (char[]){(char)('a' + i), 0});
            while (rrt__share_take_slot(&share, clients[i])) got[i]++;
            while (rrt__share_take_bytes(&share, clients[i], 1, false)) n_bytes[i]++;
        }
        assert_true(got[0] >= 1 && n_bytes[0] >= 1);
        if (most >= 20) assert_true(got[1] >= 1 && n_bytes[1] >= 1);
        if (most >= 200) assert_true(got[2] >= 1 && n_bytes[2] >= 1);
        assert_true(got[0] * 10 >= most * 8);
        assert_true(rrt__share_enter(&share, "a") == clients[0]);
        rrt__share_leave(&share, clients[0]);
        for (int i = 0; i < 3; i++) rrt__share_leave(&share, clients[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_given_twice_and_all_comes_back),
        cmocka_unit_test(no_client_can_take_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

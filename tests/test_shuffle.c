// The order of windows in training.
#include "models.h"
#include "train/data.h"

static void every_epoch_has_each_window_once_in_another_order(void **state)
{
    (void)state;
    enum { MOST = 1000 };
    static const size_t counts[] = {1, 2, 3, 4, 5, 7, 16, 17, 63, 64, 65, 100, 255, 256, 257, MOST};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        size_t n = counts[c], same_epoch = 0, same_seed = 0;
        for (uint64_t epoch = 0; epoch < 4; epoch++) {
            unsigned char seen[MOST] = {0};
            for (size_t i = 0; i < n; i++) {
                size_t window = rrt__dataset_shuffle(n, 7, epoch * n + i);
                assert_true(window < n && !seen[window]++); // each once
                same_epoch += window == rrt__dataset_shuffle(n, 7, (epoch + 1) * n + i);
                same_seed += window == rrt__dataset_shuffle(n, 8, epoch * n + i);
            }
        }
        // By chance one window per epoch stays where it was.
        if (n >= 16) assert_true(same_epoch < 16 && same_seed < 16);
    }
    // Large numbers: the first window of many epochs is anywhere.
    size_t n = (size_t)1 << 40, low = 0;
    for (uint64_t epoch = 0; epoch < 1000; epoch++) low += rrt__dataset_shuffle(n, 1, epoch << 40) < n / 2;
    assert_true(low > 400 && low < 600);
    // All orders of three windows come up about as often.
    int orders[27] = {0};
    for (uint64_t epoch = 0; epoch < 6000; epoch++)
        orders[rrt__dataset_shuffle(3, 5, 3 * epoch) * 9 + rrt__dataset_shuffle(3, 5, 3 * epoch + 1) * 3 +
               rrt__dataset_shuffle(3, 5, 3 * epoch + 2)]++;
    int n_orders = 0;
    for (int i = 0; i < 27; i++) n_orders += orders[i] > 700 && orders[i] < 1300;
    assert_int_equal(n_orders, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_epoch_has_each_window_once_in_another_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

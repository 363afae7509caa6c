// The progress bar, and Ctrl-C where a job has something to clean up.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

typedef struct bar {
    double start, last; // seconds
    char stage[64], note[96];
    bool is_drawn;
} bar;

static bar state;
static volatile sig_atomic_t caught; // the signal, 0 before

static void draw(bar *b, const char *stage, double done, double total)
{
    enum { WIDTH = 30 };
    double now = rrt__now_seconds();
    if (strcmp(stage, b->stage) != 0) {
        snprintf(b->stage, sizeof b->stage, "%s", stage);
        b->start = now;
    } else if (done < total && now - b->last < 0.1) {
        return;
    }
    b->last = now;
    double share = total > 0 ? done / total : 1, elapsed = now - b->start;
    int filled = (int)(share * WIDTH);
    fprintf(stderr, "\r\033[K%-10s [%.*s%*s] %3.0f%%", stage, filled, "##############################",
            WIDTH - filled, "", 100 * share);
    if (share > 0 && done < total) fprintf(stderr, "  %.0f s left", elapsed / share - elapsed);
    if (b->note[0]) fprintf(stderr, "  %s", b->note);
    fflush(stderr);
    b->is_drawn = true;
    if (done >= total) rrt__cli_progress_end();
}

bool rrt__cli_has_bar(void)
{
    return isatty(STDERR_FILENO);
}

static int report(void *user, const char *stage, double done, double total)
{
    if (rrt__cli_has_bar()) draw(user, stage, done, total);
    return caught != 0;
}

const rrt_progress *rrt__cli_progress(void)
{
    static const rrt_progress progress = {report, &state};
    return &progress;
}

void rrt__cli_progress_note(const char *note)
{
    snprintf(state.note, sizeof state.note, "%s", note);
}

void rrt__cli_progress_end(void)
{
    if (state.is_drawn) fprintf(stderr, "\r\033[K");
    state.is_drawn = false;
}

static void on_signal(int number)
{
    caught = number;
}

static const int caught_signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { CAUGHT_SIGNALS = sizeof caught_signals / sizeof *caught_signals };

static void handle(void (*handler)(int))
{
    // Only once: the second Ctrl-C of somebody in a hurry ends the program at once.
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESETHAND | SA_RESTART};
    for (size_t i = 0; i < CAUGHT_SIGNALS; i++) {
        struct sigaction before;
        sigaction(caught_signals[i], &action, &before);
        if (before.sa_handler == SIG_IGN) sigaction(caught_signals[i], &before, NULL); // nohup
    }
}

void rrt__cli_catch_signals(void)
{
    handle(on_signal);
}

int rrt__cli_caught_signal(void)
{
    return caught;
}

void rrt__cli_release_signals(void)
{
    handle(SIG_DFL);
    caught = 0;
}

void rrt__cli_raise_caught(void)
{
    if (caught) raise(caught);
}

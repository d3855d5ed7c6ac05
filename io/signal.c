/* SPDX-License-Identifier: Apache-2.0 */
/* io/signal.c -- signals as something to wait for.
 *
 * A signal that this runtime has taken over (signal_actions.c) is marked by the handler; the collector hands the marks to the tasks that wait,
 * to each one who waits for that signal. One that comes while nobody waits is kept (pending) for the next waiter; so is one whose only
 * receiver was cancelled before he had it, unless it was given back meanwhile: then it is sent again.
 *
 * Threads: wait, keep and drop by tasks; dispatch by the collector. All under the guard of the waiters. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>
#include <weft/io.h>

#include "executor/fiber.h"
#include "executor/waitlist.h"
#include "io/reactor.h"
#include "io/signal_actions.h"

static const struct weft__wait_kind signal_wait = {.name = "a signal"};

void weft__signals_init(struct weft__io *io)
{
    io->signals = (struct weft__signals){.source = NULL};
}

/* A SIGINT was dispatched. It is never lost: if the main task has ended already, the former action gets it. */
static unsigned interrupt(struct weft__io *io)
{
    if (weft__runtime_interrupt(io->rt))
        return 1;
    weft__interrupts_end(io);
    kill(getpid(), SIGINT);
    return 0;
}

/* In a woken node's value: this waiter was the only one to get the signal. */
#define ONLY_ONE (UINT64_C(1) << 32)

static unsigned offer_locked(struct weft__signals *signals, int signo)
{
    unsigned wakes = 0;
    struct weft__wait_node *receiver = NULL;
    for (struct weft__wait_node *node = signals->waiters.first_; node != NULL; node = node->next) {
        if (node->woken || (node->value & weft__signal_bit(signo)) == 0 ||
            !weft__wake(node->fiber, node->ticket, WEFT__WOKEN))
            continue;
        node->woken = true;
        node->value = (uint64_t)signo;
        receiver = node;
        wakes++;
    }
    if (wakes == 0)
        signals->pending |= weft__signal_bit(signo);
    else if (wakes == 1)
        receiver->value |= ONLY_ONE;
    return wakes;
}

unsigned weft__signals_dispatch(struct weft__io *io)
{
    struct weft__signals *signals = &io->signals;
    unsigned wakes = 0;
    weft__waitlist_lock(&signals->waiters);
    uint64_t came = weft__fetch_and_acq_rel(&signals->source->came, 0); /* pairs: SIGNAL-CAME */
    bool for_main = (came & weft__signal_bit(SIGINT)) != 0 && !signals->int_waited;
    if (for_main)
        came &= ~weft__signal_bit(SIGINT);
    for (int signo = 1; came >> (signo - 1) != 0; signo++) {
        if ((came & weft__signal_bit(signo)) != 0)
            wakes += offer_locked(signals, signo);
        if (signo == WEFT__LAST_SIGNAL)
            break;
    }
    weft__waitlist_unlock(&signals->waiters);
    return for_main ? wakes + interrupt(io) : wakes;
}

/* Those that tell of a fault in the running code can only be handled there. */
static bool waitable(int signo)
{
    return signo >= 1 && signo <= WEFT__LAST_SIGNAL && signo != SIGKILL && signo != SIGSTOP && signo != SIGSEGV &&
           signo != SIGBUS && signo != SIGFPE && signo != SIGILL && signo != SIGTRAP && signo != SIGABRT;
}

static int subscribe(struct weft__io *io, const int signals[], size_t n, uint64_t *mask)
{
    for (size_t i = 0; i < n; i++) {
        if (!waitable(signals[i]))
            return -EINVAL;
        *mask |= weft__signal_bit(signals[i]);
    }
    return n == 0 ? -EINVAL : weft__signals_take_over(io, signals, n);
}

int weft_signal_wait(const int signals[], size_t n)
{
    struct weft__fiber *f = weft__fiber_require("weft_signal_wait");
    struct weft__io *io = weft__fiber_io(f, "weft_signal_wait");
    struct weft__signals *state = &io->signals;
    uint64_t mask = 0;
    int rc = weft__budget_spent(f) ? weft__yield(f) : 0;
    if (rc == 0)
        rc = subscribe(io, signals, n, &mask);
    if (rc < 0)
        return rc;
    weft__waitlist_lock(&state->waiters);
    while ((state->subscribed & mask) != mask) { /* dropped since */
        weft__waitlist_unlock(&state->waiters);
        rc = subscribe(io, signals, n, &mask);
        if (rc < 0)
            return rc;
        weft__waitlist_lock(&state->waiters);
    }
    uint64_t kept = state->pending & mask;
    if (kept != 0) {
        state->pending &= ~(kept & -kept);
        weft__waitlist_unlock(&state->waiters);
        return __builtin_ctzll(kept) + 1;
    }
    struct weft__wait_node *node = weft__waitlist_join(&state->waiters, f, &signal_wait, state);
    node->value = mask;
    weft__waitlist_unlock(&state->waiters);
    weft__io_wait_enter(io);
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    weft__io_wait_leave(io);
    weft__waitlist_lock(&state->waiters);
    weft__waitlist_leave(&state->waiters, node);
    int signo = node->woken ? (int)(node->value & 0xff) : 0;
    bool back = how == WEFT__CANCELLED && signo != 0 && (node->value & ONLY_ONE) != 0, nobodys = false;
    if (back && (state->subscribed & weft__signal_bit(signo)) != 0)
        (void)offer_locked(state, signo);
    else
        nobodys = back; /* dropped meanwhile */
    weft__waitlist_unlock(&state->waiters);
    if (nobodys)
        weft__signal_send_again(io, signo);
    return how == WEFT__CANCELLED ? -ECANCELED : signo;
}

int weft_signal_keep(const int signals[], size_t n)
{
    struct weft__fiber *f = weft__fiber_require("weft_signal_keep");
    uint64_t mask = 0;
    return subscribe(weft__fiber_io(f, "weft_signal_keep"), signals, n, &mask);
}

int weft_signal_drop(const int signals[], size_t n)
{
    struct weft__fiber *f = weft__fiber_require("weft_signal_drop");
    struct weft__io *io = weft__fiber_io(f, "weft_signal_drop");
    uint64_t mask = 0;
    for (size_t i = 0; i < n; i++) {
        if (!waitable(signals[i]))
            return -EINVAL;
        mask |= weft__signal_bit(signals[i]);
    }
    return n == 0 ? -EINVAL : weft__signals_give_back(io, mask);
}

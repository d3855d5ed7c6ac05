/* SPDX-License-Identifier: Apache-2.0 */
/* io/signal.c -- signals as something to wait for.
 *
 * Signals could be blocked in all threads and read from a signalfd only if that had been done before the first thread
 * started, which a library cannot ask. So there is one handler. It walks the list of sources, one per runtime that ever
 * waited for a signal, marks the signal in each that wants it, and writes to that source's eventfd, which is in the
 * runtime's epoll; the collector then hands the marks to the tasks (weft__signals_dispatch). All of that is
 * async-signal-safe. Sources are never freed, only used again, so the handler may walk at any moment; before a runtime closes
 * its eventfd it waits until no handler runs that may have read its number (label SIGNAL-HANDLER):
 *     handler:  1 running + 1   2 read the number, write to it   3 running - 1
 *     leaving:  1 take the number out   2 wait until running is 0   3 close
 *
 * The action of a signal is taken over at its first wait and given back when the last runtime that did so ends, unless
 * somebody else has set an action meanwhile. Marks are bits: as with the kernel's own, a signal that comes again before it was
 * noticed is one signal. One that comes while nobody waits is kept for the next waiter of that runtime.
 *
 * Threads: wait by tasks; dispatch by the collector; the handler wherever the kernel puts it. The process's table has a
 * guard that the handler never takes. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <weft/io.h>

#include "executor/guard.h"
#include "executor/waitlist.h"
#include "io/reactor.h"

#define LAST_SIGNAL 64

struct weft__signal_source {
    struct weft__signal_source *next; /* constant */
    bool used;                        /* under table_guard */
    _Atomic(int) event;               /* -1: none. pairs: SIGNAL-HANDLER */
    _Atomic(uint64_t) wanted, came;   /* bit signo - 1. pairs: SIGNAL-CAME: marked before the eventfd is written */
};

static uint32_t table_guard; /* of all below but what the handler reads */
static struct {
    unsigned users;
    struct sigaction before;
} actions[LAST_SIGNAL + 1];
static _Atomic(struct weft__signal_source *) sources; /* pairs: SIGNAL-HANDLER */
static _Atomic(uint32_t) running;                     /* pairs: SIGNAL-HANDLER */

static const struct weft__wait_kind signal_wait = {"a signal", NULL};

static uint64_t bit_of(int signo)
{
    return UINT64_C(1) << (signo - 1);
}

static void on_signal(int signo)
{
    int saved = errno;
    weft__fetch_add_seq_cst(&running, 1);                              /* pairs: SIGNAL-HANDLER */
    struct weft__signal_source *source = weft__load_seq_cst(&sources); /* pairs: SIGNAL-HANDLER */
    for (; source != NULL; source = source->next) {
        int event = weft__load_seq_cst(&source->event);                              /* pairs: SIGNAL-HANDLER */
        if (event < 0 || (weft__load_acquire(&source->wanted) & bit_of(signo)) == 0) /* pairs: SIGNAL-CAME */
            continue;
        weft__fetch_or_acq_rel(&source->came, bit_of(signo)); /* pairs: SIGNAL-CAME */
        uint64_t one = 1;
        while (write(event, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    weft__fetch_sub_seq_cst(&running, 1); /* pairs: SIGNAL-HANDLER */
    errno = saved;
}

/* ---- taking signals over, under table_guard ---------------------------------------------------------------------- */

static struct weft__signal_source *get_source_locked(void)
{
    struct weft__signal_source *first = weft__load_relaxed(&sources); /* relaxed: changed under the guard */
    for (struct weft__signal_source *s = first; s != NULL; s = s->next)
        if (!s->used)
            return s;
    struct weft__signal_source *s = malloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->next = first;
    s->used = false;
    weft__store_relaxed(&s->event, -1); /* relaxed: published with the list */
    weft__store_relaxed(&s->wanted, 0); /* relaxed: published with the list */
    weft__store_relaxed(&s->came, 0);   /* relaxed: published with the list */
    weft__store_seq_cst(&sources, s);   /* pairs: SIGNAL-HANDLER */
    return s;
}

static int open_source_locked(struct weft__io *io)
{
    if (io->signals.source != NULL)
        return 0;
    struct weft__signal_source *s = get_source_locked();
    if (s == NULL)
        return -ENOMEM;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = WEFT__EVENT_SIGNAL};
    if (epoll_ctl(io->epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    s->used = true;
    weft__store_release(&s->wanted, 0);    /* pairs: SIGNAL-CAME */
    weft__store_release(&s->came, 0);      /* pairs: SIGNAL-CAME */
    weft__store_seq_cst(&s->event, fd);    /* pairs: SIGNAL-HANDLER */
    weft__fetch_add_seq_cst(&io->open, 1); /* pairs: IO-OPEN */
    weft__waitlist_lock(&io->signals.waiters);
    io->signals.source = s;
    weft__waitlist_unlock(&io->signals.waiters);
    return 0;
}

static int subscribe_locked(struct weft__io *io, int signo)
{
    if ((io->signals.subscribed & bit_of(signo)) != 0)
        return 0;
    int rc = open_source_locked(io);
    if (rc < 0)
        return rc;
    weft__fetch_or_acq_rel(&io->signals.source->wanted, bit_of(signo)); /* pairs: SIGNAL-CAME */
    if (actions[signo].users == 0) {
        struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
        sigfillset(&ours.sa_mask);
        if (sigaction(signo, &ours, &actions[signo].before) != 0)
            return -errno;
    }
    actions[signo].users++;
    io->signals.subscribed |= bit_of(signo);
    return 0;
}

static void unsubscribe_all_locked(struct weft__io *io)
{
    for (int signo = 1; signo <= LAST_SIGNAL; signo++) {
        if ((io->signals.subscribed & bit_of(signo)) == 0 || --actions[signo].users > 0)
            continue;
        struct sigaction now;
        if (sigaction(signo, NULL, &now) == 0 && now.sa_handler == on_signal)
            sigaction(signo, &actions[signo].before, NULL);
    }
    io->signals.subscribed = 0;
}

void weft__signals_init(struct weft__io *io)
{
    io->signals = (struct weft__signals){.source = NULL};
}

void weft__signals_stop(struct weft__io *io)
{
    struct weft__signal_source *s = io->signals.source;
    if (s == NULL)
        return;
    weft__guard_lock(&table_guard);
    unsubscribe_all_locked(io);
    int fd = weft__exchange_seq_cst(&s->event, -1); /* pairs: SIGNAL-HANDLER */
    weft__guard_unlock(&table_guard);
    while (weft__load_seq_cst(&running) != 0) /* pairs: SIGNAL-HANDLER */
        sched_yield();
    close(fd);
    weft__guard_lock(&table_guard);
    s->used = false;
    weft__guard_unlock(&table_guard);
    io->signals.source = NULL;
}

void weft__signals_forked(struct weft__io *io)
{
    /* One thread: a handler or a holder of the guard that the fork cut off is not here any more. */
    table_guard = 0;
    weft__store_relaxed(&running, 0); /* relaxed: one thread */
    struct weft__signal_source *s = io->signals.source;
    if (s == NULL)
        return;
    unsubscribe_all_locked(io);
    close(weft__exchange_seq_cst(&s->event, -1)); /* pairs: SIGNAL-HANDLER */
    s->used = false;
    io->signals.source = NULL;
}

/* ---- handing signals to tasks, under the guard of the waiters ---------------------------------------------------- */

/* In a woken node's value: this waiter was the only one to get the signal. */
#define ONLY_ONE (UINT64_C(1) << 32)

static unsigned offer_locked(struct weft__signals *signals, int signo)
{
    unsigned wakes = 0;
    struct weft__wait_node *receiver = NULL;
    for (struct weft__wait_node *node = signals->waiters.first_; node != NULL; node = node->next) {
        if (node->woken || (node->value & bit_of(signo)) == 0 || !weft__wake(node->fiber, node->ticket, WEFT__WOKEN))
            continue;
        node->woken = true;
        node->value = (uint64_t)signo;
        receiver = node;
        wakes++;
    }
    if (wakes == 0)
        signals->pending |= bit_of(signo);
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
    for (int signo = 1; came >> (signo - 1) != 0; signo++) {
        if ((came & bit_of(signo)) != 0)
            wakes += offer_locked(signals, signo);
        if (signo == LAST_SIGNAL)
            break;
    }
    weft__waitlist_unlock(&signals->waiters);
    return wakes;
}

/* Those that tell of a fault in the running code can only be handled there. */
static bool waitable(int signo)
{
    return signo >= 1 && signo <= LAST_SIGNAL && signo != SIGKILL && signo != SIGSTOP && signo != SIGSEGV &&
           signo != SIGBUS && signo != SIGFPE && signo != SIGILL && signo != SIGTRAP && signo != SIGABRT;
}

static int subscribe(struct weft__io *io, const int signals[], size_t n, uint64_t *mask)
{
    for (size_t i = 0; i < n; i++) {
        if (!waitable(signals[i]))
            return -EINVAL;
        *mask |= bit_of(signals[i]);
    }
    int rc = n == 0 ? -EINVAL : 0;
    weft__guard_lock(&table_guard);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = subscribe_locked(io, signals[i]);
    weft__guard_unlock(&table_guard);
    return rc;
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
    if (how == WEFT__CANCELLED && signo != 0 && (node->value & ONLY_ONE) != 0)
        (void)offer_locked(state, signo);
    weft__waitlist_unlock(&state->waiters);
    return how == WEFT__CANCELLED ? -ECANCELED : signo;
}

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
 * The action of a signal is taken over at its first wait (or by weft_signal_keep) and given back when the last runtime that did so ends or drops it,
 * unless somebody else has set an action meanwhile. Marks are bits: as with the kernel's own, a signal that comes again before it was
 * noticed is one signal. One that comes while nobody waits is kept for the next waiter of that runtime.
 *
 * With the option handle_sigint a source also has SIGINT for the main task, while that is under way:
 *
 * | interrupt | SIGINT comes (the handler)                         | a task waits for it | the main task has ended                      |
 * | NONE      | as any signal                                      | -                   | -                                            |
 * | ARMED     | TAKEN; marked: dispatch cancels the main task      | NONE                | ENDED                                        |
 * | TAKEN     | the former action comes back, and gets it          | NONE                | ENDED; one not dispatched is sent again      |
 * | ENDED     | NONE; the former action, back by then, gets it:    | NONE                | (the next one's beginning: ARMED)            |
 * |           | the kernel had chosen the handler before           |                     |                                              |
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

#include "executor/fiber.h"
#include "executor/guard.h"
#include "executor/waitlist.h"
#include "io/reactor.h"

#define LAST_SIGNAL 64

enum { INTERRUPT_NONE, INTERRUPT_ARMED, INTERRUPT_TAKEN, INTERRUPT_ENDED };

struct weft__signal_source {
    struct weft__signal_source *next; /* constant */
    bool used;                        /* under table_guard */
    _Atomic(int) event;               /* -1: none. pairs: SIGNAL-HANDLER */
    _Atomic(uint64_t) wanted, came;   /* bit signo - 1. pairs: SIGNAL-CAME: marked before the eventfd is written */
    _Atomic(uint32_t) interrupt;      /* see above. pairs: SIGNAL-HANDLER */
};

static uint32_t table_guard; /* of all below but what the handler reads */
static struct {
    unsigned users;
    struct sigaction before;
} actions[LAST_SIGNAL + 1];
static _Atomic(struct weft__signal_source *) sources; /* pairs: SIGNAL-HANDLER */
static _Atomic(uint32_t) running;                     /* pairs: SIGNAL-HANDLER */

static const struct weft__wait_kind signal_wait = {.name = "a signal"};

static uint64_t bit_of(int signo)
{
    return UINT64_C(1) << (signo - 1);
}

static void on_signal(int signo);

static bool is_ours(int signo)
{
    struct sigaction now;
    return sigaction(signo, NULL, &now) == 0 && now.sa_handler == on_signal;
}

/* What a SIGINT means for a source by its state; moves it on. */
static uint32_t interrupted(struct weft__signal_source *source)
{
    uint32_t state = INTERRUPT_ARMED, ended = INTERRUPT_ENDED;
    if (weft__cas_seq_cst(&source->interrupt, &state, INTERRUPT_TAKEN)) /* pairs: SIGNAL-HANDLER */
        return INTERRUPT_ARMED;
    if (state == INTERRUPT_ENDED &&
        !weft__cas_seq_cst(&source->interrupt, &ended, INTERRUPT_NONE)) /* pairs: SIGNAL-HANDLER */
        return INTERRUPT_NONE;
    return state;
}

static void on_signal(int signo)
{
    int saved = errno;
    bool again = false, late = false;
    weft__fetch_add_seq_cst(&running, 1);                              /* pairs: SIGNAL-HANDLER */
    struct weft__signal_source *source = weft__load_seq_cst(&sources); /* pairs: SIGNAL-HANDLER */
    for (; source != NULL; source = source->next) {
        uint32_t state = signo == SIGINT ? interrupted(source) : INTERRUPT_NONE;
        again |= state == INTERRUPT_TAKEN;
        late |= state == INTERRUPT_ENDED;
        if (state == INTERRUPT_TAKEN)
            continue;
        int event = weft__load_seq_cst(&source->event);                              /* pairs: SIGNAL-HANDLER */
        if (event < 0 || (weft__load_acquire(&source->wanted) & bit_of(signo)) == 0) /* pairs: SIGNAL-CAME */
            continue;
        weft__fetch_or_acq_rel(&source->came, bit_of(signo)); /* pairs: SIGNAL-CAME */
        uint64_t one = 1;
        while (write(event, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    if (again)
        sigaction(signo, &actions[signo].before, NULL);
    weft__fetch_sub_seq_cst(&running, 1); /* pairs: SIGNAL-HANDLER */
    if (again || (late && !is_ours(signo)))
        raise(signo); /* when this handler has returned */
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
    weft__store_relaxed(&s->event, -1);                 /* relaxed: published with the list */
    weft__store_relaxed(&s->wanted, 0);                 /* relaxed: published with the list */
    weft__store_relaxed(&s->came, 0);                   /* relaxed: published with the list */
    weft__store_relaxed(&s->interrupt, INTERRUPT_NONE); /* relaxed: published with the list */
    weft__store_seq_cst(&sources, s);                   /* pairs: SIGNAL-HANDLER */
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

/* The former action is known before a handler of ours can ask for it. */
static void remember_locked(int signo)
{
    if (actions[signo].users == 0)
        sigaction(signo, NULL, &actions[signo].before);
}

static int take_over_locked(int signo)
{
    struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigfillset(&ours.sa_mask);
    if (actions[signo].users == 0 && sigaction(signo, &ours, NULL) != 0)
        return -errno;
    actions[signo].users++;
    return 0;
}

static void give_back_locked(int signo)
{
    if (--actions[signo].users == 0 && is_ours(signo))
        sigaction(signo, &actions[signo].before, NULL);
}

static int subscribe_locked(struct weft__io *io, int signo)
{
    if ((io->signals.subscribed & bit_of(signo)) != 0)
        return 0;
    int rc = open_source_locked(io);
    if (rc < 0)
        return rc;
    if (signo == SIGINT) { /* the main task's no more */
        weft__waitlist_lock(&io->signals.waiters);
        io->signals.int_waited = true;
        weft__waitlist_unlock(&io->signals.waiters);
        weft__store_seq_cst(&io->signals.source->interrupt, INTERRUPT_NONE); /* pairs: SIGNAL-HANDLER */
    }
    weft__fetch_or_acq_rel(&io->signals.source->wanted, bit_of(signo)); /* pairs: SIGNAL-CAME */
    remember_locked(signo);
    if ((rc = take_over_locked(signo)) < 0)
        return rc;
    weft__waitlist_lock(
        &io->signals.waiters); /* a wait looks at it there, between its subscription and its place in the list */
    io->signals.subscribed |= bit_of(signo);
    weft__waitlist_unlock(&io->signals.waiters);
    return 0;
}

/* The former action has it again; with handle_sigint, while the main task is under way, that one has SIGINT. True: one that was kept is to be sent
 * again. As in end_interrupts_locked the action comes first. */
static bool drop_locked(struct weft__io *io, int signo)
{
    struct weft__signals *signals = &io->signals;
    struct weft__signal_source *s = signals->source;
    bool to_main = signo == SIGINT && weft__load_acquire(&signals->interrupts) != NULL; /* pairs: SIGNAL-CAME */
    give_back_locked(signo);
    if (!to_main)
        weft__fetch_and_acq_rel(&s->wanted, ~bit_of(signo)); /* pairs: SIGNAL-CAME */
    while (weft__load_seq_cst(&running) != 0)                /* pairs: SIGNAL-HANDLER */
        sched_yield();
    weft__waitlist_lock(&signals->waiters);
    uint64_t kept = weft__fetch_and_acq_rel(&s->came, ~bit_of(signo)) | signals->pending; /* pairs: SIGNAL-CAME */
    signals->pending &= ~bit_of(signo);
    if (to_main)
        signals->int_waited = false;
    weft__waitlist_unlock(&signals->waiters);
    if (to_main)
        weft__store_seq_cst(&s->interrupt, INTERRUPT_ARMED); /* pairs: SIGNAL-HANDLER */
    return (kept & bit_of(signo)) != 0;
}

static void unsubscribe_all_locked(struct weft__io *io)
{
    for (int signo = 1; signo <= LAST_SIGNAL; signo++) {
        if ((io->signals.subscribed & bit_of(signo)) != 0)
            give_back_locked(signo);
    }
    io->signals.subscribed = 0;
}

/* ---- SIGINT for the main task ------------------------------------------------------------------------------------ */

int weft__interrupts_begin(struct weft__io *io)
{
    struct sigaction now;
    int rc = 0;
    weft__guard_lock(&table_guard);
    bool ignored = sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
    if (!ignored && (io->signals.subscribed & bit_of(SIGINT)) == 0 && (rc = open_source_locked(io)) == 0) {
        struct weft__signal_source *s = io->signals.source;
        remember_locked(SIGINT);
        weft__fetch_or_acq_rel(&s->wanted, bit_of(SIGINT));  /* pairs: SIGNAL-CAME */
        weft__store_seq_cst(&s->interrupt, INTERRUPT_ARMED); /* pairs: SIGNAL-HANDLER */
        rc = take_over_locked(SIGINT);
        weft__store_release(&io->signals.interrupts, rc == 0 ? s : NULL); /* pairs: SIGNAL-CAME */
    }
    weft__guard_unlock(&table_guard);
    return rc;
}

/* True: a SIGINT is left that nobody will dispatch. First the action comes back, so that a handler that began before finds the source as it
 * was; the guard keeps others from taking the signal over while it runs. */
static bool end_interrupts_locked(struct weft__io *io)
{
    struct weft__signal_source *s = weft__load_acquire(&io->signals.interrupts); /* pairs: SIGNAL-CAME */
    if (s == NULL)
        return false;
    give_back_locked(SIGINT);
    while (weft__load_seq_cst(&running) != 0) /* pairs: SIGNAL-HANDLER */
        sched_yield();
    weft__store_release(&io->signals.interrupts, NULL); /* pairs: SIGNAL-CAME */
    if ((io->signals.subscribed & bit_of(SIGINT)) != 0)
        return false;
    weft__store_seq_cst(&s->interrupt, INTERRUPT_ENDED);                               /* pairs: SIGNAL-HANDLER */
    weft__fetch_and_acq_rel(&s->wanted, ~bit_of(SIGINT));                              /* pairs: SIGNAL-CAME */
    return (weft__fetch_and_acq_rel(&s->came, ~bit_of(SIGINT)) & bit_of(SIGINT)) != 0; /* pairs: SIGNAL-CAME */
}

void weft__interrupts_end(struct weft__io *io)
{
    weft__guard_lock(&table_guard);
    bool late = end_interrupts_locked(io);
    weft__guard_unlock(&table_guard);
    if (late)
        kill(getpid(), SIGINT);
}

bool weft__interrupts_came(struct weft__io *io)
{
    struct weft__signal_source *s = weft__load_acquire(&io->signals.interrupts); /* pairs: SIGNAL-CAME */
    return s != NULL && (weft__load_acquire(&s->came) & bit_of(SIGINT)) != 0;    /* pairs: SIGNAL-CAME */
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

/* ---- the end of a runtime ---------------------------------------------------------------------------------------- */

void weft__signals_init(struct weft__io *io)
{
    io->signals = (struct weft__signals){.source = NULL};
}

void weft__signals_stop(struct weft__io *io)
{
    struct weft__signal_source *s = io->signals.source;
    if (s == NULL)
        return;
    weft__interrupts_end(io);
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
    (void)end_interrupts_locked(io); /* a SIGINT left is the parent's */
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
    bool for_main = (came & bit_of(SIGINT)) != 0 && !signals->int_waited;
    if (for_main)
        came &= ~bit_of(SIGINT);
    for (int signo = 1; came >> (signo - 1) != 0; signo++) {
        if ((came & bit_of(signo)) != 0)
            wakes += offer_locked(signals, signo);
        if (signo == LAST_SIGNAL)
            break;
    }
    weft__waitlist_unlock(&signals->waiters);
    return for_main ? wakes + interrupt(io) : wakes;
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
    if (how == WEFT__CANCELLED && signo != 0 && (node->value & ONLY_ONE) != 0)
        (void)offer_locked(state, signo);
    weft__waitlist_unlock(&state->waiters);
    return how == WEFT__CANCELLED ? -ECANCELED : signo;
}

int weft_signal_keep(const int signals[], size_t n)
{
    struct weft__fiber *f = weft__fiber_require("weft_signal_keep");
    uint64_t mask = 0;
    return subscribe(weft__fiber_io(f, "weft_signal_keep"), signals, n, &mask);
}

/* From the list of waiters on they are nobody's: of those that were kept, the bits. -EBUSY: somebody waits. */
static int unsubscribe_locked(struct weft__signals *signals, uint64_t mask, uint64_t *kept)
{
    bool busy = false;
    weft__waitlist_lock(&signals->waiters);
    for (struct weft__wait_node *node = signals->waiters.first_; node != NULL && !busy; node = node->next)
        busy = !node->woken && (node->value & mask) != 0;
    *kept = busy ? 0 : signals->subscribed & mask;
    signals->subscribed &= ~*kept;
    weft__waitlist_unlock(&signals->waiters);
    return busy ? -EBUSY : 0;
}

int weft_signal_drop(const int signals[], size_t n)
{
    struct weft__fiber *f = weft__fiber_require("weft_signal_drop");
    struct weft__io *io = weft__fiber_io(f, "weft_signal_drop");
    uint64_t mask = 0, kept;
    for (size_t i = 0; i < n; i++) {
        if (!waitable(signals[i]))
            return -EINVAL;
        mask |= bit_of(signals[i]);
    }
    weft__guard_lock(&table_guard);
    int rc = unsubscribe_locked(&io->signals, mask, &kept);
    for (int signo = 1; signo <= LAST_SIGNAL; signo++) {
        if ((kept & bit_of(signo)) != 0 && !drop_locked(io, signo))
            kept &= ~bit_of(signo);
    }
    weft__guard_unlock(&table_guard);
    for (int signo = 1; signo <= LAST_SIGNAL; signo++) {
        if ((kept & bit_of(signo)) != 0)
            kill(getpid(), signo);
    }
    return n == 0 ? -EINVAL : rc;
}

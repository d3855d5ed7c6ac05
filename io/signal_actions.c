/* SPDX-License-Identifier: Apache-2.0 */
/* io/signal_actions.c -- whose a signal is: the one handler, and taking actions over and giving them back.
 *
 * Signals could be blocked in all threads and read from a signalfd only if that had been done before the first thread
 * started, which a library cannot ask. So there is one handler. It walks the list of sources, one per runtime that ever
 * waited for a signal, marks the signal in each that wants it, and writes to that source's eventfd, which is in the
 * runtime's epoll; the collector then hands the marks to the tasks (signal.c). All of that is
 * async-signal-safe. Sources are never freed, only used again, so the handler may walk at any moment; before a runtime closes
 * its eventfd it waits until no handler runs that may have read its number (label SIGNAL-HANDLER):
 *     handler:  1 running + 1   2 read the number, write to it   3 running - 1
 *     leaving:  1 take the number out   2 wait until running is 0   3 close
 *
 * The action of a signal is taken over at its first wait (or by weft_signal_keep) and given back when the last runtime that did so ends or drops it,
 * unless somebody else has set an action meanwhile. Marks are bits: as with the kernel's own, a signal that comes again before it was
 * noticed is one signal. One that comes while nobody waits is kept for the next waiter of that runtime.
 *
 * None is lost when it is given back. First the action, then `wanted`: a handler that the kernel had chosen before marks a source as before, and is
 * waited for, so that the mark is seen and the signal sent again; or it finds nobody who wants it, and sends it again itself, to the action that is
 * there by then, which may be ours once more. (Only of signals that were given back: whoever has put a handler of his own before this one calls it for his own reasons.)
 *
 * With the option handle_sigint a source also has SIGINT for the main task, while that is under way:
 *
 * | interrupt | SIGINT comes (the handler)                         | a task waits for it | the main task has ended                      |
 * | NONE      | as any signal                                      | -                   | (the next one's beginning: ARMED)            |
 * | ARMED     | TAKEN; marked: dispatch cancels the main task      | NONE                | NONE                                         |
 * | TAKEN     | the former action comes back, and gets it          | NONE                | NONE; one not dispatched is sent again       |
 *
 * A drop makes NONE ARMED again.
 *
 * Threads: as signal_actions.h says; the handler wherever the kernel puts it. The process's table has a guard that the handler never takes. */
#include "io/signal_actions.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "executor/guard.h"
#include "executor/waitlist.h"
#include "io/reactor.h"

enum { INTERRUPT_NONE, INTERRUPT_ARMED, INTERRUPT_TAKEN };

static uint32_t table_guard; /* of all below but what the handler reads */
static struct {
    unsigned users;
    struct sigaction before;
} actions[WEFT__LAST_SIGNAL + 1];
static _Atomic(struct weft__signal_source *) sources; /* pairs: SIGNAL-HANDLER */
static _Atomic(uint32_t) running;                     /* pairs: SIGNAL-HANDLER */
/* Since its former action was put back last: so often may a late one of each still be sent again. pairs: SIGNAL-HANDLER */
static _Atomic(uint32_t) may_send[WEFT__LAST_SIGNAL + 1];
#define LATE_ONES                                                                                                      \
    64 /* more than ever were; it ends the circle of a handler that calls this one and deceives kernel_called */

static void on_signal(int signo);

static bool is_ours(int signo)
{
    struct sigaction now;
    return sigaction(signo, NULL, &now) == 0 && now.sa_handler == on_signal;
}

/* Was the handler called by the kernel, that is with all signals blocked (sa_mask)? A handler of somebody else that was set over this one, and calls it,
 * may be the former action by now: to send it the signal again would go on for ever. */
static bool kernel_called(void)
{
    sigset_t blocked;
    return pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGHUP) == 1 &&
           sigismember(&blocked, SIGUSR1) == 1 && sigismember(&blocked, SIGUSR2) == 1 &&
           sigismember(&blocked, SIGCHLD) == 1;
}

/* What a SIGINT means for a source: the state that it found, and has moved on. */
static uint32_t interrupted(struct weft__signal_source *source)
{
    uint32_t state = INTERRUPT_ARMED;
    (void)weft__cas_seq_cst(&source->interrupt, &state, INTERRUPT_TAKEN); /* pairs: SIGNAL-HANDLER */
    return state;
}

static bool take_one(_Atomic(uint32_t) *left)
{
    uint32_t n = weft__load_seq_cst(left);                /* pairs: SIGNAL-HANDLER */
    while (n != 0 && !weft__cas_seq_cst(left, &n, n - 1)) /* pairs: SIGNAL-HANDLER */
        ;
    return n != 0;
}

static void on_signal(int signo)
{
    int saved = errno;
    bool again = false, taken = false;
    weft__fetch_add_seq_cst(&running, 1);                              /* pairs: SIGNAL-HANDLER */
    struct weft__signal_source *source = weft__load_seq_cst(&sources); /* pairs: SIGNAL-HANDLER */
    for (; source != NULL; source = source->next) {
        uint32_t state = signo == SIGINT ? interrupted(source) : INTERRUPT_NONE;
        again |= state == INTERRUPT_TAKEN;
        if (state == INTERRUPT_TAKEN)
            continue;
        int event = weft__load_seq_cst(&source->event); /* pairs: SIGNAL-HANDLER */
        if (event < 0 ||
            (weft__load_seq_cst(&source->wanted) & weft__signal_bit(signo)) == 0) /* pairs: SIGNAL-HANDLER */
            continue;
        taken = true;
        weft__fetch_and_seq_cst(&source->older, ~weft__signal_bit(signo)); /* pairs: SIGNAL-HANDLER */
        weft__fetch_or_acq_rel(&source->came, weft__signal_bit(signo));    /* pairs: SIGNAL-CAME */
        uint64_t one = 1;
        while (write(event, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    if (again)
        sigaction(signo, &actions[signo].before, NULL);
    else
        again = !taken && kernel_called() && take_one(&may_send[signo]); /* maybe to us: it has been taken over anew */
    weft__fetch_sub_seq_cst(&running, 1);                                /* pairs: SIGNAL-HANDLER */
    if (again)
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
    weft__store_relaxed(&s->older, 0);                  /* relaxed: published with the list */
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
    weft__store_seq_cst(&s->wanted, 0);    /* pairs: SIGNAL-HANDLER */
    weft__store_release(&s->came, 0);      /* pairs: SIGNAL-CAME */
    weft__store_seq_cst(&s->older, 0);     /* pairs: SIGNAL-HANDLER */
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
    if (--actions[signo].users == 0 && is_ours(signo)) {
        sigaction(signo, &actions[signo].before, NULL);
        weft__store_seq_cst(&may_send[signo], LATE_ONES); /* pairs: SIGNAL-HANDLER */
    }
}

/* The action has been given back. From here on no handler marks the source with this signal. */
static void unwant_locked(struct weft__signal_source *s, int signo)
{
    weft__fetch_and_seq_cst(&s->wanted, ~weft__signal_bit(signo)); /* pairs: SIGNAL-HANDLER */
    while (weft__load_seq_cst(&running) != 0)                      /* pairs: SIGNAL-HANDLER */
        sched_yield();
}

/* A signal that this runtime had taken and gave nobody is nobody's: may it be sent again? Another runtime that keeps it has had its own. */
static bool free_again_locked(struct weft__io *io, int signo)
{
    return actions[signo].users == 0 || (signo == SIGINT && io->signals.main_has_it);
}

/* What others have kept until now, this runtime has not got. (One that comes just now may count as such, and then come twice.) */
static void mark_older_locked(const struct weft__signal_source *own, int signo)
{
    struct weft__signal_source *s = weft__load_relaxed(&sources); /* relaxed: changed under the guard */
    for (; s != NULL; s = s->next)
        if (s != own)
            weft__fetch_or_seq_cst(&s->older, weft__signal_bit(signo)); /* pairs: SIGNAL-HANDLER */
}

static int subscribe_locked(struct weft__io *io, int signo)
{
    if ((io->signals.subscribed & weft__signal_bit(signo)) != 0)
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
    weft__fetch_or_seq_cst(&io->signals.source->wanted, weft__signal_bit(signo)); /* pairs: SIGNAL-HANDLER */
    mark_older_locked(io->signals.source, signo);
    remember_locked(signo);
    if ((rc = take_over_locked(signo)) < 0)
        return rc;
    weft__waitlist_lock(
        &io->signals.waiters); /* a wait looks at it there, between its subscription and its place in the list */
    io->signals.subscribed |= weft__signal_bit(signo);
    weft__waitlist_unlock(&io->signals.waiters);
    return 0;
}

/* The former action has it again; with handle_sigint, while the main task is under way, that one has SIGINT. True: one that was kept is to be sent
 * again. */
static bool drop_locked(struct weft__io *io, int signo)
{
    struct weft__signals *signals = &io->signals;
    struct weft__signal_source *s = signals->source;
    bool to_main = signo == SIGINT && signals->main_has_it;
    if (to_main && weft__load_acquire(&signals->interrupts) == NULL) /* pairs: SIGNAL-CAME */
        weft__store_release(&signals->interrupts,
                            s); /* pairs: SIGNAL-CAME; the use of the action is now the main task's */
    else
        give_back_locked(signo);
    if (!to_main)
        unwant_locked(s, signo);
    weft__waitlist_lock(&signals->waiters);
    uint64_t kept =
        weft__fetch_and_acq_rel(&s->came, ~weft__signal_bit(signo)) | signals->pending; /* pairs: SIGNAL-CAME */
    signals->pending &= ~weft__signal_bit(signo);
    if (signo == SIGINT)
        signals->int_waited = false;
    weft__waitlist_unlock(&signals->waiters);
    if (to_main)
        weft__store_seq_cst(&s->interrupt, INTERRUPT_ARMED); /* pairs: SIGNAL-HANDLER */
    uint64_t older = weft__load_seq_cst(&s->older);          /* pairs: SIGNAL-HANDLER */
    return (kept & weft__signal_bit(signo)) != 0 &&
           (free_again_locked(io, signo) || (older & weft__signal_bit(signo)) != 0);
}

static void unsubscribe_all_locked(struct weft__io *io)
{
    for (int signo = 1; signo <= WEFT__LAST_SIGNAL; signo++) {
        if ((io->signals.subscribed & weft__signal_bit(signo)) != 0)
            give_back_locked(signo);
    }
    io->signals.subscribed = 0;
}

int weft__signals_take_over(struct weft__io *io, const int signals[], size_t n)
{
    int rc = 0;
    weft__guard_lock(&table_guard);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = subscribe_locked(io, signals[i]);
    weft__guard_unlock(&table_guard);
    return rc;
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

int weft__signals_give_back(struct weft__io *io, uint64_t mask)
{
    uint64_t kept;
    weft__guard_lock(&table_guard);
    int rc = unsubscribe_locked(&io->signals, mask, &kept);
    for (int signo = 1; signo <= WEFT__LAST_SIGNAL; signo++) {
        if ((kept & weft__signal_bit(signo)) != 0 && !drop_locked(io, signo))
            kept &= ~weft__signal_bit(signo);
    }
    weft__guard_unlock(&table_guard);
    for (int signo = 1; signo <= WEFT__LAST_SIGNAL; signo++) {
        if ((kept & weft__signal_bit(signo)) != 0)
            kill(getpid(), signo);
    }
    return rc;
}

void weft__signal_send_again(struct weft__io *io, int signo)
{
    weft__guard_lock(&table_guard);
    bool free_again = free_again_locked(io, signo);
    weft__guard_unlock(&table_guard);
    if (free_again)
        kill(getpid(), signo);
}

/* ---- SIGINT for the main task ------------------------------------------------------------------------------------ */

static int arm_locked(struct weft__io *io)
{
    int rc = open_source_locked(io);
    if (rc < 0)
        return rc;
    struct weft__signal_source *s = io->signals.source;
    remember_locked(SIGINT);
    weft__fetch_or_seq_cst(&s->wanted, weft__signal_bit(SIGINT)); /* pairs: SIGNAL-HANDLER */
    weft__store_seq_cst(&s->interrupt, INTERRUPT_ARMED);          /* pairs: SIGNAL-HANDLER */
    rc = take_over_locked(SIGINT);
    if (rc == 0)
        weft__store_release(&io->signals.interrupts, s); /* pairs: SIGNAL-CAME */
    return rc;
}

int weft__interrupts_begin(struct weft__io *io)
{
    struct sigaction now;
    int rc = 0;
    weft__guard_lock(&table_guard);
    bool kept = (io->signals.subscribed & weft__signal_bit(SIGINT)) != 0;
    if (kept)
        now = actions[SIGINT].before;
    if ((kept || sigaction(SIGINT, NULL, &now) == 0) && now.sa_handler != SIG_IGN) {
        rc = kept ? 0 : arm_locked(io); /* else when it is dropped */
        io->signals.main_has_it = rc == 0;
    }
    weft__guard_unlock(&table_guard);
    return rc;
}

/* True: a SIGINT is left that nobody will dispatch. */
static bool end_interrupts_locked(struct weft__io *io)
{
    struct weft__signal_source *s = weft__load_acquire(&io->signals.interrupts); /* pairs: SIGNAL-CAME */
    io->signals.main_has_it = false;
    if (s == NULL)
        return false;
    give_back_locked(SIGINT);
    bool kept = (io->signals.subscribed & weft__signal_bit(SIGINT)) != 0;
    if (!kept)
        unwant_locked(s, SIGINT);
    weft__store_release(&io->signals.interrupts, NULL); /* pairs: SIGNAL-CAME */
    if (kept)
        return false;
    weft__store_seq_cst(&s->interrupt, INTERRUPT_NONE); /* pairs: SIGNAL-HANDLER */
    return (weft__fetch_and_acq_rel(&s->came, ~weft__signal_bit(SIGINT)) & weft__signal_bit(SIGINT)) !=
           0; /* pairs: SIGNAL-CAME */
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
    struct weft__signal_source *s = weft__load_acquire(&io->signals.interrupts);        /* pairs: SIGNAL-CAME */
    return s != NULL && (weft__load_acquire(&s->came) & weft__signal_bit(SIGINT)) != 0; /* pairs: SIGNAL-CAME */
}

/* ---- the end of a runtime ---------------------------------------------------------------------------------------- */

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

/* No runtime is here any more, and none may have been in the middle of taking an action over or giving it back. */
static void give_all_back(void)
{
    for (int signo = 1; signo <= WEFT__LAST_SIGNAL; signo++) {
        actions[signo].users = 0;
        if (signo != SIGKILL && signo != SIGSTOP && is_ours(signo))
            sigaction(signo, &actions[signo].before, NULL);
    }
}

void weft__signals_forked(struct weft__io *io)
{
    /* One thread: a handler or a holder of the guard that the fork cut off is not here any more. */
    table_guard = 0;
    weft__store_relaxed(&running, 0); /* relaxed: one thread */
    struct weft__signal_source *s = io->signals.source;
    if (s != NULL) {
        (void)end_interrupts_locked(io); /* a SIGINT left is the parent's */
        unsubscribe_all_locked(io);
        close(weft__exchange_seq_cst(&s->event, -1)); /* pairs: SIGNAL-HANDLER */
        s->used = false;
        io->signals.source = NULL;
    }
    give_all_back();
}

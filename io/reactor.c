/* SPDX-License-Identifier: Apache-2.0 */
/* io/reactor.c -- the driver the executor collects events with: one epoll instance a runtime.
 *
 * collect takes up to WEFT__EVENTS events and makes their fibers ready, all in one batch, so that the executor wakes as many
 * workers as there is work for and no more. It never loops: EINTR is "nothing came", the executor looks again by itself.
 * A kick is one write to an eventfd that is registered edge-triggered and never read: a write before the collector blocks is
 * an edge that its epoll_wait finds, and no system call is spent on emptying it.
 *
 * Only the holder of the collector token is in collect, so the event array and the sequence have one writer. That sequence
 * tells the closing side (registration.c) which records may still be in somebody's batch.
 *
 * Threads: start and stop before and after the workers; collect by the token's holder; kick and waiting by any;
 * forked in the child of a fork, where there is no other thread. */
#include "io/reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "executor/guard.h"
#include "executor/runtime.h"
#include "io/calls.h"
#include "io/park.h"
#include "io/stream.h"

/* An instant or duration that a timespec surely holds: some 68 years. */
#define LOOKS 100 /* that fail */
#define LONG_TIME WEFT_SEC(INT32_MAX)

static int reactor_start(struct weft_runtime *rt)
{
    struct weft__io *io = aligned_alloc(WEFT__CACHELINE, sizeof *io);
    if (io == NULL)
        return -ENOMEM;
    *io = (struct weft__io){.rt = rt, .count_waits = rt->is_virtual};
    /* Thread sanitizer does not know epoll_pwait2: it would miss that registering comes before the event. */
    weft__store_relaxed(&io->no_nanoseconds, WEFT__TSAN); /* relaxed: before the threads start */
    int rc = -ENOMEM;
    io->buffers = weft__buffers_create(rt);
    if (io->buffers == NULL)
        goto err_free;
    io->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (io->epoll < 0) {
        rc = -errno;
        goto err_buffers;
    }
    io->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->kick < 0) {
        rc = -errno;
        goto err_close_epoll;
    }
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = WEFT__EVENT_KICK};
    if (epoll_ctl(io->epoll, EPOLL_CTL_ADD, io->kick, &e) != 0) {
        rc = -errno;
        goto err_close_kick;
    }
    weft__calls_init();
    weft__slab_init(&io->records, sizeof(struct weft_stream));
    weft__signals_init(io);
    weft__runtime_set_io(rt, io);
    return 0;

err_close_kick:
    close(io->kick);
err_close_epoll:
    close(io->epoll);
err_buffers:
    weft__buffers_free(io);
err_free:
    free(io);
    return rc;
}

static void reactor_stop(struct weft_runtime *rt)
{
    struct weft__io *io = weft__runtime_io(rt);
    if (io == NULL)
        return;
    weft__signals_stop(io);
    weft__streams_outlive(io);
    weft__buffers_free(io);
    close(io->kick);
    close(io->epoll);
    weft__runtime_set_io(rt, NULL);
    free(io);
}

static int wait_for_events(struct weft__io *io, weft_ns timeout)
{
    if (timeout <= 0) {
        /* A look is not interrupted; should a sandbox or a test say so, that is not "nothing came", on which the virtual clock would jump. */
        int n = -1;
        for (int i = 0; n < 0 && i < LOOKS; i++)
            n = epoll_wait(io->epoll, io->events, WEFT__EVENTS, 0);
        return n;
    }
    if (timeout == WEFT_FOREVER)
        return epoll_wait(io->epoll, io->events, WEFT__EVENTS, -1);
    if (timeout > LONG_TIME)
        timeout = LONG_TIME;
    if (!weft__load_relaxed(&io->no_nanoseconds)) { /* relaxed: a hint, found out again if unknown */
        struct timespec limit = {.tv_sec = timeout / WEFT_SEC(1), .tv_nsec = timeout % WEFT_SEC(1)};
        int n = epoll_pwait2(io->epoll, io->events, WEFT__EVENTS, &limit, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        weft__store_relaxed(&io->no_nanoseconds, true); /* relaxed: a hint */
    }
    /* Rounded up: a timer must not be met early, and a rest below 1 ms must not spin. */
    weft_ns ms = (timeout + WEFT_MS(1) - 1) / WEFT_MS(1);
    return epoll_wait(io->epoll, io->events, WEFT__EVENTS, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

static unsigned deliver(struct weft__io *io, const struct epoll_event *e)
{
    uint64_t data = e->data.u64;
    if (data == WEFT__EVENT_KICK)
        return 0;
    if (data == WEFT__EVENT_SIGNAL)
        return weft__signals_dispatch(io);
    struct weft__registration *reg = (struct weft__registration *)(uintptr_t)(data & 0xffffffffffffu);
    if (weft__load_relaxed(&reg->generation) != data >> 48) /* relaxed: see retire in registration.c */
        return 0;
    return weft__registration_event(reg, e->events);
}

/* No collect is open any more: what was retired in it may be used again. */
static void reuse_retired(struct weft__io *io)
{
    weft__guard_lock(&io->guard);
    struct weft__registration *reg = weft__load_relaxed(&io->retired); /* relaxed: under the guard */
    weft__store_relaxed(&io->retired, NULL);                           /* relaxed: under the guard */
    io->retired_count = 0;
    weft__guard_unlock(&io->guard);
    while (reg != NULL) {
        struct weft__registration *next = reg->next;
        weft__registration_free(reg);
        reg = next;
    }
}

static unsigned reactor_collect(struct weft_runtime *rt, weft_ns timeout)
{
    struct weft__io *io = weft__runtime_io(rt);
    uint64_t sequence = weft__load_relaxed(&io->sequence); /* relaxed: written by the token's holder only */
    weft__store_release(&io->sequence, sequence + 1);      /* pairs: COLLECT-SEQUENCE */
    int n = wait_for_events(io, timeout);
    unsigned wakes = 0;
    if (n > 0) {
        weft__announce_later(rt);
        for (int i = 0; i < n; i++)
            wakes += deliver(io, &io->events[i]);
        weft__announce_now(rt);
        weft__metrics_collected(rt, (unsigned)n);
    } else if (n < 0) {
        WEFT__BUG_ON(errno != EINTR);
    }
    weft__store_release(&io->sequence, sequence + 2); /* pairs: COLLECT-SEQUENCE */
    if (weft__load_relaxed(&io->retired) != NULL)     /* relaxed: a hint; what is missed waits for the next collect */
        reuse_retired(io);
    return wakes;
}

void weft__io_kick(struct weft__io *io)
{
    uint64_t one = 1;
    while (write(io->kick, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void reactor_kick(struct weft_runtime *rt)
{
    weft__io_kick(weft__runtime_io(rt));
}

/* On the real clock the question is only whether a collect could find anything. */
static bool reactor_waiting(struct weft_runtime *rt)
{
    struct weft__io *io = weft__runtime_io(rt);
    return weft__load_seq_cst(io->count_waits ? &io->waits : &io->open) > 0 || /* pairs: IO-OPEN */
           (io->count_waits && weft__interrupts_came(io));
}

static void reactor_forked(struct weft_runtime *rt)
{
    struct weft__io *io = weft__runtime_io(rt);
    if (io == NULL)
        return;
    weft__signals_forked(io);
    close(io->kick);
    close(io->epoll);
    io->kick = io->epoll = -1;
}

static int reactor_interrupts(struct weft_runtime *rt, bool on)
{
    struct weft__io *io = weft__runtime_io(rt);
    if (on)
        return weft__interrupts_begin(io);
    weft__interrupts_end(io);
    return 0;
}

const struct weft__driver weft__epoll_driver = {
    .start = reactor_start,
    .stop = reactor_stop,
    .collect = reactor_collect,
    .kick = reactor_kick,
    .waiting = reactor_waiting,
    .forked = reactor_forked,
    .interrupts = reactor_interrupts,
    .park_arm = weft__park_arm,
    .park_resume = weft__park_resume,
    .park_end = weft__park_end,
    .park_names = weft__park_names,
    .park_tell = weft__park_tell,
};

struct weft__io *weft__fiber_io(struct weft__fiber *f, const char *call)
{
    struct weft__io *io = weft__runtime_io(weft__fiber_runtime(f));
    if (weft__unlikely(io == NULL))
        weft__misuse(call, "this runtime was started without I/O");
    return io;
}

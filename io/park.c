/* SPDX-License-Identifier: Apache-2.0 */
/* io/park.c -- tasks parked at streams, listeners and foreign descriptors (weft/park.h); the executor's part is parked.c.
 *
 * The place is the registration. A parked task stands in the interest of its direction where a fiber would, with a bit to tell (WHO_PARKED), and
 * the same protocol holds for both (registration.c). The task is the direction's user (READER, WRITER) from the call that asks until,
 * called again, it says what it does next:
 *
 * | use of the registration | what                                                      | in                              |
 * | asked                   | entered; `parked` has the directions, `who` the deadline  | the call that returns WEFT_PARK |
 * | armed                   | WAITING with the task, and the timer set                  | park_arm, when it has returned  |
 * | resumed                 | WAITING is gone, the timer idle                           | park_resume, on its next fiber  |
 * | taken over, or left     | it is the use of a read call, or ends                     | the next call that asks         |
 *
 * A foreign descriptor is given back at once when the task resumes: it is its owner's to close.
 *
 * Threads: the running task's; arm and resume the worker's that parks or is about to run it; the timer's callback any. */
#include "io/park.h"

#include "io/listener.h"
#include "io/receive.h"

/* By directions, from 1; then listeners and foreign descriptors. */
enum { PARK_LISTENER = 4, PARK_FD };
const char *const weft__park_names[] = {
    NULL, "a stream (read)", "a stream (write)", "a stream", "a connection (accept)", "a descriptor",
};

static struct weft__registration *at(struct weft__park *park)
{
    return weft__container_of(park, struct weft__registration, park);
}

static unsigned first(unsigned directions)
{
    return directions & 1u << WEFT__READ ? WEFT__READ : WEFT__WRITE;
}

static const struct weft__wait_kind park_wait = {"a stream (park)", NULL, weft__registration_tell};

/* ---- the driver's part ------------------------------------------------------------------------------------------- */

void weft__park_timer_fires(struct weft__timer *timer)
{
    struct weft__registration *reg = at(weft__container_of(timer, struct weft__park, timer));
    struct weft__interest *i = &reg->interest[first(reg->parked)];
    uint64_t word =
        weft__load_acquire(&i->word); /* pairs: INTEREST; its ticket stays until the timer has been cancelled */
    uintptr_t who = weft__load_relaxed(&i->who); /* relaxed: as the ticket */
    weft__unpark((struct weft_task *)(who & ~WEFT__WHO_PARKED), (uint32_t)(word >> 32), WEFT__UNPARK_TIMED_OUT);
}

uint32_t weft__park_arm(struct weft__park *park, struct weft__fiber *f, struct weft_task *t, uint32_t ticket)
{
    struct weft__registration *reg = at(park);
    unsigned directions = reg->parked;
    weft_ns deadline =
        (weft_ns)weft__load_relaxed(&reg->interest[first(directions)].who); /* relaxed: this task's own, see ask */
    weft__io_wait_enter(reg->io);
    for (unsigned d = 0; d < 2; d++) {
        if ((directions & 1u << d) != 0 &&
            !weft__interest_announce(&reg->interest[d], (uintptr_t)t | WEFT__WHO_PARKED, ticket)) {
            weft__unpark(t, ticket, WEFT__UNPARK_CAME);
            return directions;
        }
    }
    weft__park_until(f, t, ticket, park, deadline);
    return reg->kind == WEFT__OF_LISTENER ? PARK_LISTENER : reg->kind == WEFT__OF_FD ? PARK_FD : directions;
}

int weft__park_resume(struct weft__park **park)
{
    struct weft__registration *reg = at(*park);
    unsigned directions = reg->parked;
    int outcome = 0;
    weft__io_wait_leave(reg->io);
    for (unsigned d = 0; d < 2; d++) {
        if ((directions & 1u << d) == 0)
            continue;
        uint64_t told = weft__interest_look(reg, d);
        if (weft__unlikely((told & WEFT__WAITING) != 0)) {
            weft__interest_withdraw(reg, 1u << d);
            told = weft__interest_look(reg, d);
        }
        if (weft__unlikely((told & WEFT__CLOSED) != 0))
            outcome = -EBADF;
        else if ((told & WEFT__READY) != 0 && outcome >= 0)
            outcome |= d == WEFT__READ ? WEFT_READABLE : WEFT_WRITABLE;
    }
    if (reg->kind == WEFT__OF_FD) {
        weft__fd_leave(reg, directions);
        *park = NULL;
    }
    return outcome;
}

void weft__park_end(struct weft__park *park)
{
    struct weft__registration *reg = at(park);
    if (reg->kind == WEFT__OF_FD)
        weft__fd_leave(reg, reg->parked);
    else
        weft__registration_leave(reg, reg->parked);
}

/* ---- what tasks call --------------------------------------------------------------------------------------------- */

_Static_assert(WEFT__READER == 1 << WEFT__READ && WEFT__WRITER == 1 << WEFT__WRITE &&
                   (int)WEFT_READABLE == (int)WEFT__READER && (int)WEFT_WRITABLE == (int)WEFT__WRITER,
               "the same bits mean directions, their users, and what programs call them");

/* The task has entered as the user of the directions, and found nothing there. */
static int ask(struct weft__registration *reg, struct weft__fiber *f, unsigned directions, weft_ns deadline)
{
    reg->parked = (uint8_t)directions;
    /* relaxed: its only reader is this task's arm */
    weft__store_relaxed(&reg->interest[first(directions)].who, (uintptr_t)deadline);
    weft__park_ask(f, &reg->park);
    return WEFT_PARK;
}

/* Entered as above; parks, or waits. */
static int park_at(struct weft__registration *reg, struct weft__fiber *f, unsigned directions, weft_ns timeout)
{
    if (weft__park_possible(f))
        return ask(reg, f, directions, weft__park_deadline(f, timeout));
    weft_ns deadline = weft__deadline_after(reg->io->rt, timeout < 0 ? 0 : timeout);
    int rc = weft__registration_wait(reg, f, directions, &park_wait, deadline);
    for (unsigned d = 0; d < 2 && rc >= 0; d++) {
        uint64_t told = weft__interest_look(reg, d);
        if ((told & WEFT__CLOSED) != 0)
            rc = -EBADF;
        else if ((directions & 1u << d) != 0 && (told & WEFT__READY) != 0)
            rc |= d == WEFT__READ ? WEFT_READABLE : WEFT_WRITABLE;
    }
    if (reg->kind == WEFT__OF_FD)
        weft__fd_leave(reg, directions);
    else
        weft__registration_leave(reg, directions);
    return weft__park_waited(f, rc);
}

int weft_park_stream(weft_stream *s, int interest, weft_ns timeout)
{
    struct weft__fiber *f = weft__fiber_require("weft_park_stream");
    if (interest == 0 || (interest & ~(WEFT_READABLE | WEFT_WRITABLE)) != 0)
        return -EINVAL;
    if (weft__park_ignored_cancel(f))
        return -ECANCELED;
    int rc = weft__stream_enter(s, (uint32_t)interest);
    return rc < 0 ? rc : park_at(&s->reg, f, (unsigned)interest, timeout);
}

int weft_park_listener(weft_listener *l, weft_ns timeout)
{
    struct weft__fiber *f = weft__fiber_require("weft_park_listener");
    if (l->reg == NULL)
        return -EBADF;
    if (weft__park_ignored_cancel(f))
        return -ECANCELED;
    int rc = weft__registration_enter(l->reg, WEFT__READER);
    return rc < 0 ? rc : park_at(l->reg, f, WEFT__READER, timeout);
}

int weft_park_fd(int fd, int interest, weft_ns timeout)
{
    struct weft__fiber *f = weft__fiber_require("weft_park_fd");
    struct weft__io *io = weft__fiber_io(f, "weft_park_fd");
    struct weft__registration *reg;
    if (interest == 0 || (interest & ~(WEFT_READABLE | WEFT_WRITABLE)) != 0)
        return -EINVAL;
    if (fd < 0)
        return -EBADF;
    if (weft__park_ignored_cancel(f))
        return -ECANCELED;
    int rc = weft__fd_join(io, fd, (uint32_t)interest, &reg);
    if (rc < 0)
        return rc;
    /* Consume before the look: what happens after the look sets READY again. */
    for (unsigned d = 0; d < 2; d++)
        if ((interest & 1 << d) != 0)
            (void)weft__interest_consume(reg, d);
    rc = weft__fd_look(fd, interest);
    if (rc < 0) {
        weft__fd_leave(reg, (uint32_t)interest);
        return rc;
    }
    for (unsigned d = 0; d < 2; d++)
        if ((rc & 1 << d) != 0)
            weft__interest_more(reg, d);
    return park_at(reg, f, (unsigned)interest, timeout);
}

/* Enter as the reader; what was parked here goes on as this call's use. 1: that ended by its time limit; else 0, or an error. */
static int enter(weft_stream *s, struct weft__fiber *f)
{
    if (weft__park_resumed(f) == &s->reg.park && s->reg.parked == WEFT__READER) {
        int outcome = weft__park_take_over(f);
        if (weft__likely(outcome >= 0))
            return 0;
        if (outcome == -EBADF || outcome == -ECANCELED) {
            weft__stream_leave(s, WEFT__READER);
            return outcome;
        }
        return outcome == -ETIMEDOUT;
    }
    if (weft__park_ignored_cancel(f))
        return -ECANCELED;
    if (weft__park_bits(f) && weft__park_possible(f))
        weft__park_settle(f);
    return weft__stream_enter(s, WEFT__READER);
}

/* Nothing is there: WEFT_PARK; 0: it has waited, and is to try again; an error. The use is left, but with WEFT_PARK and 0. */
static int park(weft_stream *s, struct weft__fiber *f, bool timed_out, weft_ns timeout, weft_ns *deadline)
{
    int rc = timed_out || timeout <= 0 ? -ETIMEDOUT : 0;
    if (rc == 0 && weft__park_possible(f) && !weft__park_take_request(f))
        return ask(&s->reg, f, WEFT__READER, weft__park_deadline(f, timeout));
    if (rc == 0 && weft__park_possible(f)) {
        rc = -ECANCELED;
    } else if (rc == 0) {
        if (*deadline == 0)
            *deadline = weft__deadline_after(s->reg.io->rt, timeout);
        rc = weft__stream_wait_readable(s, f, *deadline);
    }
    return rc;
}

static inline ssize_t peek_now(weft_stream *s, size_t have, const char **data)
{
    for (;;) {
        const struct weft__buffer *b = s->reg.buffer;
        size_t there = b != NULL ? b->end - b->start : 0;
        if (there > have || there >= WEFT_STREAM_BUFFER) {
            *data = b->data + b->start;
            return there > have ? (ssize_t)there : -ENOBUFS;
        }
        ssize_t got = weft__stream_fill_now(s, WEFT_STREAM_BUFFER);
        if (got <= 0)
            return got == -EAGAIN ? got : weft__stream_peeked(s, got, have, data);
    }
}

/* Both of them. */
WEFT__INLINE_ALWAYS ssize_t try_or_park(weft_stream *s, const char *call, void *buf, size_t n, const char **data,
                                        weft_ns timeout)
{
    struct weft__fiber *f = weft__fiber_require(call);
    weft_ns deadline = 0;
    int entered = enter(s, f);
    if (weft__unlikely(entered < 0))
        return entered;
    ssize_t rc = weft__budget_spent(f) ? weft__yield(f) : 0;
    while (rc == 0) {
        rc = data != NULL ? peek_now(s, n, data) : weft__stream_read_now(s, buf, n);
        if (rc != -EAGAIN)
            break;
        rc = park(s, f, entered > 0, timeout, &deadline);
        if (rc == WEFT_PARK)
            return rc; /* still the reader */
        if (rc != 0 && data != NULL)
            (void)weft__stream_peeked(s, 0, n, data);
    }
    weft__stream_leave(s, WEFT__READER);
    return rc;
}

ssize_t weft_peek_or_park(weft_stream *s, size_t have, const char **data, weft_ns timeout)
{
    *data = "";
    return try_or_park(s, "weft_peek_or_park", NULL, have, data, timeout);
}

ssize_t weft_read_or_park(weft_stream *s, void *buf, size_t n, weft_ns timeout)
{
    return n == 0 ? -EINVAL : try_or_park(s, "weft_read_or_park", buf, n, NULL, timeout);
}

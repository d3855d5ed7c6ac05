/* SPDX-License-Identifier: Apache-2.0 */
/* executor/parked.h -- see parked.c: tasks that wait without a stack. */
#ifndef WEFT_EXECUTOR_PARKED_H
#define WEFT_EXECUTOR_PARKED_H

#include <errno.h>
#include <weft/park.h>

#include "executor/fiber.h"

/* Why a parked task is called again. */
enum weft__unpark { WEFT__UNPARK_CAME = 1, WEFT__UNPARK_TIMED_OUT, WEFT__UNPARK_CANCELLED };

/* The park word (weft_task.parked), where it is no fiber's address: ticket << 32 | number << 16 | reason << 8 | REQUEST | state | PARK. */
enum {
    WEFT__PARK = 1, /* no fiber's address has it */
    WEFT__PARK_ARMED = 2,
    WEFT__PARK_PARKED = 4,
    WEFT__PARK_WOKEN = 6,
    WEFT__PARK_STATE = 6,
    WEFT__PARK_REQUEST = 8, /* a cancellation waits to be met */
    WEFT__PARK_HELD = 16,   /* somebody looks at where it is parked: see parked.c */
};

/* In the memory of what a task parks at; that memory stays for as long as the task is its user. */
struct weft__park {
    struct weft__timer timer; /* of its deadline, set up once by the owner, whose fire calls weft__unpark */
};

static inline bool weft__park_bits(const struct weft__fiber *f)
{
    return (f->unusual & (WEFT__FIBER_PARK_ASKED | WEFT__FIBER_PARK_RESUMED)) != 0;
}
static inline bool weft__park_outermost(const struct weft__fiber *f)
{
    return f->task->below == NULL && f->task->kind == WEFT__KIND_TASK;
}
/* May the running task be parked when it returns? If not, what would park waits on the stack: a forked child, or one that runs
 * on its awaiter's stack, which waits there too and needs that stack. In a callback: aborts. */
static inline bool weft__park_possible(const struct weft__fiber *f)
{
    if (weft__unlikely(f->unusual & WEFT__FIBER_CALLBACK))
        weft__in_callback(f);
    return weft__park_outermost(f);
}
/* As weft__take_request, which is rarely needed. */
static inline bool weft__park_take_request(struct weft__fiber *f)
{
    return weft__unlikely(weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST) && /* pairs: FIBER-WORD */
           weft__take_request(f);
}
/* The running task will return WEFT_PARK, to be parked there. It is the user of the place from now on, until driver->park_end. */
void weft__park_ask(struct weft__fiber *f, struct weft__park *park);
/* Instead: it has waited on its stack, with this outcome, and is to be called again at once. Returns WEFT_PARK. */
int weft__park_waited(struct weft__fiber *f, int outcome);
/* The instant of a duration from now; a task that has none left goes through the ready queue at once. */
#define WEFT__PARK_NO_TIME INT64_MIN
static inline weft_ns weft__park_deadline(struct weft__fiber *f, weft_ns duration)
{
    if (duration == WEFT_FOREVER)
        return WEFT_FOREVER;
    return duration <= 0 ? WEFT__PARK_NO_TIME : weft__deadline_after(f->rt, duration);
}
/* The task parked with that ticket is to go on at that instant at the latest (WEFT_FOREVER: none). Inside driver->park_arm. */
void weft__park_timer(struct weft__fiber *f, struct weft_task *t, uint32_t ticket, struct weft__park *park,
                      weft_ns deadline);
static inline void weft__park_until(struct weft__fiber *f, struct weft_task *t, uint32_t ticket,
                                    struct weft__park *park, weft_ns deadline)
{
    if (deadline != WEFT_FOREVER)
        weft__park_timer(f, t, ticket, park, deadline);
}
/* Make a parked task ready, to be called from its top. False: it is not parked with that ticket any more. Any thread, also late: a
 * descriptor's memory is never anything else. (It may then wake a later parking for nothing, which does no harm.) */
bool weft__unpark(struct weft_task *t, uint32_t ticket, enum weft__unpark reason);
/* t has a mark: see to it that it meets it. False: it is on a fiber, which has to be told. */
bool weft__unpark_cancelled(struct weft_task *t);

/* The place at which the running task was parked last, if it has not asked since how that ended: it is still the place's user. NULL: none. */
static inline struct weft__park *weft__park_resumed(const struct weft__fiber *f)
{
    return (f->unusual & WEFT__FIBER_PARK_RESUMED) && weft__park_outermost(f) ? f->park : NULL;
}
/* It asks: takes over the use of that place. The outcome stays in weft_parked(). */
static inline int weft__park_take_over(struct weft__fiber *f)
{
    f->park = NULL;
    weft__fiber_clear(f, WEFT__FIBER_PARK_RESUMED);
    if (weft__park_take_request(f))
        f->task->rc = -ECANCELED;
    return f->task->rc;
}
/* It uses none any more: of a place it asked for, or was called again for. */
void weft__park_settle(struct weft__fiber *f);
/* The same if it is this one. Any thread. */
void weft__park_settle_at(struct weft__park *park);
/* If it is this one, the use of it is the caller's from now on, as if it had entered anew: true. Any thread. */
bool weft__park_hand_over(struct weft__park *park);
/* It parks anew and never asked about the cancellation that ended the last time: true, it has met it now. */
bool weft__park_ignored(struct weft__fiber *f);
static inline bool weft__park_ignored_cancel(struct weft__fiber *f)
{
    return weft__unlikely(f->unusual & WEFT__FIBER_PARK_RESUMED) && weft__park_ignored(f);
}

/* The fiber's task has returned WEFT_PARK: nothing of it may be touched after this. */
void weft__parked_leave(struct weft__fiber *f, struct weft_task *t);
/* A parked task was picked and is about to run on f. */
void weft__parked_begin(struct weft__worker *w, struct weft__fiber *f, struct weft_task *t);
/* The same, but there is no stack to be had: it stays ready, for there will be. */
void weft__parked_wait_for_stack(struct weft__worker *w, struct weft_task *t);
/* For dumps: hold a task that is parked (false: it is not, or held), tell where it is, let it go on. Any thread; one that is no worker as a visitor. */
bool weft__parked_hold(struct weft_task *t);
void weft__parked_tell(struct weft_task *t, struct weft__sight *s);
void weft__parked_release(struct weft_task *t);

#endif

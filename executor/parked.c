/* SPDX-License-Identifier: Apache-2.0 */
/* executor/parked.c -- tasks that wait without a stack (weft/park.h).
 *
 * A coroutine that returns WEFT_PARK has asked before for a place (struct weft__park: a stream, a descriptor, an instant) to be called again
 * at, from its top. Its descriptor stays as it is, STARTED, with name, frame, context and those who wait for it. Where its fiber was, the
 * park word stands:
 *
 * | weft_task.parked | returns WEFT_PARK | wake (ticket)         | cancel                   | commit  | picked, begin    |
 * | a fiber          | ARMED, new ticket | false                 | told by the fiber's word | -       | -                |
 * | ARMED            | -                 | WOKEN                 | WOKEN + REQUEST          | PARKED  | -                |
 * | PARKED           | -                 | WOKEN, ready          | WOKEN + REQUEST, ready   | -       | -                |
 * | WOKEN            | -                 | false                 | + REQUEST                | ready   | the fiber        |
 *
 * Exactly one of event, deadline and cancellation makes it WOKEN and, with PARKED, puts its item into a ready queue: the descriptor's
 * address with a bit of its own (WEFT__ITEM_PARKED). Nobody else can put that in, and who takes it need not claim it: a task is parked only if it
 * runs alone on a fiber of its own, so the entry of its creation is used up. The flag HAS_PARKED, which stays, says that an item is of this kind.
 *
 * HELD: a dump looks at the place. A PARKED task that is woken meanwhile is made ready by who looks, when he has done; so the place stays.
 * At most one at a time.
 *
 * A cancellation leaves its mark (C) and REQUEST; whoever runs the task next has REQUEST on its fiber, so the mark is met by what asks
 * first: weft_parked, a read that would park, or whatever suspends. PARK-REQUEST: a canceller marks, then looks where the task is; the task
 * says that it is ARMED, then looks for a mark. Both in one total order: one of them sees the other. (The canceller that saw the fiber
 * told that, where nobody will look for this task any more.)
 *
 * The use of a place (a stream's READER) goes on from asking for it over the parking until the task, called again, asks how it ended: so the
 * object of a place that is closed meanwhile stays until the task has been told. fiber->park is that place: with PARK_ASKED
 * before the return, with PARK_RESUMED after the next begin.
 *
 * A task that can't be parked (weft__park_possible) waits on the stack it has, inside the call that asks, and is called again by whoever
 * called it (PARK_AGAIN).
 *
 * Threads: unpark any; ask, settle and the like the running task's; leave and begin the worker's that runs the fiber, or is about to. */
#include "executor/parked.h"

#include <time.h>

#include "executor/requests.h"
#include "executor/runtime.h"
#include "executor/sight.h"

/* ---- the word ---------------------------------------------------------------------------------------------------- */

static inline uint64_t woken(uint64_t word, uint64_t with)
{
    return (word & ~(uint64_t)WEFT__PARK_STATE) | WEFT__PARK_WOKEN | with;
}

static inline bool waits(uint64_t word)
{
    uint64_t state = word & WEFT__PARK_STATE;
    return (word & WEFT__PARK) != 0 && (state == WEFT__PARK_ARMED || state == WEFT__PARK_PARKED);
}

/* Its word was moved from there to WOKEN by the caller. */
static inline void came(struct weft_task *t, uint64_t from)
{
    if ((from & (WEFT__PARK_STATE | WEFT__PARK_HELD)) == WEFT__PARK_PARKED)
        weft__make_ready(weft__task_rt(t), weft__item_of_parked(t));
}

bool weft__unpark(struct weft_task *t, uint32_t ticket, enum weft__unpark reason)
{
    uint64_t word = weft__load_acquire(&t->parked); /* pairs: TASK-PARKED */
    do {
        if (!waits(word) || word >> 32 != ticket)
            return false;
    } while (!weft__cas_acq_rel(&t->parked, &word, woken(word, (uint64_t)reason << 8))); /* pairs: TASK-PARKED */
    came(t, word);
    return true;
}

bool weft__unpark_cancelled(struct weft_task *t)
{
    uint64_t word = weft__load_seq_cst(&t->parked), next; /* pairs: PARK-REQUEST */
    do {
        if ((word & WEFT__PARK) == 0)
            return false;
        next = word | WEFT__PARK_REQUEST;
        if (waits(word))
            next = woken(next, (uint64_t)WEFT__UNPARK_CANCELLED << 8);
    } while (!weft__cas_acq_rel(&t->parked, &word, next)); /* pairs: TASK-PARKED */
    came(t, word);
    return true;
}

/* ---- an instant -------------------------------------------------------------------------------------------------- */

struct sleep_park { /* from rt->sleeps */
    struct weft__park park;
    struct weft_task *task;
    uint32_t ticket;
    weft_ns deadline;
};
_Static_assert(sizeof(struct sleep_park) == WEFT__SLEEP_PARK, "what the slab of runtime.c gives");

static void sleep_fires(struct weft__timer *timer)
{
    struct sleep_park *s = weft__container_of(timer, struct sleep_park, park.timer);
    weft__unpark(s->task, s->ticket, WEFT__UNPARK_TIMED_OUT);
}

static struct sleep_park *sleep_of(struct weft__park *park)
{
    return park != NULL && park->timer.fire == sleep_fires ? weft__container_of(park, struct sleep_park, park) : NULL;
}

static void sleep_free(struct weft_runtime *rt, struct sleep_park *s)
{
    weft__slab_put(&rt->sleeps, NULL, s);
}

int weft_park_for(weft_ns duration)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_park_for");
    if (weft__park_ignored_cancel(f))
        return -ECANCELED;
    struct sleep_park *s = weft__park_possible(f) ? weft__slab_get(&f->rt->sleeps, NULL) : NULL;
    if (s == NULL) {
        int rc = weft_sleep(duration);
        return weft__park_waited(f, rc == 0 ? -ETIMEDOUT : rc);
    }
    weft__timer_init(&s->park.timer, sleep_fires);
    s->deadline = weft__park_deadline(f, duration);
    weft__park_ask(f, &s->park);
    return WEFT_PARK;
}

/* ---- for dumps --------------------------------------------------------------------------------------------------- */

bool weft__parked_hold(struct weft_task *t)
{
    uint64_t word = weft__load_acquire(&t->parked); /* pairs: TASK-PARKED */
    const uint64_t all = WEFT__PARK | WEFT__PARK_STATE | WEFT__PARK_HELD;
    while ((word & all) == (WEFT__PARK | WEFT__PARK_PARKED))
        if (weft__cas_acq_rel(&t->parked, &word, word | WEFT__PARK_HELD)) /* pairs: TASK-PARKED */
            return true;
    return false;
}

void weft__parked_release(struct weft_task *t)
{
    uint64_t word = weft__fetch_and_acq_rel(&t->parked, ~(uint64_t)WEFT__PARK_HELD); /* pairs: TASK-PARKED */
    if ((word & WEFT__PARK_STATE) == WEFT__PARK_WOKEN)
        weft__make_ready(weft__task_rt(t), weft__item_of_parked(t));
}

void weft__parked_tell(struct weft_task *t, struct weft__sight *s)
{
    uint64_t number = weft__load_acquire(&t->parked) >> 16 & 0xff; /* pairs: TASK-PARKED */
    weft__sight_say(s, "parked, ");
    s->how = "parked, ";
    s->what = "sleeps";
    if (sleep_of(t->park) != NULL) {
        weft__sight_sleep(s, &t->park->timer);
        return;
    }
    s->how = "parked, waits for ";
    s->what = weft__task_rt(t)->driver->park_names[number];
    weft__task_rt(t)->driver->park_tell(t->park, t, s->what, s);
    weft_ns deadline = weft__timer_deadline(&t->park->timer);
    if (deadline != WEFT_FOREVER)
        weft__sight_time(s, ", at most ", deadline, " more");
}

/* ---- the running task -------------------------------------------------------------------------------------------- */

void weft__park_ask(struct weft__fiber *f, struct weft__park *park)
{
    weft__park_settle(f);
    f->park = park;
    weft__fiber_set(f, WEFT__FIBER_PARK_ASKED);
}

int weft__park_waited(struct weft__fiber *f, int outcome)
{
    if (weft__park_outermost(f))
        weft__park_settle(f);
    f->task->rc = outcome;
    weft__fiber_set(f, WEFT__FIBER_PARK_AGAIN);
    return WEFT_PARK;
}

void weft__park_settle(struct weft__fiber *f)
{
    if (!weft__park_bits(f))
        return;
    struct weft__park *park = f->park;
    struct sleep_park *s = sleep_of(park);
    f->park = NULL;
    weft__fiber_clear(f, WEFT__FIBER_PARK_ASKED | WEFT__FIBER_PARK_RESUMED);
    if (s != NULL)
        sleep_free(f->rt, s);
    else if (park != NULL)
        f->rt->driver->park_end(park);
}

static bool is_at(const struct weft__fiber *f, const struct weft__park *park)
{
    return f != NULL && weft__park_bits(f) && f->park == park;
}

void weft__park_settle_at(struct weft__park *park)
{
    struct weft__fiber *f = weft__fiber_self();
    if (weft__unlikely(is_at(f, park)))
        weft__park_settle(f);
}

bool weft__park_hand_over(struct weft__park *park)
{
    struct weft__fiber *f = weft__fiber_self();
    if (!is_at(f, park))
        return false;
    f->park = NULL;
    weft__fiber_clear(f, WEFT__FIBER_PARK_ASKED | WEFT__FIBER_PARK_RESUMED);
    return true;
}

bool weft__park_ignored(struct weft__fiber *f)
{
    if (!weft__park_outermost(f) || !weft__park_take_request(f))
        return false;
    weft__park_settle(f);
    f->task->rc = -ECANCELED;
    return true;
}

int weft_parked(void)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_parked");
    struct weft_task *t = f->task;
    bool cancelled = weft__park_take_request(f);
    if (weft__park_outermost(f) && (f->unusual & WEFT__FIBER_PARK_RESUMED))
        weft__park_settle(f);
    if (cancelled)
        t->rc = -ECANCELED;
    return t->rc;
}

/* ---- leaving the fiber, and coming to the next ------------------------------------------------------------------- */

void weft__park_timer(struct weft__fiber *f, struct weft_task *t, uint32_t ticket, struct weft__park *park,
                      weft_ns deadline)
{
    /* As in a wait on a stack: without memory it counts as over. */
    if (weft__unlikely(deadline == WEFT__PARK_NO_TIME ||
                       weft__timers_set(&f->worker->timers, &park->timer, deadline) < 0))
        weft__unpark(t, ticket, WEFT__UNPARK_TIMED_OUT);
}

static uint32_t arm(struct weft__fiber *f, struct weft_task *t, uint32_t ticket, struct weft__park *park)
{
    struct sleep_park *s = sleep_of(park);
    if (s == NULL)
        return f->rt->driver->park_arm(park, f, t, ticket);
    s->task = t;
    s->ticket = ticket;
    weft__park_until(f, t, ticket, park, s->deadline);
    return 0;
}

void weft__parked_leave(struct weft__fiber *f, struct weft_task *t)
{
    struct weft__worker *w = f->worker;
    struct weft_runtime *rt = w->rt;
    struct weft__park *park = f->park;
    if (!(f->unusual & WEFT__FIBER_PARK_ASKED))
        weft__misuse(t->frame->coro->name, "it returned WEFT_PARK, which is for a weft_park_ call to give");
    f->park = NULL;
    weft__fiber_clear(f, WEFT__FIBER_PARK_ASKED);
    if (!(weft__load_relaxed(&t->flags) & WEFT__TASK_HAS_PARKED))           /* relaxed: set here only */
        weft__fetch_or_acq_rel(&t->flags, (uint16_t)WEFT__TASK_HAS_PARKED); /* pairs: TASK-REFS */
    t->park = park;
    uint32_t ticket = ++w->park_tickets * WEFT_MAX_WORKERS + w->index;
    uint64_t armed = (uint64_t)ticket << 32 | WEFT__PARK_ARMED | WEFT__PARK;
    weft__exchange_seq_cst(&t->parked, armed); /* pairs: PARK-REQUEST */
    uint32_t number = arm(f, t, ticket, park);
    if (weft__unlikely(weft__load_seq_cst(&t->word) & WEFT__C) && weft__requests_pending(t)) /* pairs: PARK-REQUEST */
        (void)weft__unpark_cancelled(t);
    if (weft__unlikely(f->unusual & WEFT__FIBER_STRAND)) {
        weft__strand_pass(rt, f->strand); /* while the task still holds it */
        weft__fiber_clear(f, WEFT__FIBER_STRAND);
    }
    weft__fiber_clear(f, WEFT__FIBER_PINNED); /* the task itself says where it goes on */
    weft__count(&w->counters.task_parks, 1);
    uint64_t word = armed;
    uint64_t parked = (uint64_t)ticket << 32 | number << 16 | WEFT__PARK_PARKED | WEFT__PARK;
    if (weft__likely(weft__cas_acq_rel(&t->parked, &word, parked))) /* pairs: TASK-PARKED */
        return;
    weft__make_ready(rt, weft__item_of_parked(t)); /* woken meanwhile: it goes on in its turn */
}

void weft__parked_begin(struct weft__worker *w, struct weft__fiber *f, struct weft_task *t)
{
    struct weft__park *park = t->park; /* before the chain of the fiber takes its place */
    uint64_t word = weft__exchange_acq_rel(&t->parked, (uint64_t)(uintptr_t)f); /* pairs: TASK-PARKED */
    struct sleep_park *s = sleep_of(park);
    if (weft__unlikely(word & WEFT__PARK_REQUEST))
        weft__fetch_or_acq_rel(&f->word, (uint64_t)WEFT__FIBER_REQUEST); /* pairs: FIBER-WORD */
    if (weft__load_acquire(&park->timer.index) != WEFT__TIMER_IDLE)      /* pairs: TIMER-INDEX */
        (void)weft__timer_cancel(&park->timer);
    int outcome = 0;
    if (s != NULL) {
        sleep_free(f->rt, s);
        park = NULL;
    } else {
        outcome = f->rt->driver->park_resume(&park);
    }
    if ((word >> 8 & 0xff) == WEFT__UNPARK_TIMED_OUT && outcome >= 0)
        outcome = -ETIMEDOUT;
    t->rc = outcome;
    f->park = park;
    weft__fiber_set(f, WEFT__FIBER_PARK_RESUMED);
    weft__count(&w->counters.task_unparks, 1);
}

void weft__parked_wait_for_stack(struct weft__worker *w, struct weft_task *t)
{
    if (weft__ready_size(&w->ready) == 0) { /* nothing else to do here meanwhile: do not spin */
        struct timespec moment = {.tv_sec = 0, .tv_nsec = 1000000};
        (void)nanosleep(&moment, NULL);
    }
    weft__make_ready(w->rt, weft__item_of_parked(t));
}

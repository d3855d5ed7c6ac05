/* SPDX-License-Identifier: Apache-2.0 */
/* model_timeout.c -- time limits (executor/timeout.c) beside requests to cancel (cancel.c): a request that comes while a limit begins or ends is met, and not
 * as one that the limit's own request was; and what the limit asked for is gone when it has ended. */
#include <errno.h>
#include <weft/scope.h>

#define MODEL_TIMERS 1
#include "fibers.h"

static const struct weft__wait_kind plain = {.name = "model"};
static weft_timeout limit;
static alignas(16) char block[WEFT__BLOCK];
static _Atomic(uint32_t) known; /* ticket */
static enum weft__wake how;
static int outcome;
static bool taken, expired;

/* ---- one timer, which a thread of the model fires ---- */

static struct {
    struct weft__timer *set;
    bool fires;
    struct explore_sync guard;
} wheel;

void weft__timer_init(struct weft__timer *timer, void (*fire)(struct weft__timer *))
{
    timer->fire = fire;
}
MACHINE int weft__timers_set(struct weft__timers *timers, struct weft__timer *timer, weft_ns deadline)
{
    (void)timers;
    (void)deadline;
    explore_leave(&wheel.guard);
    wheel.set = timer;
    return 0;
}
MACHINE static bool has_fired(void *unused)
{
    (void)unused;
    return !wheel.fires;
}
MACHINE bool weft__timer_cancel(struct weft__timer *timer)
{
    bool pending = wheel.set == timer;
    wheel.set = NULL;
    if (wheel.fires)
        explore_block(has_fired, NULL);
    explore_arrive(&wheel.guard);
    return pending;
}
MACHINE static bool is_set(void *unused)
{
    (void)unused;
    return wheel.set != NULL || cpu.over;
}
MACHINE static void timer_fires(void)
{
    explore_block(is_set, NULL);
    struct weft__timer *timer = wheel.set;
    if (timer == NULL)
        return;
    explore_arrive(&wheel.guard);
    wheel.set = NULL;
    wheel.fires = true;
    timer->fire(timer);
    explore_leave(&wheel.guard);
    wheel.fires = false;
}

/* ---- what else timeout.c needs ---- */

MACHINE void *weft__slab_get(struct weft__slab *slab, struct weft__slab_cache *cache)
{
    (void)slab;
    (void)cache;
    return block;
}
MACHINE void weft__slab_put(struct weft__slab *slab, struct weft__slab_cache *cache, void *object)
{
    (void)slab;
    (void)cache;
    CHECK(object == block);
}
weft_ns weft__stamp_instant(struct weft_runtime *runtime, uint32_t stamp)
{
    (void)runtime;
    (void)stamp;
    return 1000;
}

/* ---- */

static void setup(void)
{
    fibers_reset();
    memset(&wheel, 0, sizeof wheel);
    memset(block, 0, sizeof block);
    weft__store_relaxed(&known, 0);
    how = 0;
    outcome = 0;
    taken = expired = false;
}
/* In the clean-up after a request that has been met. */
static void setup_cleaning(void)
{
    setup();
    weft__store_relaxed(&task.requests, 1);
}

static enum weft__wake waits(void)
{
    uint32_t ticket = weft__wait_begin(&fiber, &plain, NULL);
    weft__store_release(&known, ticket);
    weft__scopes_arm(&fiber);
    return weft__wait_commit(&fiber, WEFT_FOREVER);
}
static void waits_limited(void)
{
    fiber_begin();
    CHECK(weft_timeout_begin(&limit, WEFT_SEC(1)) == 0);
    how = waits();
    outcome = weft_timeout_end(&limit, how == WEFT__CANCELLED ? -ECANCELED : 5);
    expired = weft_timeout_expired(&limit);
    fiber_end();
}
/* A block that does not wait any more when others learn of its limit. */
static void ends_limited(void)
{
    fiber_begin();
    CHECK(weft_timeout_begin(&limit, WEFT_SEC(1)) == 0);
    weft__scopes_arm(&fiber);
    weft__store_relaxed(&known, 1); /* between them others may run: here the explorer sees that */
    outcome = weft_timeout_end(&limit, 5);
    fiber_end();
}
static void expires(void)
{
    (void)weft__load_relaxed(&known);
    timer_fires();
}
static void cancels(void)
{
    taken = weft_cancel(&task);
}
static void wakes(void)
{
    uint32_t ticket;
    while ((ticket = weft__load_acquire(&known)) == 0)
        weft__cpu_relax();
    (void)weft__wake(&fiber, ticket, WEFT__WOKEN);
}

/* What came too late for the block is met by what follows. */
static bool is_met_later(void)
{
    workers[0].current = &fiber;
    return weft__take_request(&fiber);
}
static void finish_request(void)
{
    CHECK(taken && weft_cancelling(&task) == 1);
    CHECK(how == WEFT__CANCELLED && (outcome == -ECANCELED || outcome == -ETIMEDOUT));
    CHECK(outcome == -ECANCELED || is_met_later());
    CHECK(outcome == -ECANCELED || expired);
}
static void finish_ended(void)
{
    CHECK(taken && weft_cancelling(&task) == 2 && outcome == 5);
    CHECK(is_met_later());
}
static void finish_cleaned(void)
{
    CHECK(weft_cancelling(&task) == 1);
    CHECK(outcome == (how == WEFT__CANCELLED ? -ETIMEDOUT : 5));
    CHECK(how != WEFT__CANCELLED || expired);
    CHECK(!is_met_later());
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "timeout-request",
         .setup = setup,
         .thread = {waits_limited, next_context, timer_fires, cancels},
         .finish = finish_request,
         .preemptions = 2,
         .stale = 0},
        {.name = "timeout-end",
         .setup = setup_cleaning,
         .thread = {ends_limited, expires, cancels},
         .finish = finish_ended,
         .preemptions = 2,
         .stale = 1},
        {.name = "timeout-cleaning",
         .setup = setup_cleaning,
         .thread = {waits_limited, next_context, timer_fires, wakes},
         .finish = finish_cleaned,
         .preemptions = 2,
         .stale = 0},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}

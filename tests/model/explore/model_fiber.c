/* SPDX-License-Identifier: Apache-2.0 */
/* model_fiber.c -- the fiber word (executor/wait.c, table in fiber.h) and cancellation (cancel.c): a fiber that waits, wakers, cancellers. One wake of a ticket is
 * taken; a request is met once, in this wait or the next; nobody sleeps for ever. */
#include "executor/requests.h"
#include "fibers.h"

static const struct weft__wait_kind plain = {.name = "model"};
static _Atomic(uint32_t) known; /* ticket */
static enum weft__wake first, second;
static bool woke[2], taken[2];

static void setup(void)
{
    fibers_reset();
    weft__store_relaxed(&known, 0);
    first = second = 0;
    memset(woke, 0, sizeof woke);
    memset(taken, 0, sizeof taken);
}

/* On the only worker of the process, which is what threads 1 and 2 are, one after the other; 3 and 4 are strangers. */
static void setup_sole(void)
{
    setup();
    for (unsigned i = 1; i < EXPLORE_THREADS; i++)
        workers[i].sole = i <= 2 ? WEFT__IS_SOLE : WEFT__IS_FOREIGN;
    weft__store_relaxed(&weft__sole.strangers.count, 0);
    weft__store_relaxed(&weft__sole.strangers.kept, 0);
    weft__store_relaxed(&weft__sole.present, 1);
    weft__store_relaxed(&weft__sole.owner.inside, 0);
    weft__sole.strangers.keep = 0;
}

static enum weft__wake wait_once(bool tell)
{
    uint32_t ticket = weft__wait_begin(&fiber, &plain, NULL);
    if (tell)
        weft__store_release(&known, ticket);
    return weft__wait_commit(&fiber, WEFT_FOREVER);
}
static void waits_once(void)
{
    fiber_begin();
    first = wait_once(true);
    fiber_end();
}
/* Somebody wakes it, somebody cancels it: if the wake came first, the request ends the next wait. */
static void waits_for_both(void)
{
    fiber_begin();
    first = wait_once(true);
    if (first != WEFT__CANCELLED)
        second = wait_once(false);
    fiber_end();
}
static void abandons(void)
{
    fiber_begin();
    uint32_t ticket = weft__wait_begin(&fiber, &plain, NULL);
    weft__store_release(&known, ticket);
    first = weft__wait_abandon(&fiber) ? WEFT__WOKEN : 0;
    second = wait_once(false);
    fiber_end();
}
/* A request that comes while the fiber runs, and is looked for. */
static void looks(void)
{
    fiber_begin();
    first = weft__take_request(&fiber) ? WEFT__CANCELLED : 0;
    if (first == 0)
        second = wait_once(false);
    fiber_end();
}

static void wake(unsigned i)
{
    uint32_t ticket;
    while ((ticket = weft__load_acquire(&known)) == 0)
        weft__cpu_relax();
    woke[i] = weft__wake(&fiber, ticket, WEFT__WOKEN);
}
static void waker(void)
{
    wake(0);
}
static void other_waker(void)
{
    wake(1);
}
static void canceller(void)
{
    taken[0] = weft_cancel(&task);
}
static void other_canceller(void)
{
    taken[1] = weft_cancel(&task);
}

static bool pending(void)
{
    bool pending = weft__requests_pending(&task);
    CHECK(!pending || (weft__load_relaxed(&task.word) & WEFT__C) != 0);
    return pending;
}
static void finish_wakes(void)
{
    CHECK(first == WEFT__WOKEN && woke[0] + woke[1] == 1);
}
static void finish_both(void)
{
    CHECK(taken[0] && weft_cancelling(&task) == 1 && !pending());
    CHECK(first == WEFT__CANCELLED || (first == WEFT__WOKEN && woke[0] && second == WEFT__CANCELLED));
}
static void finish_abandoned(void)
{
    CHECK(second == WEFT__CANCELLED && woke[0] == (first == WEFT__WOKEN));
    CHECK(!pending());
}
static void finish_looks(void)
{
    CHECK(taken[0] && (first == WEFT__CANCELLED) != (second == WEFT__CANCELLED));
    CHECK(!pending());
}
/* Two requests: one is met in the wait, the other with it, or it is still to come, and then it will be looked for. */
static void finish_two_requests(void)
{
    CHECK(taken[0] && taken[1] && weft_cancelling(&task) == 2);
    CHECK(first == WEFT__CANCELLED);
    CHECK(!pending() || (weft__load_relaxed(&fiber.word) & WEFT__FIBER_REQUEST) != 0);
}

/* Two tasks on the fiber; the outer one is cancelled, and the inner one meets it. */
static struct weft_task outer;
static void setup_chain(void)
{
    setup();
    memset(&outer, 0, sizeof outer);
    task_init(&outer, WEFT__KIND_TASK, WEFT__STARTED, 10);
    weft__store_relaxed(&outer.fiber, &fiber);
    task.below = &outer;
}
static void outer_canceller(void)
{
    taken[0] = weft_cancel(&outer);
}
static void finish_chain(void)
{
    CHECK(taken[0] && !pending() && (weft__load_relaxed(&outer.word) & WEFT__C) == 0);
    CHECK(weft_cancelling(&task) == 1 && weft_cancelling(&outer) == 1);
    CHECK(first == WEFT__CANCELLED || (first == WEFT__WOKEN && second == WEFT__CANCELLED));
}

/* A wait that passes requests on and goes on: each that comes while another is being served is served as well. */
static unsigned passed;
static bool pass_on(struct weft__fiber *f, void *object, struct weft__cancel_list *list)
{
    (void)f;
    (void)object;
    (void)list;
    passed++;
    return true;
}
static const struct weft__wait_kind passing = {.name = "model", .cancel = pass_on};
static void setup_passing(void)
{
    setup();
    passed = 0;
}
static void waits_on(void)
{
    fiber_begin();
    (void)weft__wait_begin(&fiber, &passing, NULL);
    first = weft__wait_commit(&fiber, WEFT_FOREVER);
    fiber_end();
}
static void finish_passed(void)
{
    CHECK(explore_asleep(1) && taken[0] && taken[1] && first == 0);
    CHECK(passed >= 1 && passed <= 2 && !pending());
    CHECK((weft__load_relaxed(&fiber.word) & (WEFT__FIBER_STATE | WEFT__FIBER_LOCKED)) == WEFT__FIBER_PARKED);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "fiber-wakers",
         .setup = setup,
         .thread = {waits_once, next_context, waker, other_waker},
         .finish = finish_wakes,
         .preemptions = 2,
         .stale = 0},
        {.name = "fiber-wake-cancel",
         .setup = setup,
         .thread = {waits_for_both, next_context, waker, canceller},
         .finish = finish_both,
         .preemptions = 2,
         .stale = 0},
        {.name = "fiber-sole-wakers",
         .setup = setup_sole,
         .thread = {waits_once, next_context, waker, other_waker},
         .finish = finish_wakes,
         .preemptions = 2,
         .stale = 0},
        {.name = "fiber-sole-wake-cancel",
         .setup = setup_sole,
         .thread = {waits_for_both, next_context, waker, canceller},
         .finish = finish_both,
         .preemptions = 2,
         .stale = 0},
        {.name = "fiber-abandon",
         .setup = setup,
         .thread = {abandons, next_context, waker, canceller},
         .finish = finish_abandoned,
         .preemptions = 2,
         .stale = 0},
        {.name = "fiber-look",
         .setup = setup,
         .thread = {looks, next_context, canceller},
         .finish = finish_looks,
         .preemptions = 3,
         .stale = 1},
        {.name = "fiber-cancellers",
         .setup = setup,
         .thread = {waits_once, next_context, canceller, other_canceller},
         .finish = finish_two_requests,
         .preemptions = 2,
         .stale = 0},
        {.name = "fiber-chain",
         .setup = setup_chain,
         .thread = {waits_for_both, next_context, waker, outer_canceller},
         .finish = finish_chain,
         .preemptions = 2,
         .stale = 0},
        {.name = "fiber-passes-on",
         .setup = setup_passing,
         .thread = {waits_on, next_context, canceller, other_canceller},
         .finish = finish_passed,
         .preemptions = 2,
         .stale = 0,
         .daemons = true},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}

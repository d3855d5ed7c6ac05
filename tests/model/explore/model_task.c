/* SPDX-License-Identifier: Apache-2.0 */
/* model_task.c -- the task word (executor/task.c, table in task.h): claim, end, waiters, futures, references; and what a worker does alone (alone.c). */
#include "executor/requests.h"
#include "executor/task_hot.h"
#include "fibers.h"

static void marks(void);

static struct seen_waiter {
    struct weft__waiter waiter;
    unsigned fired;
    int rc;
} waiters[2];
static bool added[2], removed[2], set[2], taken;
static int claimed[2], result;
static unsigned freed;

static void fire(struct weft__waiter *waiter, struct weft_task *t)
{
    struct seen_waiter *w = weft__container_of(waiter, struct seen_waiter, waiter);
    w->fired++;
    w->rc = weft__task_rc(t);
}
void weft__task_unref_checked(struct weft_task *t)
{
    weft__task_unref(t);
}
void weft__task_free(struct weft_task *t)
{
    CHECK(freed == 0);
    t->frame = NULL;
    freed++;
}

static void setup(enum weft__kind kind, uint64_t state, uint32_t refs)
{
    fibers_reset();
    task_init(&task, kind, state, refs);
    weft__store_relaxed(&task.fiber, NULL);
    memset(waiters, 0, sizeof waiters);
    memset(added, 0, sizeof added);
    memset(removed, 0, sizeof removed);
    memset(set, 0, sizeof set);
    memset(claimed, 0, sizeof claimed);
    waiters[0].waiter.fire = waiters[1].waiter.fire = fire;
    taken = false;
    freed = 0;
    result = 0;
}

/* ---- the end, and who waits for it ---- */

static void setup_started(void)
{
    setup(WEFT__KIND_TASK, WEFT__STARTED, 10);
}
static void ends(void)
{
    weft__task_finish(&task, 42);
}
static void ends_hot(void)
{
    weft__task_finish_here(&workers[explore_self()], &task, 42);
}
static void adds_and_removes(void)
{
    added[0] = weft__task_add_waiter(&task, &waiters[0].waiter);
    if (added[0])
        removed[0] = weft__task_remove_waiter(&task, &waiters[0].waiter);
}
static void adds(void)
{
    added[1] = weft__task_add_waiter(&task, &waiters[1].waiter);
    if (!added[1])
        result = weft__task_rc(&task);
}
static void finish_waiters(void)
{
    for (int i = 0; i < 2; i++) {
        CHECK(waiters[i].fired == (added[i] && !removed[i]));
        CHECK(waiters[i].fired == 0 || waiters[i].rc == 42);
    }
    CHECK(added[1] || result == 42);
    CHECK(weft__load_relaxed(&task.word) == WEFT__DONE && weft__load_relaxed(&task.refs) == 9);
}

/* A request that comes while a waiter is taken out: neither is lost. The task ends only then. */
static void finish_waiters_marked(void)
{
    CHECK(taken && (weft__load_relaxed(&task.word) & WEFT__C) != 0 && weft__requests_pending(&task));
    CHECK(added[0] && removed[0] && added[1]);
    weft__task_finish(&task, 42);
    CHECK(waiters[0].fired == 0 && waiters[1].fired == 1 && waiters[1].rc == -ECANCELED);
}

/* ---- claim and cancel ---- */

static void setup_new(void)
{
    setup(WEFT__KIND_TASK, WEFT__NEW, 10);
}
static void claims(void)
{
    claimed[0] = weft__task_claim_slow(&task);
}
static void claims_too(void)
{
    claimed[1] = weft__task_claim_slow(&task);
}
/* Marks it; who is told is another story (fiber.c): here it never gets a fiber. */
static void marks(void)
{
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    taken = weft__cancel_mark(&task, &list);
}
static void finish_claims(void)
{
    CHECK((claimed[0] != 0) + (claimed[1] != 0) == 1 && taken);
    bool unrun = claimed[0] + claimed[1] == -1, pending = (weft__load_relaxed(&task.word) & WEFT__C) != 0;
    CHECK(unrun != pending && weft__requests_pending(&task) == pending && weft_cancelling(&task) == 1);
}
static void uncancels(void)
{
    (void)weft__uncancel(&task);
}
static void setup_cancelled(void)
{
    setup(WEFT__KIND_TASK, WEFT__STARTED | WEFT__C, 10);
    weft__store_relaxed(&task.requests, 1 | WEFT__REQUESTS_PENDING);
    weft__store_relaxed(&task.fiber, &fiber);
    weft__store_relaxed(&fiber.word, WEFT__FIBER_RUNNING);
    fiber.task = &task;
}
static void finish_uncancelled(void)
{
    CHECK(taken && weft_cancelling(&task) == 1 && weft__requests_pending(&task));
    CHECK((weft__load_relaxed(&task.word) & WEFT__C) != 0);
}

/* A request that is taken decides over a success, also when an older one's mark is there still. */
static void uncancels_and_ends(void)
{
    (void)weft__uncancel(&task);
    weft__task_finish(&task, 42);
}
static void finish_uncancelled_end(void)
{
    CHECK(weft__task_state(&task) == WEFT__DONE);
    CHECK(weft__task_rc(&task) == -ECANCELED || (!taken && weft__task_rc(&task) == 42));
    CHECK(weft_cancelling(&task) == (taken ? 1 : 0));
}

/* ---- futures ---- */

static void setup_future(void)
{
    setup(WEFT__KIND_FUTURE, WEFT__STARTED, 10);
}
static void sets(void)
{
    set[0] = weft__future_finish(&task, 5, NULL, false);
}
static void sets_too(void)
{
    set[1] = weft__future_finish(&task, 6, NULL, false);
}
static void cancels(void)
{
    taken = weft_cancel(&task);
}
static void waits(void)
{
    added[0] = weft__task_add_waiter(&task, &waiters[0].waiter);
    if (!added[0])
        result = weft__task_rc(&task);
}
static void finish_future(void)
{
    CHECK(set[0] + set[1] + taken == 1);
    int rc = weft__task_rc(&task);
    CHECK(rc == (set[0] ? 5 : set[1] ? 6 : -ECANCELED));
    CHECK(added[0] ? waiters[0].fired == 1 && waiters[0].rc == rc : result == rc);
    CHECK(weft__load_relaxed(&task.refs) == 10);
}

/* ---- references ---- */

static void setup_owed(void)
{
    setup(WEFT__KIND_TASK, WEFT__DONE | WEFT__OWED, 3);
}
static void unrefs(void)
{
    weft__task_unref(&task);
}
static void finish_freed(void)
{
    CHECK(freed == 1);
}

/* ---- alone.c: what the worker does without a locked instruction, and strangers ---- */

static struct weft__worker *self(void)
{
    return &workers[explore_self()];
}

/* Freed while somebody looks at all tasks. */
static void setup_free(void)
{
    setup(WEFT__KIND_TASK, WEFT__DONE | WEFT__OWED, 2);
}
static void setup_free_kept(void)
{
    setup_free();
    rt.strangers.keep = 1;
}
static void unrefs_here(void)
{
    weft__task_unref_here(&task);
}
static void walks(void)
{
    unsigned visit = weft__stranger_begin(&rt);
    if (weft__task_try_ref(&task)) {
        CHECK(weft__task_state(&task) == WEFT__DONE);
        CHECK(task.frame != NULL);
        weft__task_unref(&task);
    }
    weft__stranger_end(&rt, visit);
}
static void visits(void)
{
    weft__stranger_end(&rt, weft__stranger_begin(&rt));
}
static void ticks(void)
{
    weft__strangers_tick(&rt.strangers);
}
static void finish_free(void)
{
    bool quickly = weft__load_relaxed(&task.word) == WEFT__FREE;
    CHECK(quickly != (freed == 1));
    CHECK(weft__load_relaxed(&task.refs) == 0);
    CHECK(weft__load_relaxed(&rt.strangers.count) == (weft__load_relaxed(&rt.strangers.kept) != 0));
}

/* Claimed by its creator (thread 1), cancelled and awaited by others; then it ends, on its awaiter's stack. */
static void setup_home(void)
{
    setup(WEFT__KIND_TASK, WEFT__NEW, 10);
    weft__store_relaxed(&task.fiber, weft__task_home(&workers[1]));
}
static void claims_alone(void)
{
    claimed[0] = weft__task_claim_alone(self(), &task) ? 1 : weft__task_claim_slow(&task);
    CHECK(claimed[0] != 0);
}
static void adds_second(void)
{
    added[1] = weft__task_add_waiter(&task, &waiters[1].waiter);
}
static void finish_claimed_alone(void)
{
    CHECK(taken && added[1] && weft_cancelling(&task) == 1);
    CHECK((claimed[0] == -1) != ((weft__load_relaxed(&task.word) & WEFT__C) != 0));
    CHECK((weft__load_relaxed(&task.word) & WEFT__STATE) == WEFT__STARTED);
    weft__task_finish(&task, 42);
    CHECK(waiters[1].fired == 1);
}

static void setup_plain(void)
{
    setup(WEFT__KIND_TASK, WEFT__STARTED | WEFT__PLAIN, 10);
}
static void ends_alone(void)
{
    if (!weft__task_finish_alone(self(), &task, 42))
        weft__task_finish_awaited(&task, 42);
}
static void finish_ended_alone(void)
{
    int rc = weft__task_rc(&task);
    CHECK(rc == (taken ? -ECANCELED : 42) && weft_cancelling(&task) == (taken ? 1 : 0));
    CHECK(waiters[1].fired == added[1] && (!added[1] || waiters[1].rc == rc));
    uint64_t word = weft__load_relaxed(&task.word);
    CHECK(word == WEFT__DONE || word == (WEFT__DONE | WEFT__OWED));
    CHECK(weft__load_relaxed(&task.refs) == (word & WEFT__OWED ? 10U : 9U) + taken); /* the list of marks has one */
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "task-waiters",
         .setup = setup_started,
         .thread = {ends, adds_and_removes, adds},
         .finish = finish_waiters,
         .preemptions = 3,
         .stale = 1},
        {.name = "task-waiters-hot",
         .setup = setup_started,
         .thread = {ends_hot, adds_and_removes, adds},
         .finish = finish_waiters,
         .preemptions = 3,
         .stale = 1},
        {.name = "task-waiters-mark",
         .setup = setup_started,
         .thread = {adds_and_removes, adds, marks},
         .finish = finish_waiters_marked,
         .preemptions = 3,
         .stale = 1},
        {.name = "task-claim",
         .setup = setup_new,
         .thread = {claims, claims_too, marks},
         .finish = finish_claims,
         .preemptions = 4,
         .stale = 2},
        {.name = "task-uncancel",
         .setup = setup_cancelled,
         .thread = {uncancels, marks},
         .finish = finish_uncancelled,
         .preemptions = 4,
         .stale = 2},
        {.name = "task-uncancel-end",
         .setup = setup_cancelled,
         .thread = {uncancels_and_ends, marks},
         .finish = finish_uncancelled_end,
         .preemptions = 4,
         .stale = 2},
        {.name = "task-future",
         .setup = setup_future,
         .thread = {sets, sets_too, cancels, waits},
         .finish = finish_future,
         .preemptions = 2,
         .stale = 1},
        {.name = "task-refs",
         .setup = setup_owed,
         .thread = {unrefs, unrefs},
         .finish = finish_freed,
         .preemptions = 4,
         .stale = 2},
        {.name = "alone-free",
         .setup = setup_free,
         .thread = {unrefs_here, walks},
         .finish = finish_free,
         .preemptions = 3,
         .stale = 2},
        {.name = "alone-free-kept",
         .setup = setup_free_kept,
         .thread = {unrefs_here, walks, visits, ticks},
         .finish = finish_free,
         .preemptions = 2,
         .stale = 0},
        {.name = "alone-claim",
         .setup = setup_home,
         .thread = {claims_alone, adds_second, marks},
         .finish = finish_claimed_alone,
         .preemptions = 2,
         .stale = 1},
        {.name = "alone-end",
         .setup = setup_plain,
         .thread = {ends_alone, adds_second, marks},
         .finish = finish_ended_alone,
         .preemptions = 2,
         .stale = 1},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}

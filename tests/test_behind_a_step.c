/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes, and when, for what lies behind a worker's long step: the look between ticks wakes somebody at the second sight of the same step; a
 * worker that saw closed work comes back for it once, and once more when one was woken so. The looks are the test's own, and no time is waited for; a
 * tick that comes between them begins the attempt anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/runtime.h"
#include "support/check.h"
#include "support/thread_sleeps.h"

struct done {
    WEFT_FRAME;
    _Atomic unsigned *ran;
};
static int done(struct done *f)
{
    atomic_fetch_add(f->ran, 1);
    return 0;
}
WEFT_CORO(done);

/* A long step. */
static bool reached(_Atomic unsigned *counter, unsigned n)
{
    for (weft_ns limit = weft__monotonic() + WEFT_SEC(60); atomic_load(counter) < n; (void)usleep(100)) {
        if (weft__monotonic() > limit)
            return false;
    }
    return true;
}

static struct weft__worker *own(void)
{
    const struct weft__worker *w = weft__worker_self();
    return &w->rt->workers[w->index];
}
static struct weft__worker *sleeping_other(struct weft__worker *w)
{
    struct weft__worker *other = &w->rt->workers[1 - w->index];
    for (weft_ns limit = weft__monotonic() + WEFT_SEC(60); weft__monotonic() < limit; (void)usleep(100)) {
        if ((weft__load_seq_cst(&w->rt->idle.bits[0]) >> other->index & 1) &&
            thread_sleeps(weft__load_relaxed(&other->tid))) /* relaxed: a hint */
            return other;
    }
    TASK_CHECK(other == NULL); /* it goes to sleep */
    return other;
}
/* What shows that somebody else had a hand in it. */
static uint64_t moved(struct weft__worker *other)
{
    return weft__load_relaxed(&other->rt->ticks) + weft__load_relaxed(&other->wakes) + /* relaxed: statistics */
           weft__load_relaxed(&other->counters.parks);                                 /* relaxed: as above */
}

/* ---- the look between ticks (no I/O: the reactor thread makes none itself) ---- */

static bool look_attempt(struct weft__worker *w)
{
    struct weft__step_look looks[2] = {{0}};
    struct weft__worker *other = sleeping_other(w);
    _Atomic unsigned ran = 0;
    weft__store_relaxed(&w->ready.lone, 0);  /* relaxed: own; what it has learnt from raids so far: */
    weft__store_relaxed(&w->ready.least, 1); /* relaxed: own; single items would be shared at once */
    uint64_t before = moved(other), ticks = weft__load_relaxed(&w->rt->ticks); /* relaxed: statistics */
    bool none = weft__tick_look(w->rt, looks);                                 /* nothing lies there */
    weft_task *t = weft_create_task(done, .ran = &ran);
    bool first = weft__tick_look(w->rt, looks);
    uint64_t steps = weft__load_relaxed(&w->steps); /* relaxed: own */
    weft__store_relaxed(&w->steps, steps + 1);      /* relaxed: own; as if it had gone on */
    bool gone_on = weft__tick_look(w->rt, looks);
    bool quiet = moved(other) == before;
    bool second = weft__tick_look(w->rt, looks);
    bool woken = weft__load_relaxed(&other->wakes) != 0 && moved(other) != before; /* relaxed: a statistic */
    quiet &= weft__load_relaxed(&w->rt->ticks) == ticks; /* relaxed: a statistic; none before the second look either */
    if (quiet) {
        TASK_CHECK(!none && first && gone_on && !second && woken);
        TASK_CHECK(reached(&ran, 1)); /* in this step */
    }
    TASK_CHECK(weft_await_release(t) == 0);
    return quiet;
}
struct look_between {
    WEFT_FRAME;
};
static int look_between(struct look_between *f)
{
    (void)f;
    unsigned attempts = 0;
    for (unsigned i = 0; i < 1000 && attempts < 5; i++) {
        attempts += look_attempt(own());
        TASK_CHECK(weft_sleep(WEFT_US(100)) == 0);
    }
    TASK_CHECK(attempts == 5);
    return 0;
}
WEFT_CORO(look_between);
static void test_the_second_sight_of_a_step_wakes(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), look_between), 0);
    assert_tasks_ok();
}

/* ---- coming back ---- */

/* The other seems to have an item, which has been removed: to take it brings nothing. */
static void lay(struct weft__worker *other)
{
    weft__store_relaxed(&other->ready.slots[0], 0); /* relaxed: it sleeps */
    weft__store_relaxed(&other->ready.tail, 1);     /* relaxed: as above */
}
static weft_ns comes_back_after(struct weft__worker *w)
{
    TASK_CHECK(weft__worker_search(w) == 0);
    weft_ns at = weft__worker_look_again(w);
    return at == WEFT_FOREVER ? at : at - w->seen_at;
}
static bool come_back_attempt(struct weft__worker *w)
{
    static const weft_ns wanted[] = {WEFT_US(200), WEFT_FOREVER, WEFT_FOREVER, WEFT_US(200), WEFT_FOREVER};
    enum { N = sizeof wanted / sizeof wanted[0], RESCUE = 3 };
    weft_ns after[N + 2];
    struct weft__worker *other = sleeping_other(w);
    uint64_t before = moved(other);
    w->seen_count = 0;
    w->rescues = weft__load_relaxed(&w->rt->idle.rescues); /* relaxed: a hint */
    lay(other);
    for (unsigned i = 0; i < N; i++) {
        if (i == RESCUE)
            weft__fetch_add_relaxed(&w->rt->idle.rescues, 1); /* relaxed: a hint */
        after[i] = comes_back_after(w);
        w->seen_at -= WEFT_SEC(1);     /* a while later */
        w->seen[0].steps += i + 1 < N; /* its owner has gone on, but the last time */
    }
    after[N] = comes_back_after(w); /* raided: nothing is left */
    lay(other);
    after[N + 1] = comes_back_after(w);
    weft__store_relaxed(&other->ready.tail, 0); /* relaxed: as above */
    w->seen_count = 0;
    if (moved(other) != before)
        return false;
    for (unsigned i = 0; i < N; i++)
        TASK_CHECK(after[i] == wanted[i]);
    TASK_CHECK(after[N] == WEFT_FOREVER && after[N + 1] == WEFT_US(200));
    return true;
}
struct come_back {
    WEFT_FRAME;
};
static int come_back(struct come_back *f)
{
    (void)f;
    weft_listener *door;
    TASK_CHECK(weft_listen(&door, "127.0.0.1:0") == 0);
    unsigned attempts = 0;
    for (unsigned i = 0; i < 1000 && attempts < 5; i++) {
        attempts += come_back_attempt(own());
        TASK_CHECK(weft_sleep(WEFT_US(100)) == 0);
    }
    TASK_CHECK(attempts == 5);
    weft_listener_close(door);
    return 0;
}
WEFT_CORO(come_back);
static void test_who_saw_work_comes_back(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), come_back), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_second_sight_of_a_step_wakes),
        cmocka_unit_test(test_who_saw_work_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

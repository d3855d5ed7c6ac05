/* SPDX-License-Identifier: Apache-2.0 */
/* Strands: exclusion, turns, parallelism, cancellation. What the tests count is plain memory: the strand is the only thing that
 * orders its tasks, so thread sanitizer judges it too. Orders and numbers of many tasks: test_strand_many.c. */
#include "support/actors.h"
#include "support/strands.h"

#include <weft/metrics.h>
#include <weft/queue.h>
#include <weft/sync.h>

/* ---- exclusion over every way to suspend ------------------------------------------------------------------------- */

static struct guarded shared;
static weft_lock lock;
static weft_semaphore semaphore;

struct leaf {
    WEFT_FRAME;
    bool guarded;
};
static int leaf(struct leaf *f)
{
    if (f->guarded)
        touch(&shared);
    return f->guarded ? weft_yield() : 0;
}
WEFT_CORO(leaf);

static long leaves; /* guarded by the strand */

static int wander(unsigned way)
{
    switch (way % 8) {
    case 0:
        return weft_yield();
    case 1:
        return weft_sleep(WEFT_US(1 + way % 5));
    case 2: {
        int rc = weft_lock_acquire(&lock);
        if (rc == 0 && way % 3 == 0)
            rc = weft_yield();
        return rc == 0 ? weft_lock_release(&lock) : rc;
    }
    case 3: { /* another of the strand: run right here where the order allows it */
        leaves++;
        return weft_await_release(
            weft_create_task_with(WEFT_TASK_OPTIONS(.strand = weft_strand_current()), leaf, .guarded = true));
    }
    case 4: /* one without a strand */
        return weft_await_release(weft_create_task(leaf, .guarded = false));
    case 5: {
        weft_task *t[2];
        for (int i = 0; i < 2; i++)
            t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = weft_strand_current()), leaf, .guarded = true);
        leaves += 2;
        int rc = weft_gather(t[0], t[1]);
        weft_release(t[0]);
        weft_release(t[1]);
        return rc;
    }
    case 6: {
        weft_timeout limit;
        int rc = weft_timeout_begin(&limit, WEFT_US(1));
        if (rc == 0)
            rc = weft_sleep(WEFT_SEC(1));
        rc = weft_timeout_end(&limit, rc);
        return rc == -ETIMEDOUT ? 0 : rc;
    }
    default: {
        int rc = weft_semaphore_acquire(&semaphore);
        if (rc == 0)
            rc = weft_yield();
        (void)weft_semaphore_release(&semaphore);
        return rc;
    }
    }
}

struct member {
    WEFT_FRAME;
    unsigned id, rounds;
};
static int member(struct member *f)
{
    for (unsigned i = 0; i < f->rounds; i++) {
        touch(&shared);
        int rc = wander(f->id * 5 + i);
        if (rc < 0)
            return rc;
    }
    touch(&shared);
    return 0;
}
WEFT_CORO(member);

TEST(members_never_run_at_the_same_time)
{
    enum { MEMBERS = 24 };
    unsigned rounds = threads_scale(60);
    shared = (struct guarded){0};
    leaves = 0;
    weft_lock_init(&lock);
    weft_semaphore_init(&semaphore, 2);
    weft_task *t[MEMBERS];
    weft_strand *s = weft_strand_create();
    for (unsigned i = 0; i < MEMBERS; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), member, .id = i, .rounds = rounds);
    weft_strand_release(s);
    CHECK(weft_gather_n(t, MEMBERS) == 0);
    for (unsigned i = 0; i < MEMBERS; i++)
        weft_release(t[i]);
    CHECK(!shared.overlapped);
    CHECK(shared.count == (long)MEMBERS * (rounds + 1) + leaves);
    CHECK(!weft_lock_locked(&lock));
    return 0;
}

/* ---- whose strand ------------------------------------------------------------------------------------------------ */

static weft_strand *expected;

static int of_nobody(void *unused)
{
    (void)unused;
    CHECK(weft_strand_current() == NULL);
    return 0;
}

struct asks {
    WEFT_FRAME;
};
static int asks(struct asks *f)
{
    (void)f;
    CHECK(weft_strand_current() == expected);
    return 0;
}
WEFT_CORO(asks);

static int asks_much(void *unused)
{
    (void)unused;
    CHECK(weft_strand_current() == expected);
    CHECK(weft_yield() == 0);
    CHECK(weft_strand_current() == expected);
    CHECK(weft_await_release(start(of_nobody, NULL)) == 0); /* what a member creates belongs to none */
    CHECK(weft_strand_current() == expected);
    /* A forked child is part of its task, whoever runs it. */
    for (int i = 0; i < 20; i++) {
        struct asks a = {0}, b = {0};
        weft_child ca, cb;
        weft_fork(&ca, asks, &a);
        weft_fork(&cb, asks, &b);
        if (i % 2 != 0)
            CHECK(weft_yield() == 0);
        CHECK(weft_join(&cb) == 0);
        CHECK(weft_join(&ca) == 0);
    }
    return 0;
}

TEST(a_task_knows_its_strand)
{
    expected = weft_strand_create();
    CHECK(weft_strand_current() == NULL);
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = expected), call, .fn = asks_much);
    CHECK(weft_await_release(t) == 0);
    CHECK(weft_strand_current() == NULL);
    weft_strand *again = weft_strand_ref(expected);
    CHECK(again == expected);
    weft_strand_release(again);
    weft_strand_release(expected);
    weft_strand_release(NULL);
    return 0;
}

/* ---- parallel where it may be ------------------------------------------------------------------------------------ */

static _Atomic(int) arrived;

/* Without suspending: true when `n` are here at the same time. */
static bool meet(int n)
{
    atomic_fetch_add(&arrived, 1);
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        sched_yield();
    } while (atomic_load(&arrived) < n && now.tv_sec - begin.tv_sec < 60);
    return atomic_load(&arrived) >= n;
}

struct meets {
    WEFT_FRAME;
};
static int meets(struct meets *f)
{
    (void)f;
    return meet(2) ? 0 : -EIO;
}
WEFT_CORO(meets);

static int two_strands(void *unused)
{
    (void)unused;
    arrived = 0;
    weft_strand *a = weft_strand_create(), *b = weft_strand_create();
    weft_task *ta = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = a), meets);
    weft_task *tb = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = b), meets);
    weft_strand_release(a);
    weft_strand_release(b);
    CHECK(weft_gather(ta, tb) == 0);
    weft_release(ta);
    weft_release(tb);
    return 0;
}

static int forks_and_meets(void *unused)
{
    (void)unused;
    struct meets here = {0}, there = {0};
    weft_child child;
    weft_fork(&child, meets, &there);
    int rc = meets(&here); /* only a thief can run the child meanwhile */
    int rj = weft_join(&child);
    return rc < 0 ? rc : rj;
}

static int member_and_its_child(void *unused)
{
    (void)unused;
    arrived = 0;
    weft_strand *s = weft_strand_create();
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = forks_and_meets);
    weft_strand_release(s);
    CHECK(weft_await_release(t) == 0);
    return 0;
}

static void strands_run_beside_each_other(void **state)
{
    (void)state;
    int (*const fns[])(void *) = {two_strands, member_and_its_child};
    for (size_t i = 0; i < 2; i++) {
        for (unsigned workers = 2; workers <= 8; workers += 3) {
            int rc = run_with((struct setting){workers, WEFT_ORDER_DEFAULT}, fns[i], NULL);
            if (first_failure != NULL || rc != 0)
                fail_msg("%u workers: %s, ended with %d", workers, first_failure, rc);
        }
    }
}

/* ---- awaiting: inside the strand as a call, from outside not ------------------------------------------------------ */

static uint64_t inlined(void)
{
    weft_metrics m = {.size = sizeof m};
    CHECK(weft_metrics_read(weft_runtime_current(), -1, &m) == 0);
    return m.tasks_inlined;
}

/* Members that are run by a member's await leave entries in the line: those are passed over. */
static int awaits_members(void *unused)
{
    (void)unused;
    enum { N = 20 };
    weft_task *t[N];
    for (int i = 0; i < N; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = weft_strand_current()), leaf, .guarded = true);
    uint64_t before = inlined();
    for (int i = N - 1; i >= 0; i--) {
        touch(&shared);
        CHECK(weft_await_release(t[i]) == 0);
    }
    if (setting.workers == 1 && setting.order == WEFT_ORDER_DEFAULT)
        CHECK(inlined() > before);
    return 0;
}

TEST(members_await_members)
{
    shared = (struct guarded){0};
    weft_strand *s = weft_strand_create();
    weft_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = awaits_members);
    CHECK(weft_gather_n(t, 3) == 0);
    for (int i = 0; i < 3; i++)
        weft_release(t[i]);
    /* From outside an unstarted member is never run on the awaiter's stack: it has to wait for its turn. */
    if (setting.workers == 1) {
        uint64_t before = inlined();
        CHECK(weft_await_release(weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), leaf, .guarded = true)) == 0);
        CHECK(inlined() == before);
    }
    weft_strand *other = weft_strand_create();
    expected = s;
    weft_task *across = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = other), asks);
    expected = other;
    CHECK(weft_await_release(across) == 0);
    weft_strand_release(other);
    weft_strand_release(s);
    CHECK(!shared.overlapped);
    CHECK(shared.count == 3 * 40 + (setting.workers == 1));
    return 0;
}

/* ---- cancellation ------------------------------------------------------------------------------------------------ */

static int touches(void *unused)
{
    (void)unused;
    touch(&shared);
    return 0;
}

/* It keeps its turn: what it creates waits in the line behind it, and what it cancels there never runs. */
static int makes_a_line(void *made)
{
    weft_task **line = made;
    touch(&shared);
    for (int i = 0; i < 5; i++)
        line[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = weft_strand_current()), call, .fn = touches);
    CHECK(weft_cancel(line[0]));
    CHECK(weft_cancel(line[2]));
    CHECK(weft_cancel(line[4]));
    CHECK(weft_status(line[0]) == -EINPROGRESS && weft_status(line[1]) == -EINPROGRESS);
    touch(&shared);
    return 0;
}

TEST(cancelled_in_the_line_before_it_began)
{
    shared = (struct guarded){0};
    weft_task *line[5];
    weft_strand *s = weft_strand_create();
    CHECK(weft_await_release(
              weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = makes_a_line, .argument = line)) == 0);
    weft_strand_release(s);
    for (int i = 0; i < 5; i++) {
        CHECK(weft_await(line[i]) == (i % 2 == 0 ? -ECANCELED : 0));
        CHECK(weft_cancelled(line[i]) == (i % 2 == 0));
        weft_release(line[i]);
    }
    CHECK(shared.count == 4);
    CHECK(!shared.overlapped);
    return 0;
}

static weft_event event;

static int waits_for_event(void *cancelled)
{
    touch(&shared);
    int rc = weft_event_wait(&event);
    touch(&shared);
    *(int *)cancelled = rc;
    return rc;
}

static int takes_lock(void *rc)
{
    *(int *)rc = weft_lock_acquire(&lock);
    if (weft_strand_current() != NULL)
        touch(&shared);
    if (*(int *)rc == 0)
        weft_lock_release(&lock);
    return *(int *)rc;
}

static weft_task *victims[2];

/* Holds the turn: what it wakes waits in the line, and is cancelled there. */
static int wakes_and_cancels(void *unused)
{
    (void)unused;
    touch(&shared);
    weft_event_set(&event);
    CHECK(weft_lock_release(&lock) == 0);
    touch(&shared);
    CHECK(weft_cancel(victims[0]));
    CHECK(weft_cancel(victims[1]));
    touch(&shared);
    return 0;
}

TEST(cancelled_in_the_line_after_a_wake)
{
    shared = (struct guarded){0};
    weft_event_init(&event);
    weft_lock_init(&lock);
    CHECK(weft_lock_acquire(&lock) == 0);
    int rc[3] = {77, 77, 77};
    weft_strand *s = weft_strand_create();
    victims[0] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = waits_for_event, .argument = &rc[0]);
    victims[1] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = takes_lock, .argument = &rc[1]);
    CHECK(weft_sleep(WEFT_MS(1)) == 0); /* virtual: both wait now */
    weft_task *third = start(takes_lock, &rc[2]);
    weft_task *killer = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = wakes_and_cancels);
    weft_strand_release(s);
    CHECK(weft_await_release(killer) == 0);
    CHECK(weft_await_release(victims[0]) == -ECANCELED);
    CHECK(weft_await_release(victims[1]) == -ECANCELED);
    CHECK(rc[0] == -ECANCELED && rc[1] == -ECANCELED);
    CHECK(weft_await_release(third) == 0); /* the lock was handed on */
    CHECK(!weft_lock_locked(&lock));
    CHECK(!shared.overlapped);
    return 0;
}

static int cancels_itself(void *unused)
{
    (void)unused;
    touch(&shared);
    CHECK(weft_cancel(weft_current_task()));
    touch(&shared); /* it keeps the turn until it suspends */
    CHECK(weft_sleep(WEFT_MS(5)) == -ECANCELED);
    touch(&shared);
    CHECK(weft_sleep(WEFT_MS(5)) == 0);
    touch(&shared);
    return -ECANCELED;
}

TEST(cancelled_while_it_has_the_turn)
{
    shared = (struct guarded){0};
    weft_strand *s = weft_strand_create();
    weft_task *t[4];
    for (int i = 0; i < 4; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = i % 2 ? touches : cancels_itself);
    weft_strand_release(s);
    CHECK(weft_gather_settled_n(t, 4) == 2);
    for (int i = 0; i < 4; i++)
        weft_release(t[i]);
    CHECK(!shared.overlapped);
    CHECK(shared.count == 10);
    return 0;
}

/* ---- eager: a strand has turns to wait for ----------------------------------------------------------------------- */

static _Atomic(bool) eager_began;

static int begins(void *unused)
{
    (void)unused;
    eager_began = true;
    touch(&shared);
    return 0;
}

/* A member that starts a plain task eagerly keeps its turn meanwhile. */
static int starts_eagerly(void *unused)
{
    (void)unused;
    eager_began = false;
    touch(&shared);
    shared.inside = 1;
    weft_task *of_strand =
        weft_create_task_with(WEFT_TASK_OPTIONS(.strand = weft_strand_current(), .eager = true), call, .fn = begins);
    CHECK(!eager_began);
    weft_task *plain = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), call, .fn = of_nobody);
    CHECK(weft_done(plain));
    CHECK(!eager_began);
    shared.inside = 0;
    weft_release(plain);
    return weft_await_release(of_strand);
}

TEST(an_eager_member_waits_for_its_turn)
{
    shared = (struct guarded){0};
    weft_strand *s = weft_strand_create();
    weft_task *t[2];
    for (int i = 0; i < 2; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s, .eager = i == 1), call,
                                     .fn = i == 0 ? starts_eagerly : touches);
    weft_strand_release(s);
    CHECK(weft_gather_n(t, 2) == 0);
    CHECK(eager_began);
    weft_release(t[0]);
    weft_release(t[1]);
    CHECK(!shared.overlapped);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_never_run_at_the_same_time),    cmocka_unit_test(a_task_knows_its_strand),
        cmocka_unit_test(strands_run_beside_each_other),         cmocka_unit_test(members_await_members),
        cmocka_unit_test(cancelled_in_the_line_before_it_began), cmocka_unit_test(cancelled_in_the_line_after_a_wake),
        cmocka_unit_test(cancelled_while_it_has_the_turn),       cmocka_unit_test(an_eager_member_waits_for_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

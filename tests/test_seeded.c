/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded runs: the same seed gives the same run, other seeds give others, and races that other schedulers hardly show are found. */
#include "support/seeded.h"

#include "support/threads.h"

/* ---- a program with a little of everything ----------------------------------------------------------------------- */

static weft_lock lock;
static weft_queue *queue;
static weft_event event;
static weft_future *future;
static weft_strand *strand;

static int locks(struct act *f)
{
    for (int i = 0; i < 3; i++) {
        int rc = weft_lock_acquire(&lock);
        if (rc < 0)
            return rc;
        mark(100u + (unsigned)f->id);
        rc = i % 2 ? weft_yield() : weft_sleep(WEFT_US(f->id));
        (void)weft_lock_release(&lock);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int puts_items(struct act *f)
{
    for (int i = 0; i < 4; i++) {
        int item = f->id * 10 + i, rc = weft_queue_put(queue, &item);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int gets_items(struct act *f)
{
    int item, rc;
    while ((rc = weft_queue_get(queue, &item)) == 0) {
        mark(200u + (unsigned)(f->id * 100 + item));
        weft_queue_task_done(queue);
    }
    return rc == -ESHUTDOWN ? 0 : rc;
}

static int limited(struct act *f)
{
    weft_timeout limit;
    int rc = weft_timeout_begin(&limit, WEFT_US(3));
    if (rc == 0)
        rc = weft_sleep(WEFT_US(f->id));
    rc = weft_timeout_end(&limit, rc);
    mark(rc == -ETIMEDOUT ? 300 : 301);
    return rc == -ETIMEDOUT ? 0 : rc;
}

struct fib {
    WEFT_FRAME;
    int n;
    long result;
};
static int fib(struct fib *f);
WEFT_CORO(fib);
static int fib(struct fib *f)
{
    mark(400u + (unsigned)f->n);
    if (f->n < 2)
        return f->result = f->n, 0;
    struct fib a = {.n = f->n - 1}, b = {.n = f->n - 2};
    weft_child child;
    weft_fork(&child, fib, &a);
    int rb = fib(&b), ra = weft_join(&child);
    f->result = a.result + b.result;
    return ra < 0 ? ra : rb;
}

static int forks(struct act *f)
{
    struct fib top = {.n = f->id};
    int rc = fib(&top);
    mark((unsigned)top.result);
    return rc;
}

static int calls_back(struct act *f)
{
    mark(500u + (unsigned)f->id);
    if (f->id == 2)
        (void)weft_future_set_result(future, 8);
    return 0;
}

static int in_strand(struct act *f)
{
    for (int i = 0; i < 3; i++) {
        mark(600u + (unsigned)f->id);
        if (weft_yield() < 0)
            return -ECANCELED;
    }
    return 0;
}

static int cancelled(struct act *f)
{
    int rc = weft_event_wait(&event);
    mark(rc < 0 ? 700 : 701);
    return f->id;
}

static int everything(struct act *f)
{
    (void)f;
    weft_task *t[16];
    size_t n = 0;
    weft_lock_init(&lock);
    weft_event_init(&event);
    queue = weft_queue_create(sizeof(int), 2);
    strand = weft_strand_create();
    future = weft_future_create();
    for (int i = 0; i < 3; i++)
        t[n++] = START(locks, .id = i);
    for (int i = 0; i < 2; i++)
        t[n++] = START(puts_items, .id = i);
    for (int i = 0; i < 2; i++)
        t[n++] = START(gets_items, .id = i);
    for (int i = 1; i < 6; i += 2)
        t[n++] = START(limited, .id = i);
    for (int i = 0; i < 3; i++)
        t[n++] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = strand), act, .fn = in_strand, .id = i);
    t[n++] = START(forks, .id = 6);
    weft_task *victim = START(cancelled, .id = 0);
    weft_release(weft_call_later(WEFT_US(2), act, .fn = calls_back, .id = 1));
    weft_release(weft_call_soon(act, .fn = calls_back, .id = 2));
    weft_release(weft_add_done_callback(victim, act, .fn = calls_back, .id = 3));
    weft_group g;
    int rc = weft_group_begin(&g);
    for (int i = 0; i < 4 && rc == 0; i++)
        rc = weft_group_start(&g, act, .fn = locks, .id = 4 + i);
    rc = weft_group_join(&g, rc);
    TASK_CHECK(rc == 0);
    rc = weft_await(future);
    TASK_CHECK(rc == 8);
    weft_release(future);
    TASK_CHECK(weft_queue_join(queue) == 0);
    weft_queue_shutdown(queue, false);
    (void)weft_cancel(victim);
    (void)weft_await_release(victim);
    weft_future *all = weft_gather_future(t, n, false);
    rc = weft_await_release(all);
    TASK_CHECK(rc == 0);
    for (size_t i = 0; i < n; i++)
        weft_release(t[i]);
    weft_strand_release(strand);
    weft_queue_destroy(queue);
    return 0;
}

static void test_the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        assert_int_equal(run(seed, everything), 0);
        uint64_t first = hash;
        uint32_t n = trace.n, sum = trace.sum;
        assert_true(first != 0 && n > 60);
        void *other_addresses = malloc(4096 + (size_t)seed * 1000);
        for (int again = 0; again < 3; again++) {
            assert_int_equal(run(seed, everything), 0);
            assert_true(hash == first);
            assert_true(trace.n == n && trace.sum == sum);
        }
        free(other_addresses);
    }
    assert_tasks_ok();
}

static void test_other_seeds_give_other_runs(void **state)
{
    (void)state;
    enum { SEEDS = 100 };
    uint64_t hashes[SEEDS];
    uint32_t sums[SEEDS];
    unsigned same_hash = 0, same_trace = 0;
    for (unsigned i = 0; i < SEEDS; i++) {
        assert_int_equal(run(i + 1, everything), 0);
        hashes[i] = hash;
        sums[i] = trace.sum;
        bool h = false, s = false;
        for (unsigned k = 0; k < i; k++) {
            h |= hashes[k] == hashes[i];
            s |= sums[k] == sums[i];
        }
        same_hash += h;
        same_trace += s;
    }
    assert_int_equal(same_hash, 0);
    assert_true(same_trace <= 10);
    assert_tasks_ok();
}

static int asks(struct act *f)
{
    (void)f;
    TASK_CHECK(weft_runtime_workers(weft_runtime_current()) == 1);
    TASK_CHECK(weft_now() == 0);
    hash = weft_schedule_hash(weft_runtime_current());
    return weft_yield();
}

static void test_options(void **state)
{
    (void)state;
    assert_int_equal(
        weft_run_with(WEFT_OPTIONS(.sched = WEFT_SCHED_SEEDED, .seed = 5, .order = WEFT_ORDER_FIFO), act, .fn = asks),
        0);
    assert_true(hash != 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.sched = WEFT_SCHED_SEEDED), act, .fn = asks), 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), act, .fn = asks), 0);
    assert_true(hash == 0);
    assert_tasks_ok();
}

/* ---- planted bugs ------------------------------------------------------------------------------------------------ */

#define MANY threads_scale(300) /* seeds: each is a run, whose threads a busy machine lets wait */

static int balance;

/* In first-in first-out order these two are never in each other's way: the second comes when the first has finished. */
static int adds_early(struct act *f)
{
    (void)f;
    int seen = balance;
    int rc = weft_yield();
    balance = seen + 1;
    return rc;
}

static int adds_late(struct act *f)
{
    int rc = 0;
    for (int i = 0; i < 4 && rc == 0; i++)
        rc = weft_yield();
    return rc < 0 ? rc : adds_early(f);
}

static int lost_update(struct act *f)
{
    (void)f;
    balance = 0;
    weft_task *a = START(adds_early, .id = 0), *b = START(adds_late, .id = 0);
    int rc = weft_gather(a, b);
    weft_release(a);
    weft_release(b);
    return rc < 0 ? rc : 2 - balance; /* 1: an update was lost */
}

static void test_a_lost_update_is_found(void **state)
{
    (void)state;
    unsigned seen[4], first = 0;
    for (unsigned seed = 1; seed <= 100 && first == 0; seed++)
        if (run(seed, lost_update) == 1)
            first = seed;
    assert_in_range(first, 1, 100);
    outcomes(lost_update, MANY, seen);
    assert_true(seen[1] >= MANY / 100 && seen[0] >= MANY / 2);
    /* The scheduler that is not seeded never shows it. */
    for (int i = 0; i < 20; i++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), act, .fn = lost_update),
                         0);
}

/* Nothing here suspends: only another worker between the two calls makes the second fail. */
static int takes_if_there(struct act *f)
{
    int item;
    (void)f;
    if (weft_queue_size(queue) == 0)
        return 0;
    return weft_queue_get_nowait(queue, &item) == 0 ? 0 : 1;
}

static int check_then_act(struct act *f)
{
    (void)f;
    int item = 1;
    queue = weft_queue_create(sizeof item, 0);
    int rc = weft_queue_put_nowait(queue, &item);
    weft_task *a = START(takes_if_there, .id = 0), *b = START(takes_if_there, .id = 1);
    int ra = weft_await_release(a), rb = weft_await_release(b);
    weft_queue_destroy(queue);
    return rc < 0 ? rc : ra + rb;
}

static void test_a_check_then_act_is_found(void **state)
{
    (void)state;
    unsigned seen[4];
    for (int i = 0; i < 20; i++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), act, .fn = check_then_act), 0);
    outcomes(check_then_act, 60, seen);
    assert_true(seen[1] >= 1);
    outcomes(check_then_act, MANY, seen);
    assert_true(seen[0] >= MANY / 2 && seen[1] >= MANY / 100 && seen[2] + seen[3] == 0);
}

static int adds_locked(struct act *f)
{
    int rc = weft_lock_acquire(&lock);
    if (rc < 0)
        return rc;
    rc = adds_early(f);
    (void)weft_lock_release(&lock);
    return rc;
}

static int right_update(struct act *f)
{
    (void)f;
    weft_task *t[4];
    balance = 0;
    weft_lock_init(&lock);
    for (int i = 0; i < 4; i++)
        t[i] = START(adds_locked, .id = i);
    int rc = weft_gather_n(t, 4);
    for (int i = 0; i < 4; i++)
        weft_release(t[i]);
    return rc < 0 ? rc : 4 - balance;
}

static void test_a_right_program_is_not_blamed(void **state)
{
    (void)state;
    unsigned seen[4];
    outcomes(right_update, MANY, seen);
    assert_int_equal(seen[0], MANY);
}

/* ---- both orders of what may come in both ------------------------------------------------------------------------ */

static int sleeps(struct act *f)
{
    int rc = weft_sleep_until(WEFT_US(f->id));
    if (f->with != NULL)
        (void)weft_cancel(f->with);
    return rc == 0 ? 1 : rc;
}

static int cancel_at_the_instant(struct act *f)
{
    (void)f;
    weft_task *victim = START(sleeps, .id = 5);
    weft_task *killer = START(sleeps, .id = 5, .with = victim);
    (void)weft_await_release(killer);
    int rc = weft_await_release(victim);
    TASK_CHECK(weft_now() == WEFT_US(5));
    return rc == 1 ? 1 : rc == -ECANCELED ? 2 : rc;
}

static int sets_at(struct act *f)
{
    int rc = weft_sleep_until(WEFT_US(f->id));
    weft_event_set(&event);
    return rc;
}

static int timeout_at_the_instant(struct act *f)
{
    (void)f;
    weft_event_init(&event);
    weft_release(START(sets_at, .id = 5));
    weft_timeout limit;
    int rc = weft_timeout_begin(&limit, WEFT_US(5));
    if (rc == 0)
        rc = weft_event_wait(&event);
    rc = weft_timeout_end(&limit, rc);
    return rc == 0 ? 1 : rc == -ETIMEDOUT ? 2 : rc;
}

static int set_against_cancel(struct act *f)
{
    (void)f;
    future = weft_future_create();
    weft_task *killer = START(sleeps, .id = 0, .with = future);
    int set = weft_yield();
    set = set < 0 ? set : weft_future_set_result(future, 9);
    int rc = weft_await(future);
    TASK_CHECK(set == 0 ? rc == 9 : set == -EALREADY && rc == -ECANCELED);
    weft_release(future);
    (void)weft_await_release(killer);
    return rc == 9 ? 1 : rc == -ECANCELED ? 2 : rc;
}

static bool child_ran;

static int says_it_ran(struct act *f)
{
    (void)f;
    child_ran = true;
    return 0;
}

static int fork_and_thief(struct act *f)
{
    (void)f;
    child_ran = false;
    struct act frame = {.fn = says_it_ran};
    weft_child child;
    weft_fork(&child, act, &frame);
    int rc = weft_yield();
    bool before = child_ran;
    int rj = weft_join(&child);
    TASK_CHECK(child_ran);
    return rc < 0 ? rc : rj < 0 ? rj : 1 + before;
}

static weft_task *ran_in;

static int says_where(struct act *f)
{
    (void)f;
    ran_in = weft_current_task();
    return 0;
}

static int await_and_other(struct act *f)
{
    int rc = weft_await_release(START(says_where, .id = 0));
    weft_metrics m = {.size = sizeof m};
    f->id = weft_metrics_read(weft_runtime_current(), -1, &m) == 0 ? (int)m.tasks_inlined : -1;
    return rc < 0 ? rc : 1 + (f->id > 0);
}

static int first_finisher;

static int finishes(struct act *f)
{
    if (first_finisher == 0)
        first_finisher = f->id;
    return 0;
}

static int two_callbacks(struct act *f)
{
    (void)f;
    first_finisher = 0;
    weft_release(weft_call_later(WEFT_US(1), act, .fn = finishes, .id = 1));
    weft_release(weft_call_later(WEFT_US(1), act, .fn = finishes, .id = 2));
    int rc = weft_sleep(WEFT_US(2));
    return rc < 0 ? rc : first_finisher;
}

static void test_both_orders_come(void **state)
{
    (void)state;
    int (*const fns[])(struct act *) = {cancel_at_the_instant, timeout_at_the_instant, set_against_cancel,
                                        fork_and_thief,        await_and_other,        two_callbacks};
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        unsigned seen[4];
        outcomes(fns[i], 80, seen);
        if (seen[1] < 4 || seen[2] < 4 || seen[1] + seen[2] != 80)
            fail_msg("program %zu: %u, %u, %u, %u", i, seen[0], seen[1], seen[2], seen[3]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_seed_gives_the_same_run),
        cmocka_unit_test(test_other_seeds_give_other_runs),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_a_lost_update_is_found),
        cmocka_unit_test(test_a_check_then_act_is_found),
        cmocka_unit_test(test_a_right_program_is_not_blamed),
        cmocka_unit_test(test_both_orders_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_parker.c -- parking: no wake is lost, deadlines hold, and a thread that sleeps sleeps. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "executor/atomic.h"
#include "executor/parker.h"
#include "tests/support/threads.h"

static weft_ns now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return WEFT_SEC(t.tv_sec) + t.tv_nsec;
}

static void test_a_post_after_the_ticket_ends_the_wait(void **state)
{
    (void)state;
    struct weft__parker p;
    weft__parker_init(&p);
    for (int i = 0; i < 3; i++) {
        uint32_t ticket = weft__parker_ticket(&p);
        weft__parker_post(&p);
        assert_true(weft__parker_wait(&p, ticket, WEFT_FOREVER));
        assert_true(weft__parker_wait(&p, ticket, WEFT_FOREVER)); /* an old ticket never waits */
    }
}

static void test_a_past_deadline_only_looks(void **state)
{
    (void)state;
    struct weft__parker p;
    weft__parker_init(&p);
    uint32_t ticket = weft__parker_ticket(&p);
    assert_false(weft__parker_wait(&p, ticket, 0));
    assert_false(weft__parker_wait(&p, ticket, -5));
    assert_false(weft__parker_wait(&p, ticket, INT64_MIN));
    assert_false(weft__parker_wait(&p, ticket, now() - 1));
    weft__parker_post(&p);
    assert_true(weft__parker_wait(&p, ticket, 0));
}

static void test_the_count_wraps(void **state)
{
    (void)state;
    struct weft__parker p;
    weft__parker_init(&p);
    p.count.counter = INT32_MAX;
    uint32_t ticket = weft__parker_ticket(&p);
    assert_false(weft__parker_wait(&p, ticket, now() + WEFT_MS(1)));
    weft__parker_post(&p);
    assert_int_not_equal(weft__parker_ticket(&p), ticket);
    assert_true(weft__parker_wait(&p, ticket, WEFT_FOREVER));
    ticket = weft__parker_ticket(&p);
    assert_false(weft__parker_wait(&p, ticket, now() + WEFT_MS(1)));
}

/* Never early; late only as much as a busy machine makes it: the least of several lates shows ours. */
static void test_the_deadline_is_met(void **state)
{
    (void)state;
    struct weft__parker p;
    weft__parker_init(&p);
    static const weft_ns durations[] = {WEFT_US(300), WEFT_MS(1), WEFT_MS(3), WEFT_MS(20), WEFT_MS(70)};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        weft_ns least = WEFT_FOREVER;
        for (int attempt = 0; attempt < 5 && least > WEFT_MS(1); attempt++) {
            weft_ns deadline = now() + durations[i];
            assert_false(weft__parker_wait(&p, weft__parker_ticket(&p), deadline));
            weft_ns late = now() - deadline;
            assert_true(late >= 0);
            least = late < least ? late : least;
        }
        assert_true(least < WEFT_MS(100));
    }
}

/* After a timeout nobody sleeps: the next post has no reason to call the kernel. */
static void test_a_timeout_leaves_no_sleeper_behind(void **state)
{
    (void)state;
    struct weft__parker p;
    weft__parker_init(&p);
    uint32_t ticket = weft__parker_ticket(&p);
    assert_false(weft__parker_wait(&p, ticket, now() + WEFT_MS(2)));
    assert_false(ck_ec32_has_waiters(&p.count));
    assert_int_equal(weft__parker_ticket(&p), ticket);
}

/* ---- two threads throw a ball: one lost wake and the test hangs ---- */

struct ball {
    struct weft__parker parkers[2];
    _Atomic(unsigned) turn; /* whose move is it: turn % 2 */
    unsigned turns;
    uint64_t moves; /* plain: post and wait order it */
};

static void ball_body(void *shared, unsigned index)
{
    struct ball *b = shared;
    for (unsigned t = index; t < b->turns; t += 2) {
        for (;;) {
            uint32_t ticket = weft__parker_ticket(&b->parkers[index]);
            if (weft__load_acquire(&b->turn) == t)
                break;
            weft__parker_wait(&b->parkers[index], ticket, WEFT_FOREVER);
        }
        b->moves++;
        weft__store_release(&b->turn, t + 1);
        weft__parker_post(&b->parkers[1 - index]);
    }
}

static void test_ping_pong_loses_no_wake(void **state)
{
    (void)state;
    struct ball b = {.turns = threads_scale(100000)};
    weft__parker_init(&b.parkers[0]);
    weft__parker_init(&b.parkers[1]);
    threads_run(2, ball_body, &b);
    assert_int_equal(b.moves, b.turns);
}

/* The same, ordered by the parker alone: what was written before the post is seen after the wait. */
struct relay {
    struct weft__parker there, back;
    unsigned turns;
    uint64_t cargo;
    unsigned wrong;
};

static void relay_body(void *shared, unsigned index)
{
    struct relay *r = shared;
    for (unsigned i = 0; i < r->turns; i++) {
        if (index == 0) {
            uint32_t ticket = i; /* each turn posts each parker once */
            r->cargo = i + 1;
            weft__parker_post(&r->there);
            weft__parker_wait(&r->back, ticket, WEFT_FOREVER);
        } else {
            weft__parker_wait(&r->there, i, WEFT_FOREVER);
            r->wrong += r->cargo != i + 1;
            weft__parker_post(&r->back);
        }
    }
}

static void test_post_happens_before_the_end_of_wait(void **state)
{
    (void)state;
    struct relay r = {.turns = threads_scale(20000)};
    weft__parker_init(&r.there);
    weft__parker_init(&r.back);
    threads_run(2, relay_body, &r);
    assert_int_equal(r.wrong, 0);
    assert_int_equal(r.cargo, r.turns);
}

/* ---- several post, one takes; the sleeper uses deadlines of all kinds ---- */

#define POSTERS 3U
struct shop {
    struct weft__parker p;
    _Atomic(unsigned) work;
    unsigned each;
};

static void shop_body(void *shared, unsigned index)
{
    struct shop *s = shared;
    if (index != 0) {
        for (unsigned i = 0; i < s->each; i++) {
            weft__fetch_add_acq_rel(&s->work, 1);
            weft__parker_post(&s->p);
            if (i % 16 == 0)
                nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL); /* let the sleeper fall asleep */
        }
        return;
    }
    for (unsigned taken = 0, turn = 0; taken < POSTERS * s->each; turn++) {
        uint32_t ticket = weft__parker_ticket(&s->p);
        unsigned work = weft__load_acquire(&s->work);
        if (work != taken)
            taken = work;
        else
            weft__parker_wait(&s->p, ticket, turn % 4 ? WEFT_FOREVER : now() + WEFT_US(turn % 100));
    }
}

static void test_many_posters_one_sleeper(void **state)
{
    (void)state;
    struct shop s = {.each = threads_scale(20000)};
    weft__parker_init(&s.p);
    threads_run(1 + POSTERS, shop_body, &s);
    assert_int_equal(weft__load_relaxed(&s.work), POSTERS * s.each);
}

/* ---- a late poster: it has added its one, and clears the flag only when the owner already waits again ---- */

struct late {
    struct weft__parker p;
    unsigned waits, early;
    _Atomic(bool) over;
};

static void late_body(void *shared, unsigned index)
{
    struct late *l = shared;
    if (index == 0) {
        for (unsigned i = 0; i < l->waits; i++)
            l->early += weft__parker_wait(&l->p, 0, now() + WEFT_US(5));
        weft__store_release(&l->over, true);
        return;
    }
    while (!weft__load_acquire(&l->over)) {
        ck_pr_and_32(&l->p.count.counter, INT32_MAX); /* the second half of a post */
        for (int i = 0; i < 20; i++)
            weft__cpu_relax();
    }
}

static void test_a_late_poster_does_not_feign_a_post(void **state)
{
    (void)state;
    struct late l = {.waits = threads_scale(10000)};
    weft__parker_init(&l.p);
    threads_run(2, late_body, &l);
    assert_int_equal(l.early, 0);
}

/* ---- asleep is asleep ---- */

struct nap {
    struct weft__parker p;
    weft_ns deadline;
    bool posted;
    long switches;
    weft_ns woke, cpu;
};

static weft_ns thread_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return WEFT_SEC(t.tv_sec) + t.tv_nsec;
}

static void nap_body(void *shared, unsigned index)
{
    struct nap *n = shared;
    if (index == 1) { /* the waker, if there is one */
        nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 500000000}, NULL);
        weft__parker_post(&n->p);
        return;
    }
    struct rusage before, after;
    sigset_t all; /* as workers do */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    weft_ns cpu = thread_cpu();
    getrusage(RUSAGE_THREAD, &before);
    n->posted = weft__parker_wait(&n->p, 0, n->deadline);
    getrusage(RUSAGE_THREAD, &after);
    n->switches = after.ru_nvcsw - before.ru_nvcsw;
    n->woke = now();
    n->cpu = thread_cpu() - cpu;
}

static void test_a_parked_thread_does_not_stir(void **state)
{
    (void)state;
    struct nap with_deadline = {.deadline = now() + WEFT_SEC(3)};
    weft__parker_init(&with_deadline.p);
    threads_run(1, nap_body, &with_deadline);
    assert_false(with_deadline.posted);
    assert_true(with_deadline.woke >= with_deadline.deadline);
    struct nap without = {.deadline = WEFT_FOREVER};
    weft__parker_init(&without.p);
    threads_run(2, nap_body, &without);
    assert_true(without.posted);
    if (RUNNING_ON_VALGRIND) /* its own lock between threads switches too */
        return;
    /* Usually 1. The kernel may add some of its own; who stirs has one each millisecond, or each 128. */
    assert_in_range(with_deadline.switches, 1, 10);
    assert_in_range(without.switches, 1, 10);
    assert_true(with_deadline.cpu < WEFT_MS(20));
    assert_true(without.cpu < WEFT_MS(20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_post_after_the_ticket_ends_the_wait),
        cmocka_unit_test(test_a_past_deadline_only_looks),
        cmocka_unit_test(test_the_count_wraps),
        cmocka_unit_test(test_the_deadline_is_met),
        cmocka_unit_test(test_a_timeout_leaves_no_sleeper_behind),
        cmocka_unit_test(test_ping_pong_loses_no_wake),
        cmocka_unit_test(test_post_happens_before_the_end_of_wait),
        cmocka_unit_test(test_many_posters_one_sleeper),
        cmocka_unit_test(test_a_late_poster_does_not_feign_a_post),
        cmocka_unit_test(test_a_parked_thread_does_not_stir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

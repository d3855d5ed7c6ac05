/* SPDX-License-Identifier: Apache-2.0 */
/* Strands: the order of turns, many tasks, many strands, strands that wait for each other, and the end of a run that leaves some. */
#include "support/actors.h"
#include "support/strands.h"

#include <stdlib.h>

#include <weft/queue.h>
#include <weft/sync.h>

/* ---- turns ------------------------------------------------------------------------------------------------------- */

#define TURNS 400
static int turn_log[TURNS]; /* guarded by the strand */
static int turns;

static void log_turn(int id)
{
    if (turns < TURNS)
        turn_log[turns++] = id;
}

struct taker {
    WEFT_FRAME;
    int id, yields;
};
static int taker(struct taker *f)
{
    log_turn(f->id);
    for (int i = 0; i < f->yields; i++) {
        int rc = weft_yield();
        if (rc < 0)
            return rc;
        log_turn(f->id);
    }
    return 0;
}
WEFT_CORO(taker);

/* With one worker turns go round in the order in which the tasks became ready. */
TEST(turns_go_round)
{
    enum { N = 7, YIELDS = 5 };
    turns = 0;
    weft_task *t[N];
    weft_strand *s = weft_strand_create();
    for (int i = 0; i < N; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), taker, .id = i, .yields = YIELDS);
    weft_strand_release(s);
    CHECK(weft_gather_n(t, N) == 0);
    for (int i = 0; i < N; i++)
        weft_release(t[i]);
    CHECK(turns == N * (YIELDS + 1));
    for (int i = 0; i < turns; i++)
        CHECK(i < N || setting.workers > 1 || turn_log[i] == i % N);
    /* What one task created begins in that order, whatever the number of workers. */
    bool began[N] = {false};
    int next = 0;
    for (int i = 0; i < turns; i++) {
        if (!began[turn_log[i]]) {
            CHECK(turn_log[i] == next);
            began[turn_log[i]] = true;
            next++;
        }
    }
    return 0;
}

#define PRODUCERS 4
#define EACH 60
static weft_strand *common;

static int produces(void *index)
{
    int base = (int)(intptr_t)index * EACH;
    weft_task *t[EACH];
    for (int i = 0; i < EACH; i++) {
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = common), taker, .id = base + i);
        if (i % 16 == 5)
            CHECK(weft_yield() == 0);
    }
    int rc = weft_gather_n(t, EACH);
    for (int i = 0; i < EACH; i++)
        weft_release(t[i]);
    return rc;
}

TEST(what_one_producer_made_runs_in_that_order)
{
    turns = 0;
    common = weft_strand_create();
    weft_task *p[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++)
        p[i] = start(produces, (void *)(intptr_t)i);
    CHECK(weft_gather_n(p, PRODUCERS) == 0);
    for (int i = 0; i < PRODUCERS; i++)
        weft_release(p[i]);
    weft_strand_release(common);
    CHECK(turns == PRODUCERS * EACH);
    int last[PRODUCERS];
    memset(last, -1, sizeof last);
    for (int i = 0; i < turns; i++) {
        int producer = turn_log[i] / EACH, number = turn_log[i] % EACH;
        CHECK(number == last[producer] + 1);
        last[producer] = number;
    }
    return 0;
}

/* Tasks that sleep until different instants take their turns by the clock. */
static int sleeps_then_logs(void *ms)
{
    int rc = weft_sleep_until(WEFT_MS((intptr_t)ms));
    log_turn((int)(intptr_t)ms);
    return rc;
}

TEST(turns_by_the_clock)
{
    static const int order[] = {5, 1, 4, 2, 3};
    turns = 0;
    weft_task *t[5];
    weft_strand *s = weft_strand_create();
    for (int i = 0; i < 5; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = sleeps_then_logs,
                                     .argument = (void *)(intptr_t)order[i]);
    weft_strand_release(s);
    CHECK(weft_gather_n(t, 5) == 0);
    for (int i = 0; i < 5; i++) {
        CHECK(turn_log[i] == i + 1);
        weft_release(t[i]);
    }
    return 0;
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

struct counts {
    WEFT_FRAME;
    struct guarded *at;
    int yields;
};
static int counts(struct counts *f)
{
    touch(f->at);
    for (int i = 0; i < f->yields; i++) {
        if (weft_yield() < 0)
            return -ECANCELED;
        touch(f->at);
    }
    return 0;
}
WEFT_CORO(counts);

static int start_member(weft_group *g, weft_strand *s, struct guarded *at, int yields)
{
    weft_task *t;
    int rc = weft_group_create_task_with(g, WEFT_TASK_OPTIONS(.strand = s), &t, counts, .at = at, .yields = yields);
    weft_release(t);
    return rc;
}

TEST(many_tasks_on_one_strand)
{
    unsigned n = threads_scale(100000);
    static struct guarded one;
    one = (struct guarded){0};
    weft_group g;
    CHECK(weft_group_begin(&g) == 0);
    weft_strand *s = weft_strand_create();
    for (unsigned i = 0; i < n; i++)
        CHECK(start_member(&g, s, &one, i % 8 == 0) == 0);
    weft_strand_release(s);
    CHECK(weft_group_join(&g, 0) == 0);
    CHECK(!one.overlapped);
    CHECK(one.count == n + (n + 7) / 8);
    return 0;
}

TEST(many_strands)
{
    unsigned n = threads_scale(10000);
    struct guarded *all = calloc(n, sizeof *all);
    weft_group g;
    CHECK(weft_group_begin(&g) == 0);
    for (unsigned i = 0; i < n; i++) {
        weft_strand *s = weft_strand_create();
        for (int k = 0; k < 10; k++)
            CHECK(start_member(&g, s, &all[i], k % 3) == 0);
        weft_strand_release(s);
    }
    CHECK(weft_group_join(&g, 0) == 0);
    for (unsigned i = 0; i < n; i++)
        CHECK(!all[i].overlapped && all[i].count == 10 + 9);
    free(all);
    return 0;
}

/* ---- forks in a strand ------------------------------------------------------------------------------------------- */

struct fib {
    WEFT_FRAME;
    int n;
    long result;
};
static int fib(struct fib *f);
WEFT_CORO(fib);
static int fib(struct fib *f)
{
    if (f->n < 2)
        return f->result = f->n, 0;
    struct fib a = {.n = f->n - 1}, b = {.n = f->n - 2};
    weft_child child;
    weft_fork(&child, fib, &a);
    int rb = fib(&b);
    if (f->n % 4 == 0 && rb == 0)
        rb = weft_yield();
    int ra = weft_join(&child);
    f->result = a.result + b.result;
    return ra < 0 ? ra : rb;
}

static struct guarded beside;

static int forks_in_strand(void *unused)
{
    (void)unused;
    touch(&beside);
    struct fib f = {.n = 12};
    int rc = fib(&f);
    touch(&beside);
    CHECK(f.result == 144);
    return rc;
}

TEST(members_fork)
{
    beside = (struct guarded){0};
    weft_task *t[6];
    weft_strand *s = weft_strand_create();
    for (int i = 0; i < 6; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = forks_in_strand);
    weft_strand_release(s);
    CHECK(weft_gather_n(t, 6) == 0);
    for (int i = 0; i < 6; i++)
        weft_release(t[i]);
    CHECK(!beside.overlapped && beside.count == 12);
    return 0;
}

/* ---- strands that wait for each other ---------------------------------------------------------------------------- */

#define RING 8
static weft_strand *ring[RING];
static struct guarded ring_data[RING];

struct hop {
    WEFT_FRAME;
    int at, left;
};
static int hop(struct hop *f);
WEFT_CORO(hop);
static int hop(struct hop *f)
{
    touch(&ring_data[f->at]);
    if (f->left == 0)
        return 0;
    int next = f->left % 3 == 0 ? f->at : (f->at + 1) % RING; /* some stay in the strand */
    int rc = weft_await_release(
        weft_create_task_with(WEFT_TASK_OPTIONS(.strand = ring[next]), hop, .at = next, .left = f->left - 1));
    touch(&ring_data[f->at]);
    return rc;
}

TEST(strands_await_each_other)
{
    enum { WALKS = 24 };
    memset(ring_data, 0, sizeof ring_data);
    for (int i = 0; i < RING; i++)
        ring[i] = weft_strand_create();
    weft_task *t[WALKS];
    for (int i = 0; i < WALKS; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = ring[i % RING]), hop, .at = i % RING, .left = 40);
    CHECK(weft_gather_n(t, WALKS) == 0);
    long sum = 0;
    for (int i = 0; i < WALKS; i++)
        weft_release(t[i]);
    for (int i = 0; i < RING; i++) {
        CHECK(!ring_data[i].overlapped);
        sum += ring_data[i].count;
        weft_strand_release(ring[i]);
    }
    CHECK(sum == WALKS * 81);
    return 0;
}

static weft_queue *there, *back;

static int echoes(void *unused)
{
    (void)unused;
    for (int v; weft_queue_get(there, &v) == 0;)
        if (weft_queue_put(back, &v) != 0)
            return -EIO;
    return 0;
}

static int asks_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++) {
        int v = 0;
        if (weft_queue_put(there, &i) != 0 || weft_queue_get(back, &v) != 0)
            return -EIO;
        CHECK(v == i);
    }
    weft_queue_shutdown(there, false);
    return 0;
}

/* Both ends of a conversation in one strand, through queues of one place. */
TEST(a_strand_talks_to_itself)
{
    there = weft_queue_create(sizeof(int), 1);
    back = weft_queue_create(sizeof(int), 1);
    weft_strand *s = weft_strand_create();
    weft_task *a = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = echoes);
    weft_task *b = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = asks_many);
    weft_strand_release(s);
    CHECK(weft_gather(a, b) == 0);
    weft_release(a);
    weft_release(b);
    weft_queue_destroy(there);
    weft_queue_destroy(back);
    return 0;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static struct guarded left;

static int outlives_main(void *unused)
{
    (void)unused;
    touch(&left);
    int rc = weft_sleep(WEFT_SEC(1));
    touch(&left);
    return rc;
}

/* Main ends while the line is long: all are cancelled, those that did not begin never do. */
static int leaves_members(void *unused)
{
    (void)unused;
    weft_strand *s = weft_strand_create();
    for (int i = 0; i < 300; i++)
        weft_release(weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = outlives_main));
    weft_strand_release(s);
    return setting.workers % 2 == 0 ? weft_yield() : 0;
}

/* Main ends while entries of members that ran inside an await still stand in the line. */
static int leaves_entries(void *unused)
{
    weft_task *t[30];
    for (int i = 0; i < 30; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = weft_strand_current()), counts, .at = &left);
    for (int i = 0; i < 30; i++)
        CHECK(weft_await_release(t[i]) == 0);
    return unused != NULL;
}
static int main_leaves_entries(void *unused)
{
    (void)unused;
    weft_strand *s = weft_strand_create();
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = leaves_entries);
    weft_strand_release(s);
    return weft_await_release(t);
}

static int waits_for_ever(void *unused)
{
    (void)unused;
    weft_event never = WEFT_EVENT_INIT;
    touch(&left);
    return weft_event_wait(&never);
}
static int main_waits_for_ever(void *unused)
{
    (void)unused;
    weft_task *t[5];
    weft_strand *s = weft_strand_create();
    for (int i = 0; i < 5; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), call, .fn = waits_for_ever);
    weft_strand_release(s);
    for (int i = 0; i < 4; i++)
        weft_release(t[i]);
    return weft_await_release(t[4]);
}

static void ends_many_times(int (*fn)(void *), int expected)
{
    struct heap_rounds heap = {.rounds = 0};
    unsigned n = threads_scale(100);
    if (n < 20)
        n = 20;
    weft_ns until = weft__monotonic() + WEFT_SEC(5); /* starting eight workers lasts long on a busy machine */
    for (unsigned i = 0; (i < n && (i < 20 || weft__monotonic() < until)) || (heap.least >= 10 * 32 && i < 20 * n);
         i++) { /* see heap_rounds */
        for (size_t k = 0; k < SETTINGS; k++) {
            left = (struct guarded){0};
            int rc = run_with(settings[k], fn, NULL);
            if (rc != expected || first_failure != NULL || left.overlapped)
                fail_msg("%u workers: %d, %s", settings[k].workers, rc, first_failure);
        }
        if (i % 10 == 9)
            heap_round(&heap);
    }
    assert_true(heap.least < 10 * 32); /* less than one each */
}

static void main_ends_before_its_members(void **state)
{
    (void)state;
    ends_many_times(leaves_members, 0);
}

static void main_ends_before_the_entries(void **state)
{
    (void)state;
    ends_many_times(main_leaves_entries, 0);
}

static int nothing_goes_on(void *unused)
{
    return main_waits_for_ever(unused);
}

static void a_strand_that_waits_for_ever(void **state)
{
    (void)state;
    for (size_t k = 0; k < SETTINGS; k++)
        assert_int_equal(run_with(settings[k], nothing_goes_on, NULL), -EDEADLK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_go_round),
        cmocka_unit_test(what_one_producer_made_runs_in_that_order),
        cmocka_unit_test(turns_by_the_clock),
        cmocka_unit_test(many_tasks_on_one_strand),
        cmocka_unit_test(many_strands),
        cmocka_unit_test(members_fork),
        cmocka_unit_test(strands_await_each_other),
        cmocka_unit_test(a_strand_talks_to_itself),
        cmocka_unit_test(main_ends_before_its_members),
        cmocka_unit_test(main_ends_before_the_entries),
        cmocka_unit_test(a_strand_that_waits_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

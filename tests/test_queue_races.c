/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_queue_races.c -- weft_queue under load: many putters and getters, cancellations at random, foreign
 * threads. V5: an item whose put succeeded is got exactly once, one whose put did not is never got. V11: the items of
 * one putter come out in their order. */
#include "tests/sync_support.h"

#include <pthread.h>
#include <sched.h>
#include <weft/queue.h>

enum { PUTTERS = 4, GETTERS = 5, ITEMS = 300, END = -1 };

struct ledger {
    _Atomic(int) put[PUTTERS][ITEMS], got[PUTTERS][ITEMS];
    weft_semaphore begun;
};

struct item {
    int putter, number;
};

static int by_number(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

struct putter {
    WEFT_FRAME;
    weft_queue *queue;
    struct ledger *ledger;
    int index;
    uint64_t seed;
};

static int putter(struct putter *f)
{
    weft_semaphore_release(&f->ledger->begun);
    for (int i = 0; i < ITEMS; i++) {
        struct item item = {f->index, i};
        int rc;
        if ((weft__random(&f->seed) & 3) == 0)
            rc = weft_queue_put_nowait(f->queue, &item);
        else
            rc = weft_queue_put(f->queue, &item);
        CHECK(rc == 0 || rc == -ECANCELED || rc == -EAGAIN);
        if (rc == 0)
            atomic_fetch_add(&f->ledger->put[f->index][i], 1);
        if ((weft__random(&f->seed) & 7) == 0)
            weft_yield();
    }
    return 0;
}
WEFT_CORO(putter);

struct getter {
    WEFT_FRAME;
    weft_queue *queue;
    struct ledger *ledger;
    bool in_order; /* of each putter's items: so they come out of a fifo */
    uint64_t seed;
};

static int getter(struct getter *f)
{
    int last[PUTTERS];
    weft_semaphore_release(&f->ledger->begun);
    for (int i = 0; i < PUTTERS; i++)
        last[i] = -1;
    for (;;) {
        struct item item;
        int rc;
        if ((weft__random(&f->seed) & 3) == 0)
            rc = weft_queue_get_nowait(f->queue, &item);
        else
            rc = weft_queue_get(f->queue, &item);
        CHECK(rc == 0 || rc == -ECANCELED || rc == -EAGAIN);
        if (rc != 0) {
            weft_yield();
            continue;
        }
        CHECK(weft_queue_task_done(f->queue) == 0);
        if (item.putter == END)
            return 0;
        CHECK(!f->in_order || item.number > last[item.putter]);
        last[item.putter] = item.number;
        atomic_fetch_add(&f->ledger->got[item.putter][item.number], 1);
        if ((weft__random(&f->seed) & 7) == 0)
            weft_yield();
    }
}
WEFT_CORO(getter);

struct traffic {
    WEFT_FRAME;
    int kind;
    size_t maxsize;
    unsigned cancels;
};

static int traffic(struct traffic *f)
{
    weft_queue *q;
    switch (f->kind) {
    case 0:
        q = weft_queue_create(sizeof(struct item), f->maxsize);
        break;
    case 1:
        q = weft_lifo_queue_create(sizeof(struct item), f->maxsize);
        break;
    default:
        q = weft_priority_queue_create(sizeof(struct item), f->maxsize, by_number);
        break;
    }
    struct ledger *ledger = calloc(1, sizeof *ledger);
    if (q == NULL || ledger == NULL)
        return -ENOMEM;
    CHECK(weft_semaphore_init(&ledger->begun, 0) == 0);
    weft_task *t[PUTTERS + GETTERS];
    for (int i = 0; i < PUTTERS; i++)
        t[i] = weft_create_task(putter, .queue = q, .ledger = ledger, .index = i, .seed = (uint64_t)i + 1);
    for (int i = 0; i < GETTERS; i++)
        t[PUTTERS + i] =
            weft_create_task(getter, .queue = q, .ledger = ledger, .in_order = f->kind == 0, .seed = (uint64_t)i + 51);
    await_begun(&ledger->begun, PUTTERS + GETTERS);
    struct cancel_some cancels = {.tasks = t, .n = PUTTERS + GETTERS, .rounds = f->cancels, .seed = 10};
    CHECK(cancel_some(&cancels) == 0);
    for (int i = 0; i < PUTTERS; i++) {
        int rc = weft_await_release(t[i]);
        CHECK(rc == 0 || (rc == -ECANCELED && f->cancels != 0));
    }
    CHECK(weft_queue_join(q) == 0); /* every item has been got: a lost wake-up would end here */
    struct item end = {END, INT32_MAX};
    for (int i = 0; i < GETTERS; i++)
        CHECK(weft_queue_put(q, &end) == 0);
    for (int i = 0; i < GETTERS; i++) {
        int rc = weft_await_release(t[PUTTERS + i]);
        CHECK(rc == 0 || (rc == -ECANCELED && f->cancels != 0));
    }
    int items = 0;
    for (int i = 0; i < PUTTERS; i++)
        for (int k = 0; k < ITEMS; k++) {
            CHECK(atomic_load(&ledger->put[i][k]) == atomic_load(&ledger->got[i][k]));
            items += atomic_load(&ledger->got[i][k]);
        }
    CHECK(items > 0);
    CHECK(weft_queue_size(q) == 0);
    free(ledger);
    weft_queue_destroy(q);
    return 0;
}
WEFT_CORO(traffic);

static void test_fifo(void **state)
{
    (void)state;
    RUN_ON_ALL(traffic, .kind = 0, .maxsize = 0, .cancels = 1000);
    RUN_ON_ALL(traffic, .kind = 0, .maxsize = 1, .cancels = 1000);
    RUN_ON_ALL(traffic, .kind = 0, .maxsize = 3);
}

static void test_lifo(void **state)
{
    (void)state;
    RUN_ON_ALL(traffic, .kind = 1, .maxsize = 0, .cancels = 1000);
    RUN_ON_ALL(traffic, .kind = 1, .maxsize = 2, .cancels = 1000);
}

static void test_priority(void **state)
{
    (void)state;
    RUN_ON_ALL(traffic, .kind = 2, .maxsize = 0, .cancels = 1000);
    RUN_ON_ALL(traffic, .kind = 2, .maxsize = 5, .cancels = 1000);
}

/* ---- a shutdown in the middle: every call ends, what was put and not got is what is left ---- */

struct until_closed {
    WEFT_FRAME;
    weft_queue *queue;
    bool puts;
    long done; /* operations that succeeded */
};

static int until_closed(struct until_closed *f)
{
    int item = 0, rc;
    do {
        rc = f->puts ? weft_queue_put(f->queue, &item) : weft_queue_get(f->queue, &item);
        f->done += rc == 0;
    } while (rc == 0 || rc == -ECANCELED);
    CHECK(rc == -ESHUTDOWN);
    return 0;
}
WEFT_CORO(until_closed);

struct closing {
    WEFT_FRAME;
    bool immediate;
};

static int closing(struct closing *f)
{
    enum { N = 8 };
    weft_queue *q = weft_queue_create(sizeof(int), 2);
    weft_task *t[N];
    for (int i = 0; i < N; i++)
        t[i] = weft_create_task(until_closed, .queue = q, .puts = i % 2 == 0);
    struct cancel_some cancels = {.tasks = t, .n = N, .rounds = 100, .seed = 12};
    CHECK(cancel_some(&cancels) == 0);
    size_t dropped = weft_queue_size(q);
    weft_queue_shutdown(q, f->immediate);
    long balance = 0;
    for (int i = 0; i < N; i++) {
        int rc = weft_await(t[i]);
        CHECK(rc == 0 || rc == -ECANCELED);
        long done = weft_result(until_closed, t[i])->done;
        balance += i % 2 == 0 ? done : -done;
        weft_release(t[i]);
    }
    CHECK(weft_queue_size(q) == 0);
    CHECK(balance == 0 || (f->immediate && balance > 0 && balance <= 2));
    CHECK(!alone() || !f->immediate || balance == (long)dropped);
    weft_queue_destroy(q);
    return 0;
}
WEFT_CORO(closing);

static void test_closing(void **state)
{
    (void)state;
    RUN_ON_ALL(closing, .immediate = false);
    RUN_ON_ALL(closing, .immediate = true);
}

/* ---- foreign threads feed and empty ---- */

enum { FROM_THREAD = 2000 };

static void *feed(void *queue)
{
    for (long i = 0; i < FROM_THREAD; i++)
        while (weft_queue_put_nowait((weft_queue *)queue, &i) == -EAGAIN)
            sched_yield();
    return queue;
}

static void *drain(void *queue)
{
    for (long i = 0, item; i < FROM_THREAD; i++) {
        while (weft_queue_get_nowait((weft_queue *)queue, &item) == -EAGAIN)
            sched_yield();
        if (item != i)
            return NULL;
    }
    return queue;
}

struct through_task {
    WEFT_FRAME;
};

static int through_task(struct through_task *f)
{
    (void)f;
    weft_queue *in = weft_queue_create(sizeof(long), 4), *out = weft_queue_create(sizeof(long), 4);
    pthread_t feeder, drainer;
    void *fed = NULL, *drained = NULL;
    CHECK(pthread_create(&feeder, NULL, feed, in) == 0);
    CHECK(pthread_create(&drainer, NULL, drain, out) == 0);
    for (long i = 0, item = -1; i < FROM_THREAD; i++) {
        CHECK(weft_queue_get(in, &item) == 0 && item == i);
        CHECK(weft_queue_put(out, &item) == 0);
    }
    CHECK(pthread_join(feeder, &fed) == 0 && fed == in);
    CHECK(pthread_join(drainer, &drained) == 0 && drained == out);
    weft_queue_destroy(in);
    weft_queue_destroy(out);
    return 0;
}
WEFT_CORO(through_task);

static void test_threads(void **state)
{
    (void)state;
    RUN_REAL(1, through_task);
    RUN_REAL(2, through_task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fifo),    cmocka_unit_test(test_lifo),    cmocka_unit_test(test_priority),
        cmocka_unit_test(test_closing), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

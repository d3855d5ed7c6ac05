/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_look.c -- looking for a while before waiting: each way out, with a look that would last for ever without it,
 * and queues whose ends are kept on different workers. Two workers: the task that looks has one, its helper the other. */
#include "tests/sync_support.h"

#include <pthread.h>
#include <weft/queue.h>
#include <weft/thread.h>

#include "executor/look.h"

#define FOR_EVER UINT32_MAX /* pauses; the test's own time limit comes first */

static bool is_set(const void *flag)
{
    return atomic_load((const atomic_bool *)flag);
}

enum action { SETS_FLAG, CANCELS, SUBMITS, ENDS, STAYS };

/* Occupies the other worker; acts when the looker is about to look. */
struct helper {
    WEFT_FRAME;
    enum action action;
    weft_task *looker;
    weft_runtime *rt;
    atomic_bool *begun, *looking, *flag, *over;
};

struct nothing {
    WEFT_FRAME;
    atomic_bool *ran;
};
static int nothing(struct nothing *f)
{
    atomic_store(f->ran, true);
    return 0;
}
WEFT_CORO(nothing);

static void *submit(void *helper)
{
    struct helper *f = helper;
    weft_task *t = weft_submit(f->rt, nothing, .ran = f->flag);
    CHECK(t != NULL);
    weft_release(t);
    return NULL;
}

static int helper(struct helper *f)
{
    atomic_store(f->begun, true);
    while (!atomic_load(f->looking))
        weft__cpu_relax();
    pthread_t thread;
    switch (f->action) {
    case SETS_FLAG:
        atomic_store(f->flag, true);
        break;
    case CANCELS:
        CHECK(weft_cancel(f->looker));
        break;
    case SUBMITS:
        CHECK(pthread_create(&thread, NULL, submit, f) == 0 && pthread_join(thread, NULL) == 0);
        break;
    case ENDS:
        return 0;
    case STAYS:
        break;
    }
    while (!atomic_load(f->over))
        weft__cpu_relax();
    return 0;
}
WEFT_CORO(helper);

struct looker {
    WEFT_FRAME;
    enum action action;
    bool beside_other; /* a task is ready on the looker's own worker */
    bool beside_timer; /* one sleeps there, and is due soon */
    int looked, after;
};

struct sleeper {
    WEFT_FRAME;
};
static int sleeper(struct sleeper *f)
{
    (void)f;
    return weft_sleep(WEFT_MS(1));
}
WEFT_CORO(sleeper);

/* Has come what is to end the look, other than the tick, which may end each? And does it end it by itself? */
static bool reason_has_come(const struct looker *f, weft_task *h)
{
    struct weft__fiber *self = weft__fiber_self();
    /* What has come from outside may have been taken into the own queue already, on behalf of the tick. */
    bool come = true, ready = weft__ready_size(&self->worker->ready) != 0,
         outside = !weft__inbox_empty(&self->rt->injector);
    switch (f->action) {
    case SETS_FLAG:
        return false;
    case CANCELS:
        come = (weft__load_acquire(&self->word) & WEFT__FIBER_REQUEST) != 0; /* pairs: FIBER-WORD */
        break;
    case SUBMITS:
        come = ready || outside;
        break;
    case ENDS:
        come = weft_done(h) && !weft__others_work(self->rt);
        break;
    case STAYS:
        CHECK(!f->beside_other || !weft__look_begin(self));
        return !f->beside_timer || weft__load_relaxed(&self->worker->hurry) != 0 || ready || outside;
    }
    CHECK(!come || ready || !weft__look_on(self));
    return come;
}

static int looker(struct looker *f)
{
    atomic_bool begun = false, looking = false, flag = false, over = false, ran = false;
    weft_task *h =
        weft_create_task(helper, .action = f->action, .looker = weft_current_task(), .rt = weft_runtime_current(),
                         .begun = &begun, .looking = &looking, .flag = &flag, .over = &over);
    while (!atomic_load(&begun))
        weft__cpu_relax(); /* another worker comes for it */
    weft_task *other = NULL;
    if (f->beside_timer) {
        other = weft_create_task(sleeper);
        CHECK(weft_yield() == 0); /* it sleeps now: nobody else can have run it */
    }
    if (f->beside_other)
        other = weft_create_task(nothing, .ran = &ran);
    atomic_store(&looking, true);
    const atomic_bool *awaited = f->action == SETS_FLAG ? &flag : &ran;
    do
        f->looked = (int)weft__look(weft__fiber_self(), FOR_EVER, 4, is_set, awaited);
    while (f->looked == WEFT__LOOK_LEFT && !reason_has_come(f, h));
    CHECK(!atomic_load(&ran)); /* nothing ran in between */
    atomic_store(&over, true);
    f->after = weft_sleep(1);
    while (f->action == SUBMITS && !atomic_load(&flag))
        (void)weft_yield();
    if (other != NULL)
        CHECK(weft_await_release(other) == 0);
    return weft_await_release(h);
}
WEFT_CORO(looker);

static void expect(struct looker f, enum weft__looked looked, int after)
{
    begin_run();
    assert_run(weft_run_frame(WEFT_OPTIONS(.workers = 2, .pin = WEFT_PIN_NONE), looker, &f), 2);
    assert_int_equal(f.looked, looked);
    assert_int_equal(f.after, after);
}

static void test_found(void **state)
{
    (void)state;
    expect((struct looker){.action = SETS_FLAG}, WEFT__LOOK_FOUND, 0);
}
static void test_cancelled(void **state)
{
    (void)state;
    expect((struct looker){.action = CANCELS}, WEFT__LOOK_LEFT, -ECANCELED);
}
static void test_submitted(void **state)
{
    (void)state;
    expect((struct looker){.action = SUBMITS}, WEFT__LOOK_LEFT, 0);
}
static void test_nobody_works(void **state)
{
    (void)state;
    expect((struct looker){.action = ENDS}, WEFT__LOOK_LEFT, 0);
}
static void test_own_work(void **state)
{
    (void)state;
    expect((struct looker){.action = STAYS, .beside_other = true}, WEFT__LOOK_LEFT, 0);
}
/* By the tick, which sees a worker that does not switch. */
static void test_own_timer(void **state)
{
    (void)state;
    expect((struct looker){.action = STAYS, .beside_timer = true}, WEFT__LOOK_LEFT, 0);
}

/* Patience: goes down fast, comes back, and probes. */
static void test_patience(void **state)
{
    (void)state;
    int32_t p = 0;
    for (int i = 0; i < 5; i++)
        p = weft__look_learn(p, true, WEFT__PATIENCE_MAX);
    assert_int_equal(p, WEFT__PATIENCE_MAX);
    assert_int_equal(weft__look_length(p, 512), 512 << WEFT__PATIENCE_MAX);
    int failures_made = 0;
    while (weft__look_length(p, 512) != 0) {
        p = weft__look_learn(p, false, WEFT__PATIENCE_MAX);
        assert_in_range(++failures_made, 1, 5);
    }
    int waits = 0;
    for (; weft__look_length(p, 512) == 0; waits++)
        p = weft__look_learn(p, false, WEFT__PATIENCE_MAX);
    assert_in_range(waits, 100, 102);
    assert_true(weft__look_length(weft__look_learn(p, true, WEFT__PATIENCE_MAX), 512) > weft__look_length(p, 512));
}

/* ---- queues: each end on a worker of its own, and every way in which a get or put can end ---- */

struct end {
    WEFT_FRAME;
    weft_queue *in, *out;
    int rounds;
    atomic_uint *running;
};
static int end(struct end *f)
{
    atomic_fetch_add(f->running, 1);
    while (atomic_load(f->running) < 2)
        weft__cpu_relax(); /* so the other has another worker */
    int rc = 0;
    for (int i = 0; i < f->rounds && rc == 0; i++) {
        int64_t item = -1;
        if ((rc = weft_queue_get(f->in, &item)) == 0) {
            item++;
            rc = weft_queue_put(f->out, &item);
        }
    }
    return rc;
}
WEFT_CORO(end);

struct apart {
    WEFT_FRAME;
};
static int apart(struct apart *f)
{
    (void)f;
    enum { ROUNDS = 3000 };
    for (int turn = 0; turn < 3; turn++) {
        weft_queue *a = weft_queue_create(sizeof(int64_t), 1), *b = weft_queue_create(sizeof(int64_t), 1);
        atomic_uint running = 0;
        weft_task *t[2] = {weft_create_task(end, .in = a, .out = b, .rounds = ROUNDS, .running = &running),
                           weft_create_task(end, .in = b, .out = a, .rounds = ROUNDS, .running = &running)};
        while (atomic_load(&running) < 2)
            CHECK(weft_yield() == 0);
        int64_t item = 0;
        CHECK(weft_queue_put(a, &item) == 0);
        if (turn == 0) {
            CHECK(weft_await(t[0]) == 0 && weft_await(t[1]) == 0);
            CHECK(weft_queue_get_nowait(a, &item) == 0 && item == 2 * ROUNDS);
        } else if (turn == 1) { /* the end of the queues comes in the middle, or later */
            weft_queue_shutdown(a, true);
            weft_queue_shutdown(b, true);
            for (int i = 0; i < 2; i++) {
                int rc = weft_await(t[i]);
                CHECK(rc == -ESHUTDOWN || rc == 0);
            }
        } else {
            for (int i = 0; i < 2; i++)
                weft_cancel(t[i]);
            for (int i = 0; i < 2; i++) {
                int rc = weft_await(t[i]);
                CHECK(rc == -ECANCELED || rc == 0);
            }
        }
        weft_release(t[0]);
        weft_release(t[1]);
        weft_queue_destroy(a);
        weft_queue_destroy(b);
    }
    return 0;
}
WEFT_CORO(apart);

static void test_apart(void **state)
{
    (void)state;
    for (unsigned workers = 2; workers <= 8; workers = workers == 2 ? 3 : workers + 5) {
        begin_run();
        assert_run(weft_run_with(WEFT_OPTIONS(.workers = workers, .pin = WEFT_PIN_NONE), apart), workers);
    }
}

/* ---- a getter that looks is given the next item: no item is lost or doubled, whatever comes in between ---- */

struct taker {
    WEFT_FRAME;
    weft_queue *q;
    atomic_uint *running;
    int64_t sum;
    long cancelled;
    bool in_order;
};
static int taker(struct taker *f)
{
    atomic_fetch_add(f->running, 1);
    while (atomic_load(f->running) < 2)
        weft__cpu_relax(); /* so the other has another worker */
    f->in_order = true;
    for (int64_t last = 0, item;;) {
        int rc = weft_queue_get(f->q, &item);
        if (rc == -ECANCELED) {
            f->cancelled++;
            weft_uncancel(weft_current_task());
            continue;
        }
        if (rc < 0)
            return rc;
        f->in_order &= item > last;
        last = item;
        f->sum += item;
    }
}
WEFT_CORO(taker);

struct giver {
    WEFT_FRAME;
    weft_queue *q;
    weft_task *taker;
    atomic_uint *running;
    unsigned seed;
    int64_t items, sum; /* put; and taken back */
    bool in_order;
};
static int giver(struct giver *f)
{
    atomic_fetch_add(f->running, 1);
    while (atomic_load(f->running) < 2)
        weft__cpu_relax();
    f->in_order = true;
    int64_t last = 0;
    for (int64_t item = 1; item <= f->items; item++) {
        f->seed = f->seed * 1103515245 + 12345;
        unsigned drawn = f->seed >> 16;
        for (unsigned i = 0; i < drawn % 64; i++)
            weft__cpu_relax();
        if (drawn / 64 % 64 == 0)
            (void)weft_cancel(f->taker);
        int rc = weft_queue_put(f->q, &item);
        if (rc < 0)
            return rc;
        int64_t back;
        if (drawn / 4096 % 4 == 0 && weft_queue_get_nowait(f->q, &back) == 0) {
            f->in_order &= back > last;
            last = back;
            f->sum += back;
        }
    }
    return 0;
}
WEFT_CORO(giver);

struct gifts {
    WEFT_FRAME;
    size_t room;
};
static int gifts(struct gifts *f)
{
    enum { ITEMS = 20000 };
    atomic_uint running = 0;
    weft_queue *q = weft_queue_create(sizeof(int64_t), f->room);
    weft_task *t = weft_create_task(taker, .q = q, .running = &running);
    weft_task *g = weft_create_task(giver, .q = q, .taker = t, .running = &running, .seed = 1, .items = ITEMS);
    CHECK(weft_await(g) == 0);
    while (weft_queue_size(q) != 0)
        CHECK(weft_yield() == 0);
    weft_queue_shutdown(q, false);
    int rc = weft_await(t);
    CHECK(rc == -ESHUTDOWN || rc == -ECANCELED);
    CHECK(weft_result(taker, t)->in_order && weft_result(giver, g)->in_order);
    CHECK(weft_result(taker, t)->sum + weft_result(giver, g)->sum == (int64_t)ITEMS * (ITEMS + 1) / 2);
    weft_release(t);
    weft_release(g);
    weft_queue_destroy(q);
    return 0;
}
WEFT_CORO(gifts);

static void test_gifts(void **state)
{
    (void)state;
    for (size_t room = 0; room < 3; room++) {
        begin_run();
        assert_run(weft_run_with(WEFT_OPTIONS(.workers = 2, .pin = WEFT_PIN_NONE), gifts, .room = room), 2);
    }
}

/* ---- the same with putters that wait for room while a getter comes to look: what they bring goes to him, and in each one's order ---- */

enum { GIVERS = 3, TAKERS = 2, GIVEN_EACH = 10000 };
struct one_of_takers {
    WEFT_FRAME;
    weft_queue *q;
    long got;
    bool in_order;
};
static int one_of_takers(struct one_of_takers *f)
{
    uint32_t next[GIVERS] = {0};
    uint64_t item;
    int rc;
    f->in_order = true;
    while ((rc = weft_queue_get(f->q, &item)) == 0) {
        uint32_t giver = (uint32_t)(item >> 32), number = (uint32_t)item;
        f->in_order &= number >= next[giver];
        next[giver] = number + 1;
        f->got++;
        if (number % 8 == 0) /* so that putters wait for room */
            for (unsigned i = 0; i < number % 64; i++)
                weft__cpu_relax();
    }
    return rc;
}
WEFT_CORO(one_of_takers);

struct one_of_givers {
    WEFT_FRAME;
    weft_queue *q;
    uint64_t number;
};
static int one_of_givers(struct one_of_givers *f)
{
    int rc = 0;
    for (uint64_t i = 0; i < GIVEN_EACH && rc == 0; i++)
        rc = weft_queue_put(f->q, &(uint64_t){f->number << 32 | i});
    return rc;
}
WEFT_CORO(one_of_givers);

struct many_gifts {
    WEFT_FRAME;
    size_t room;
};
static int many_gifts(struct many_gifts *f)
{
    weft_queue *q = weft_queue_create(sizeof(uint64_t), f->room);
    weft_task *takers[TAKERS], *givers[GIVERS];
    for (int i = 0; i < TAKERS; i++)
        takers[i] = weft_create_task(one_of_takers, .q = q);
    for (uint64_t i = 0; i < GIVERS; i++)
        givers[i] = weft_create_task(one_of_givers, .q = q, .number = i);
    CHECK(weft_gather_n(givers, GIVERS) == 0);
    weft_queue_shutdown(q, false);
    (void)weft_gather_settled_n(takers, TAKERS);
    long got = 0;
    for (int i = 0; i < TAKERS; i++) {
        CHECK(weft_status(takers[i]) == -ESHUTDOWN && weft_result(one_of_takers, takers[i])->in_order);
        got += weft_result(one_of_takers, takers[i])->got;
        weft_release(takers[i]);
    }
    for (int i = 0; i < GIVERS; i++)
        weft_release(givers[i]);
    CHECK(got == (long)GIVERS * GIVEN_EACH);
    weft_queue_destroy(q);
    return 0;
}
WEFT_CORO(many_gifts);

static void test_many_gifts(void **state)
{
    (void)state;
    for (unsigned workers = 2; workers <= 5; workers++) {
        for (size_t room = 1; room < 4; room++) {
            begin_run();
            assert_run(weft_run_with(WEFT_OPTIONS(.workers = workers, .pin = WEFT_PIN_NONE), many_gifts, .room = room),
                       workers);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patience),     cmocka_unit_test(test_found),    cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_submitted),    cmocka_unit_test(test_own_work), cmocka_unit_test(test_own_timer),
        cmocka_unit_test(test_nobody_works), cmocka_unit_test(test_apart),    cmocka_unit_test(test_gifts),
        cmocka_unit_test(test_many_gifts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

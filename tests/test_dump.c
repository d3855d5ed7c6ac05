/* SPDX-License-Identifier: Apache-2.0 */
/* weft_dump_tasks (executor/dump_tasks.c): what it says of each kind of wait, and that a program goes on undisturbed while threads ask. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/dump.h"

static struct {
    weft_lock lock;
    weft_event event;
    weft_condition condition;
    weft_semaphore semaphore;
    weft_barrier barrier;
    weft_queue *bounded, *unbounded;
    weft_event over;
} on;

enum what {
    LOCK,
    EVENT,
    CONDITION,
    SEMAPHORE,
    BARRIER,
    GET,
    PUT,
    JOIN,
    SLEEP,
    SLEEP_LONG,
    PARK,
    LIMIT,
    GATHER,
    GROUP,
    SHIELD,
    WAIT,
    AS_COMPLETED,
    AWAIT_FUTURE,
    FORKS,
    WHATS,
};

struct waiter {
    WEFT_FRAME;
    enum what what;
};
static int waiter(struct waiter *f);
WEFT_CORO(waiter);

struct leaf {
    WEFT_FRAME;
    int depth;
};
static int leaf(struct leaf *f);
WEFT_CORO(leaf);
static int leaf(struct leaf *f)
{
    if (f->depth == 0)
        return weft_event_wait(&on.over);
    struct leaf below = {.depth = f->depth - 1};
    weft_child child;
    weft_fork(&child, leaf, &below);
    return weft_join(&child);
}

struct blocks {
    WEFT_FRAME;
};
static pthread_mutex_t blocked = PTHREAD_MUTEX_INITIALIZER;
static int blocks(struct blocks *f)
{
    (void)f;
    pthread_mutex_lock(&blocked);
    pthread_mutex_unlock(&blocked);
    return 0;
}
WEFT_CORO(blocks);

struct nothing {
    WEFT_FRAME;
};
static int nothing(struct nothing *f)
{
    (void)f;
    return 0;
}
WEFT_CORO(nothing);

static int two_tasks(enum what what, weft_task *t[2])
{
    for (int i = 0; i < 2; i++)
        t[i] = weft_create_task(waiter, .what = EVENT);
    int rc = weft_sleep(1); /* both have begun: a gather waits for them in the usual way */
    size_t n = 0;
    weft_task *next;
    weft_as_completed some;
    if (rc == 0 && what == GATHER)
        rc = weft_gather_n(t, 2);
    else if (rc == 0 && what == WAIT)
        rc = weft_wait(t, 2, WEFT_ALL_COMPLETED, WEFT_SEC(7));
    else if (rc == 0 && weft_as_completed_begin(&some, t, 2, WEFT_FOREVER) == 0) {
        while ((rc = weft_as_completed_next(&some, &next)) > 0)
            n++;
        weft_as_completed_end(&some);
    }
    for (int i = 0; i < 2; i++)
        weft_release(t[i]);
    return rc;
}

static int waiter(struct waiter *f)
{
    weft_task *t[2];
    uint64_t item = 0;
    int rc = 0;
    switch (f->what) {
    case LOCK:
        rc = weft_lock_acquire(&on.lock);
        return rc == 0 ? weft_lock_release(&on.lock) : rc;
    case EVENT:
        return weft_event_wait(&on.event);
    case CONDITION:
        rc = weft_lock_acquire(&on.lock); /* main has it till it waits */
        rc = rc == 0 ? weft_condition_wait(&on.condition) : rc;
        (void)weft_lock_release(&on.lock);
        return rc;
    case SEMAPHORE:
        return weft_semaphore_acquire(&on.semaphore);
    case BARRIER:
        return weft_barrier_wait(&on.barrier);
    case GET:
        return weft_queue_get(on.unbounded, &item);
    case PUT:
        return weft_queue_put(on.bounded, &item);
    case JOIN:
        return weft_queue_join(on.bounded);
    case SLEEP:
        return weft_sleep(WEFT_MS(1250));
    case SLEEP_LONG:
        return weft_sleep(WEFT_FOREVER);
    case PARK:
        return weft_parked() == 0 ? weft_park_for(WEFT_SEC(9)) : weft_parked();
    case LIMIT: {
        weft_timeout limit;
        (void)weft_timeout_begin(&limit, WEFT_SEC(3));
        rc = weft_event_wait(&on.event);
        return weft_timeout_end(&limit, rc);
    }
    case GATHER:
    case WAIT:
    case AS_COMPLETED:
        return two_tasks(f->what, t);
    case GROUP: {
        weft_group group;
        rc = weft_group_begin(&group);
        for (int i = 0; i < 2 && rc == 0; i++)
            rc = weft_group_start(&group, waiter, .what = EVENT);
        return weft_group_join(&group, rc);
    }
    case SHIELD:
        t[0] = weft_create_task(waiter, .what = EVENT);
        rc = weft_shield(t[0]);
        weft_release(t[0]);
        return rc;
    case AWAIT_FUTURE:
        t[0] = weft_future_create_of(nothing);
        rc = weft_await(t[0]);
        weft_release(t[0]);
        return rc;
    case FORKS:
    default: {
        struct leaf below = {.depth = 1};
        weft_child child;
        weft_fork(&child, leaf, &below);
        return weft_join(&child);
    }
    }
}

struct shows {
    WEFT_FRAME;
    char *text;
};
static weft_task *start(enum what what, const char *name)
{
    return weft_create_task_with(WEFT_TASK_OPTIONS(.name = name), waiter, .what = what);
}
static int shows(struct shows *f)
{
    static const char *const names[WHATS] = {"lock",   "event", "condition", "semaphore", "barrier", "get",    "put",
                                             "join",   "sleep", "longsleep", "park",      "limit",   "gather", "group",
                                             "shield", "wait",  "completed", "future",    "forks"};
    weft_task *t[WHATS], *second, *cancelled;
    uint64_t item = 1;
    on.lock = (weft_lock)WEFT_LOCK_INIT;
    on.event = on.over = (weft_event)WEFT_EVENT_INIT;
    on.condition = (weft_condition)WEFT_CONDITION_INIT(&on.lock);
    TASK_CHECK(weft_semaphore_init(&on.semaphore, 0) == 0 && weft_barrier_init(&on.barrier, 3) == 0);
    on.bounded = weft_queue_create(sizeof item, 1);
    on.unbounded = weft_queue_create(sizeof item, 0);
    TASK_CHECK(weft_queue_put(on.bounded, &item) == 0);
    t[CONDITION] = start(CONDITION, names[CONDITION]);
    TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_lock_acquire(&on.lock) == 0);
    for (int i = 0; i < WHATS; i++)
        if (i != CONDITION)
            t[i] = start((enum what)i, names[i]);
    second = start(LOCK, "second");
    cancelled = start(SHIELD, "cancelled");
    TASK_CHECK(weft_sleep(WEFT_MS(250)) == 0);
    f->text = dump_text(weft_runtime_current());
    TASK_CHECK(weft_lock_release(&on.lock) == 0);
    for (int i = 0; i < WHATS; i++) {
        (void)weft_cancel(t[i]);
        (void)weft_await_release(t[i]);
    }
    (void)weft_cancel(second);
    (void)weft_await_release(second);
    (void)weft_cancel(cancelled);
    (void)weft_await_release(cancelled);
    weft_event_set(&on.event);
    return 0;
}
WEFT_CORO(shows);

static void test_says_what_each_waits_for(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "shows() running: it asks\n",
        "lock# waiter() waits for lock @, which is held, 1 other waits\n",
        " others wait; awaited by completed# (waiter)\n",
        "second# waiter() waits for lock @, which is held, 1 other waits\n",
        "event# waiter() waits for event @, ",
        "condition# waiter() waits for condition @, whose lock @ is held\n",
        "semaphore# waiter() waits for semaphore @, 0 free\n",
        "barrier# waiter() waits for barrier @, 1 of 3 are there\n",
        "get# waiter() waits for queue @ (get): 0 items\n",
        "put# waiter() waits for queue @ (put): 1 of 1 items\n",
        "join# waiter() waits for queue @ (join): 1 items unfinished\n",
        "sleep# waiter() sleeps 1.000 s more\n",
        "longsleep# waiter() sleeps\n",
        "park# waiter() parked, sleeps 8.750 s more\n",
        "limit# waiter() waits for event @, ",
        "others wait; time limit in 2.750 s\n",
        "gather# waiter() waits for gather: 2 of 2 tasks: Task-",
        " (waiter), Task-",
        " others wait; awaited by gather# (waiter)\n",
        "group# waiter() waits for group: 2 tasks: Task-",
        " others wait; awaited by group# (waiter)\n",
        "shield# waiter() waits for shield: 1 of 1 task: Task-",
        " others wait; awaited by shield# (waiter)\n",
        "wait# waiter() waits for wait: 2 of 2 tasks: Task-",
        " (waiter), at most 6.750 s more\n",
        "completed# waiter() waits for as_completed: 2 of 2 tasks: Task-",
        "future# waiter() awaits future @ (nothing)\n",
        "forks# waiter() awaits child @ (leaf)\n",
        " child @ leaf() awaits child @ (leaf)\n",
        " child @ leaf() waits for event @\n",
    };
    for (unsigned w = 1; w <= 2; w++) {
        struct shows f = {.text = NULL};
        assert_int_equal(weft_run_frame(WEFT_OPTIONS(.workers = w, .clock = WEFT_CLOCK_VIRTUAL), shows, &f), 0);
        assert_tasks_ok();
        assert_non_null(f.text);
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
            assert_true(dump_has_line(f.text, lines[i]));
        free(f.text);
        weft_queue_destroy(on.bounded);
        weft_queue_destroy(on.unbounded);
    }
}

/* ---- who blocks, who runs, who was cancelled --------------------------------------------------------------------- */

struct awaits_blocked {
    WEFT_FRAME;
};
static int awaits_blocked(struct awaits_blocked *f)
{
    (void)f;
    weft_task *t = weft_to_thread(blocks);
    int rc = weft_await(t);
    if (rc == -ECANCELED) {
        weft_uncancel(weft_current_task());
        rc = weft_event_wait(&on.over); /* its clean-up takes its time */
    }
    weft_release(t);
    return rc;
}
WEFT_CORO(awaits_blocked);

struct asks {
    WEFT_FRAME;
};
static bool says_in_time(const char *first, const char *second)
{
    for (int i = 0; i < 20000; i++) { /* 20 s */
        char *text = dump_text(weft_runtime_current());
        bool found = text != NULL && dump_says(text, first) && dump_says(text, second);
        free(text);
        if (found)
            return true;
        TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0);
    }
    return false;
}
static int asks(struct asks *f)
{
    (void)f;
    on.over = (weft_event)WEFT_EVENT_INIT;
    pthread_mutex_lock(&blocked);
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "helper"), awaits_blocked);
    TASK_CHECK(says_in_time("helper# awaits_blocked() awaits Task-",
                            "blocks() in a helper thread; awaited by helper# (awaits_blocked)\n"));
    TASK_CHECK(weft_cancel(t));
    TASK_CHECK(says_in_time("helper# awaits_blocked() waits for event", ""));
    pthread_mutex_unlock(&blocked);
    TASK_CHECK(weft_cancel(t) && weft_await_release(t) == -ECANCELED);

    /* A request that is not met yet, of a task that has not begun and of one that swallows none. */
    t = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "new"), waiter, .what = EVENT);
    TASK_CHECK(weft_cancel(t));
    char *text = dump_text(weft_runtime_current());
    TASK_CHECK(text != NULL && dump_has_line(text, "new# waiter() ready, not begun; cancellation requested\n"));
    free(text);
    return weft_await_release(t) == -ECANCELED ? 0 : -1;
}
WEFT_CORO(asks);
static void test_helper_threads_and_requests(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), asks), 0);
    assert_tasks_ok();
}

/* ---- nobody is disturbed ----------------------------------------------------------------------------------------- */

enum { ROUNDS = 300, BUSY = 6, ASKERS = 2 };

static struct {
    weft_runtime *rt;
    atomic_bool over;
    atomic_int dumps;
    weft_queue *queue;
    weft_lock lock;
    weft_semaphore semaphore;
} storm;

static void *dumps_on(void *unused)
{
    while (!atomic_load(&storm.over)) {
        char *text = dump_text(storm.rt);
        TASK_CHECK(text != NULL);
        free(text);
        atomic_fetch_add(&storm.dumps, 1);
    }
    return unused;
}

struct deep {
    WEFT_FRAME;
    int depth;
    int sum;
};
static int deep(struct deep *f);
WEFT_CORO(deep);
static int deep(struct deep *f)
{
    f->sum = 1;
    if (f->depth == 0)
        return weft_sleep(WEFT_US(20));
    struct deep a = {.depth = f->depth - 1}, b = {.depth = f->depth - 1};
    weft_child child;
    weft_fork(&child, deep, &a);
    int rb = deep(&b), ra = weft_join(&child);
    f->sum += a.sum + b.sum;
    return ra < 0 ? ra : rb;
}

struct naps_parked {
    WEFT_FRAME;
    int times;
};
static int naps_parked(struct naps_parked *f)
{
    int rc = f->times == 0 ? 0 : weft_parked();
    if (rc < 0 && rc != -ETIMEDOUT)
        return rc;
    return f->times++ < 3 ? weft_park_for(WEFT_US(20)) : 0;
}
WEFT_CORO(naps_parked);

struct busy {
    WEFT_FRAME;
    int seed;
};
static int busy(struct busy *f)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t item = (uint64_t)i;
        weft_timeout limit;
        TASK_CHECK(weft_timeout_begin(&limit, WEFT_SEC(100)) == 0);
        TASK_CHECK(weft_lock_acquire(&storm.lock) == 0);
        TASK_CHECK(weft_sleep(i % 3 == 0 ? WEFT_US(10) : 0) == 0);
        TASK_CHECK(weft_lock_release(&storm.lock) == 0);
        TASK_CHECK(weft_semaphore_acquire(&storm.semaphore) == 0 && weft_yield() == 0);
        TASK_CHECK(weft_semaphore_release(&storm.semaphore) == 0);
        TASK_CHECK(f->seed % 2 ? weft_queue_put(storm.queue, &item) == 0 : weft_queue_get(storm.queue, &item) == 0);
        struct deep d = {.depth = 3};
        TASK_CHECK(deep(&d) == 0 && d.sum == 15);
        weft_task *t[3] = {weft_create_task(naps_parked), weft_create_task(deep, .depth = 1),
                           weft_create_task(waiter, .what = SLEEP_LONG)};
        TASK_CHECK(weft_sleep(WEFT_US(i % 50)) == 0);
        TASK_CHECK(weft_cancel(t[2])); /* while somebody may look at it */
        TASK_CHECK(weft_timeout_end(&limit, weft_gather_n(t, 2)) == 0);
        TASK_CHECK(weft_await(t[2]) == -ECANCELED);
        for (int k = 0; k < 3; k++)
            weft_release(t[k]);
    }
    return 0;
}
WEFT_CORO(busy);

struct storms {
    WEFT_FRAME;
};
static int storms(struct storms *f)
{
    (void)f;
    weft_task *t[BUSY];
    pthread_t askers[ASKERS];
    storm.rt = weft_runtime_current();
    storm.lock = (weft_lock)WEFT_LOCK_INIT;
    atomic_store(&storm.over, false);
    TASK_CHECK(weft_semaphore_init(&storm.semaphore, 2) == 0);
    storm.queue = weft_queue_create(sizeof(uint64_t), 2);
    for (int i = 0; i < ASKERS; i++)
        TASK_CHECK(pthread_create(&askers[i], NULL, dumps_on, NULL) == 0);
    for (int i = 0; i < BUSY; i++)
        t[i] = weft_create_task(busy, .seed = i);
    TASK_CHECK(weft_gather_n(t, BUSY) == 0);
    for (int i = 0; i < BUSY; i++)
        weft_release(t[i]);
    for (int seen = atomic_load(&storm.dumps); atomic_load(&storm.dumps) < seen + 2;)
        sched_yield();
    atomic_store(&storm.over, true);
    for (int i = 0; i < ASKERS; i++)
        pthread_join(askers[i], NULL);
    weft_queue_destroy(storm.queue);
    return 0;
}
WEFT_CORO(storms);

/* Also the virtual clock: a task that is woken while it is looked at must not be taken for one that sleeps. */
static void test_nobody_is_disturbed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1 + i / 2 * 2,
                                                    .clock = i % 2 == 0 ? WEFT_CLOCK_REAL : WEFT_CLOCK_VIRTUAL),
                                       storms),
                         0);
        assert_tasks_ok();
    }
}

/* The only task there is, always just woken or about to sleep: who looks at it must not let the clock find nobody left. */
struct naps_alone {
    WEFT_FRAME;
};
static void *dumps_nowhere(void *null)
{
    while (!atomic_load(&storm.over))
        TASK_CHECK(weft_dump_tasks(storm.rt, *(int *)null) == 0);
    return null;
}
static int naps_alone(struct naps_alone *f)
{
    (void)f;
    pthread_t askers[ASKERS];
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    storm.rt = weft_runtime_current();
    atomic_store(&storm.over, false);
    for (int i = 0; i < ASKERS; i++)
        TASK_CHECK(pthread_create(&askers[i], NULL, dumps_nowhere, &null) == 0);
    for (int i = 0; i < 20000; i++)
        TASK_CHECK(weft_sleep(WEFT_US(1)) == 0);
    TASK_CHECK(weft_now() == WEFT_MS(20));
    atomic_store(&storm.over, true);
    for (int i = 0; i < ASKERS; i++)
        pthread_join(askers[i], NULL);
    close(null);
    return 0;
}
WEFT_CORO(naps_alone);
static void test_clock_is_not_misled(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), naps_alone), 0);
    assert_tasks_ok();
}

/* A runtime that has ended and is held tells nothing, and counts what it can. */
static weft_runtime *held;
struct is_held {
    WEFT_FRAME;
};
static int is_held(struct is_held *f)
{
    (void)f;
    held = weft_runtime_hold(weft_runtime_current());
    return 0;
}
WEFT_CORO(is_held);
static void test_of_a_runtime_that_has_ended(void **state)
{
    (void)state;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (unsigned workers = 1; workers <= 3; workers++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers), is_held), 0);
        weft_metrics m = {.size = sizeof m};
        assert_int_equal(weft_dump_tasks(held, null), 0);
        assert_int_equal(weft_dump_workers(held, null), 0);
        assert_int_equal(weft_metrics_print(held, null), 0);
        assert_int_equal(weft_metrics_read(held, -1, &m), 0);
        assert_true(m.tasks_created >= 1);
        assert_int_equal(m.tasks_finished, m.tasks_created);
        weft_runtime_drop(held);
    }
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_what_each_waits_for),    cmocka_unit_test(test_helper_threads_and_requests),
        cmocka_unit_test(test_nobody_is_disturbed),         cmocka_unit_test(test_clock_is_not_misled),
        cmocka_unit_test(test_of_a_runtime_that_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

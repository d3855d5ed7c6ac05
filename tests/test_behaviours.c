/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviours of asyncio that no program of the conformance language can show, and no test of a module by itself: fresh runs (A11), calls
 * from other threads (W4), errors that nobody asked for (X5), forgotten tasks (X6). */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/deaths.h"

static const unsigned worker_counts[] = {1, 2, 3, 8};
#define COUNTS (sizeof worker_counts / sizeof worker_counts[0])

struct ends {
    WEFT_FRAME;
    weft_ns pause;
    int with;
    atomic_int *ran;
};
static int ends(struct ends *f)
{
    int rc = f->pause > 0 ? weft_sleep(f->pause) : 0;
    if (f->ran != NULL)
        atomic_fetch_add(f->ran, 1);
    return rc < 0 && f->with == 0 ? rc : f->with;
}
WEFT_CORO(ends);

/* ---- A11: a run begins with nothing ------------------------------------------------------------------------------- */

static weft_context_var colour = WEFT_CONTEXT_VAR("colour", NULL);

static int count_tasks(void *user, weft_task *t)
{
    (void)t;
    ++*(int *)user;
    return 0;
}

struct run_of_all {
    WEFT_FRAME;
    int tasks; /* results: what it found at its start */
    char name[32];
    void *colour;
    weft_ns now;
};
static int run_of_all(struct run_of_all *f)
{
    (void)weft_all_tasks(count_tasks, &f->tasks);
    (void)weft_task_name(weft_current_task(), f->name, sizeof f->name);
    f->colour = weft_context_get(&colour);
    f->now = weft_now();
    TASK_CHECK(weft_context_set(&colour, f, NULL) == 0);
    weft_release(weft_create_task(ends, .pause = WEFT_SEC(10)));
    weft_release(weft_call_later(WEFT_SEC(20), ends));
    return weft_sleep(WEFT_SEC(1));
}
WEFT_CORO(run_of_all);

static void test_a_run_begins_with_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTS; i++) {
        char name[32] = "";
        for (int run = 0; run < 3; run++) {
            struct run_of_all f = {.tasks = 0};
            const weft_options *o = WEFT_OPTIONS(.workers = worker_counts[i], .clock = WEFT_CLOCK_VIRTUAL);
            assert_int_equal(weft_run_frame(o, run_of_all, &f), 0);
            assert_int_equal(f.tasks, 1);
            assert_null(f.colour);
            assert_int_equal(f.now, 0);
            if (run > 0)
                assert_string_equal(f.name, name);
            memcpy(name, f.name, sizeof name);
        }
        assert_int_not_equal(name[0], '\0');
    }
    assert_tasks_ok();
}

/* ---- W4: a thread calls into a runtime that sleeps ----------------------------------------------------------------- */

struct sets {
    WEFT_FRAME;
    weft_event *event;
};
static int sets(struct sets *f)
{
    weft_event_set(f->event);
    return 0;
}
WEFT_CORO(sets);

struct caller {
    pthread_t thread;
    weft_runtime *rt;
    weft_event event;
};
static void *calls(void *argument)
{
    struct caller *c = argument;
    usleep(20000); /* the runtime sleeps by now; if not, no harm */
    weft_handle *h = weft_call_soon_threadsafe(c->rt, sets, .event = &c->event);
    TASK_CHECK(h != NULL);
    weft_release(h);
    return NULL;
}
struct sleeper {
    WEFT_FRAME;
};
static int sleeper(struct sleeper *f)
{
    (void)f;
    struct caller c = {.rt = weft_runtime_current(), .event = WEFT_EVENT_INIT};
    weft_timeout limit;
    TASK_CHECK(pthread_create(&c.thread, NULL, calls, &c) == 0);
    TASK_CHECK(weft_timeout_begin(&limit, WEFT_SEC(60)) == 0);
    int rc = weft_timeout_end(&limit, weft_event_wait(&c.event));
    pthread_join(c.thread, NULL);
    return rc;
}
WEFT_CORO(sleeper);

static void test_a_call_wakes_a_sleeping_runtime(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTS; i++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i]), sleeper), 0);
    assert_tasks_ok();
}

static void *calls_wrongly(void *unused)
{
    weft_release(weft_call_soon(ends));
    return unused;
}
static void call_from_a_foreign_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, calls_wrongly, NULL) == 0)
        pthread_join(thread, NULL);
}
static void test_the_wrong_call_is_an_error(void **state)
{
    (void)state;
    expect_abort(call_from_a_foreign_thread, "weft_call_soon");
}

/* ---- X5: the exception handler ------------------------------------------------------------------------------------- */

struct seen {
    atomic_int kinds[WEFT_SHUTDOWN_FAILED + 1], lines, wrong;
    bool fails; /* the handler's own work goes wrong */
};
static void handle(void *user, const weft_exception *e)
{
    static const int expected[] = {
        [WEFT_NEVER_RETRIEVED] = -ENOENT, [WEFT_CALLBACK_FAILED] = -EIO, [WEFT_SHUTDOWN_FAILED] = -EPROTO};
    struct seen *s = user;
    if (e->kind < WEFT_NEVER_RETRIEVED || e->kind > WEFT_SHUTDOWN_FAILED || e->size != sizeof *e)
        atomic_fetch_add(&s->wrong, 1);
    else if (e->error != expected[e->kind] || e->name == NULL || e->function == NULL)
        atomic_fetch_add(&s->wrong, 1);
    else if (atomic_fetch_add(&s->kinds[e->kind], 1) == 0 && s->fails && e->kind == WEFT_NEVER_RETRIEVED)
        weft_release(weft_create_task(ends, .with = -ENOENT)); /* comes back as an error of its own */
}
static void take_line(void *user, const char *line)
{
    (void)line;
    atomic_fetch_add(&((struct seen *)user)->lines, 1);
}

struct answers_late {
    WEFT_FRAME;
};
static int answers_late(struct answers_late *f)
{
    (void)f;
    return weft_sleep(WEFT_SEC(3600)) == -ECANCELED ? -EPROTO : 0;
}
WEFT_CORO(answers_late);

struct lose {
    WEFT_FRAME;
    bool by_hand;
};
static int lose(struct lose *f)
{
    weft_release(weft_create_task(ends, .with = -ENOENT));
    weft_release(weft_call_soon(ends, .with = -EIO));
    weft_release(weft_create_task(answers_late));
    if (f->by_hand)
        weft_call_exception_handler(
            &(weft_exception){.size = sizeof(weft_exception), .kind = WEFT_CALLBACK_FAILED, .error = -EIO});
    return weft_sleep(WEFT_SEC(1)); /* all that goes on */
}
WEFT_CORO(lose);

static void test_the_exception_handler_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTS; i++) {
        for (int how = 0; how < 3; how++) {
            struct seen s = {.fails = how == 1};
            weft_options o = {.size = sizeof o,
                              .workers = worker_counts[i],
                              .clock = WEFT_CLOCK_VIRTUAL,
                              .report = take_line,
                              .report_user = &s};
            if (how < 2) {
                o.exception_handler = handle;
                o.exception_user = &s;
            }
            assert_int_equal(weft_run_with(&o, lose, .by_hand = how == 2), 0);
            assert_int_equal(s.wrong, 0);
            assert_int_equal(s.kinds[WEFT_NEVER_RETRIEVED], how == 2 ? 0 : how == 1 ? 2 : 1);
            assert_int_equal(s.kinds[WEFT_CALLBACK_FAILED], how == 2 ? 0 : 1);
            assert_int_equal(s.kinds[WEFT_SHUTDOWN_FAILED], how == 2 ? 0 : 1);
            assert_int_equal(s.lines, how == 2 ? 4 : 0); /* without a handler: one line each */
        }
    }
    assert_tasks_ok();
}

/* ---- X6: nobody holds a handle to a pending task ------------------------------------------------------------------- */

struct forgets {
    WEFT_FRAME;
    atomic_int *ran;
};
static int forgets(struct forgets *f)
{
    for (int i = 0; i < 50; i++)
        weft_release(weft_create_task(ends, .pause = WEFT_MS(1 + i % 3), .ran = f->ran));
    return weft_sleep(WEFT_MS(10));
}
WEFT_CORO(forgets);

static void test_forgotten_tasks_run_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTS; i++) {
        atomic_int ran = 0;
        struct seen s = {.fails = false};
        weft_options o = {.size = sizeof o,
                          .workers = worker_counts[i],
                          .clock = WEFT_CLOCK_VIRTUAL,
                          .report = take_line,
                          .report_user = &s};
        assert_int_equal(weft_run_with(&o, forgets, .ran = &ran), 0);
        assert_int_equal(ran, 50);
        assert_int_equal(s.lines, 0);
    }
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_begins_with_nothing),  cmocka_unit_test(test_a_call_wakes_a_sleeping_runtime),
        cmocka_unit_test(test_the_wrong_call_is_an_error), cmocka_unit_test(test_the_exception_handler_is_told),
        cmocka_unit_test(test_forgotten_tasks_run_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

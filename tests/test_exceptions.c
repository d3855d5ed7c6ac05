/* SPDX-License-Identifier: Apache-2.0 */
/* What nobody was there to be told: the exception handler and its three kinds, what counts as asking for an outcome; and the messages of
 * cancellations. */
#include <pthread.h>
#include <stdlib.h>

#include "support/actors.h"

#include <weft/callback.h>
#include <weft/future.h>

/* ---- the handler ------------------------------------------------------------------------------------------------ */

static struct {
    _Atomic(int) count, of_kind[4], wrong;
    _Atomic(int) error;
    char name[64], function[64], created_at[64];
} told;
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;

static void handler(void *user, const weft_exception *e)
{
    pthread_mutex_lock(&telling);
    told.count++;
    if (e->kind >= WEFT_NEVER_RETRIEVED && e->kind <= WEFT_SHUTDOWN_FAILED)
        told.of_kind[e->kind]++;
    told.wrong += user != &told || e->size != sizeof *e || e->error >= 0 || e->name == NULL || e->function == NULL ||
                  e->created_at == NULL;
    told.error = e->error;
    if (e->task != NULL) { /* it may be looked at */
        char name[64];
        (void)weft_task_name(e->task, name, sizeof name);
        told.wrong += strcmp(name, e->name) != 0 || weft_done(e->task) != (e->kind != WEFT_CALLBACK_FAILED);
    }
    snprintf(told.name, sizeof told.name, "%s", e->name);
    snprintf(told.function, sizeof told.function, "%s", e->function);
    snprintf(told.created_at, sizeof told.created_at, "%s", e->created_at);
    pthread_mutex_unlock(&telling);
}

/* As TEST, with the handler; it must have been told `n` times in each run, all of one kind. */
static void run_told(int (*fn)(void *), int n, enum weft_exception_kind kind)
{
    run_options.exception_handler = handler;
    run_options.exception_user = &told;
    for (size_t i = 0; i < 2 * SETTINGS; i++) {
        run_options.clock = i < SETTINGS ? WEFT_CLOCK_VIRTUAL : WEFT_CLOCK_REAL;
        memset(&told, 0, sizeof told);
        int rc = run_with(settings[i % SETTINGS], fn, NULL);
        if (rc != 0 || first_failure != NULL || told.wrong != 0 || told.count != n || told.of_kind[kind] != n ||
            handles_left != 0)
            fail_msg("%u workers, order %u: rc %d, told %d (%d wrong), %s", settings[i % SETTINGS].workers,
                     settings[i % SETTINGS].order, rc, told.count, told.wrong,
                     first_failure != NULL ? first_failure : "no check failed");
    }
    run_options.exception_handler = NULL;
    run_options.clock = WEFT_CLOCK_VIRTUAL;
}
#define TEST_TOLD(name, n, kind)                                                                                       \
    static int name##_main(void *unused);                                                                              \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        run_told(name##_main, n, kind);                                                                                \
    }                                                                                                                  \
    static int name##_main(WEFT_UNUSED void *unused)

static weft_task *failed(const char *name)
{
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.name = name), actor, .id = 0, .work = -1, .result = -EIO);
    while (!weft_done(t))
        (void)weft_yield();
    return t;
}

/* Asked whether it is done or cancelled, named, cancelled too late by a foreign hand: none of that looks at the outcome, but the last. */
TEST_TOLD(never_retrieved, 6, WEFT_NEVER_RETRIEVED)
{
    weft_task *t = failed("first");
    CHECK(weft_done(t) && !weft_cancelled(t) && weft_cancelling(t) == 0);
    weft_release(t);
    CHECK(told.count == 1 && told.error == -EIO);
    CHECK(strcmp(told.name, "first") == 0 && strcmp(told.function, "actor") == 0);
    weft_release(weft_ref(t = failed("second")));
    CHECK(told.count == 1); /* not before the last handle */
    weft_release(t);
    CHECK(told.count == 2);

    weft_future *f = weft_future_create();
    CHECK(weft_future_set_error(f, -EPERM) == 0);
    weft_release(f);
    CHECK(told.count == 3 && told.error == -EPERM && strcmp(told.function, "future") == 0);

    t = failed("gathered"); /* gather looks at what it gathers, but who looks at the gather? */
    weft_release(weft_gather_future(&t, 1, false));
    weft_release(t);
    CHECK(told.count == 4);

    t = failed("waited for"); /* wait raises nothing */
    CHECK(weft_wait(&t, 1, WEFT_ALL_COMPLETED, WEFT_FOREVER) == 1);
    weft_release(t);
    CHECK(told.count == 5);

    t = failed("called back");
    weft_handle *h = weft_add_done_callback(t, actor, .id = 1, .work = -1);
    weft_release(t);
    CHECK(weft_await_release(h) == 0 && told.count == 6);
    return 0;
}

TEST_TOLD(retrieved, 0, WEFT_NEVER_RETRIEVED)
{
    weft_task *t[9];
    for (int i = 0; i < 9; i++)
        t[i] = failed("asked");
    CHECK(weft_status(t[0]) == -EIO && weft_await(t[1]) == -EIO && weft_gather(t[2]) == -EIO);
    CHECK(weft_gather_settled(t[3]) == 1 && weft_shield(t[4]) == -EIO && weft_wait_for(t[5], 0) == -EIO);
    CHECK(weft_result(actor, t[6])->id == 0);
    CHECK(!weft_cancel(t[7]) && !weft_cancel_with(t[8], "too late")); /* who cancels it has dealt with it */
    for (int i = 0; i < 9; i++)
        weft_release(t[i]);

    weft_future *f = weft_future_create();
    CHECK(weft_cancel(f)); /* cancelled is no error */
    weft_release(f);
    weft_release(weft_create_task(actor, .id = 1, .work = -1, .result = -ECANCELED));
    f = weft_future_create();
    CHECK(weft_future_set_error(f, -EIO) == 0 && !weft_cancel(f));
    weft_release(f);

    weft_group g; /* a group's errors are the group's */
    CHECK(weft_group_begin(&g) == 0 && weft_group_start(&g, actor, .id = 2, .work = -1, .result = -EIO) == 0);
    CHECK(weft_group_join(&g, weft_sleep(WEFT_MS(1))) == -EIO);

    t[0] = weft_create_task(actor, .id = 3, .work = 1, .result = -EIO); /* gathered before it failed */
    weft_future *gather = weft_gather_future(t, 1, true);
    weft_release(t[0]);
    CHECK(weft_await_release(gather) == 0);
    return 0;
}

struct fails {
    WEFT_FRAME;
    int result;
};
static int fails(struct fails *f)
{
    return f->result;
}
WEFT_CORO(fails);

TEST_TOLD(callback_failed, 4, WEFT_CALLBACK_FAILED)
{
    weft_future *f = weft_future_create();
    weft_handle *h[5] = {weft_call_soon(fails, .result = -EIO), weft_call_later(WEFT_MS(1), fails, .result = -EPERM),
                         weft_add_done_callback(f, fails, .result = -EBADF), weft_call_soon(fails, .result = 5),
                         weft_call_soon(fails, .result = -ECANCELED)};
    CHECK(weft_future_set_result(f, 0) == 0);
    CHECK(weft_gather_settled_n(h, 5) == 4);
    CHECK(told.count == 4 && strcmp(told.function, "fails") == 0);
    CHECK(weft_status(h[0]) == -EIO && weft_status(h[3]) == 5);
    for (int i = 0; i < 5; i++)
        weft_release(h[i]); /* told once, though nobody asked for the outcome */
    weft_release(f);
    return 0;
}

TEST_TOLD(shutdown_failed, 2, WEFT_SHUTDOWN_FAILED)
{
    weft_release(weft_create_task(actor, .id = 0, .work = 3600000, .reply = -EIO));
    weft_task *t = weft_create_task(actor, .id = 1, .work = 3600000, .reply = -EPERM, .cleanup = 1);
    weft_release(weft_create_task(actor, .id = 2, .work = 3600000));
    while (actors[0].started == 0 || actors[1].started == 0)
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
    weft_release(t);
    return 0;
}

static int call_handler(void *unused)
{
    (void)unused;
    weft_exception e = {.size = sizeof e, .kind = WEFT_CALLBACK_FAILED, .error = -EXDEV, .function = "mine"};
    weft_call_exception_handler(&e);
    return 0;
}
TEST_TOLD(called_by_hand, 2, WEFT_CALLBACK_FAILED)
{
    CHECK(call_handler(NULL) == 0);
    CHECK(told.count == 1 && told.error == -EXDEV && strcmp(told.function, "mine") == 0 && told.name[0] == '\0');
    weft_handle *h = weft_call_soon(call, .fn = call_handler);
    CHECK(weft_await_release(h) == 0);
    return 0;
}

/* In debug mode the handler learns where the task was created. Who calls it by hand may know less fields, or more than the first. */
static int created_somewhere(void *unused)
{
    (void)unused;
    weft_release(failed("lost one"));
    CHECK(told.count == 1);
    CHECK((strncmp(told.created_at, "test_exceptions+0x", 18) == 0) == (run_options.debug != 0));
    CHECK(run_options.debug != 0 || told.created_at[0] == '\0');
    weft_exception e = {.size = sizeof e, .kind = WEFT_CALLBACK_FAILED, .error = -EIO, .created_at = "here"};
    weft_call_exception_handler(&e);
    CHECK(told.count == 2 && strcmp(told.created_at, "here") == 0);
    e.size = offsetof(weft_exception, created_at); /* of a program that was built before the field was there */
    weft_call_exception_handler(&e);
    CHECK(told.count == 3 && told.created_at[0] == '\0' && told.wrong == 0);
    return 0;
}
static void created_at(void **state)
{
    (void)state;
    run_options.exception_handler = handler;
    run_options.exception_user = &told;
    for (unsigned debug = 0; debug < 2; debug++) {
        for (size_t i = 0; i < SETTINGS; i++) {
            run_options.debug = debug;
            told.count = told.wrong = 0;
            assert_int_equal(run_with(settings[i], created_somewhere, NULL), 0);
            assert_null(first_failure);
        }
    }
    run_options.debug = 0;
    run_options.exception_handler = NULL;
    run_options.exception_user = NULL;
}

/* Without a handler it is a line of the report. */
static char line[512];
static void report(void *user, const char *text)
{
    (void)user;
    pthread_mutex_lock(&telling);
    snprintf(line, sizeof line, "%s", text);
    told.count++;
    pthread_mutex_unlock(&telling);
}
static int report_each(void *unused)
{
    (void)unused;
    weft_release(failed("lost one"));
    CHECK(told.count == 1 && strstr(line, "lost one") != NULL && strstr(line, "actor") != NULL);
    weft_handle *h = weft_call_soon(fails, .result = -EIO);
    CHECK(weft_await_release(h) == -EIO && told.count == 2 && strstr(line, "fails") != NULL);
    return 0;
}
static void reported(void **state)
{
    (void)state;
    run_options.report = report;
    for (size_t i = 0; i < SETTINGS; i++) {
        told.count = 0;
        assert_int_equal(run_with(settings[i], report_each, NULL), 0);
        assert_null(first_failure);
        assert_int_equal(told.count, 2);
    }
    run_options.report = NULL;
}

/* The handler may call what never suspends: here it sets a future, which somebody waits for. */
static weft_future *rescue;
static void setting_handler(void *user, const weft_exception *e)
{
    (void)user;
    (void)weft_future_set_error(rescue, e->error);
}
static int wait_for_handler(void *unused)
{
    (void)unused;
    rescue = weft_future_create();
    weft_task *t = weft_create_task(actor, .id = 0, .work = 1, .result = -EIO);
    weft_release(t);
    CHECK(weft_await_release(rescue) == -EIO);
    return 0;
}
static void handler_calls_weft(void **state)
{
    (void)state;
    run_options.exception_handler = setting_handler;
    run_on_both_clocks(wait_for_handler);
    run_options.exception_handler = NULL;
}

/* ---- messages of cancellations ---------------------------------------------------------------------------------- */

static bool is(const char *message, const char *text)
{
    return text == NULL ? message == NULL : message != NULL && strcmp(message, text) == 0;
}

struct met {
    WEFT_FRAME;
    weft_task *awaits;
    const char *replace, *message;
    bool set;
};
static int met(struct met *m)
{
    CHECK(weft_cancel_message() == NULL);
    int rc = m->awaits != NULL ? weft_await(m->awaits) : weft_sleep(WEFT_SEC(10));
    m->message = weft_cancel_message();
    if (m->set)
        weft_set_cancel_message(m->replace);
    return rc;
}
WEFT_CORO(met);

TEST(messages)
{
    CHECK(weft_cancel_message() == NULL);
    for (int i = 0; i < 3; i++) {
        weft_task *t = i == 0   ? weft_create_task(met)
                       : i == 1 ? weft_create_task(met, .set = true, .replace = "replaced")
                                : weft_create_task(met, .set = true, .replace = NULL);
        CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel_with(t, "the reason"));
        CHECK(weft_await(t) == -ECANCELED && is(weft_result(met, t)->message, "the reason"));
        CHECK(is(weft_cancel_message(), i == 0 ? "the reason" : i == 1 ? "replaced" : NULL)); /* the first awaiter's */
        CHECK(weft_await(t) == -ECANCELED && is(weft_cancel_message(), NULL));
        weft_release(t);
    }
    weft_task *t = weft_create_task(met);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(t) && weft_await(t) == -ECANCELED);
    CHECK(is(weft_result(met, t)->message, NULL) && is(weft_cancel_message(), NULL));
    weft_release(t);
    return 0;
}

/* A gather hands it on as an await does: to those it gathers, to who gathers, and to who awaits that one; or that of the task that ended it. */
struct gathers {
    WEFT_FRAME;
    weft_task *t[2];
    bool settled;
    const char *message; /* result */
};
static int gathers(struct gathers *g)
{
    int rc = g->settled ? weft_gather_settled_n(g->t, 2) : weft_gather_n(g->t, 2);
    g->message = weft_cancel_message();
    return rc;
}
WEFT_CORO(gathers);

TEST(messages_of_gathers)
{
    for (int i = 0; i < 3; i++) {
        weft_task *t[2] = {weft_create_task(met), weft_create_task(met)};
        weft_task *all = weft_create_task(gathers, .t = {t[0], t[1]}, .settled = i == 1);
        CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel_with(i == 2 ? t[1] : all, "enough"));
        CHECK(weft_await(all) == -ECANCELED && is(weft_cancel_message(), "enough"));
        CHECK(is(weft_result(gathers, all)->message, "enough"));
        CHECK(i == 2 || weft_await(t[0]) == -ECANCELED);
        CHECK(i == 2 || is(weft_result(met, t[0])->message, "enough"));
        weft_release(all);
        for (int k = 0; k < 2; k++) {
            weft_cancel(t[k]);
            weft_await_release(t[k]);
        }
    }
    return 0;
}

/* Through a chain of awaiters, down and up again; a future's; of one that has not begun. */
TEST(messages_go_with_the_request)
{
    weft_task *inner = weft_create_task(met), *outer = weft_create_task(met, .awaits = inner);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel_with(outer, "go"));
    CHECK(weft_await(outer) == -ECANCELED && is(weft_cancel_message(), "go"));
    CHECK(is(weft_result(met, inner)->message, "go") && is(weft_result(met, outer)->message, "go"));
    weft_release(inner);
    weft_release(outer);

    weft_future *f = weft_future_create();
    CHECK(weft_cancel_with(f, "future") && !weft_cancel_with(f, "again"));
    CHECK(weft_await(f) == -ECANCELED && is(weft_cancel_message(), "future"));
    weft_release(f);
    f = weft_future_create();
    outer = weft_create_task(met, .awaits = f);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel_with(outer, "through") && weft_await(outer) == -ECANCELED);
    CHECK(is(weft_result(met, outer)->message, "through") && weft_cancelled(f));
    weft_release(outer);
    weft_release(f);

    weft_task *t = weft_create_task(met);
    if (setting.workers == 1) {
        CHECK(weft_cancel_with(t, "first") && weft_cancel_with(t, "unstarted"));
        CHECK(weft_await(t) == -ECANCELED && is(weft_cancel_message(), "unstarted"));
    } else {
        (void)weft_cancel_with(t, "x");
        CHECK(weft_await(t) == -ECANCELED);
    }
    weft_release(t);

    /* Two requests before the delivery: the first reached what it waits for. */
    t = weft_create_task(met);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    if (setting.workers == 1) {
        CHECK(weft_cancel_with(t, "one") && weft_cancel_with(t, "two") && weft_await(t) == -ECANCELED);
        CHECK(is(weft_result(met, t)->message, "one"));
    } else {
        CHECK(weft_cancel_with(t, "one") && weft_await(t) == -ECANCELED && is(weft_result(met, t)->message, "one"));
    }
    weft_release(t);

    t = weft_create_task(met);
    weft_future *g = weft_gather_future(&t, 1, false);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel_with(g, "gathered") && weft_await(g) == -ECANCELED);
    CHECK(is(weft_result(met, t)->message, "gathered"));
    weft_release(t);
    weft_release(g);
    CHECK(!weft_cancel_with(NULL, "nobody"));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_retrieved),
        cmocka_unit_test(retrieved),
        cmocka_unit_test(callback_failed),
        cmocka_unit_test(shutdown_failed),
        cmocka_unit_test(called_by_hand),
        cmocka_unit_test(created_at),
        cmocka_unit_test(reported),
        cmocka_unit_test(handler_calls_weft),
        cmocka_unit_test(messages),
        cmocka_unit_test(messages_of_gathers),
        cmocka_unit_test(messages_go_with_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

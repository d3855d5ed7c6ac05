/* SPDX-License-Identifier: Apache-2.0 */
/* Which task each worker runs (executor/running.c), as weft_dump_workers tells it: the awaited one on its awaiter's stack, who forked the child that
 * runs, since when; and that names may come and go while threads ask. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

static char *workers_text(weft_runtime *rt)
{
    FILE *file = tmpfile();
    char *text = calloc(1, 65536);
    bool got = file != NULL && text != NULL && weft_dump_workers(rt, fileno(file)) == 0 &&
               pread(fileno(file), text, 65535, 0) > 0;
    if (file != NULL)
        fclose(file);
    if (!got) {
        free(text);
        return NULL;
    }
    return text;
}

static bool says(weft_runtime *rt, const char *wanted)
{
    char *text = workers_text(rt);
    bool found = text != NULL && strstr(text, wanted) != NULL;
    free(text);
    return found;
}

static bool must_say(weft_runtime *rt, const char *wanted)
{
    char *text = workers_text(rt);
    bool found = text != NULL && strstr(text, wanted) != NULL;
    if (!found)
        fprintf(stderr, "no \"%s\" in:\n%s", wanted, text != NULL ? text : "(nothing)\n");
    free(text);
    return found;
}

/* ---- who it is --------------------------------------------------------------------------------------------------- */

struct kid {
    WEFT_FRAME;
    const char *of; /* where it runs on its parent's stack; else only its function is known */
};
static int kid(struct kid *f)
{
    TASK_CHECK(says(weft_runtime_current(), "worker 0    runs kid(); ") ||
               says(weft_runtime_current(), "worker 0    runs kid(), for ") || must_say(weft_runtime_current(), f->of));
    return 0;
}
WEFT_CORO(kid);

struct inner {
    WEFT_FRAME;
    bool forks;
};
static int inner(struct inner *f)
{
    if (!f->forks) {
        TASK_CHECK(must_say(weft_runtime_current(), "worker 0    runs inner() in inside#"));
        return 0;
    }
    struct kid of = {.of = "() in inside#"};
    weft_child child;
    weft_fork(&child, kid, &of);
    return weft_join(&child);
}
WEFT_CORO(inner);

struct outer {
    WEFT_FRAME;
};
static int outer(struct outer *f)
{
    (void)f;
    TASK_CHECK(weft_task_set_name(weft_current_task(), "outside") == 0);
    TASK_CHECK(must_say(weft_runtime_current(), "worker 0    runs outer() in outside#"));
    for (int i = 0; i < 3; i++) { /* at once on this stack, or on one of its own */
        weft_task *t = weft_create_task(inner, .forks = i != 0);
        TASK_CHECK(weft_task_set_name(t, "inside") == 0);
        if (i == 2)
            TASK_CHECK(weft_yield() == 0);
        TASK_CHECK(weft_await_release(t) == 0);
        TASK_CHECK(must_say(weft_runtime_current(), "worker 0    runs outer() in outside#"));
    }
    struct kid of = {.of = "() in outside#"};
    weft_child child;
    weft_fork(&child, kid, &of);
    return weft_join(&child);
}
WEFT_CORO(outer);

static void test_names_the_innermost(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .order = order ? WEFT_ORDER_FIFO : 0), outer), 0);
        assert_int_equal(
            weft_run_with(WEFT_OPTIONS(.workers = 1, .inlining = order ? WEFT_INLINING_ALWAYS : WEFT_INLINING_NEVER),
                          outer),
            0);
        assert_tasks_ok();
    }
}

/* ---- another worker's, and since when ---------------------------------------------------------------------------- */

static atomic_bool seen;

struct stuck {
    WEFT_FRAME;
};
static int stuck(struct stuck *f)
{
    (void)f;
    while (!atomic_load(&seen))
        usleep(1000);
    return 0;
}
WEFT_CORO(stuck);

struct watcher {
    WEFT_FRAME;
};
static int watcher(struct watcher *f)
{
    (void)f;
    weft_runtime *rt = weft_runtime_current();
    weft_task *t = weft_create_task(stuck);
    TASK_CHECK(weft_task_set_name(t, "heavy") == 0);
    TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0);
    bool named = false, timed = false;
    for (int i = 0; i < 30000 && !(named && timed); i++) {
        char *text = workers_text(rt);
        char *line = text != NULL ? strstr(text, "runs stuck() in heavy#") : NULL;
        named |= line != NULL;
        double s = 0;
        timed |= line != NULL && sscanf(line, "runs stuck() in heavy#%*u, for %lf s", &s) == 1 && s > 0.02;
        free(text);
        TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0);
    }
    TASK_CHECK(named && timed);
    atomic_store(&seen, true);
    return weft_await_release(t);
}
WEFT_CORO(watcher);

static void test_names_what_another_worker_is_stuck_in(void **state)
{
    (void)state;
    atomic_store(&seen, false);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), watcher), 0);
    assert_tasks_ok();
}

/* ---- while all of it changes ------------------------------------------------------------------------------------- */

#define ROUNDS 300
static struct {
    weft_runtime *rt;
    atomic_bool over;
    atomic_int dumps;
} storm;

struct passes {
    WEFT_FRAME;
    int depth;
};
static int passes(struct passes *f);
WEFT_CORO(passes);
static int passes(struct passes *f)
{
    TASK_CHECK(weft_task_set_name(weft_current_task(), "a name that lies in memory of its own") == 0);
    if (f->depth == 0)
        return weft_yield();
    struct passes below = {.depth = 0};
    weft_child child;
    weft_fork(&child, passes, &below);
    int rc = weft_await_release(weft_create_task(passes, .depth = f->depth - 1));
    int joined = weft_join(&child);
    return rc != 0 ? rc : joined;
}

static void *asks(void *unused)
{
    while (!atomic_load(&storm.over)) {
        TASK_CHECK(says(storm.rt, "worker 2 "));
        atomic_fetch_add(&storm.dumps, 1);
    }
    return unused;
}

struct storms {
    WEFT_FRAME;
};
static int storms(struct storms *f)
{
    (void)f;
    pthread_t askers[2];
    storm.rt = weft_runtime_current();
    for (int i = 0; i < 2; i++)
        TASK_CHECK(pthread_create(&askers[i], NULL, asks, NULL) == 0);
    for (int i = 0; i < ROUNDS || atomic_load(&storm.dumps) < 20; i++) {
        weft_task *t[4];
        for (int k = 0; k < 4; k++)
            t[k] = weft_create_task(passes, .depth = 3);
        TASK_CHECK(weft_gather_n(t, 4) == 0);
        for (int k = 0; k < 4; k++)
            weft_release(t[k]);
    }
    atomic_store(&storm.over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(askers[i], NULL);
    return 0;
}
WEFT_CORO(storms);

static void test_names_come_and_go(void **state)
{
    (void)state;
    atomic_store(&storm.over, false);
    atomic_store(&storm.dumps, 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 3), storms), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_the_innermost),
        cmocka_unit_test(test_names_what_another_worker_is_stuck_in),
        cmocka_unit_test(test_names_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

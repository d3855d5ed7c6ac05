/* SPDX-License-Identifier: Apache-2.0 */
/* tests/testing/test_options_short.c -- tasks with options where memory is short: what cannot be created was never there, for the account and for who
 * walks over all tasks meanwhile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft.h>
#include <weft/testing.h>

struct nothing {
    WEFT_FRAME;
};
static int nothing(struct nothing *f)
{
    (void)f;
    return 0;
}
WEFT_CORO(nothing);

/* ---- each call of a creation fails once ---- */

struct creates {
    WEFT_FRAME;
    int which;
};
static int creates(struct creates *f)
{
    weft_task *t = NULL;
    weft_strand *s;
    switch (f->which) {
    case 0:
        t = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "a name"), nothing);
        break;
    case 1:
        t = weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(0)), nothing);
        break;
    default:
        if ((s = weft_strand_create()) == NULL)
            return -ENOMEM;
        t = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s, .name = "in a strand"), nothing);
        weft_strand_release(s);
    }
    return weft_await_release(t);
}
WEFT_CORO(creates);

static void test_nothing_is_left_of_what_could_not_be_created(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        assert_true(weft_sweep_faults(WEFT_SWEEP(.workers = 1), creates, .which = which) > 0);
        assert_true(weft_sweep_faults(WEFT_SWEEP(.workers = 1, .persistent = 1), creates, .which = which) > 0);
    }
}

/* ---- somebody walks over all tasks meanwhile ---- */

static atomic_bool over;
static atomic_long made, failed;

static int look_at(void *user, weft_task *t)
{
    char name[32];
    (void)user;
    weft_task_name(t, name, sizeof name);
    return 0;
}
struct walks {
    WEFT_FRAME;
};
static int walks(struct walks *f)
{
    int rc = 0;
    (void)f;
    while (!atomic_load(&over) && (rc == 0 || rc == -ENOMEM)) {
        rc = weft_all_tasks(look_at, NULL);
        if (rc == 0 || rc == -ENOMEM)
            rc = weft_yield();
    }
    return rc;
}
WEFT_CORO(walks);

struct makes {
    WEFT_FRAME;
    long n;
};
static int makes(struct makes *f)
{
    int rc = 0;
    for (long i = 0; i < f->n && rc == 0; i++) {
        weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "somebody"), nothing);
        atomic_fetch_add(t != NULL ? &made : &failed, 1);
        if (t != NULL)
            rc = weft_await_release(t);
    }
    return rc;
}
WEFT_CORO(makes);

struct both {
    WEFT_FRAME;
};
static int both(struct both *f)
{
    (void)f;
    weft_task *w = weft_create_task(walks), *m = weft_create_task(makes, .n = 30000);
    int rc = weft_faults_begin("malloc,calloc=ENOMEM@50%", 1);
    if (rc == 0) {
        rc = weft_await(m);
        weft_faults_end();
    }
    atomic_store(&over, true);
    int walked = weft_await_release(w);
    weft_release(m);
    return rc < 0 ? rc : walked;
}
WEFT_CORO(both);

static uint64_t created, finished;
static void at_end(void *user, weft_runtime *rt)
{
    weft_metrics m = {.size = sizeof m};
    (void)user;
    if (weft_metrics_read(rt, -1, &m) == 0) {
        created = m.tasks_created;
        finished = m.tasks_finished;
    }
}

static void test_who_walks_passes_them_by(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .at_end = at_end), both), 0);
    assert_true(atomic_load(&made) > 0 && atomic_load(&failed) > 0);
    assert_true(created > 0 && created == finished);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_left_of_what_could_not_be_created),
        cmocka_unit_test(test_who_walks_passes_them_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

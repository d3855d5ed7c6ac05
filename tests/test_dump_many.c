/* SPDX-License-Identifier: Apache-2.0 */
/* weft_dump_tasks of very many tasks that are alike: their kinds are told at the end. And of what has been released while all still wait for it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/dump.h"

enum { MANY = 25 };

static weft_lock lock;
static weft_semaphore semaphore;

struct locks {
    WEFT_FRAME;
};
static int locks(struct locks *f)
{
    (void)f;
    int rc = weft_lock_acquire(&lock);
    return rc == 0 ? weft_lock_release(&lock) : rc;
}
WEFT_CORO(locks);

struct parks {
    WEFT_FRAME;
};
static int parks(struct parks *f)
{
    (void)f;
    return weft_parked() == 0 ? weft_park_for(WEFT_SEC(5)) : 0;
}
WEFT_CORO(parks);

struct acquires {
    WEFT_FRAME;
};
static int acquires(struct acquires *f)
{
    (void)f;
    return weft_semaphore_acquire(&semaphore);
}
WEFT_CORO(acquires);

static bool all_in(char *text, const char *const *lines, size_t n)
{
    bool found = text != NULL;
    for (size_t i = 0; i < n && found; i++)
        found = dump_has_line(text, lines[i]);
    free(text);
    return found;
}
#define ALL_IN(text, ...)                                                                                              \
    all_in((text), (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

struct asks {
    WEFT_FRAME;
};
static int asks(struct asks *f)
{
    (void)f;
    weft_task *t[MANY], *parked[2];
    TASK_CHECK(weft_lock_acquire(&lock) == 0);
    for (int i = 0; i < MANY; i++)
        t[i] = weft_create_task(locks);
    for (int i = 0; i < 2; i++)
        parked[i] = weft_create_task(parks);
    TASK_CHECK(weft_sleep(1) == 0);
    TASK_CHECK(ALL_IN(dump_text(weft_runtime_current()),
                      "\nin all 28 tasks:\n 25 locks() waits for lock\n 2 parks() parked, sleeps\n"
                      " 1 asks() running: it asks\n"));

    /* One worker, and it is in this task: who has been woken is ready. */
    TASK_CHECK(weft_lock_release(&lock) == 0);
    TASK_CHECK(ALL_IN(dump_text(weft_runtime_current()), "locks() running, or ready to\n",
                      "locks() waits for lock @, which is free (its first waiter is woken, and has still to run), "
                      "24 others wait\n",
                      "\n 24 locks() waits for lock\n", "\n 1 locks() running, or ready to\n"));
    TASK_CHECK(weft_gather_n(t, MANY) == 0 && weft_gather_n(parked, 2) == 0);

    weft_task *first = weft_create_task(acquires), *second;
    TASK_CHECK(weft_sleep(1) == 0);
    TASK_CHECK(weft_semaphore_release(&semaphore) == 0 && weft_semaphore_release(&semaphore) == 0);
    second = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = 1), acquires); /* does not overtake the first */
    char *text = dump_text(weft_runtime_current());
    TASK_CHECK(text != NULL && !dump_says(text, "in all")); /* three are seen at a glance */
    TASK_CHECK(ALL_IN(text, "acquires() waits for semaphore @, 1 free (a waiter is woken, and has still to run), "
                            "1 other waits\n"));
    TASK_CHECK(weft_await_release(first) == 0 && weft_await_release(second) == 0);
    for (int i = 0; i < MANY; i++)
        weft_release(t[i]);
    for (int i = 0; i < 2; i++)
        weft_release(parked[i]);
    return 0;
}
WEFT_CORO(asks);

static void test_kinds_and_what_is_free(void **state)
{
    (void)state;
    lock = (weft_lock)WEFT_LOCK_INIT;
    semaphore = (weft_semaphore)WEFT_SEMAPHORE_INIT(0);
    assert_int_equal(
        weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL, .order = WEFT_ORDER_FIFO), asks), 0);
    assert_tasks_ok();
}

/* ---- a run in which nobody can go on ----------------------------------------------------------------------------- */

static unsigned reported;
static void hear(void *user, const char *line)
{
    (void)user;
    reported += strstr(line, "in all 25 tasks (locks): waits for lock") != NULL;
}

struct hangs {
    WEFT_FRAME;
};
static int hangs(struct hangs *f)
{
    (void)f;
    int rc = weft_lock_acquire(&lock);
    for (int i = 0; i < MANY; i++)
        weft_release(weft_create_task(locks));
    return rc == 0 ? weft_lock_acquire(&lock) : rc;
}
WEFT_CORO(hangs);

static void test_of_a_deadlock(void **state)
{
    (void)state;
    lock = (weft_lock)WEFT_LOCK_INIT;
    assert_int_equal(
        weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL, .debug = 1, .report = hear), hangs),
        -EDEADLK);
    assert_int_equal(reported, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_and_what_is_free),
        cmocka_unit_test(test_of_a_deadlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

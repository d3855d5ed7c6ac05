/* SPDX-License-Identifier: Apache-2.0 */
/* A gatherer lends its worker a stack, and goes on by a return if the chain ends in the same breath (executor/lend.c: lend, run_lent). Here it does not:
 * the stack's task suspends, and ends when its gatherer has lent another one from the same place, or has come to another worker. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

static weft_event event = WEFT_EVENT_INIT;
static weft_task *gatherer;
static _Atomic(int) begun, waits;

struct plain {
    WEFT_FRAME;
    int rc;
};
static int plain(struct plain *f)
{
    return f->rc;
}
WEFT_CORO(plain);

struct waiter {
    WEFT_FRAME;
};
static int waiter(struct waiter *f)
{
    (void)f;
    return weft_event_wait(&event);
}
WEFT_CORO(waiter);

/* On the second lent stack: lets the first one's task end, has the gatherer go on, and sleeps on. */
struct disturber {
    WEFT_FRAME;
};
static int disturber(struct disturber *f)
{
    (void)f;
    volatile char stack[4096];
    memset((void *)(uintptr_t)stack, 0x5a, sizeof stack);
    weft_event_set(&event);
    weft_cancel(gatherer);
    TASK_CHECK(weft_sleep(WEFT_MS(50)) == -ECANCELED); /* the gather passes the request on */
    TASK_CHECK(weft_sleep(WEFT_MS(50)) == 0);
    for (size_t i = 0; i < sizeof stack; i++)
        TASK_CHECK(stack[i] == 0x5a);
    return 0;
}
WEFT_CORO(disturber);

/* Takes a stack that lies ready, and uses it. */
struct user {
    WEFT_FRAME;
};
static int user(struct user *f)
{
    (void)f;
    volatile char stack[8192];
    memset((void *)(uintptr_t)stack, 0x11, sizeof stack);
    return weft_sleep(WEFT_MS(10)) + (stack[17] - 0x11);
}
WEFT_CORO(user);

struct twice {
    WEFT_FRAME;
};
static int twice(struct twice *f)
{
    (void)f;
    gatherer = weft_current_task();
    weft_task *t[3], *kept = weft_create_task(waiter), *second[2] = {NULL, NULL}, *users[8];
    for (int k = 0; k < 2; k++) { /* from one place of the code, so from one address */
        if (k == 0) {
            t[0] = weft_create_task(plain);
            t[1] = kept;
            t[2] = weft_create_task(plain, .rc = -EIO);
        } else {
            weft_release(t[0]);
            weft_release(t[2]);
            second[0] = weft_create_task(disturber);
            second[1] = weft_create_task(disturber);
            t[0] = t[2] = second[0];
            t[1] = second[1];
        }
        TASK_CHECK(weft_gather_n(t, 3) == (k == 0 ? -EIO : -ECANCELED));
    }
    weft_uncancel(gatherer);
    for (int i = 0; i < 8; i++)
        users[i] = weft_create_task(user);
    for (int i = 0; i < 8; i++)
        TASK_CHECK(weft_await_release(users[i]) == 0);
    for (int i = 0; i < 2; i++)
        (void)weft_await_release(second[i]);
    weft_release(kept);
    return 0;
}
WEFT_CORO(twice);
static void test_lent_again_from_the_same_place(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), twice), 0);
    assert_tasks_ok();
}

/* ---- two workers ---- */

static void spin(weft_ns duration)
{
    for (weft_ns end = weft_now() + duration; weft_now() < end;)
        ;
}
struct spinner {
    WEFT_FRAME;
};
static int spinner(struct spinner *f)
{
    (void)f;
    spin(WEFT_MS(5));
    return 0;
}
WEFT_CORO(spinner);
struct raided {
    WEFT_FRAME;
};
static int raided(struct raided *f)
{
    (void)f;
    atomic_store(&begun, 1);
    while (!atomic_load(&waits))
        ;
    usleep(1000);
    weft_event_set(&event);
    return 0;
}
WEFT_CORO(raided);
struct stayer {
    WEFT_FRAME;
};
static int stayer(struct stayer *f)
{
    (void)f;
    weft_release(weft_create_task(spinner));
    weft_release(weft_create_task(spinner));
    while (!atomic_load(&begun)) /* the other worker has come for the second task, and the gather's entry behind it */
        ;
    atomic_store(&waits, 1);
    return weft_event_wait(&event);
}
WEFT_CORO(stayer);
struct moved {
    WEFT_FRAME;
};
static int moved(struct moved *f)
{
    (void)f;
    for (int i = 0; i < 20; i++) {
        atomic_store(&begun, 0);
        atomic_store(&waits, 0);
        weft_event_clear(&event);
        weft_task *a = weft_create_task(stayer), *b = weft_create_task(raided);
        TASK_CHECK(weft_gather(a, b) == 0);
        weft_release(a);
        weft_release(b);
        for (int k = 0; k < 10; k++)
            TASK_CHECK(weft_yield() == 0);
        TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0);
    }
    return 0;
}
WEFT_CORO(moved);
static void no_report(void *unused, const char *line)
{
    (void)unused;
    (void)line;
}
static void test_back_on_another_worker(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .report = no_report), moved), 0);
    assert_tasks_ok();
}

/* ---- many gatherers, on several workers ---- */

struct child {
    WEFT_FRAME;
    unsigned what;
};
static int child(struct child *f)
{
    switch (f->what % 7) {
    case 0:
        return weft_yield();
    case 1:
        return weft_sleep(WEFT_US(f->what % 90));
    case 2:
        return -EIO;
    case 3:
        spin(WEFT_US(f->what % 60));
        return 0;
    default:
        return 0;
    }
}
WEFT_CORO(child);
struct party {
    WEFT_FRAME;
    unsigned seed;
};
static int party(struct party *f)
{
    unsigned x = f->seed;
    for (unsigned round = 0; round < 150; round++) {
        weft_task *t[6];
        unsigned n = 2 + round % 5;
        bool fails = false;
        for (unsigned i = 0; i < n; i++) {
            x = x * 1664525 + 1013904223;
            fails |= (x >> 8) % 7 == 2;
            t[i] = weft_create_task(child, .what = x >> 8);
        }
        int rc = weft_gather_n(t, n);
        TASK_CHECK(rc == (fails ? -EIO : 0));
        for (unsigned i = 0; i < n; i++) {
            (void)weft_await(t[i]);
            weft_release(t[i]);
        }
    }
    return 0;
}
WEFT_CORO(party);
struct parties {
    WEFT_FRAME;
};
static int parties(struct parties *f)
{
    (void)f;
    weft_task *t[8];
    for (unsigned i = 0; i < 8; i++)
        t[i] = weft_create_task(party, .seed = i * 7919 + 1);
    for (unsigned i = 0; i < 8; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    return 0;
}
WEFT_CORO(parties);
static void test_many(void **state)
{
    (void)state;
    static const unsigned workers[] = {1, 2, 3, 8};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers[i], .report = no_report), parties), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lent_again_from_the_same_place),
        cmocka_unit_test(test_back_on_another_worker),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

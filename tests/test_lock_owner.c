/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds a lock, as weft_dump_tasks tells it with the option debug: however it was taken; nobody, once it is given back; and nothing without debug. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/dump.h"

static struct {
    weft_lock lock;
    weft_condition condition;
    weft_event give_back;
} on;

static bool told(const char *wanted)
{
    char *text = dump_text(weft_runtime_current());
    bool found = text != NULL && dump_has_line(text, wanted);
    free(text);
    return found;
}

enum how { FREE, AFTER_A_WAIT, TRIED, IN_A_CHILD, FROM_A_CONDITION, FOR_EVER };

struct kid {
    WEFT_FRAME;
};
static int kid(struct kid *f)
{
    (void)f;
    return weft_lock_acquire(&on.lock);
}
WEFT_CORO(kid);

struct holds {
    WEFT_FRAME;
    enum how how;
};
static int holds(struct holds *f)
{
    struct kid frame = {0};
    weft_child child;
    int rc;
    if (f->how == TRIED) {
        rc = weft_lock_try_acquire(&on.lock);
    } else if (f->how == IN_A_CHILD) {
        weft_fork(&child, kid, &frame);
        rc = weft_join(&child);
    } else {
        rc = weft_lock_acquire(&on.lock);
    }
    if (rc == 0 && f->how == FROM_A_CONDITION)
        rc = weft_condition_wait(&on.condition);
    if (rc != 0 || f->how == FOR_EVER)
        return rc;
    rc = weft_event_wait(&on.give_back);
    int released = weft_lock_release(&on.lock);
    return rc != 0 ? rc : released;
}
WEFT_CORO(holds);

struct waits {
    WEFT_FRAME;
};
static int waits(struct waits *f)
{
    (void)f;
    int rc = weft_lock_acquire(&on.lock);
    return rc == 0 ? weft_lock_release(&on.lock) : rc;
}
WEFT_CORO(waits);

/* Until everybody waits: on the virtual clock. */
static int settle(void)
{
    return weft_sleep(WEFT_MS(1));
}

struct all {
    WEFT_FRAME;
    bool debug;
};
static int all(struct all *f)
{
    const char *by = f->debug ? "waits() waits for lock @, which is held by holder# (holds)"
                              : "waits() waits for lock @, which is held\n";
    for (enum how how = FREE; how <= FROM_A_CONDITION; how++) {
        on.lock = (weft_lock)WEFT_LOCK_INIT;
        on.condition = (weft_condition)WEFT_CONDITION_INIT(&on.lock);
        weft_event_init(&on.give_back);
        if (how == AFTER_A_WAIT)
            TASK_CHECK(weft_lock_acquire(&on.lock) == 0);
        weft_task *h = weft_create_task(holds, .how = how);
        TASK_CHECK(weft_task_set_name(h, "holder") == 0 && settle() == 0);
        if (how == AFTER_A_WAIT) {
            TASK_CHECK(told(f->debug ? "holds() waits for lock @, which is held by Task-1 (all)"
                                     : "holds() waits for lock @, which is held\n"));
            TASK_CHECK(weft_lock_release(&on.lock) == 0);
        }
        if (how == FROM_A_CONDITION) { /* it has given it back meanwhile, and so has whoever notifies */
            TASK_CHECK(weft_lock_acquire(&on.lock) == 0 && weft_condition_notify(&on.condition, 1) == 0);
            TASK_CHECK(settle() == 0);
            TASK_CHECK(told(f->debug ? "holds() waits for lock @, which is held by Task-1 (all)"
                                     : "holds() waits for lock @, which is held\n"));
            TASK_CHECK(weft_lock_release(&on.lock) == 0);
        }
        TASK_CHECK(settle() == 0);
        weft_task *w = weft_create_task(waits);
        TASK_CHECK(settle() == 0 && told(by));
        weft_event_set(&on.give_back);
        TASK_CHECK(weft_await_release(h) == 0 && weft_await_release(w) == 0);
    }
    /* One that ended with it; and one that nobody in debug mode has taken. */
    on.lock = (weft_lock)WEFT_LOCK_INIT;
    TASK_CHECK(weft_await_release(weft_create_task(holds, .how = FOR_EVER)) == 0);
    weft_task *w = weft_create_task(waits);
    TASK_CHECK(settle() == 0);
    TASK_CHECK(!f->debug || (told("which is held by Task-") && told(", which has ended or just begun")));
    TASK_CHECK(weft_lock_release(&on.lock) == 0 && weft_await_release(w) == 0);
    on.lock = (weft_lock)WEFT_LOCK_INIT;
    return 0;
}
WEFT_CORO(all);

static void test_says_who_holds_it(void **state)
{
    (void)state;
    for (unsigned debug = 0; debug < 2; debug++) {
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL, .debug = debug), all,
                                       .debug = debug != 0),
                         0);
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 3, .clock = WEFT_CLOCK_VIRTUAL, .debug = debug), all,
                                       .debug = debug != 0),
                         0);
        assert_tasks_ok();
    }
}

/* Two locks, two tasks, one after the other each: the report of a run that can't go on tells it all. */
static weft_lock left, right;
struct crosses {
    WEFT_FRAME;
    weft_lock *first, *second;
};
static int crosses(struct crosses *f)
{
    TASK_CHECK(weft_lock_acquire(f->first) == 0 && weft_sleep(WEFT_MS(1)) == 0);
    return weft_lock_acquire(f->second);
}
WEFT_CORO(crosses);

struct deadly {
    WEFT_FRAME;
};
static int deadly(struct deadly *f)
{
    (void)f;
    weft_task *t[2] = {weft_create_task(crosses, .first = &left, .second = &right),
                       weft_create_task(crosses, .first = &right, .second = &left)};
    TASK_CHECK(weft_task_set_name(t[0], "one") == 0 && weft_task_set_name(t[1], "other") == 0);
    return weft_gather_n(t, 2);
}
WEFT_CORO(deadly);

static char said[2048];
static void take_report(void *user, const char *line)
{
    (void)user;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", line);
}

static void test_a_deadlock_is_told_whole(void **state)
{
    (void)state;
    left = right = (weft_lock)WEFT_LOCK_INIT;
    assert_int_equal(
        weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL, .debug = 1, .report = take_report),
                      deadly),
        -EDEADLK);
    assert_true(dump_has_line(said, "task \"one#\" (crosses) waits for lock @, which is held by other# (crosses)"));
    assert_true(dump_has_line(said, "task \"other#\" (crosses) waits for lock @, which is held by one# (crosses)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_who_holds_it),
        cmocka_unit_test(test_a_deadlock_is_told_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

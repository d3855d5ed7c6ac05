/* SPDX-License-Identifier: Apache-2.0 */
/* What a sweep, a plan of faults and their reports must not pass over: a run in which nobody can go on, a rule after a rule, a word that is no name, a
 * program's name that a shell would take apart, and tasks that leave themselves out where nobody sweeps. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft.h>
#include <weft/testing.h>

#include "lock_pair.h"

static char said[8192];
static void keep(void *user, const char *line)
{
    (void)user;
    size_t at = strlen(said);
    snprintf(said + at, sizeof said - at, "%s\n", line);
}

static int begin(void **state)
{
    (void)state;
    said[0] = '\0';
    return 0;
}

/* ---- nobody can go on ----------------------------------------------------------------------------------------------- */

static weft_event news;
static int fd = -1;
static void anew(void *user)
{
    (void)user;
    if (fd >= 0)
        close(fd);
    fd = -1;
    news = (weft_event)WEFT_EVENT_INIT;
}

struct teller {
    WEFT_FRAME;
    bool never;
};
static int teller(struct teller *f)
{
    void *memory = malloc(16);
    if (memory == NULL)
        return -ENOMEM; /* the fault: who waits is not told */
    free(memory);
    if (!f->never)
        weft_event_set(&news);
    return 0;
}
WEFT_CORO(teller);

struct waits {
    WEFT_FRAME;
    bool never;
};
static int waits(struct waits *f)
{
    weft_task *t = weft_create_task(teller, .never = f->never);
    if (t == NULL)
        return -ENOMEM;
    fd = dup(STDIN_FILENO); /* what is open while it waits is not what is wrong */
    int rc = weft_event_wait(&news);
    close(fd);
    fd = -1;
    int told = weft_await_release(t);
    return rc < 0 ? rc : told;
}
WEFT_CORO(waits);

static const char *anything(void *user, const weft_test_run *run)
{
    (void)user, (void)run;
    return NULL;
}

static void test_a_fault_after_which_nobody_can_go_on(void **state)
{
    (void)state;
    long rc = weft_sweep_faults(WEFT_SWEEP(.workers = 1, .calls = "malloc", .before = anew, .report = keep), waits);
    assert_int_equal(rc, -EPROTO);
    assert_non_null(strstr(said, "fails: malloc, ENOMEM: nobody could go on (-EDEADLK)\n"));
    assert_non_null(strstr(said, "WEFT_SWEEP=waits:fault:1:0:0:malloc@teller#1\n"));
    assert_non_null(strstr(said, "    nothing can go on: 1 tasks wait, and nobody is left to wake them\n"));
    assert_non_null(strstr(said, "    task \"Task-1\" (waits) waits for event "));
    assert_null(strstr(said, "descriptor"));
    /* A test that knows better says so. */
    said[0] = '\0';
    rc = weft_sweep_faults(
        WEFT_SWEEP(.workers = 1, .calls = "malloc", .before = anew, .after = anything, .report = keep), waits);
    assert_true(rc > 0);
    assert_string_equal(said, "");
    anew(NULL);
}

static void test_an_undisturbed_run_in_which_nobody_can_go_on(void **state)
{
    (void)state;
    const weft_sweep *o = WEFT_SWEEP(.workers = 1, .before = anew, .report = keep);
    assert_int_equal(weft_sweep_faults(o, waits, .never = true), -EPROTO);
    assert_non_null(strstr(said, "1 workers, undisturbed: nobody could go on (-EDEADLK)\n"));
    said[0] = '\0';
    assert_int_equal(weft_sweep_cancel(o, waits, .never = true), -EPROTO);
    assert_non_null(strstr(said, "1 workers, undisturbed: nobody could go on (-EDEADLK)\n"));
    said[0] = '\0';
    o = WEFT_SWEEP(.workers = 1, .calls = "malloc", .before = anew, .after = anything, .report = keep);
    assert_true(weft_sweep_faults(o, waits, .never = true) > 0);
    assert_string_equal(said, "");
    anew(NULL);
}

static void test_an_explored_deadlock_is_called_by_its_name(void **state)
{
    (void)state;
    int rc = weft_explore(WEFT_EXPLORE(.runs = 1, .as_found = 1, .before = anew, .report = keep), waits, .never = true);
    assert_int_equal(rc, 1);
    assert_non_null(strstr(said, weft_strerror(-EDEADLK)));
    assert_null(strstr(said, "descriptor"));
    anew(NULL);
}

/* Who hangs on what is told, whatever mode the program runs in. */
static weft_lock lock_a, lock_b;
static void anew_locks(void *user)
{
    (void)user;
    weft_lock_init(&lock_a);
    weft_lock_init(&lock_b);
}

struct crosswise {
    WEFT_FRAME;
};
static int crosswise(struct crosswise *f)
{
    (void)f;
    weft_task *x = weft_create_task(pair, .first = &lock_a, .second = &lock_b);
    weft_task *y = weft_create_task(pair, .first = &lock_b, .second = &lock_a);
    int rc = weft_gather(x, y);
    weft_release(x);
    weft_release(y);
    return rc;
}
WEFT_CORO(crosswise);

static void test_an_explored_deadlock_names_the_locks(void **state)
{
    (void)state;
    weft_explored found;
    char line[128];
    assert_int_equal(weft_explore(WEFT_EXPLORE(.before = anew_locks, .report = keep, .found = &found), crosswise), 1);
    for (int again = 0; again < 2; again++) { /* also of that schedule alone */
        assert_non_null(strstr(said, "    nothing can go on: 3 tasks wait"));
        assert_non_null(strstr(said, "    task \"Task-1\" (crosswise) waits for gather: 2 of 2 tasks"));
        for (int which = 0; which < 2; which++) {
            snprintf(line, sizeof line, "(pair) waits for lock %p, which is held by Task-",
                     which == 0 ? (void *)&lock_a : (void *)&lock_b);
            assert_non_null(strstr(said, line));
        }
        said[0] = '\0';
        if (again == 0)
            assert_int_equal(
                weft_explore(WEFT_EXPLORE(.schedule = found.schedule, .before = anew_locks, .report = keep), crosswise),
                1);
    }
    free(found.schedule);
}

/* Cancelled in its sleep the courier brings no news. */
struct courier {
    WEFT_FRAME;
};
static int courier(struct courier *f)
{
    (void)f;
    int rc = weft_sleep(WEFT_MS(1));
    if (rc == 0)
        weft_event_set(&news);
    return rc;
}
WEFT_CORO(courier);

struct expects {
    WEFT_FRAME;
    unsigned couriers;
};
static int expects(struct expects *f)
{
    weft_task *t[30];
    for (unsigned i = 0; i < f->couriers; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "jim"), courier);
    int rc = weft_event_wait(&news);
    for (unsigned i = 0; i < f->couriers; i++) {
        if (rc < 0)
            (void)weft_await_release(t[i]);
        else
            rc = weft_await_release(t[i]);
    }
    return rc;
}
WEFT_CORO(expects);

static void test_a_cancellation_after_which_nobody_can_go_on(void **state)
{
    (void)state;
    const weft_sweep *o = WEFT_SWEEP(.workers = 1, .victims = WEFT_VICTIM_SELF, .before = anew, .report = keep);
    assert_int_equal(weft_sweep_cancel(o, expects, .couriers = 1), -EPROTO);
    assert_non_null(strstr(said, "the task itself cancelled: nobody could go on (-EDEADLK)\n"
                                 "    cancelled: jim#2 (courier), at its wait \"sleep\"\n"
                                 "    nothing can go on: 1 tasks wait, and nobody is left to wake them\n"
                                 "    task \"Task-1\" (expects) waits for event "));
}

/* Wait for what never comes. */
struct stands {
    WEFT_FRAME;
};
static int stands(struct stands *f)
{
    (void)f;
    return weft_event_wait(&news);
}
WEFT_CORO(stands);

struct all_stand {
    WEFT_FRAME;
    unsigned others;
};
static int all_stand(struct all_stand *f)
{
    for (unsigned i = 0; i < f->others; i++)
        weft_release(weft_create_task(stands));
    return weft_event_wait(&news);
}
WEFT_CORO(all_stand);

static void two_stand_in_debug_mode(void)
{
    (void)weft_run_with(WEFT_OPTIONS(.debug = 1), all_stand, .others = 1);
}
static void many_stand(void)
{
    (void)weft_run(all_stand, .others = 29);
}

static void test_the_whole_report_is_told_once(void **state)
{
    (void)state;
    const weft_sweep *o = WEFT_SWEEP(.workers = 1, .before = anew, .report = keep);
    assert_int_equal(weft_sweep_cancel_program(o, "two", two_stand_in_debug_mode), -EPROTO);
    assert_non_null(strstr(said, "two, 1 workers, undisturbed: nobody could go on (-EDEADLK)\n"
                                 "    nothing can go on: 2 tasks wait, and nobody is left to wake them\n"
                                 "    task \"Task-1\" (all_stand) waits for event "));
    const char *second = strstr(said, "    task \"Task-2\" (stands) waits for event ");
    assert_non_null(second);
    assert_null(strstr(strchr(second, '\n'), "waits for event"));
    /* Of many, some. */
    said[0] = '\0';
    assert_int_equal(weft_sweep_cancel_program(o, "many", many_stand), -EPROTO);
    assert_non_null(strstr(said, "    nothing can go on: 30 tasks wait"));
    assert_non_null(strstr(said, "    task \"Task-19\" (stands) waits for event "));
    assert_null(strstr(said, "Task-20"));
    assert_non_null(strstr(said, "    and 11 more\n    in all 29 tasks (stands): waits for event\n"));
}

/* ---- rules after rules ---------------------------------------------------------------------------------------------- */

static void test_each_rule_draws_for_itself(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        unsigned first = 0, second = 0;
        assert_int_equal(weft_faults_begin("socket=EMFILE@20% socket=ENFILE@20%", seed), 0);
        for (int i = 0; i < 1000; i++) {
            int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            first += s < 0 && errno == EMFILE;
            second += s < 0 && errno == ENFILE;
            if (s >= 0)
                close(s);
        }
        weft_faults_end();
        assert_in_range(first, 140, 260);  /* 200, more or less */
        assert_in_range(second, 100, 220); /* 20% of the other 800 */
    }
}

/* ---- tasks of the test ---------------------------------------------------------------------------------------------- */

struct apart {
    WEFT_FRAME;
};
static int apart(struct apart *f)
{
    (void)f;
    weft_sweep_leave_out();
    weft_sweep_leave_out(); /* once more is no more */
    return weft_sleep(WEFT_MS(1));
}
WEFT_CORO(apart);

enum { MANY = 40 };
struct crowd {
    WEFT_FRAME;
    int n;
};
static int crowd(struct crowd *f)
{
    weft_task *t[MANY];
    int rc = 0;
    for (int i = 0; i < f->n; i++)
        t[i] = weft_create_task(apart);
    for (int i = 0; i < f->n; i++) {
        int ended = weft_await_release(t[i]);
        rc = rc < 0 ? rc : ended;
    }
    return rc;
}
WEFT_CORO(crowd);

static void test_to_leave_out_is_for_sweeps(void **state)
{
    (void)state;
    const weft_options *o = WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL);
    for (int round = 0; round < 2; round++) { /* before a sweep, and after it */
        assert_int_equal(weft_run_with(o, crowd, .n = MANY), 0);
        assert_int_equal(weft_explore(WEFT_EXPLORE(.runs = MANY, .report = keep), apart), 0);
        assert_string_equal(said, "");
        assert_true(weft_sweep_cancel(WEFT_SWEEP(.workers = 1, .report = keep), crowd, .n = 16) > 0);
        assert_string_equal(said, "");
        assert_int_equal(weft_sweep_cancel(WEFT_SWEEP(.workers = 1, .report = keep), crowd, .n = 17), -EPROTO);
        assert_non_null(strstr(said, "at most 16 tasks leave themselves out"));
        said[0] = '\0';
    }
}

/* ---- what is reported ----------------------------------------------------------------------------------------------- */

static char *forgotten; /* freed by the test: leak checkers have nothing to say */
struct forgets {
    WEFT_FRAME;
};
static int forgets(struct forgets *f)
{
    (void)f;
    free(forgotten);
    forgotten = malloc(16);
    char *second = malloc(16);
    if (second == NULL)
        return -ENOMEM; /* the fault: the first is left */
    free(second);
    free(forgotten);
    forgotten = NULL;
    return 0;
}
WEFT_CORO(forgets);
static void run_forgets(void)
{
    (void)weft_run(forgets);
}

static void test_the_line_is_quoted_for_the_shell(void **state)
{
    (void)state;
    const weft_sweep *o = WEFT_SWEEP(.workers = 1, .calls = "malloc", .report = keep);
    static const char name[] = "Tom's server";
    assert_int_equal(weft_sweep_faults_program(o, name, run_forgets), -EPROTO);
    assert_non_null(strstr(said, "alone: WEFT_SWEEP='Tom'\\''s server:fault:1:0:0:malloc@main#2'\n"));
    /* and what the shell makes of it is that run */
    setenv("WEFT_SWEEP", "Tom's server:fault:1:0:0:malloc@main#2", 1);
    assert_int_equal(weft_sweep_faults_program(o, name, run_forgets), -EPROTO);
    unsetenv("WEFT_SWEEP");
    said[0] = '\0'; /* nothing is quoted that need not be */
    assert_int_equal(weft_sweep_faults(o, forgets), -EPROTO);
    assert_non_null(strstr(said, "alone: WEFT_SWEEP=forgets:fault:1:0:0:malloc@main#2\n"));
    free(forgotten);
    forgotten = NULL;
}

static void test_a_word_that_is_no_name(void **state)
{
    (void)state;
    static char longest[600];
    memset(longest, 'x', sizeof longest - 1);
    const struct {
        const char *calls, *faults, *word;
    } wrong[] = {
        {"malloc,recieve,send", NULL, "forgets: 'recieve' in the option .calls"},
        {"", NULL, "forgets: '' in the option .calls"},
        {longest, NULL, "xxx' in the option .calls"},
        {"malloc", "ENOMEM|ENOMEN", "forgets: 'ENOMEN' in the option .faults"},
        {NULL, longest, "xxx' in the option .faults"},
        {"mallok", "ENOMEN", "forgets: 'mallok' in the option .calls"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const weft_sweep *o = WEFT_SWEEP(.calls = wrong[i].calls, .faults = wrong[i].faults, .report = keep);
        said[0] = '\0';
        assert_int_equal(weft_sweep_faults(o, forgets), -EINVAL);
        assert_non_null(strstr(said, wrong[i].word));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_fault_after_which_nobody_can_go_on, begin),
        cmocka_unit_test_setup(test_an_undisturbed_run_in_which_nobody_can_go_on, begin),
        cmocka_unit_test_setup(test_an_explored_deadlock_is_called_by_its_name, begin),
        cmocka_unit_test_setup(test_an_explored_deadlock_names_the_locks, begin),
        cmocka_unit_test_setup(test_a_cancellation_after_which_nobody_can_go_on, begin),
        cmocka_unit_test_setup(test_the_whole_report_is_told_once, begin),
        cmocka_unit_test_setup(test_each_rule_draws_for_itself, begin),
        cmocka_unit_test_setup(test_to_leave_out_is_for_sweeps, begin),
        cmocka_unit_test_setup(test_the_line_is_quoted_for_the_shell, begin),
        cmocka_unit_test_setup(test_a_word_that_is_no_name, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

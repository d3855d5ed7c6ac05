/* SPDX-License-Identifier: Apache-2.0 */
/* libweft_testing itself: each of its tools finds what it is for, and says so; and finds nothing in a program that is right. */
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

/* ---- cancel everywhere --------------------------------------------------------------------------------------------- */

struct child {
    WEFT_FRAME;
    weft_lock *lock;
    int ms;
};
static int child(struct child *f)
{
    int rc = weft_lock_acquire(f->lock);
    if (rc < 0)
        return rc;
    rc = weft_sleep(WEFT_MS(f->ms));
    weft_lock_release(f->lock);
    return rc;
}
WEFT_CORO(child);

struct sound {
    WEFT_FRAME;
    int ms;
};
static int sound(struct sound *f)
{
    weft_lock lock = WEFT_LOCK_INIT;
    weft_group g;
    int rc = weft_group_begin(&g);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = weft_group_start(&g, child, .lock = &lock, .ms = f->ms);
    rc = weft_group_join(&g, rc);
    if (rc == 0)
        rc = weft_sleep(WEFT_MS(1));
    return rc;
}
WEFT_CORO(sound);

static void test_cancel_finds_nothing_in_a_sound_program(void **state)
{
    (void)state;
    long runs = weft_sweep_cancel(WEFT_SWEEP(.report = keep), sound, .ms = 3);
    assert_string_equal(said, "");
    assert_in_range(runs, 60, 200); /* about 7 waits, 2 victims, 2 landings, 3 numbers of workers */
}

struct leaky {
    WEFT_FRAME;
    int what;
};
static char *forgotten; /* what it leaves is freed by the test: leak checkers have nothing to say */
static int leaky(struct leaky *f)
{
    free(forgotten);
    char *memory = forgotten = f->what == 0 ? malloc(100) : NULL;
    int fd = f->what == 1 ? dup(0) : -1;
    weft_task *t = f->what == 2 ? weft_create_task(sound, .ms = 1) : NULL;
    int rc = weft_sleep(WEFT_MS(1));
    if (rc < 0 && f->what != 3)
        return rc; /* the fault of these */
    if (f->what == 3)
        weft_expect(rc == 0);
    free(memory);
    forgotten = NULL;
    if (fd >= 0)
        close(fd);
    if (t != NULL)
        rc = weft_await_release(t);
    return f->what == 4 && rc < 0 ? -EIO : rc;
}
WEFT_CORO(leaky);

static void test_cancel_finds_what_is_left(void **state)
{
    (void)state;
    static const char *const what[] = {"memory was left", "descriptor was left", "handle was not released",
                                       "this must hold: rc == 0"};
    for (int i = 0; i < 4; i++) {
        said[0] = '\0';
        long rc = weft_sweep_cancel(WEFT_SWEEP(.workers = 1, .report = keep), leaky, .what = i);
        assert_int_equal(rc, -EPROTO);
        assert_non_null(strstr(said, what[i]));
        assert_non_null(strstr(said, "WEFT_SWEEP=leaky:cancel:1:1:0:1\n"));
    }
    free(forgotten);
    forgotten = NULL;
}

static void test_one_run_alone(void **state)
{
    (void)state;
    setenv("WEFT_SWEEP", "leaky:cancel:1:1:0:1", 1);
    assert_int_equal(weft_sweep_cancel(WEFT_SWEEP(.report = keep), leaky, .what = 1), -EPROTO);
    assert_non_null(strstr(said, "wait 1, before the switch, the task itself"));
    setenv("WEFT_SWEEP", "leaky:cancel:1:1:1:2", 1); /* there is no second wait */
    said[0] = '\0';
    assert_int_equal(weft_sweep_cancel(WEFT_SWEEP(.report = keep), leaky, .what = 1), 1);
    assert_non_null(strstr(said, "wait 2 of WEFT_SWEEP=leaky:cancel:1:1:1:2 was not reached"));
    /* What is no run of this coroutine is refused; what is about another one is told. */
    static const char *const wrong[] = {"leaky:",
                                        "leaky:cancel",
                                        "leaky:cancels:1:1:0:1",
                                        "leaky:cancel:1:1:0",
                                        "leaky:cancel:1:1:0:1x",
                                        "leaky:cancel:0:1:0:1",
                                        "leaky:cancel:1:3:0:1",
                                        "leaky:cancel:1:1:2:1",
                                        "leaky:fault:1:1:1:z"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        said[0] = '\0';
        setenv("WEFT_SWEEP", wrong[i], 1);
        assert_int_equal(weft_sweep_cancel(WEFT_SWEEP(.report = keep), leaky, .what = 1), -EINVAL);
        assert_non_null(strstr(said, wrong[i]));
    }
    said[0] = '\0';
    setenv("WEFT_SWEEP", "nonsense", 1);
    assert_int_equal(weft_sweep_cancel(WEFT_SWEEP(.workers = 1, .report = keep), leaky, .what = 1), -EPROTO);
    assert_non_null(strstr(said, "leaky: all of it is run: WEFT_SWEEP=nonsense is about another"));
    unsetenv("WEFT_SWEEP");
}

/* ---- fail everywhere ------------------------------------------------------------------------------------------------ */

struct talk {
    WEFT_FRAME;
    bool forgets;
};
static int talk(struct talk *f)
{
    int fds[2];
    weft_stream *a = NULL, *b = NULL;
    char *line = malloc(32);
    if (line == NULL)
        return -ENOMEM;
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ? 0 : -EMFILE;
    if (rc < 0)
        goto out;
    if ((rc = weft_stream_adopt(&a, fds[0])) < 0) {
        close(fds[0]);
        if (!f->forgets)
            close(fds[1]);
        goto out;
    }
    if ((rc = weft_stream_adopt(&b, fds[1])) < 0) {
        close(fds[1]);
        goto out;
    }
    rc = weft_write(a, "hello\n", 6);
    ssize_t n = rc == 0 ? weft_read_until(b, '\n', line, 32) : 0;
    rc = n < 0 ? (int)n : rc;
out:
    weft_close(b);
    weft_close(a);
    free(line);
    return rc;
}
WEFT_CORO(talk);

/* Two tasks that wait for each other's bytes. */
struct echo {
    WEFT_FRAME;
    weft_stream *stream;
};
static int echo(struct echo *f)
{
    char c;
    ssize_t n = weft_read_exactly(f->stream, &c, 1);
    return n == 1 ? weft_write(f->stream, &c, 1) : (int)n;
}
WEFT_CORO(echo);
struct exchange {
    WEFT_FRAME;
};
static int exchange(struct exchange *f)
{
    (void)f;
    int fds[2], rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ? 0 : -EMFILE;
    if (rc < 0)
        return rc;
    weft_stream *stream[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        int adopted = weft_stream_adopt(&stream[i], fds[i]);
        if (adopted < 0) {
            close(fds[i]);
            rc = adopted;
        }
    }
    weft_group g;
    if (rc == 0 && (rc = weft_group_begin(&g)) == 0) {
        char c = 'x';
        rc = weft_group_start(&g, echo, .stream = stream[1]);
        rc = rc == 0 ? weft_write(stream[0], &c, 1) : rc;
        ssize_t n = rc == 0 ? weft_read_exactly(stream[0], &c, 1) : 0;
        rc = weft_group_join(&g, n < 0 ? (int)n : rc);
    }
    weft_close(stream[0]);
    weft_close(stream[1]);
    return rc;
}
WEFT_CORO(exchange);

static void test_faults_find_nothing_in_a_sound_program(void **state)
{
    (void)state;
    long runs = weft_sweep_faults(WEFT_SWEEP(.report = keep), talk);
    assert_string_equal(said, "");
    assert_true(runs > 60);
    runs = weft_sweep_faults(WEFT_SWEEP(.report = keep, .persistent = 1, .workers = 2), talk);
    assert_string_equal(said, "");
    assert_true(runs > 20);
    runs = weft_sweep_faults(WEFT_SWEEP(.report = keep, .persistent = 1, .workers = 1), exchange);
    assert_string_equal(said, "");
    assert_true(runs > 20);
}

static void test_faults_find_a_forgotten_descriptor(void **state)
{
    (void)state;
    long rc = weft_sweep_faults(WEFT_SWEEP(.workers = 1, .report = keep, .calls = "epoll_ctl"), talk, .forgets = true);
    assert_int_equal(rc, -EPROTO);
    assert_non_null(strstr(said, "a descriptor was left open"));
    assert_non_null(strstr(said, "epoll_ctl, ENOMEM"));
}

static void test_one_kind_of_fault(void **state)
{
    (void)state;
    long runs =
        weft_sweep_faults(WEFT_SWEEP(.workers = 1, .report = keep, .calls = "recv", .faults = "ECONNRESET"), talk);
    assert_string_equal(said, "");
    assert_int_equal(runs, 1);
    assert_int_equal(weft_sweep_faults(WEFT_SWEEP(.calls = "nonsense"), talk), -EINVAL);
}

/* ---- faults by a plan ---------------------------------------------------------------------------------------------- */

struct many {
    WEFT_FRAME;
};
static int many(struct many *f)
{
    (void)f;
    int rc = 0;
    for (int i = 0; i < 200 && rc == 0; i++)
        rc = talk(&(struct talk){.forgets = false});
    return rc;
}
WEFT_CORO(many);

static void test_a_program_does_not_notice_what_is_transparent(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        assert_int_equal(weft_faults_begin("transparent", seed), 0);
        assert_int_equal(weft_faults_begin("transparent", seed), -EBUSY);
        int rc = weft_run_with(WEFT_OPTIONS(.workers = 2), many);
        weft_faults_end();
        assert_int_equal(rc, 0);
        assert_true(weft_faults_made() > 20);
    }
}

static void test_the_third_call(void **state)
{
    (void)state;
    char text[200];
    assert_int_equal(weft_faults_begin("send,write=EPIPE@3", 1), 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), many), -EPIPE);
    weft_faults_end();
    assert_int_equal(weft_faults_made(), 1);
    weft_faults_describe(text, sizeof text);
    assert_string_equal(text, "send: 1 of 3");
}

static void test_plans_that_are_none(void **state)
{
    (void)state;
    static const char *const wrong[] = {"recv",        "recv=@1",        "recv=EPIPE",
                                        "recv=EFOO@1", "foo=EPIPE@1",    "recv=EPIPE@0",
                                        "recv=short@", "recv=short@5-3", "recv=short@101%"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (weft_faults_begin(wrong[i], 1) != -EINVAL)
            fail_msg("%s", wrong[i]);
    }
}

/* ---- schedules ------------------------------------------------------------------------------------------------------ */

struct account {
    WEFT_FRAME;
    int *balance;
    weft_lock *lock;
};
static int account(struct account *f)
{
    if (f->lock != NULL) {
        int rc = weft_lock_acquire(f->lock);
        if (rc < 0)
            return rc;
    }
    int seen = *f->balance;
    weft_point();
    *f->balance = seen + 1;
    if (f->lock != NULL)
        weft_lock_release(f->lock);
    return 0;
}
WEFT_CORO(account);

struct bank {
    WEFT_FRAME;
    bool locked;
};
static int bank(struct bank *f)
{
    int balance = 0;
    weft_lock lock = WEFT_LOCK_INIT;
    weft_task *t[4];
    for (int i = 0; i < 4; i++)
        t[i] = weft_create_task(account, .balance = &balance, .lock = f->locked ? &lock : NULL);
    for (int i = 0; i < 4; i++)
        (void)weft_await_release(t[i]);
    weft_expect(balance == 4);
    return 0;
}
WEFT_CORO(bank);

static void test_explore_finds_and_shrinks(void **state)
{
    (void)state;
    for (unsigned strategy = WEFT_EXPLORE_BOTH; strategy <= WEFT_EXPLORE_PCT; strategy++) {
        weft_explored found;
        assert_int_equal(
            weft_explore(WEFT_EXPLORE(.runs = 50, .strategy = strategy, .report = keep, .found = &found), bank), 1);
        assert_non_null(strstr(said, "this must hold: balance == 4"));
        assert_in_range(found.matter, 1, 4);
        /* The short schedule fails again, each time; a calm one does not. */
        for (int i = 0; i < 3; i++)
            assert_int_equal(weft_explore(WEFT_EXPLORE(.schedule = found.schedule, .report = keep), bank), 1);
        assert_int_equal(weft_explore(WEFT_EXPLORE(.schedule = "calm", .report = keep), bank), 0);
        free(found.schedule);
    }
}

static void test_explore_finds_nothing_in_a_sound_program(void **state)
{
    (void)state;
    weft_explored found;
    assert_int_equal(weft_explore(WEFT_EXPLORE(.runs = 200, .report = keep, .found = &found), bank, .locked = true), 0);
    assert_string_equal(said, "");
    assert_int_equal(found.runs, 200);
    assert_null(found.schedule);
}

static void test_a_schedule_by_the_environment(void **state)
{
    (void)state;
    weft_explored found;
    assert_int_equal(weft_explore(WEFT_EXPLORE(.report = keep, .found = &found), bank), 1);
    char text[1000];
    snprintf(text, sizeof text, "bank:%s", found.schedule);
    setenv("WEFT_SCHEDULE", text, 1);
    said[0] = '\0';
    weft_explored again;
    assert_int_equal(weft_explore(WEFT_EXPLORE(.report = keep, .found = &again), bank), 1);
    assert_non_null(strstr(said, "a given schedule"));
    assert_int_equal(again.runs, 1);
    assert_string_equal(again.schedule, found.schedule);
    free(again.schedule);
    /* What is no schedule is refused with a sentence, and one that the run does not come to is told. */
    static const char *const wrong[] = {"nonsense",      "zz",       "", "1", "1=", "1=2,", "pct/1/2",
                                        "random/1/2/3x", "any/1/2/3"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char sentence[64];
        said[0] = '\0';
        snprintf(text, sizeof text, "bank:%s", wrong[i]);
        snprintf(sentence, sizeof sentence, "bank: '%s' is no schedule", wrong[i]);
        setenv("WEFT_SCHEDULE", text, 1);
        assert_int_equal(weft_explore(WEFT_EXPLORE(.report = keep), bank), -EINVAL);
        assert_non_null(strstr(said, sentence));
    }
    said[0] = '\0';
    setenv("WEFT_SCHEDULE", "bank:9999=3", 1);
    assert_int_equal(weft_explore(WEFT_EXPLORE(.report = keep, .found = &again), bank), 0);
    assert_non_null(strstr(said, "choice 9999 of the schedule was not reached"));
    assert_int_equal(again.runs, 1);
    assert_null(again.schedule);
    said[0] = '\0';
    setenv("WEFT_SCHEDULE", "bonk:calm", 1);
    assert_int_equal(weft_explore(WEFT_EXPLORE(.runs = 1, .report = keep), bank, .locked = true), 0);
    assert_non_null(strstr(said, "bank: WEFT_SCHEDULE=bonk:calm is about another"));
    unsetenv("WEFT_SCHEDULE");
    free(found.schedule);
}

struct embrace {
    WEFT_FRAME;
};
static int embrace(struct embrace *f)
{
    (void)f;
    weft_lock a = WEFT_LOCK_INIT, b = WEFT_LOCK_INIT;
    weft_task *x = weft_create_task(pair, .first = &a, .second = &b);
    weft_task *y = weft_create_task(pair, .first = &b, .second = &a);
    int rc = weft_gather(x, y);
    weft_release(x);
    weft_release(y);
    return rc;
}
WEFT_CORO(embrace);

static void test_explore_finds_a_deadlock(void **state)
{
    (void)state;
    weft_explored found;
    assert_int_equal(weft_explore(WEFT_EXPLORE(.report = keep, .found = &found), embrace), 1);
    assert_int_equal(found.rc, -EDEADLK);
    assert_int_equal(weft_explore(WEFT_EXPLORE(.schedule = found.schedule, .report = keep), embrace), 1);
    free(found.schedule);
}

/* A task that spins until another has run: under priorities it must not have the CPU for ever. */
struct spinner {
    WEFT_FRAME;
    int *flag;
    bool sets;
};
static int spinner(struct spinner *f)
{
    if (f->sets) {
        *f->flag = 1;
        return 0;
    }
    while (*f->flag == 0) {
        int rc = weft_yield();
        if (rc < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(spinner);

struct spin {
    WEFT_FRAME;
};
static int spin(struct spin *f)
{
    (void)f;
    int flag = 0;
    weft_task *a = weft_create_task(spinner, .flag = &flag),
              *b = weft_create_task(spinner, .flag = &flag, .sets = true);
    int rc = weft_gather(a, b);
    weft_release(a);
    weft_release(b);
    return rc;
}
WEFT_CORO(spin);

static void test_priorities_starve_nobody(void **state)
{
    (void)state;
    assert_int_equal(weft_explore(WEFT_EXPLORE(.runs = 100, .strategy = WEFT_EXPLORE_PCT), spin), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_cancel_finds_nothing_in_a_sound_program, begin),
        cmocka_unit_test_setup(test_cancel_finds_what_is_left, begin),
        cmocka_unit_test_setup(test_one_run_alone, begin),
        cmocka_unit_test_setup(test_faults_find_nothing_in_a_sound_program, begin),
        cmocka_unit_test_setup(test_faults_find_a_forgotten_descriptor, begin),
        cmocka_unit_test_setup(test_one_kind_of_fault, begin),
        cmocka_unit_test_setup(test_a_program_does_not_notice_what_is_transparent, begin),
        cmocka_unit_test_setup(test_the_third_call, begin),
        cmocka_unit_test_setup(test_plans_that_are_none, begin),
        cmocka_unit_test_setup(test_explore_finds_and_shrinks, begin),
        cmocka_unit_test_setup(test_explore_finds_nothing_in_a_sound_program, begin),
        cmocka_unit_test_setup(test_a_schedule_by_the_environment, begin),
        cmocka_unit_test_setup(test_explore_finds_a_deadlock, begin),
        cmocka_unit_test_setup(test_priorities_starve_nobody, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

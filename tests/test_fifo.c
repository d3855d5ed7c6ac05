/* SPDX-License-Identifier: Apache-2.0 */
/* order=fifo with one worker: the rounds of asyncio's loop. Each program's trace is what CPython's asyncio makes of the same program; where weft
 * promises more it is said beside it. One thread runs all, so the trace is plain memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

#include <cmocka.h>

static char trace[1024];

/* "what@ms " */
static void say(const char *what)
{
    size_t at = strlen(trace);
    snprintf(trace + at, sizeof trace - at, "%s@%d ", what, (int)(weft_now() / WEFT_MS(1)));
}

struct act {
    WEFT_FRAME;
    int (*fn)(struct act *f);
    const char *name;
    int ms;
    weft_task *with;
};
static int act(struct act *f)
{
    return f->fn(f);
}
WEFT_CORO(act);

#define START(function, ...) weft_create_task(act, .fn = (function), __VA_ARGS__)
#define SOON(function, ...) weft_release(weft_call_soon(act, .fn = (function), __VA_ARGS__))
#define LATER(delay, function, ...) weft_release(weft_call_later(WEFT_MS(delay), act, .fn = (function), __VA_ARGS__))

static int run(int (*fn)(struct act *))
{
    trace[0] = '\0';
    return weft_run_with(WEFT_OPTIONS(.workers = 1, .order = WEFT_ORDER_FIFO, .clock = WEFT_CLOCK_VIRTUAL), act,
                         .fn = fn);
}

static int says(struct act *f)
{
    say(f->name);
    return 0;
}

static int sleeps_and_says(struct act *f)
{
    int rc = weft_sleep(WEFT_MS(f->ms));
    say(f->name);
    return rc;
}

/* ---- call_soon, call_later ---------------------------------------------------------------------------------------- */

static int later_zero(struct act *f)
{
    (void)f;
    LATER(0, says, .name = "later0");
    SOON(says, .name = "soon");
    weft_release(START(says, .name = "w"));
    weft_yield();
    say("m1");
    weft_yield();
    say("m2");
    return weft_yield();
}

/* call_later(0) is a timer: one round after call_soon. */
static void test_call_later_zero_is_no_call_soon(void **state)
{
    (void)state;
    assert_int_equal(run(later_zero), 0);
    assert_string_equal(trace, "soon@0 w@0 m1@0 later0@0 m2@0 ");
}

static int soon_a(struct act *f)
{
    say(f->name);
    SOON(says, .name = "c");
    return 0;
}

static int nested_soon(struct act *f)
{
    (void)f;
    SOON(soon_a, .name = "a");
    SOON(says, .name = "b");
    weft_yield();
    say("m");
    return weft_yield();
}

static void test_what_a_round_adds_waits_for_the_next(void **state)
{
    (void)state;
    assert_int_equal(run(nested_soon), 0);
    assert_string_equal(trace, "a@0 b@0 m@0 c@0 ");
}

static int later_again(struct act *f)
{
    LATER(f->ms, says, .name = f->name);
    return 0;
}

static int sleeps_twice(struct act *f)
{
    weft_sleep(WEFT_MS(1));
    weft_sleep(WEFT_MS(5));
    say(f->name);
    return 0;
}

static int mixed_ties(struct act *f)
{
    (void)f;
    LATER(6, says, .name = "later6");
    weft_task *a = START(sleeps_twice, .name = "a");
    LATER(3, later_again, .ms = 3, .name = "later3+3");
    weft_sleep(WEFT_MS(2));
    weft_sleep(WEFT_MS(4));
    say("main");
    weft_release(a);
    return 0;
}

/* A callback's timer is the callback; a sleep's timer wakes the task, which is one round more. */
static void test_equal_deadlines_reached_by_different_ways(void **state)
{
    (void)state;
    assert_int_equal(run(mixed_ties), 0);
    assert_string_equal(trace, "later6@6 later3+3@6 a@6 main@6 ");
}

static int cb3(struct act *f)
{
    say(f->name);
    SOON(says, .name = "soon-of-cb3");
    LATER(0, says, .name = "zero-of-cb3");
    return 0;
}

static int due_a(struct act *f)
{
    weft_sleep(WEFT_MS(3));
    say(f->name);
    weft_yield();
    say("a2");
    return 0;
}

static int due_b(struct act *f)
{
    weft_sleep(WEFT_MS(1));
    LATER(2, says, .name = "b-later");
    weft_release(weft_call_at(WEFT_MS(3), act, .fn = says, .name = "b-at"));
    weft_sleep(WEFT_MS(2));
    say(f->name);
    return 0;
}

static int due_together(struct act *f)
{
    (void)f;
    weft_task *a = START(due_a, .name = "a"), *b = START(due_b, .name = "b");
    LATER(3, cb3, .name = "cb3");
    LATER(3, says, .name = "cb3b");
    weft_sleep(WEFT_MS(3));
    say("m");
    weft_yield();
    say("m2");
    weft_yield();
    say("m3");
    weft_release(a);
    weft_release(b);
    return weft_yield();
}

static void test_timers_due_together(void **state)
{
    (void)state;
    assert_int_equal(run(due_together), 0);
    assert_string_equal(trace, "cb3@3 cb3b@3 b-later@3 b-at@3 soon-of-cb3@3 m@3 a@3 b@3 zero-of-cb3@3 m2@3 a2@3 m3@3 ");
}

static int handles(struct act *f)
{
    (void)f;
    weft_handle *h = weft_call_soon(act, .fn = says, .name = "no");
    weft_cancel(h);
    weft_release(h);
    h = weft_call_later(WEFT_MS(3), act, .fn = says, .name = "no2");
    weft_release(weft_call_at(WEFT_MS(4), act, .fn = says, .name = "at4"));
    weft_sleep(WEFT_MS(2));
    weft_cancel(h);
    weft_release(h);
    return weft_sleep(WEFT_MS(5));
}

static void test_a_cancelled_handle_never_runs(void **state)
{
    (void)state;
    assert_int_equal(run(handles), 0);
    assert_string_equal(trace, "at4@4 ");
}

/* ---- completion ---------------------------------------------------------------------------------------------------- */

static int two(struct act *f)
{
    (void)f;
    say("u1");
    weft_yield();
    say("u2");
    weft_yield();
    say("u3");
    return 0;
}

static int next_round(struct act *f)
{
    (void)f;
    weft_task *t = START(says, .name = "quick"), *u = START(two, .name = "u");
    weft_await_release(t);
    say("main");
    weft_release(u);
    return 0;
}

/* The awaiter comes a round later; and main's last round is finished: u goes on in it, and in the one that notices the end. */
static void test_an_awaiter_waits_for_the_next_round(void **state)
{
    (void)state;
    assert_int_equal(run(next_round), 0);
    assert_string_equal(trace, "quick@0 u1@0 main@0 u2@0 u3@0 ");
}

static int awaits(struct act *f)
{
    int rc = weft_await(f->with);
    say(f->name);
    return rc < 0 ? rc : 0;
}

static int registered(struct act *f)
{
    (void)f;
    weft_future *future = weft_future_create();
    weft_task *a = START(awaits, .name = "a", .with = future);
    weft_yield();
    weft_release(weft_add_done_callback(future, act, .fn = says, .name = "cb"));
    weft_task *b = START(awaits, .name = "b", .with = future);
    weft_yield();
    weft_future_set_result(future, 1);
    int rc = weft_gather(a, b);
    weft_release(a);
    weft_release(b);
    weft_release(future);
    return rc;
}

static void test_callbacks_and_awaiters_in_order_of_registration(void **state)
{
    (void)state;
    assert_int_equal(run(registered), 0);
    assert_string_equal(trace, "a@0 cb@0 b@0 ");
}

static int added_late(struct act *f)
{
    (void)f;
    weft_task *t = START(says, .name = "t");
    weft_await(t);
    weft_release(weft_add_done_callback(t, act, .fn = says, .name = "cb"));
    say("added");
    weft_yield();
    say("later");
    weft_release(t);
    return 0;
}

static void test_a_callback_added_to_an_ended_task(void **state)
{
    (void)state;
    assert_int_equal(run(added_late), 0);
    assert_string_equal(trace, "t@0 added@0 cb@0 later@0 ");
}

static int worked(struct act *f)
{
    (void)f;
    say("work");
    weft_sleep(WEFT_MS(2));
    say("worked");
    return 7;
}

static int three_awaiters(struct act *f)
{
    (void)f;
    weft_task *t = START(worked, .name = "t"), *w[3];
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        w[i] = START(awaits, .name = names[i], .with = t);
    int rc = weft_gather_n(w, 3);
    for (int i = 0; i < 3; i++)
        weft_release(w[i]);
    weft_release(t);
    return rc;
}

static void test_awaiters_in_waiting_order(void **state)
{
    (void)state;
    assert_int_equal(run(three_awaiters), 0);
    assert_string_equal(trace, "work@0 worked@2 a@2 b@2 c@2 ");
}

/* ---- a time limit and what it limits, at one instant ------------------------------------------------------------------ */

static int wait_for_tie(struct act *f)
{
    (void)f;
    weft_task *t = START(sleeps_and_says, .ms = 5, .name = "slept");
    weft_yield(); /* its timer is set before the limit's, and is a hop longer */
    int rc = weft_wait_for(t, WEFT_MS(5));
    say(rc == -ETIMEDOUT ? "timeout" : "value");
    say(weft_cancelled(t) ? "cancelled" : "not");
    weft_release(t);
    return 0;
}

static void test_a_limit_at_the_instant_of_the_wake(void **state)
{
    (void)state;
    assert_int_equal(run(wait_for_tie), 0);
    assert_string_equal(trace, "slept@5 timeout@5 cancelled@5 ");
}

/* ---- the end --------------------------------------------------------------------------------------------------------- */

static int ticks(struct act *f)
{
    for (int i = 0; i < 6; i++) {
        say(f->name);
        int rc = weft_yield();
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int ends_beside_a_ticker(struct act *f)
{
    (void)f;
    weft_release(START(ticks, .name = "tick"));
    return weft_yield();
}

static void test_the_round_that_notices_the_end_is_finished(void **state)
{
    (void)state;
    assert_int_equal(run(ends_beside_a_ticker), 0);
    assert_string_equal(trace, "tick@0 tick@0 ");
}

static int soon_chain(struct act *f)
{
    static const char *const names[2][6] = {{"s1", "s2", "s3", "s4", "s5", "s6"}, {"f1", "f2", "f3", "f4", "f5", "f6"}};
    say(names[f->name[0] == 'f'][f->ms]);
    if (f->ms < 5)
        SOON(soon_chain, .name = f->name, .ms = f->ms + 1);
    return 0;
}

static int bare_end(struct act *f)
{
    (void)f;
    SOON(soon_chain, .name = "s");
    say("end");
    return 0;
}

static int finally_calls_soon(struct act *f)
{
    (void)f;
    int rc = weft_sleep(WEFT_MS(50));
    say("fin");
    SOON(soon_chain, .name = "f");
    return rc;
}

static int end_with_leftover(struct act *f)
{
    (void)f;
    weft_release(START(finally_calls_soon, .name = "t"));
    LATER(1, says, .name = "later1");
    weft_sleep(WEFT_MS(1));
    SOON(soon_chain, .name = "s");
    say("end");
    return 0;
}

/* Callbacks run on for as many rounds as asyncio's loop makes after main's end; the rest is dropped. */
static void test_callbacks_after_the_end(void **state)
{
    (void)state;
    assert_int_equal(run(bare_end), 0);
    assert_string_equal(trace, "end@0 s1@0 ");
    assert_int_equal(run(end_with_leftover), 0);
    assert_string_equal(trace, "later1@1 end@1 s1@1 s2@1 fin@1 s3@1 f1@1 s4@1 f2@1 ");
}

static int is_late(struct act *f)
{
    (void)f;
    say("l1");
    int rc = weft_sleep(WEFT_MS(9));
    say("l2");
    return rc;
}

static int creates_late(struct act *f)
{
    (void)f;
    int rc = weft_sleep(WEFT_MS(50));
    say("a1");
    weft_release(START(is_late, .name = "late"));
    weft_sleep(WEFT_MS(2));
    say("a2");
    return rc;
}

static weft_task *third;

static int awaits_third(struct act *f)
{
    (void)f;
    int rc = weft_await(third);
    say("b");
    return rc;
}

static int yields_in_cleanup(struct act *f)
{
    (void)f;
    int rc = weft_sleep(WEFT_MS(50));
    say("c1");
    weft_yield();
    say("c2");
    return rc;
}

static int leaves_three(struct act *f)
{
    (void)f;
    weft_task *t1 = START(creates_late, .name = "t1"), *t2 = START(awaits_third, .name = "t2");
    third = START(yields_in_cleanup, .name = "t3");
    weft_sleep(WEFT_MS(1));
    say("end");
    weft_release(t1);
    weft_release(t2);
    return 0;
}

/* Leftovers are cancelled in order of creation. What they create in their clean-up asyncio forgets unfinished; here it is cancelled in its turn,
 * so "l2" comes besides. */
static void test_leftovers_in_order_of_creation(void **state)
{
    (void)state;
    assert_int_equal(run(leaves_three), 0);
    assert_int_equal(weft_status(third), -ECANCELED);
    weft_release(third);
    assert_string_equal(trace, "end@1 a1@1 c1@1 l1@1 c2@1 b@1 a2@3 l2@3 ");
}

/* ---- strands keep the rounds ------------------------------------------------------------------------------------------ */

static int yields_and_says(struct act *f)
{
    for (int i = 0; i < f->ms; i++) {
        say(f->name);
        weft_yield();
    }
    return 0;
}

/* Two of a strand take turns: each has to wait until the other has left the CPU, which is a round. */
static int strand_rounds(struct act *f)
{
    (void)f;
    weft_strand *s = weft_strand_create();
    weft_task *a =
        weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), act, .fn = yields_and_says, .name = "A", .ms = 2);
    weft_task *b =
        weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), act, .fn = yields_and_says, .name = "B", .ms = 2);
    weft_task *c = START(yields_and_says, .name = "c", .ms = 4);
    weft_strand_release(s);
    int rc = weft_gather(a, b, c);
    weft_release(a);
    weft_release(b);
    weft_release(c);
    return rc;
}

static void test_a_strand_in_rounds(void **state)
{
    (void)state;
    assert_int_equal(run(strand_rounds), 0);
    assert_string_equal(trace, "A@0 c@0 B@0 c@0 A@0 c@0 B@0 c@0 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_later_zero_is_no_call_soon),
        cmocka_unit_test(test_what_a_round_adds_waits_for_the_next),
        cmocka_unit_test(test_equal_deadlines_reached_by_different_ways),
        cmocka_unit_test(test_timers_due_together),
        cmocka_unit_test(test_a_cancelled_handle_never_runs),
        cmocka_unit_test(test_an_awaiter_waits_for_the_next_round),
        cmocka_unit_test(test_callbacks_and_awaiters_in_order_of_registration),
        cmocka_unit_test(test_a_callback_added_to_an_ended_task),
        cmocka_unit_test(test_awaiters_in_waiting_order),
        cmocka_unit_test(test_a_limit_at_the_instant_of_the_wake),
        cmocka_unit_test(test_the_round_that_notices_the_end_is_finished),
        cmocka_unit_test(test_callbacks_after_the_end),
        cmocka_unit_test(test_leftovers_in_order_of_creation),
        cmocka_unit_test(test_a_strand_in_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

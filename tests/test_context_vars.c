/* SPDX-License-Identifier: Apache-2.0 */
/* Context variables (weft/context.h): who inherits what, tokens, contexts as objects, many variables, and many writers of one context. */
#include <pthread.h>
#include <stdlib.h>

#include "support/actors.h"
#include "support/threads.h"

#include <weft/callback.h>
#include <weft/context.h>
#include <weft/future.h>

static char fallback[] = "default";
static weft_context_var plain = WEFT_CONTEXT_VAR("plain", NULL),
                        with_default = WEFT_CONTEXT_VAR("with_default", fallback);

static void *number(intptr_t n)
{
    return (void *)n;
}
static intptr_t value(const weft_context_var *var)
{
    return (intptr_t)weft_context_get(var);
}
static int set(const weft_context_var *var, intptr_t n)
{
    return weft_context_set(var, number(n), NULL);
}

/* ---- one context ------------------------------------------------------------------------------------------------ */

TEST(get_set_reset)
{
    weft_context_token first, second, unset;
    CHECK(weft_context_get(&plain) == NULL && weft_context_get(&with_default) == fallback);
    CHECK(weft_context_set(&with_default, NULL, &unset) == 0 && weft_context_get(&with_default) == NULL);
    CHECK(weft_context_reset(&unset) == 0 && weft_context_get(&with_default) == fallback);
    CHECK(weft_context_set(&plain, number(1), &first) == 0 && value(&plain) == 1);
    CHECK(weft_context_set(&plain, number(2), &second) == 0 && value(&plain) == 2);
    CHECK(weft_context_set(&with_default, number(3), NULL) == 0 && value(&plain) == 2 && value(&with_default) == 3);
    CHECK(weft_context_reset(&second) == 0 && value(&plain) == 1 && value(&with_default) == 3);
    CHECK(weft_context_reset(&first) == 0 && weft_context_get(&plain) == NULL);
    CHECK(weft_context_reset(&first) == 0 && weft_context_get(&plain) == NULL);
    CHECK(set(&plain, 5) == 0 && weft_context_reset(&second) == 0 && value(&plain) == 1); /* in any order */
    weft_context_token empty = {.var_ = NULL};
    CHECK(weft_context_reset(&empty) == -EINVAL);
    CHECK(weft_yield() == 0 && value(&plain) == 1);
    return 0;
}

/* A token is good in the context in which it was filled: in what shares that, and nowhere else. */
static int reset_by(void *token)
{
    return weft_context_reset(token);
}
TEST(tokens_of_another_context)
{
    weft_context_token mine, kept;
    weft_task *t = start(reset_by, &mine); /* nothing is set in its context */
    CHECK(weft_context_set(&plain, number(1), &mine) == 0 && weft_context_set(&plain, number(2), &kept) == 0);
    CHECK(weft_await_release(t) == -EINVAL);
    t = start(reset_by, &mine); /* it has a copy */
    CHECK(weft_await_release(t) == -EINVAL);
    t = weft_to_thread(call, .fn = reset_by, .argument = &mine);
    CHECK(weft_await_release(t) == -EINVAL && value(&plain) == 2);

    weft_context *c = weft_context_copy();
    t = weft_create_task_with(WEFT_TASK_OPTIONS(.context = c), call, .fn = reset_by, .argument = &mine);
    CHECK(weft_await_release(t) == -EINVAL && weft_context_lookup(c, &plain) == number(2));
    weft_context_release(c);

    struct call frame = {.fn = reset_by, .argument = &kept};
    weft_child child;
    weft_fork(&child, call, &frame); /* a forked child shares its parent's */
    CHECK(weft_join(&child) == 0 && value(&plain) == 1);
    CHECK(reset_by(&mine) == 0 && weft_context_get(&plain) == NULL);
    return 0;
}

#define VARS 1000
static weft_context_var vars[VARS];

static int sum_of_vars(void *out)
{
    intptr_t sum = 0;
    for (int i = 0; i < VARS; i++)
        sum += value(&vars[i]);
    *(intptr_t *)out = sum;
    return set(&vars[0], 1000000);
}

TEST(a_thousand_variables)
{
    static weft_context_token token[VARS];
    intptr_t expected = 0, sum = 0;
    for (int round = 1; round <= 3; round++) {
        expected = 0;
        for (int i = 0; i < VARS; i++) {
            int at = (i * 389 + round) % VARS;
            CHECK(weft_context_set(&vars[at], number(at * round), round == 1 ? &token[at] : NULL) == 0);
            expected += at * round;
        }
        weft_task *t = start(sum_of_vars, &sum);
        CHECK(weft_await_release(t) == 0 && sum == expected);
        for (int i = 0; i < VARS; i++)
            CHECK(value(&vars[i]) == i * round);
    }
    for (int i = 0; i < VARS; i += 2)
        CHECK(weft_context_reset(&token[i]) == 0);
    for (int i = 0; i < VARS; i++)
        CHECK(value(&vars[i]) == (i % 2 ? i * 3 : 0));
    return 0;
}

/* ---- inheriting ------------------------------------------------------------------------------------------------- */

struct heir {
    WEFT_FRAME;
    intptr_t got, after;
    int depth;
    intptr_t sets;
};
static int heir(struct heir *h);
WEFT_CORO(heir);
static int heir(struct heir *h)
{
    h->got = value(&plain);
    int rc = h->sets != 0 ? set(&plain, h->sets) : 0;
    if (h->depth > 0) {
        weft_task *t = weft_create_task(heir, .depth = h->depth - 1, .sets = h->sets + 1);
        if (weft_await(t) != 0 || weft_result(heir, t)->got != h->sets)
            rc = -EIO;
        weft_release(t);
    }
    if (weft_current_task() != NULL && weft_yield() < 0)
        rc = -EIO;
    h->after = value(&plain);
    return rc;
}

TEST_BOTH_CLOCKS(tasks_get_a_copy)
{
    weft_task *before = weft_create_task(heir, .sets = 7); /* created before there is any */
    CHECK(set(&plain, 1) == 0);
    weft_task *t = weft_create_task(heir, .sets = 2);
    CHECK(set(&plain, 3) == 0);
    CHECK(weft_await(t) == 0 && weft_await(before) == 0);
    CHECK(weft_result(heir, t)->got == 1 && weft_result(heir, t)->after == 2);
    CHECK(weft_result(heir, before)->got == 0 && weft_result(heir, before)->after == 7);
    CHECK(value(&plain) == 3);
    weft_release(t);
    weft_release(before);
    t = weft_create_task(heir, .depth = 50, .sets = 100);
    CHECK(weft_await_release(t) == 0 && value(&plain) == 3);

    /* A direct call shares it, as does a forked child. */
    struct heir h = {.sets = 9};
    CHECK(heir(&h) == 0 && h.got == 3 && value(&plain) == 9);
    struct heir frame = {.sets = 10};
    weft_child child;
    weft_fork(&child, heir, &frame);
    CHECK(weft_join(&child) == 0 && frame.got == 9 && value(&plain) == 10);
    return 0;
}

static int read_in_helper(void *out)
{
    CHECK(weft_context_get(&with_default) == fallback);
    *(intptr_t *)out = value(&plain);
    weft_context *c = weft_context_copy();
    CHECK(weft_context_set(&plain, number(77), NULL) == 0 && value(&plain) == 77);
    CHECK(weft_context_lookup(c, &plain) == *(void **)out);
    weft_context_release(c);
    return 0;
}

TEST_BOTH_CLOCKS(everything_inherits)
{
    intptr_t got[4] = {-1, -1, -1, -1};
    weft_future *f = weft_future_create();
    CHECK(set(&plain, 5) == 0);
    weft_task *t = weft_to_thread(call, .fn = read_in_helper, .argument = &got[0]);
    weft_handle *soon = weft_call_soon(call, .fn = read_in_helper, .argument = &got[1]),
                *done = weft_add_done_callback(f, call, .fn = read_in_helper, .argument = &got[2]);
    weft_task *eager =
        weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), call, .fn = read_in_helper, .argument = &got[3]);
    CHECK(weft_done(eager) && got[3] == 5 && value(&plain) == 5);
    CHECK(set(&plain, 6) == 0 && weft_future_set_result(f, 0) == 0);
    CHECK(weft_gather(t, soon, done, eager) == 0);
    CHECK(got[0] == 5 && got[1] == 5 && got[2] == 5 && value(&plain) == 6);
    weft_release(t);
    weft_release(soon);
    weft_release(done);
    weft_release(eager);
    weft_release(f);
    /* A helper without any: sets are its own. */
    return 0;
}

static int group_child(void *out)
{
    *(intptr_t *)out = value(&plain);
    return set(&plain, -1);
}
TEST(in_groups_and_limits)
{
    intptr_t got = 0;
    weft_group g;
    weft_timeout limit;
    CHECK(set(&plain, 8) == 0 && weft_group_begin(&g) == 0 && weft_timeout_begin(&limit, WEFT_MS(1)) == 0);
    CHECK(weft_group_start(&g, call, .fn = group_child, .argument = &got) == 0);
    CHECK(set(&plain, 9) == 0);
    CHECK(weft_timeout_end(&limit, weft_sleep(WEFT_MS(5))) == -ETIMEDOUT);
    CHECK(weft_group_join(&g, 0) == 0 && got == 8 && value(&plain) == 9);
    return 0;
}

/* ---- as objects ------------------------------------------------------------------------------------------------- */

TEST(objects)
{
    weft_context *empty = weft_context_copy();
    CHECK(empty != NULL && weft_context_lookup(empty, &plain) == NULL);
    CHECK(weft_context_lookup(empty, &with_default) == fallback);
    CHECK(set(&plain, 1) == 0);
    weft_context *c = weft_context_copy();
    CHECK(set(&plain, 2) == 0 && weft_context_lookup(c, &plain) == number(1));
    CHECK(weft_context_lookup(empty, &plain) == NULL);

    /* A task runs in exactly this one; its writes are seen by all that use it. */
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.context = c), heir, .sets = 5);
    CHECK(weft_await(t) == 0 && weft_result(heir, t)->got == 1 && value(&plain) == 2);
    CHECK(weft_context_lookup(c, &plain) == number(5));
    weft_release(t);
    t = weft_create_task_with(WEFT_TASK_OPTIONS(.context = c, .eager = true), heir, .sets = 6);
    weft_context_release(c); /* the task keeps it */
    CHECK(weft_await(t) == 0 && weft_result(heir, t)->got == 5 && weft_result(heir, t)->after == 6);
    CHECK(value(&plain) == 2);
    weft_release(t);

    t = weft_create_task_with(WEFT_TASK_OPTIONS(.context = empty), heir, .depth = 3, .sets = 4);
    CHECK(weft_await_release(t) == 0 && weft_context_lookup(empty, &plain) == number(4));
    t = weft_create_task_with(WEFT_TASK_OPTIONS(.context = empty), heir, .sets = 8);
    (void)weft_cancel(t); /* maybe before it begins */
    int rc = weft_await_release(t);
    CHECK(rc == -ECANCELED || (rc == 0 && setting.workers != 1));
    weft_context_release(empty);
    weft_context_release(NULL);
    return 0;
}

/* ---- many writers of one context -------------------------------------------------------------------------------- */

#define WRITERS 8
struct writer {
    WEFT_FRAME;
    int id, rounds;
    bool lost;
};
/* Each has a variable of its own, and all one in common: no set of one is lost to another's. */
static int writer(struct writer *w)
{
    for (int i = 1; i <= w->rounds; i++) {
        weft_context_token token;
        int rc = weft_context_set(&vars[w->id], number(i), NULL);
        w->lost |= rc != 0 || value(&vars[w->id]) != i;
        rc = weft_context_set(&vars[WRITERS + w->id], number(i), &token);
        w->lost |= rc != 0 || value(&vars[WRITERS + w->id]) != i;
        if (i % 2 == 0)
            w->lost |= weft_context_reset(&token) != 0 || value(&vars[WRITERS + w->id]) != i - 1;
        w->lost |= set(&plain, w->id + 1) != 0 || value(&plain) == 0;
        if (i % 16 == 0)
            w->lost |= weft_yield() != 0;
    }
    return 0;
}
WEFT_CORO(writer);

TEST(forked_children_share)
{
    for (unsigned round = 0; round < threads_scale(20); round++) {
        struct writer w[WRITERS];
        weft_child child[WRITERS];
        for (int i = 0; i < WRITERS; i++) {
            w[i] = (struct writer){.id = i, .rounds = 65};
            weft_fork(&child[i], writer, &w[i]); /* in the first round there is no context yet */
        }
        for (int i = WRITERS; i-- != 0;)
            CHECK(weft_join(&child[i]) == 0);
        for (int i = 0; i < WRITERS; i++)
            CHECK(!w[i].lost && value(&vars[i]) == 65 && value(&vars[WRITERS + i]) == 65);
        CHECK(value(&plain) != 0);
    }
    return 0;
}

TEST(tasks_share_an_object)
{
    weft_context *c = weft_context_copy();
    weft_task *t[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.context = c), writer, .id = i,
                                     .rounds = (int)threads_scale(1000) | 1);
    for (int i = 0; i < 100; i++) /* and somebody looks on */
        CHECK((intptr_t)weft_context_lookup(c, &plain) <= WRITERS && weft_yield() == 0);
    CHECK(weft_gather_n(t, WRITERS) == 0);
    for (int i = 0; i < WRITERS; i++) {
        CHECK(!weft_result(writer, t[i])->lost);
        CHECK(weft_context_lookup(c, &vars[i]) == number((int)threads_scale(1000) | 1));
        weft_release(t[i]);
    }
    weft_context_release(c);
    return 0;
}

/* Children that are created while siblings set what they inherit. */
static int create_heirs(void *unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++) {
        weft_task *t = weft_create_task(heir, .sets = 1);
        weft_context *c = weft_context_copy();
        if (t == NULL || c == NULL || weft_await(t) != 0 || weft_result(heir, t)->got > 1000)
            return -EIO;
        weft_context_release(c);
        weft_release(t);
        if (set(&plain, i) != 0)
            return -EIO;
    }
    return 0;
}
TEST(inherited_while_it_changes)
{
    struct call frame[WRITERS];
    weft_child child[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        frame[i] = (struct call){.fn = create_heirs};
        weft_fork(&child[i], call, &frame[i]);
    }
    for (int i = WRITERS; i-- != 0;)
        CHECK(weft_join(&child[i]) == 0);
    return 0;
}

/* ---- elsewhere -------------------------------------------------------------------------------------------------- */

static weft_context *carried;
static int carry(void *unused)
{
    (void)unused;
    CHECK(set(&plain, 11) == 0);
    carried = weft_context_copy();
    return 0;
}
static void outside(void **state)
{
    (void)state;
    weft_context_token token = {.var_ = &plain};
    assert_null(weft_context_get(&plain));
    assert_ptr_equal(weft_context_get(&with_default), fallback);
    assert_int_equal(weft_context_set(&plain, number(1), &token), -EINVAL);
    assert_int_equal(weft_context_reset(&token), -EINVAL);
    assert_null(weft_context_get(&plain));
    assert_int_equal(run_with(settings[0], carry, NULL), 0); /* a context outlives its runtime */
    assert_ptr_equal(weft_context_lookup(carried, &plain), number(11));
    assert_ptr_equal(weft_context_lookup(carried, &with_default), fallback);
    weft_context_release(carried);
    weft_context *empty = weft_context_copy();
    assert_non_null(empty);
    assert_null(weft_context_lookup(empty, &plain));
    weft_context_release(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_set_reset),
        cmocka_unit_test(tokens_of_another_context),
        cmocka_unit_test(a_thousand_variables),
        cmocka_unit_test(tasks_get_a_copy),
        cmocka_unit_test(everything_inherits),
        cmocka_unit_test(in_groups_and_limits),
        cmocka_unit_test(objects),
        cmocka_unit_test(forked_children_share),
        cmocka_unit_test(tasks_share_an_object),
        cmocka_unit_test(inherited_while_it_changes),
        cmocka_unit_test(outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

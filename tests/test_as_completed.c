/* SPDX-License-Identifier: Apache-2.0 */
/* weft_as_completed: order, duplicates, tasks that are NULL, time limits, leaving early, cancellation. */
#include <stdlib.h>

#include "support/actors.h"
#include "support/deaths.h"
#include "support/threads.h"

#include <weft/callback.h>
#include <weft/future.h>

TEST(in_the_order_in_which_they_end)
{
    weft_task *t[5], *out;
    static const int64_t work[5] = {9, 1, 5, 3, 7};
    static const int order[5] = {1, 3, 2, 4, 0};
    for (int i = 0; i < 5; i++)
        t[i] = weft_create_task(actor, .id = i, .work = work[i], .result = i == 2 ? -EIO : i);
    weft_as_completed it;
    CHECK(weft_as_completed_begin(&it, t, 5, WEFT_FOREVER) == 0);
    for (int i = 0; i < 5; i++) {
        out = NULL;
        CHECK(weft_as_completed_next(&it, &out) == 1 && out == t[order[i]] && weft_done(out));
        CHECK(now_ms() == work[order[i]]);
    }
    CHECK(weft_as_completed_next(&it, &out) == 0 && weft_as_completed_next(&it, &out) == 0);
    weft_as_completed_end(&it);
    CHECK(weft_status(t[2]) == -EIO);
    for (int i = 0; i < 5; i++)
        weft_release(t[i]);
    return 0;
}

/* Those that have ended come first, in the order given; each once; each NULL is one. */
TEST(ended_twice_and_null)
{
    weft_task *a = weft_create_task(actor, .id = 0, .work = 2), *b = weft_create_task(actor, .id = 1, .work = -1),
              *c = weft_create_task(actor, .id = 2, .work = 1), *out, *got[6] = {NULL};
    CHECK(weft_await(b) == 0 && weft_await(c) == 0);
    weft_task *list[9] = {a, c, NULL, b, a, c, NULL, b, a};
    for (int limited = 0; limited < 2; limited++) {
        weft_as_completed it;
        int n = 0;
        CHECK(weft_as_completed_begin(&it, list, 9, limited ? WEFT_SEC(1) : WEFT_FOREVER) == 0);
        out = a;
        while (n < 6 && weft_as_completed_next(&it, &out) == 1)
            got[n++] = out;
        CHECK(n == 5);
        if (limited) /* all have ended now */
            CHECK(got[0] == a && got[1] == c && got[2] == NULL && got[3] == b && got[4] == NULL);
        else
            CHECK(got[0] == c && got[1] == NULL && got[2] == b && got[3] == NULL && got[4] == a);
        CHECK(weft_as_completed_next(&it, &out) == 0);
        weft_as_completed_end(&it);
    }
    CHECK(now_ms() == 2 && weft_yield() == 0 && now_ms() == 2);
    weft_release(a);
    weft_release(b);
    weft_release(c);
    return 0;
}

TEST(of_nothing)
{
    weft_task *out = NULL;
    weft_as_completed it;
    CHECK(weft_as_completed_begin(&it, NULL, 0, WEFT_MS(1)) == 0);
    CHECK(weft_as_completed_next(&it, &out) == 0 && out == NULL);
    weft_as_completed_end(&it);
    CHECK(weft_as_completed_begin(&it, NULL, 0, 0) == 0);
    weft_as_completed_end(&it);
    return 0;
}

#define MANY 500
TEST(many)
{
    weft_task **t = calloc(MANY * 2, sizeof(weft_task *)), *out;
    bool *came = calloc(MANY, sizeof *came);
    int n = (int)threads_scale(MANY);
    for (int i = 0; i < n; i++)
        t[i] = t[n + i] = weft_create_task(actor, .id = 0, .work = i % 7 - 1, .result = i);
    weft_as_completed it;
    CHECK(weft_as_completed_begin(&it, t, (size_t)n * 2, WEFT_SEC(10)) == 0);
    int got = 0, rc;
    while ((rc = weft_as_completed_next(&it, &out)) == 1) {
        int id = weft_status(out);
        CHECK(id >= 0 && id < n && !came[id]);
        came[id] = true;
        got++;
    }
    CHECK(rc == 0 && got == n && now_ms() == (n > 7 ? 5 : now_ms()));
    weft_as_completed_end(&it);
    for (int i = 0; i < n; i++)
        weft_release(t[i]);
    free(t);
    free(came);
    return 0;
}

/* ---- time limits ------------------------------------------------------------------------------------------------ */

TEST(time_limit)
{
    weft_task *t[4], *out;
    for (int i = 0; i < 4; i++)
        t[i] = weft_create_task(actor, .id = i, .work = i < 2 ? i + 1 : 20 + i);
    weft_as_completed it;
    CHECK(weft_as_completed_begin(&it, t, 4, WEFT_MS(5)) == 0);
    CHECK(weft_as_completed_next(&it, &out) == 1 && out == t[0]);
    CHECK(weft_sleep(WEFT_MS(10)) == 0); /* one arrives in time, and is not asked for until it is late */
    CHECK(weft_as_completed_next(&it, &out) == 1 && out == t[1]);
    for (int i = 0; i < 2; i++)
        CHECK(weft_as_completed_next(&it, &out) == -ETIMEDOUT);
    CHECK(weft_as_completed_next(&it, &out) == 0); /* each of the four had its answer */
    weft_as_completed_end(&it);
    CHECK(!weft_done(t[2]) && !weft_done(t[3]) && now_ms() == 11);
    CHECK(weft_gather_n(t, 4) == 0 && actors[2].cancels == 0);
    for (int i = 0; i < 4; i++)
        weft_release(t[i]);
    return 0;
}

/* What has ended when it begins is never late. */
TEST_BOTH_CLOCKS(no_time_at_all)
{
    for (int i = 0; i < 20; i++) {
        weft_task *ended[3], *out;
        for (int j = 0; j < 3; j++) {
            ended[j] = weft_create_task(actor, .id = j, .work = -1);
            CHECK(weft_await(ended[j]) == 0);
        }
        weft_task *later = weft_create_task(actor, .id = 4, .work = 3600000);
        weft_as_completed it;
        CHECK(weft_as_completed_begin(&it, (weft_task *const[]){later, ended[0], NULL, ended[1], ended[2]}, 5,
                                      i % 2 ? 0 : -WEFT_SEC(1)) == 0);
        CHECK(weft_as_completed_next(&it, &out) == 1 && out == ended[0]);
        CHECK(weft_as_completed_next(&it, &out) == 1 && out == NULL);
        CHECK(weft_as_completed_next(&it, &out) == 1 && out == ended[1]);
        CHECK(weft_as_completed_next(&it, &out) == 1 && out == ended[2]);
        CHECK(weft_as_completed_next(&it, &out) == -ETIMEDOUT);
        CHECK(weft_as_completed_next(&it, &out) == 0);
        weft_as_completed_end(&it);
        CHECK(weft_cancel(later) && weft_await_release(later) == -ECANCELED);
        for (int j = 0; j < 3; j++)
            weft_release(ended[j]);
    }
    return 0;
}

/* ---- left early, cancelled -------------------------------------------------------------------------------------- */

TEST(left_early)
{
    for (int taken = 0; taken < 3; taken++) {
        memset(actors, 0, sizeof actors);
        weft_task *t[3], *out;
        int64_t begin = now_ms();
        for (int i = 0; i < 3; i++)
            t[i] = weft_create_task(actor, .id = i, .work = i + 1);
        weft_as_completed it;
        CHECK(weft_as_completed_begin(&it, t, 3, WEFT_SEC(100)) == 0);
        for (int i = 0; i < taken; i++)
            CHECK(weft_as_completed_next(&it, &out) == 1 && out == t[i]);
        weft_as_completed_end(&it);
        for (int i = 0; i < 3; i++) /* it keeps nothing, and nothing of it is left */
            weft_release(t[i]);
        CHECK(weft_sleep(WEFT_MS(10)) == 0 && now_ms() - begin < 20);
        for (int i = 0; i < 3; i++)
            CHECK(actors[i].ended == 1 && actors[i].cancels == 0);
    }
    return 0;
}

struct iterating {
    weft_task *t[2];
    int rc[4];
};
static int iterate(void *argument)
{
    struct iterating *i = argument;
    weft_task *out;
    weft_as_completed it;
    int rc = weft_as_completed_begin(&it, i->t, 2, WEFT_FOREVER);
    for (int n = 0; rc == 0 && n < 4; n++)
        i->rc[n] = weft_as_completed_next(&it, &out);
    weft_as_completed_end(&it);
    return rc;
}

/* The caller is cancelled: the tasks are not, and the iteration goes on when it likes. */
TEST(cancelled)
{
    struct iterating i = {
        .t = {weft_create_task(actor, .id = 0, .work = 4), weft_create_task(actor, .id = 1, .work = 6)}};
    weft_task *t = start(iterate, &i);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(t));
    CHECK(weft_await_release(t) == 0);
    CHECK(i.rc[0] == -ECANCELED && i.rc[1] == 1 && i.rc[2] == 1 && i.rc[3] == 0);
    CHECK(now_ms() == 6 && actors[0].cancels + actors[1].cancels == 0);
    weft_release(i.t[0]);
    weft_release(i.t[1]);
    return 0;
}

/* ---- all sorts, and races --------------------------------------------------------------------------------------- */

TEST(all_that_ends)
{
    weft_future *f = weft_future_create(), *g = weft_gather_future(&f, 1, false), *s = weft_shield_future(g);
    weft_handle *h = weft_call_later(WEFT_MS(3), actor, .id = 0, .work = -1);
    weft_task *in = weft_to_thread(actor, .id = 1, .work = -1), *out;
    weft_as_completed it;
    CHECK(weft_as_completed_begin(&it, (weft_task *const[]){s, g, f, h, in}, 5, WEFT_FOREVER) == 0);
    CHECK(weft_as_completed_next(&it, &out) == 1 && out == in);
    CHECK(weft_future_set_result(f, 0) == 0);
    CHECK(weft_as_completed_next(&it, &out) == 1 && (setting.order != WEFT_ORDER_FIFO || out == f));
    CHECK(weft_as_completed_next(&it, &out) == 1 && (setting.order != WEFT_ORDER_FIFO || out == g));
    CHECK(weft_as_completed_next(&it, &out) == 1 && (setting.order != WEFT_ORDER_FIFO || out == s));
    CHECK(weft_as_completed_next(&it, &out) == 1 && out == h && now_ms() == 3);
    CHECK(weft_as_completed_next(&it, &out) == 0);
    weft_as_completed_end(&it);
    weft_release(f);
    weft_release(g);
    weft_release(s);
    weft_release(h);
    weft_release(in);
    return 0;
}

static int set_all(void *futures)
{
    weft_future **f = futures;
    for (int i = 0; i < 8; i++)
        CHECK(weft_future_set_result(f[i], i) == 0);
    return 0;
}

/* The end, the limit and leaving meet the tasks while they end. */
TEST(while_they_end)
{
    for (unsigned round = 0; round < threads_scale(1000); round++) {
        weft_future *f[8], *out;
        bool came[8] = {false};
        for (int i = 0; i < 8; i++)
            f[i] = weft_future_create();
        weft_task *setter = start(set_all, f);
        weft_as_completed it;
        unsigned leave_after = round % 11;
        CHECK(weft_as_completed_begin(&it, f, 8, round % 3 == 0 ? 0 : WEFT_FOREVER) == 0);
        int rc = 1;
        for (unsigned n = 0; n < leave_after && (rc == 1 || rc == -ETIMEDOUT); n++) {
            rc = weft_as_completed_next(&it, &out);
            CHECK(rc == 1 || (rc == 0 && n == 8) || (rc == -ETIMEDOUT && round % 3 == 0));
            if (rc == 1) {
                CHECK(weft_done(out) && !came[weft_status(out)]);
                came[weft_status(out)] = true;
            }
        }
        weft_as_completed_end(&it);
        CHECK(weft_await_release(setter) == 0);
        for (int i = 0; i < 8; i++)
            weft_release(f[i]);
    }
    return 0;
}

/* ---- misuse ----------------------------------------------------------------------------------------------------- */

static int end_twice(void *unused)
{
    (void)unused;
    weft_as_completed it;
    (void)weft_as_completed_begin(&it, NULL, 0, WEFT_FOREVER);
    weft_as_completed_end(&it);
    weft_as_completed_end(&it);
    return 0;
}
static int next_after_end(void *unused)
{
    (void)unused;
    weft_as_completed it;
    weft_task *out;
    (void)weft_as_completed_begin(&it, NULL, 0, WEFT_FOREVER);
    weft_as_completed_end(&it);
    return weft_as_completed_next(&it, &out);
}
static void die_of_end(void)
{
    run_with(settings[0], end_twice, NULL);
}
static void die_of_next(void)
{
    run_with(settings[0], next_after_end, NULL);
}
static void die_outside(void)
{
    weft_as_completed it;
    (void)weft_as_completed_begin(&it, NULL, 0, WEFT_FOREVER);
}
static void misuse(void **state)
{
    (void)state;
    expect_abort(die_of_end, "weft_as_completed_end");
    expect_abort(die_of_next, "weft_as_completed_next");
    expect_abort(die_outside, "weft_as_completed_begin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_order_in_which_they_end),
        cmocka_unit_test(ended_twice_and_null),
        cmocka_unit_test(of_nothing),
        cmocka_unit_test(many),
        cmocka_unit_test(time_limit),
        cmocka_unit_test(no_time_at_all),
        cmocka_unit_test(left_early),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(all_that_ends),
        cmocka_unit_test(while_they_end),
        cmocka_unit_test(misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

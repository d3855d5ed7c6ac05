/* SPDX-License-Identifier: Apache-2.0 */
/* Time limits over blocks: section J of the semantics. */
#include "support/actors.h"
#include "support/deaths.h"

static unsigned requests(void)
{
    return weft_cancelling(weft_current_task());
}

/* J1: in time, nothing happens. J2, J3, J8: on expiry the block is cancelled, its border says so, the count is
 * balanced. */
TEST(expiry)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    int rc = weft_sleep(WEFT_MS(2));
    CHECK(rc == 0 && !weft_timeout_expired(&limit));
    CHECK(weft_timeout_end(&limit, 3) == 3);

    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    rc = weft_sleep(WEFT_MS(50));
    CHECK(rc == -ECANCELED && now_ms() == 7 && weft_timeout_expired(&limit) && requests() == 1);
    CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);
    CHECK(requests() == 0);
    CHECK(weft_sleep(WEFT_MS(50)) == 0 && now_ms() == 57);
    return 0;
}

/* J4: a block that swallows it ends as it likes. J5: so does one that answers with an error. J13: a clean-up that
 * sleeps is not cancelled again. */
TEST(answers)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_sleep(WEFT_MS(50)) == -ECANCELED);
    CHECK(weft_sleep(WEFT_MS(20)) == 0);
    CHECK(weft_timeout_expired(&limit));
    CHECK(weft_timeout_end(&limit, 4) == 4);
    CHECK(now_ms() == 25);
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_sleep(WEFT_MS(50)) == -ECANCELED);
    CHECK(weft_timeout_end(&limit, -EIO) == -EIO);
    CHECK(requests() == 0 && weft_yield() == 0);
    return 0;
}

struct limited {
    weft_ns duration;
    int64_t cleanup;
    int inside, border;
    bool expired;
};
static int limited(void *argument)
{
    struct limited *l = argument;
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, l->duration) == 0);
    l->inside = weft_sleep(WEFT_MS(100));
    if (l->cleanup > 0)
        CHECK(weft_sleep(WEFT_MS(l->cleanup)) == (l->cleanup > 5 ? -ECANCELED : 0));
    l->expired = weft_timeout_expired(&limit);
    return l->border = weft_timeout_end(&limit, l->inside);
}

/* J6: a cancellation from outside stays one, also if the limit expires during the clean-up. */
TEST(outer_cancel_wins)
{
    struct limited l = {.duration = WEFT_MS(5)};
    weft_task *t = start(limited, &l);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(t));
    CHECK(weft_await(t) == -ECANCELED && l.border == -ECANCELED && !l.expired && weft_cancelling(t) == 1);
    weft_release(t);

    l = (struct limited){.duration = WEFT_MS(5), .cleanup = 10};
    t = start(limited, &l);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(t));
    CHECK(weft_await(t) == -ECANCELED && l.border == -ECANCELED && l.expired && weft_cancelling(t) == 1);
    CHECK(now_ms() == 6);
    weft_release(t);
    return 0;
}

/* J7: only the expired scope converts; an outer expiry passes through the inner one as cancelled; both at once. */
TEST(nested)
{
    static const struct {
        int64_t inner, outer;
        int inner_rc, outer_rc;
    } cases[] = {{2, 9, -ETIMEDOUT, -ETIMEDOUT}, {9, 2, -ECANCELED, -ETIMEDOUT}, {4, 4, -ECANCELED, -ETIMEDOUT}};
    for (size_t i = 0; i < 3; i++) {
        int64_t begin = now_ms();
        weft_timeout inner, outer;
        CHECK(weft_timeout_begin(&outer, WEFT_MS(cases[i].outer)) == 0);
        CHECK(weft_timeout_begin(&inner, WEFT_MS(cases[i].inner)) == 0);
        int rc = weft_timeout_end(&inner, weft_sleep(WEFT_MS(100)));
        if (cases[i].inner != cases[i].outer || setting.workers == 1)
            CHECK(rc == cases[i].inner_rc);
        CHECK(now_ms() - begin == (cases[i].inner < cases[i].outer ? cases[i].inner : cases[i].outer));
        bool expired = weft_timeout_expired(&outer);
        CHECK(expired == (cases[i].outer <= cases[i].inner));
        rc = weft_timeout_end(&outer, rc);
        CHECK(rc == -ETIMEDOUT);
        CHECK(requests() == 0 && weft_yield() == 0);
    }
    return 0;
}

/* J9: no limit never fires; zero and the past fire at the first suspension; a block without one ends normally. J12. */
TEST(zero_past_never)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_FOREVER) == 0);
    CHECK(weft_timeout_end(&limit, weft_sleep(WEFT_SEC(1000))) == 0);

    for (int i = 0; i < 4; i++) {
        CHECK((i & 1 ? weft_timeout_begin(&limit, WEFT_MS(-i)) : weft_timeout_begin_at(&limit, weft_now() - i)) == 0);
        CHECK(!weft_timeout_expired(&limit));
        int rc = i < 2 ? weft_yield() : weft_sleep(WEFT_MS(1));
        CHECK(rc == -ECANCELED && weft_timeout_expired(&limit));
        CHECK(weft_yield() == 0);
        CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);

        CHECK(weft_timeout_begin(&limit, 0) == 0);
        CHECK(!weft_timeout_expired(&limit));
        CHECK(weft_timeout_end(&limit, 2) == 2);
        CHECK(requests() == 0 && weft_yield() == 0);

        CHECK(weft_timeout_begin(&limit, 0) == 0);
        CHECK(weft_timeout_end(&limit, -ECANCELED) == -ECANCELED); /* by hand: the limit had not been met yet */
        CHECK(requests() == 0 && weft_yield() == 0);
    }
    CHECK(now_ms() == 1000000);
    CHECK(weft_timeout_begin_at(&limit, weft_now() + WEFT_MS(7)) == 0);
    CHECK(weft_timeout_end(&limit, weft_sleep(WEFT_MS(20))) == -ETIMEDOUT);
    CHECK(now_ms() == 1000007);
    return 0;
}

/* J9, C16: what is awaited unstarted in an expired scope is cancelled before it starts. */
TEST(zero_and_unstarted)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, 0) == 0);
    weft_task *t = weft_create_task(actor, .id = 0, .work = -1, .result = 1);
    int rc = weft_timeout_end(&limit, weft_await(t));
    CHECK(setting.workers != 1 || (rc == -ETIMEDOUT && weft_cancelled(t) && actors[0].started == 0));
    CHECK(rc == -ETIMEDOUT || (rc == 1 && requests() == 0));
    weft_release(t);
    return 0;
}

/* J10: later, sooner, never and back, into the past; J11: not after the expiry. */
TEST(reschedule)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_timeout_reschedule(&limit, WEFT_MS(50)) == 0);
    CHECK(weft_sleep(WEFT_MS(10)) == 0);
    CHECK(weft_timeout_reschedule(&limit, WEFT_FOREVER) == 0);
    CHECK(weft_sleep(WEFT_MS(100)) == 0);
    CHECK(weft_timeout_reschedule(&limit, WEFT_MS(2)) == 0);
    int rc = weft_sleep(WEFT_MS(50));
    CHECK(rc == -ECANCELED && now_ms() == 112);
    CHECK(weft_timeout_reschedule(&limit, WEFT_MS(1)) == -EINVAL);
    CHECK(weft_timeout_reschedule(&limit, WEFT_FOREVER) == -EINVAL);
    CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);

    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_timeout_reschedule(&limit, WEFT_MS(-1)) == 0);
    CHECK(weft_timeout_end(&limit, weft_yield()) == -ETIMEDOUT);

    CHECK(weft_timeout_begin(&limit, 0) == 0);
    CHECK(weft_timeout_reschedule(&limit, WEFT_MS(5)) == 0); /* not met yet: it counts from now */
    CHECK(weft_timeout_end(&limit, weft_sleep(WEFT_MS(4))) == 0);
    CHECK(requests() == 0 && now_ms() == 116);
    return 0;
}

static int cancelled_earlier(void *argument)
{
    (void)argument;
    weft_timeout limit;
    CHECK(weft_sleep(WEFT_MS(100)) == -ECANCELED);
    CHECK(requests() == 1);
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_timeout_end(&limit, weft_sleep(WEFT_MS(50))) == -ETIMEDOUT);
    CHECK(requests() == 1);
    CHECK(weft_timeout_begin(&limit, 0) == 0);
    CHECK(weft_timeout_end(&limit, 0) == 0);
    CHECK(requests() == 1 && weft_sleep(WEFT_MS(1)) == 0); /* nothing is left of that limit */
    CHECK(weft_timeout_begin(&limit, 0) == 0);
    CHECK(weft_cancel(weft_current_task()));
    CHECK(weft_timeout_end(&limit, 0) == 0);
    CHECK(requests() == 2 && weft_sleep(WEFT_MS(1)) == -ECANCELED); /* but the request from elsewhere is */

    /* Also when older ones are taken back in the block: the limit's own is met, and what came then is not it. */
    CHECK(weft_uncancel(weft_current_task()) == 1);
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_uncancel(weft_current_task()) == 0);
    CHECK(weft_sleep(WEFT_MS(50)) == -ECANCELED);
    CHECK(weft_cancel(weft_current_task()));
    CHECK(weft_timeout_end(&limit, 0) == 0);
    CHECK(requests() == 1 && weft_sleep(WEFT_MS(1)) == -ECANCELED);
    return -ECANCELED;
}

/* One that was met in the block, before the deadline was moved into the past. */
static int cancelled_inside(void *argument)
{
    (void)argument;
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_SEC(60)) == 0);
    CHECK(weft_sleep(WEFT_MS(100)) == -ECANCELED);
    CHECK(weft_timeout_reschedule(&limit, 0) == 0);
    CHECK(weft_timeout_end(&limit, 0) == 0);
    CHECK(requests() == 1 && weft_sleep(WEFT_MS(1)) == 0);
    return -ECANCELED;
}

/* J8, N17: a limit in the clean-up of a cancelled task converts its own expiry, and takes only its own request back. */
TEST(in_cleanup)
{
    for (int i = 0; i < 2; i++) {
        weft_task *t = start(i == 0 ? cancelled_earlier : cancelled_inside, NULL);
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
        CHECK(weft_cancel(t));
        CHECK(weft_await_release(t) == -ECANCELED);
    }
    return 0;
}

/* J15: the limit expires in the instant in which the sleeper is woken: at its next suspension, or never. */
TEST(tie)
{
    for (int i = 0; i < 20; i++) {
        weft_timeout limit;
        CHECK(weft_timeout_begin(&limit, WEFT_MS(3)) == 0);
        int rc = weft_sleep(WEFT_MS(3));
        if (rc == 0 && i % 2 != 0)
            rc = weft_yield();
        rc = weft_timeout_end(&limit, rc);
        CHECK(rc == 0 || rc == -ETIMEDOUT);
        CHECK(requests() == 0 && weft_yield() == 0);
    }
    return 0;
}

struct bounded {
    WEFT_FRAME;
    int rc;
};
static int bounded(struct bounded *b)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    b->rc = weft_timeout_end(&limit, weft_sleep(WEFT_MS(50)));
    return b->rc;
}
WEFT_CORO(bounded);

/* A limit in a coroutine that is called directly, awaited, or forked cancels just that. */
TEST(who_is_limited)
{
    CHECK(bounded(&(struct bounded){.rc = 0}) == -ETIMEDOUT);
    weft_task *t = weft_create_task(bounded, .rc = 0);
    CHECK(weft_await_release(t) == -ETIMEDOUT);
    struct bounded frame = {.rc = 0};
    weft_child child;
    weft_fork(&child, bounded, &frame);
    CHECK(weft_join(&child) == -ETIMEDOUT && frame.rc == -ETIMEDOUT);
    CHECK(requests() == 0 && weft_yield() == 0);
    CHECK(now_ms() == 15);
    return 0;
}

struct asks {
    WEFT_FRAME;
    bool late_enough;
};
static int asks(struct asks *a)
{
    weft_timeout limit;
    weft_ns now = weft_now();
    CHECK(weft_timeout_begin(&limit, WEFT_SEC(50)) == 0);
    a->late_enough = weft_timeout_when(&limit) >= now + WEFT_SEC(50);
    return weft_timeout_end(&limit, 0);
}
WEFT_CORO(asks);

/* The scope of a forked child, which is no whole task: what follows it in memory is its parent's. */
TEST_BOTH_CLOCKS(when_in_a_child)
{
    struct {
        weft_child child;
        char beyond[64];
    } forked;
    memset(&forked, 0xff, sizeof forked);
    struct asks frame = {.late_enough = false};
    weft_fork(&forked.child, asks, &frame);
    CHECK(weft_join(&forked.child) == 0 && frame.late_enough);
    return 0;
}

/* when, expired and reschedule in every state: open, due, expired, ended; after the end nothing can be moved. */
TEST_BOTH_CLOCKS(states)
{
    weft_timeout limit;
    weft_ns now = weft_now();
    CHECK(weft_timeout_begin_at(&limit, now + WEFT_SEC(50)) == 0);
    CHECK(weft_timeout_when(&limit) == now + WEFT_SEC(50) && !weft_timeout_expired(&limit));
    CHECK(weft_timeout_reschedule_at(&limit, now + WEFT_SEC(70)) == 0);
    CHECK(weft_timeout_when(&limit) == now + WEFT_SEC(70));
    CHECK(weft_timeout_reschedule(&limit, WEFT_FOREVER) == 0 && weft_timeout_when(&limit) == WEFT_FOREVER);
    CHECK(weft_timeout_reschedule_at(&limit, WEFT_FOREVER) == 0 && weft_timeout_when(&limit) == WEFT_FOREVER);
    CHECK(weft_timeout_reschedule(&limit, WEFT_SEC(60)) == 0 && weft_timeout_when(&limit) >= now + WEFT_SEC(60));
    CHECK(weft_timeout_end(&limit, 4) == 4);
    CHECK(!weft_timeout_expired(&limit));
    CHECK(weft_timeout_reschedule(&limit, WEFT_SEC(1)) == -EINVAL);
    CHECK(weft_timeout_reschedule_at(&limit, weft_now() - 1) == -EINVAL);
    CHECK(weft_timeout_reschedule_at(&limit, WEFT_FOREVER) == -EINVAL);
    CHECK(!weft_timeout_expired(&limit) && requests() == 0 && weft_yield() == 0);

    /* Into the past: expires at the next suspension, not before, and can be taken back until then. */
    CHECK(weft_timeout_begin(&limit, WEFT_SEC(60)) == 0);
    CHECK(weft_timeout_reschedule_at(&limit, now - WEFT_SEC(1)) == 0);
    CHECK(weft_timeout_when(&limit) == now - WEFT_SEC(1) && !weft_timeout_expired(&limit));
    CHECK(weft_timeout_reschedule(&limit, WEFT_SEC(60)) == 0 && weft_yield() == 0 && requests() == 0);
    CHECK(weft_timeout_reschedule_at(&limit, now - WEFT_SEC(1)) == 0);
    int rc = weft_sleep(WEFT_SEC(30));
    CHECK(rc == -ECANCELED && weft_timeout_expired(&limit) && weft_timeout_when(&limit) == now - WEFT_SEC(1));
    CHECK(weft_timeout_reschedule(&limit, WEFT_SEC(1)) == -EINVAL && weft_timeout_reschedule_at(&limit, 0) == -EINVAL);
    CHECK(weft_timeout_when(&limit) == now - WEFT_SEC(1));
    CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT && weft_timeout_expired(&limit));
    CHECK(weft_timeout_reschedule(&limit, WEFT_SEC(1)) == -EINVAL && weft_timeout_expired(&limit));

    /* The block ended otherwise although it had expired: expired says so, the result stays. */
    CHECK(weft_timeout_begin(&limit, WEFT_MS(1)) == 0);
    CHECK(weft_sleep(WEFT_SEC(30)) == -ECANCELED);
    CHECK(weft_timeout_end(&limit, -EIO) == -EIO && weft_timeout_expired(&limit) && requests() == 0);

    /* The same object again, and one that never was. */
    CHECK(weft_timeout_begin(&limit, WEFT_SEC(60)) == 0 && !weft_timeout_expired(&limit));
    CHECK(weft_timeout_end(&limit, 0) == 0 && !weft_timeout_expired(&limit));
    weft_timeout none = {NULL};
    CHECK(weft_timeout_reschedule(&none, 1) == -EINVAL && !weft_timeout_expired(&none));
    return 0;
}

static int end_twice(void *unused)
{
    (void)unused;
    weft_timeout limit;
    (void)weft_timeout_begin(&limit, WEFT_SEC(1));
    CHECK(weft_timeout_end(&limit, 0) == 0);
    return weft_timeout_end(&limit, 0);
}
static int when_after_the_end(void *unused)
{
    (void)unused;
    weft_timeout limit;
    (void)weft_timeout_begin(&limit, WEFT_SEC(1));
    CHECK(weft_timeout_end(&limit, 0) == 0);
    return weft_timeout_when(&limit) != 0;
}
static int leave_open(void *unused)
{
    (void)unused;
    weft_timeout limit;
    return weft_timeout_begin(&limit, WEFT_SEC(1));
}
static void die_of_end(void)
{
    run_with(settings[0], end_twice, NULL);
}
static void die_of_when(void)
{
    run_with(settings[0], when_after_the_end, NULL);
}
static void die_of_leaving(void)
{
    run_with(settings[0], leave_open, NULL);
}
static void misuse(void **state)
{
    (void)state;
    expect_abort(die_of_end, "weft_timeout_end: the time limit is not open");
    expect_abort(die_of_when, "weft_timeout_when: the time limit is not open");
    expect_abort(die_of_leaving, "still open");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expiry),         cmocka_unit_test(answers),         cmocka_unit_test(outer_cancel_wins),
        cmocka_unit_test(nested),         cmocka_unit_test(zero_past_never), cmocka_unit_test(zero_and_unstarted),
        cmocka_unit_test(reschedule),     cmocka_unit_test(in_cleanup),      cmocka_unit_test(tie),
        cmocka_unit_test(who_is_limited), cmocka_unit_test(when_in_a_child), cmocka_unit_test(states),
        cmocka_unit_test(misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Random trees of gathers, groups, time limits, shields and helper threads, with random failures and cancellations.
 *
 * Invariants, whatever happens: every task that began ends (Z3); a group never leaves a child behind (M1); a settled
 * gather that was not cancelled leaves none either (G5); at the border of a time limit the count of requests is what
 * it was plus what came from outside (J8, N10); the run ends and nothing leaks. Each tree is told by its seed. */
#include "support/actors.h"

#include "executor/base.h"

static _Atomic(int) begun, ended;

enum { MAX_DEPTH = 4, MAX_CHILDREN = 5 };

struct node {
    WEFT_FRAME;
    uint64_t seed;
    int depth;
};
static int node(struct node *n);
WEFT_CORO(node);

struct blocker {
    WEFT_FRAME;
    int result;
};
static int blocker(struct blocker *b)
{
    return b->result;
}
WEFT_CORO(blocker);

static int64_t draw(struct node *n, int64_t below)
{
    return (int64_t)(weft__random(&n->seed) >> 8) % below;
}

static weft_task *child_of(struct node *n)
{
    return weft_create_task(node, .seed = weft__random(&n->seed) | 1, .depth = n->depth + 1);
}

static int leaf(struct node *n)
{
    switch (draw(n, 6)) {
    case 0:
        return 0;
    case 1:
        return draw(n, 4) == 0 ? -EIO : 1;
    case 2:
        return weft_yield();
    case 3:
        return weft_await_release(weft_to_thread(blocker, .result = draw(n, 5) == 0 ? -EPERM : 2));
    case 4: {
        int rc = weft_sleep(WEFT_MS(draw(n, 5)));
        if (rc == -ECANCELED && draw(n, 3) == 0)
            (void)weft_sleep(WEFT_MS(draw(n, 3)));
        return rc == -ECANCELED && draw(n, 4) == 0 ? (int)draw(n, 2) : rc; /* some swallow it */
    }
    default:
        return draw(n, 8) == 0 ? -ECANCELED : weft_sleep(WEFT_MS(1));
    }
}

static int gathers(struct node *n)
{
    weft_task *t[MAX_CHILDREN];
    size_t count = (size_t)(1 + draw(n, MAX_CHILDREN));
    for (size_t i = 0; i < count; i++)
        t[i] = draw(n, 8) == 0 && i > 0 ? weft_ref(t[0]) : child_of(n);
    bool settled = draw(n, 2) == 0;
    if (draw(n, 4) == 0)
        (void)weft_cancel(t[draw(n, (int64_t)count)]);
    int rc = settled ? weft_gather_settled_n(t, count) : weft_gather_n(t, count);
    int failed = 0;
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        all &= weft_done(t[i]);
        failed += weft_done(t[i]) && weft_status(t[i]) < 0;
        weft_release(t[i]);
    }
    if (settled && rc >= 0)
        CHECK(all && rc <= failed && (rc > 0) == (failed > 0));
    if (!settled && rc >= 0)
        CHECK(all && failed == 0);
    return rc > 0 ? 0 : rc;
}

static int waits(struct node *n)
{
    weft_task *t[MAX_CHILDREN];
    size_t count = (size_t)(1 + draw(n, MAX_CHILDREN));
    for (size_t i = 0; i < count; i++)
        t[i] = child_of(n);
    int rc;
    switch (draw(n, 4)) {
    case 0:
        rc = weft_wait(t, count, (enum weft_return_when)draw(n, 3), WEFT_MS(draw(n, 6) - 1));
        CHECK(rc == -ECANCELED || (rc >= 0 && rc <= (int)count));
        break;
    case 1:
        rc = weft_wait_for(t[0], WEFT_MS(draw(n, 4) - 1));
        break;
    case 2:
        rc = weft_shield(t[0]);
        break;
    default:
        rc = weft_await(t[0]);
        break;
    }
    for (size_t i = 0; i < count; i++) {
        if (draw(n, 2) == 0)
            (void)weft_cancel(t[i]);
        weft_release(t[i]);
    }
    return rc < 0 ? rc : 0;
}

static int groups(struct node *n)
{
    weft_group g;
    weft_task *t[MAX_CHILDREN];
    size_t count = (size_t)(1 + draw(n, MAX_CHILDREN));
    int rc = 0;
    CHECK(weft_group_begin(&g) == 0);
    for (size_t i = 0; i < count; i++) {
        int started = weft_group_start_(
            &g, NULL,
            &(struct node){.frame_ = {&node_coro_}, .seed = weft__random(&n->seed) | 1, .depth = n->depth + 1}.frame_,
            &t[i]);
        CHECK(started == 0 || (started == -ESHUTDOWN && t[i] == NULL));
    }
    switch (draw(n, 5)) {
    case 0:
        rc = weft_sleep(WEFT_MS(draw(n, 3)));
        break;
    case 1:
        rc = -EDOM;
        break;
    case 2:
        weft_group_cancel(&g);
        break;
    case 3:
        (void)weft_cancel(t[draw(n, (int64_t)count)]);
        break;
    default:
        break;
    }
    rc = weft_group_join(&g, rc);
    for (size_t i = 0; i < count; i++) {
        CHECK(weft_done(t[i]));
        weft_release(t[i]);
    }
    return rc;
}

static int inside(struct node *n)
{
    switch (draw(n, 3)) {
    case 0:
        return gathers(n);
    case 1:
        return waits(n);
    default:
        return groups(n);
    }
}

static int node(struct node *n)
{
    begun++;
    int rc;
    if (n->depth >= MAX_DEPTH || draw(n, 4) == 0) {
        rc = leaf(n);
    } else if (draw(n, 3) == 0) {
        weft_timeout limit;
        CHECK(weft_timeout_begin(&limit, WEFT_MS(draw(n, 5) - 1)) == 0);
        rc = weft_timeout_end(&limit, inside(n));
    } else {
        rc = inside(n);
    }
    ended++;
    return rc;
}

/* A forest: trees that are cancelled from outside, some twice, at random instants; then every task must have ended. */
static int forest(void *argument)
{
    enum { TREES = 8 };
    uint64_t seed = *(uint64_t *)argument;
    weft_task *t[TREES];
    for (int i = 0; i < TREES; i++)
        t[i] = weft_create_task(node, .seed = weft__random(&seed) | 1, .depth = i % 3);
    for (int i = 0; i < TREES; i++) {
        if (weft__random(&seed) % 2 == 0)
            CHECK(weft_sleep(WEFT_MS(weft__random(&seed) % 3)) == 0);
        else
            CHECK(weft_yield() == 0);
        for (uint64_t k = weft__random(&seed) % 3; k != 0; k--)
            (void)weft_cancel(t[weft__random(&seed) % TREES]);
    }
    (void)weft_gather_settled_n(t, TREES);
    for (int i = 0; i < TREES; i++) {
        CHECK(weft_done(t[i]));
        weft_release(t[i]);
    }
    return 0;
}

static void random_trees(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        for (size_t i = 0; i < SETTINGS; i++) {
            uint64_t argument = seed * UINT64_C(0x9e3779b97f4a7c15);
            begun = ended = 0;
            int rc = run_with(settings[i], forest, &argument);
            if (first_failure != NULL || rc != 0 || begun != ended)
                fail_msg("seed %d, %u workers, order %u: rc %d, %d begun, %d ended, %s", (int)seed, settings[i].workers,
                         settings[i].order, rc, begun, ended, first_failure != NULL ? first_failure : "");
        }
    }
}

/* Cancels from other tasks that never sleep, against tasks that open and close scopes: nothing is lost, nothing hangs.
 * */
static _Atomic(bool) stop;
static _Atomic(weft_task *) target;
static int harasser(void *unused)
{
    (void)unused;
    while (!stop) {
        weft_cancel(target);
        CHECK(weft_yield() == 0);
    }
    return 0;
}
static int harassed(void *unused)
{
    (void)unused;
    int cancelled = 0;
    for (int i = 0; i < 300; i++) {
        weft_timeout limit;
        weft_group g;
        int rc;
        switch (i % 3) {
        case 0:
            CHECK(weft_timeout_begin(&limit, i % 2 == 0 ? 0 : WEFT_MS(1)) == 0);
            rc = weft_timeout_end(&limit, weft_sleep(WEFT_MS(2)));
            CHECK(rc == 0 || rc == -ETIMEDOUT || rc == -ECANCELED);
            break;
        case 1:
            CHECK(weft_group_begin(&g) == 0);
            for (int k = 0; k < 3; k++)
                (void)!weft_group_start(&g, actor, .id = k, .work = k - 1, .result = i % 4 == 0 ? -EIO : 0);
            rc = weft_group_join(&g, 0);
            CHECK(rc == 0 || rc == -EIO || rc == -ECANCELED);
            break;
        default: {
            weft_task *pair[2] = {weft_create_task(actor, .id = 4, .work = 0),
                                  weft_create_task(actor, .id = 5, .work = 1)};
            rc = i % 2 == 0 ? weft_gather_n(pair, 2) : weft_gather_settled_n(pair, 2);
            CHECK(rc >= 0 || rc == -ECANCELED);
            weft_release(pair[0]);
            weft_release(pair[1]);
            break;
        }
        }
        cancelled += rc == -ECANCELED;
        while (weft_uncancel(weft_current_task()) != 0)
            ;
    }
    return cancelled;
}
static int harassment(void *unused)
{
    (void)unused;
    stop = false;
    weft_task *victim = start(harassed, NULL);
    target = victim;
    weft_task *t[2] = {start(harasser, NULL), start(harasser, NULL)};
    int rc = weft_shield(victim); /* a request pending at its end makes it cancelled */
    CHECK(rc > 0 || rc == -ECANCELED);
    stop = true;
    CHECK(weft_gather_n(t, 2) == 0);
    weft_release(victim);
    weft_release(t[0]);
    weft_release(t[1]);
    return 0;
}
static void cancelled_all_the_time(void **state)
{
    (void)state;
    run_everywhere(harassment);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_trees),
        cmocka_unit_test(cancelled_all_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

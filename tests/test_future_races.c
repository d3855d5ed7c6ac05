/* SPDX-License-Identifier: Apache-2.0 */
/* Futures that several set or cancel at once: one does it, all see the same, and nothing is lost. */
#include <pthread.h>

#include "support/actors.h"
#include "support/threads.h"
#include "support/waiting.h"

#include <weft/future.h>

struct answer {
    WEFT_FRAME;
    int code;
    char text[80];
};
WEFT_VALUE(answer);

#define SETTERS 8
struct race {
    weft_future *f;
    _Atomic(int) arrived, won, refused, other, winner;
    int n;
};
struct setter {
    WEFT_FRAME;
    struct race *race;
    int id;
};
static int setter(struct setter *s)
{
    struct race *r = s->race;
    struct answer value = {.frame_ = {&answer_coro_}, .code = s->id};
    memset(value.text, 'a' + s->id, sizeof value.text);
    r->arrived++;
    int rc = weft_future_set_value_(r->f, &value.frame_);
    if (rc == 0) {
        r->won++;
        r->winner = s->id;
    }
    r->refused += rc == -EALREADY;
    r->other += rc != 0 && rc != -EALREADY;
    return 0;
}
WEFT_CORO(setter);

static bool is_of_one(const struct answer *a, int id)
{
    for (size_t i = 0; i < sizeof a->text; i++)
        if (a->text[i] != 'a' + id)
            return false;
    return a->code == id;
}

/* Tasks and helper threads at once: one wins, and its whole value is what awaiters see. */
TEST_BOTH_CLOCKS(one_setter_wins)
{
    for (unsigned round = 0; round < threads_scale(100); round++) {
        struct race r = {.f = weft_future_create_of(answer), .winner = -1};
        struct waiting w = {.f = r.f};
        weft_task *t[SETTERS], *awaiter = start(await_it, &w);
        for (int i = 0; i < SETTERS; i++)
            t[i] = i % 2 ? weft_to_thread(setter, .race = &r, .id = i) : weft_create_task(setter, .race = &r, .id = i);
        CHECK(weft_gather_n(t, SETTERS) == 0 && weft_await_release(awaiter) == 0);
        CHECK(r.won == 1 && r.refused == SETTERS - 1 && r.other == 0);
        CHECK(is_of_one(weft_result(answer, r.f), r.winner));
        for (int i = 0; i < SETTERS; i++)
            weft_release(t[i]);
        weft_release(r.f);
    }
    return 0;
}

struct duel {
    weft_future *f;
    weft_task *victim; /* what is cancelled: the future, or a task that awaits it */
    _Atomic(int) ready;
    int set;
    bool cancelled;
};
static void meet(struct duel *d)
{
    d->ready++;
    for (int i = 0; i < 200 && d->ready < 2; i++)
        ;
}
static int duel_set(void *argument)
{
    struct duel *d = argument;
    meet(d);
    d->set = weft_future_set_result(d->f, 3);
    return 0;
}
static int duel_cancel(void *argument)
{
    struct duel *d = argument;
    meet(d);
    d->cancelled = weft_cancel(d->victim);
    return 0;
}

/* Set against cancel: exactly one of the two is told that it did it, and the outcome is that one's. */
TEST(set_against_cancel)
{
    for (unsigned round = 0; round < threads_scale(1000); round++) {
        struct duel d = {.f = weft_future_create()};
        d.victim = d.f;
        struct waiting w = {.f = d.f};
        weft_task *awaiter = start(await_it, &w);
        weft_task *a = start(round & 1 ? duel_set : duel_cancel, &d),
                  *b = start(round & 1 ? duel_cancel : duel_set, &d);
        CHECK(weft_gather(a, b) == 0);
        int rc = weft_await_release(awaiter);
        CHECK((d.set == 0) != d.cancelled);
        CHECK(d.set == 0 || d.set == -EALREADY);
        CHECK(w.rc == (d.cancelled ? -ECANCELED : 3) && rc == (d.cancelled ? -ECANCELED : 0));
        CHECK(weft_status(d.f) == w.rc);
        weft_release(a);
        weft_release(b);
        weft_release(d.f);
    }
    return 0;
}

/* Set against the cancellation of an awaiter: a request that was taken is met, a set that was taken stays. */
TEST(set_against_cancelled_awaiter)
{
    for (unsigned round = 0; round < threads_scale(1000); round++) {
        struct duel d = {.f = weft_future_create()};
        struct waiting w = {.f = d.f};
        weft_task *awaiter = start(await_it, &w);
        d.victim = awaiter;
        if (round & 2)
            CHECK(weft_yield() == 0);
        weft_task *a = start(round & 1 ? duel_set : duel_cancel, &d),
                  *b = start(round & 1 ? duel_cancel : duel_set, &d);
        CHECK(weft_gather(a, b) == 0);
        int rc = weft_await(awaiter);
        CHECK(!d.cancelled || (rc == -ECANCELED && weft_cancelled(awaiter)));
        CHECK(d.cancelled || (rc == 0 && w.rc == 3 && d.set == 0));
        CHECK(weft_status(d.f) == (d.set == 0 ? 3 : -ECANCELED));
        weft_release(awaiter);
        weft_release(a);
        weft_release(b);
        weft_release(d.f);
    }
    return 0;
}

struct outside {
    weft_runtime *rt;
    weft_future *f[SETTERS];
    pthread_t thread[SETTERS];
    _Atomic(int) won, refused, other;
};
static void *set_from_outside(void *argument)
{
    struct outside *o = argument;
    for (int i = 0; i < SETTERS; i++) {
        int rc = weft_future_set_result(o->f[i], i);
        o->won += rc == 0;
        o->refused += rc == -EALREADY;
        o->other += rc != 0 && rc != -EALREADY;
    }
    return NULL;
}

static int outside_main(void *unused)
{
    (void)unused;
    struct outside o = {.rt = weft_runtime_current()};
    for (int i = 0; i < SETTERS; i++)
        o.f[i] = weft_future_create();
    for (int i = 0; i < SETTERS; i++)
        CHECK(pthread_create(&o.thread[i], NULL, set_from_outside, &o) == 0);
    CHECK(weft_gather_n(o.f, SETTERS) == 0);
    for (int i = 0; i < SETTERS; i++)
        pthread_join(o.thread[i], NULL);
    for (int i = 0; i < SETTERS; i++) {
        CHECK(weft_status(o.f[i]) == i);
        weft_release(o.f[i]);
    }
    CHECK(o.won == SETTERS && o.refused == SETTERS * (SETTERS - 1) && o.other == 0);
    return 0;
}
static void set_by_foreign_threads(void **state)
{
    (void)state;
    run_options.clock = WEFT_CLOCK_REAL;
    for (unsigned i = 0; i < threads_scale(10); i++)
        run_everywhere(outside_main);
    run_options.clock = WEFT_CLOCK_VIRTUAL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_setter_wins),
        cmocka_unit_test(set_against_cancel),
        cmocka_unit_test(set_against_cancelled_awaiter),
        cmocka_unit_test(set_by_foreign_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

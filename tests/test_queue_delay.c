/* SPDX-License-Identifier: Apache-2.0 */
/* The queue delay: it rises while more is ready than is worked off, falls to 0 afterwards, and holds accept back; groups of
 * listeners. Nothing here depends on how long something takes: it is waited for, in the time limit of the test. */
#include "support/io.h"

#include <weft/metrics.h>

static _Atomic(bool) stop;

/* Computes in steps of a millisecond, and is ready again at once. */
static int burn(void *unused WEFT_UNUSED)
{
    int rc = 0;
    while (!stop && rc == 0) {
        for (weft_ns until = weft_now() + WEFT_MS(1); weft_now() < until;) {
        }
        rc = weft_sleep(0);
    }
    return rc;
}

#define EACH 12 /* of these for each worker */
static weft_task *burning[8 * EACH];

static void overload(void)
{
    stop = false;
    for (unsigned i = 0; i < workers * EACH; i++)
        burning[i] = start(burn, NULL);
}

static int calm(void)
{
    int rc = 0;
    stop = true;
    for (unsigned i = 0; i < workers * EACH; i++) {
        int one = weft_await(burning[i]);
        rc = one < 0 ? one : rc;
        weft_release(burning[i]);
    }
    return rc;
}

static int await_delay_above(weft_ns least)
{
    int rc = 0;
    while (rc == 0 && weft_queue_delay(weft_runtime_current()) <= least)
        rc = weft_sleep(WEFT_MS(1));
    return rc;
}

static int await_no_delay(void)
{
    int rc = 0;
    while (rc == 0 && weft_queue_delay(weft_runtime_current()) != 0)
        rc = weft_sleep(WEFT_MS(1));
    return rc;
}

static uint64_t pauses(void)
{
    weft_metrics m = {.size = sizeof m};
    CHECK(weft_metrics_read(weft_runtime_current(), -1, &m) == 0);
    return m.accept_pauses;
}

TEST(it_rises_and_falls)
{
    weft_runtime *rt = weft_runtime_current();
    CHECK(weft_queue_delay(rt) == 0);
    overload();
    CHECK(await_delay_above(WEFT_MS(2)) == 0);
    weft_metrics m = {.size = sizeof m};
    uint64_t most = 0;
    for (unsigned i = 0; i < workers; i++) {
        CHECK(weft_metrics_read(rt, (int)i, &m) == 0);
        most = m.queue_delay > most ? m.queue_delay : most;
    }
    CHECK(most > 0);
    CHECK(calm() == 0);
    CHECK(await_no_delay() == 0);
    return 0;
}

VIRTUAL_TEST(none_on_the_virtual_clock)
{
    for (int i = 0; i < 1000; i++)
        REQUIRE(weft_sleep(WEFT_MS(10)) == 0);
    CHECK(weft_queue_delay(weft_runtime_current()) == 0);
    return 0;
}

struct take {
    WEFT_FRAME;
    weft_listener *l;
    weft_stream *s; /* result */
};
static int take(struct take *t)
{
    return weft_accept(t->l, &t->s);
}
WEFT_CORO(take);

static int listen_and_dial(weft_ns most_delay, weft_listener **l, weft_stream **client)
{
    char address[64];
    int rc = weft_listen_with(WEFT_LISTEN_OPTIONS(.most_delay = most_delay), l, "127.0.0.1:0");
    if (rc == 0)
        rc = weft_listener_address(*l, address, sizeof address);
    return rc == 0 ? weft_connect(client, address) : rc;
}

/* Held back while it lasts, let in all the same after a while. */
TEST(accept_holds_back)
{
    weft_listener *l;
    weft_stream *client, *s;
    REQUIRE(listen_and_dial(WEFT_US(100), &l, &client) == 0);
    overload();
    for (uint64_t before = pauses(); pauses() == before;) { /* until an accept has met the overload */
        REQUIRE(await_delay_above(WEFT_US(100)) == 0);
        REQUIRE(weft_accept(l, &s) == 0);
        weft_close(s);
        weft_close(client);
        char address[64];
        REQUIRE(weft_listener_address(l, address, sizeof address) == 0 && weft_connect(&client, address) == 0);
    }
    CHECK(calm() == 0);
    CHECK(await_no_delay() == 0);
    uint64_t held = pauses();
    REQUIRE(weft_accept(l, &s) == 0);
    CHECK(pauses() == held);
    weft_close(s);
    weft_close(client);
    weft_close(l);
    return 0;
}

/* Never held back where the listener says so. */
TEST(accept_goes_on)
{
    weft_listener *l;
    weft_stream *client, *s;
    REQUIRE(listen_and_dial(WEFT_FOREVER, &l, &client) == 0);
    overload();
    REQUIRE(await_delay_above(WEFT_US(100)) == 0);
    uint64_t before = pauses();
    REQUIRE(weft_accept(l, &s) == 0);
    CHECK(pauses() == before);
    CHECK(calm() == 0);
    weft_close(s);
    weft_close(client);
    weft_close(l);
    return 0;
}

/* Cancelled, and closed, while it holds back: as at any other time. */
TEST(held_back_and_ended)
{
    for (int how = 0; how < 2; how++) {
        weft_listener *l;
        weft_stream *client;
        REQUIRE(listen_and_dial(WEFT_US(100), &l, &client) == 0);
        overload();
        REQUIRE(await_delay_above(WEFT_US(100)) == 0);
        uint64_t before = pauses();
        weft_task *t = weft_create_task(take, .l = l);
        while (pauses() == before && !weft_done(t))
            REQUIRE(weft_sleep(WEFT_MS(1)) == 0);
        if (how == 0)
            weft_cancel(t);
        else
            weft_close(l);
        int rc = weft_await(t);
        CHECK(rc == (how == 0 ? -ECANCELED : -EBADF) || rc == 0); /* 0: it had been let in already */
        if (rc == 0)
            weft_close(weft_result(take, t)->s);
        weft_release(t);
        CHECK(calm() == 0);
        weft_close(client);
        if (how == 0)
            weft_close(l);
    }
    return 0;
}

struct receive {
    WEFT_FRAME;
    weft_listener *l;
};
static _Atomic(int) received;
static int receive(struct receive *r)
{
    for (;;) {
        weft_stream *s;
        int rc = weft_accept(r->l, &s);
        if (rc < 0)
            return rc == -EBADF ? 0 : rc;
        received++;
        weft_close(s);
    }
}
WEFT_CORO(receive);

/* One address, four queues: all that connect are accepted by somebody. */
TEST(groups)
{
    enum { LISTENERS = 4, CLIENTS = 200 };
    weft_listener *l[LISTENERS];
    weft_task *t[LISTENERS];
    char address[64], other[64];
    CHECK(weft_listen_group(NULL, l, 0, "127.0.0.1:0") == -EINVAL);
    CHECK(weft_listen_group(NULL, l, 2, "unix:@weft-test-group") == -EOPNOTSUPP);
    CHECK(weft_listen_group(NULL, l, 2, "no address") < 0);
    weft_metrics before = {.size = sizeof before}, after = {.size = sizeof after};
    CHECK(weft_metrics_read(weft_runtime_current(), -1, &before) == 0);
    received = 0;
    REQUIRE(weft_listen_group(NULL, l, LISTENERS, "127.0.0.1:0") == 0);
    REQUIRE(weft_listener_address(l[0], address, sizeof address) == 0);
    for (int i = 0; i < LISTENERS; i++) {
        CHECK(weft_listener_address(l[i], other, sizeof other) == 0 && strcmp(address, other) == 0);
        t[i] = weft_create_task(receive, .l = l[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        weft_stream *s;
        char c;
        REQUIRE(weft_connect(&s, address) == 0);
        CHECK(weft_read(s, &c, 1) == 0);
        weft_close(s);
    }
    CHECK(received == CLIENTS);
    CHECK(weft_metrics_read(weft_runtime_current(), -1, &after) == 0);
    CHECK(after.accepted - before.accepted == CLIENTS);
    for (int i = 0; i < LISTENERS; i++)
        await_acceptor(l[i]);
    for (int i = 0; i < LISTENERS; i++)
        weft_close(l[i]);
    for (int i = 0; i < LISTENERS; i++)
        CHECK(weft_await_release(t[i]) == 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_rises_and_falls),  cmocka_unit_test(none_on_the_virtual_clock),
        cmocka_unit_test(accept_holds_back),   cmocka_unit_test(accept_goes_on),
        cmocka_unit_test(held_back_and_ended), cmocka_unit_test(groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

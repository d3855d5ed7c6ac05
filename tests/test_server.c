/* SPDX-License-Identifier: Apache-2.0 */
/* A server as asyncio's start_server has it (Y1): a task for each connection, one that fails is reported and the others go on; closing the
 * listener stops accepting, and what has been accepted goes on to its end. */
#include "support/io.h"

/* Echoes lines; one that says "fail" is answered with an error. */
struct serve {
    WEFT_FRAME;
    weft_stream *s;
};
static int serve(struct serve *f)
{
    char line[64];
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = weft_read_until(f->s, '\n', line, sizeof line)) > 0) {
        if (memcmp(line, "fail\n", 5) == 0)
            rc = -EPROTO;
        else
            rc = weft_write(f->s, line, (size_t)n);
    }
    weft_close(f->s);
    return rc;
}
static void serve_unstarted(struct serve *f)
{
    weft_close(f->s);
}
WEFT_CORO_OWNING(serve, serve_unstarted);

static int exchange(weft_stream *s, const char *line)
{
    char answer[64];
    size_t n = strlen(line);
    REQUIRE(weft_write(s, line, n) == 0);
    REQUIRE(weft_read_exactly(s, answer, n) == (ssize_t)n && memcmp(answer, line, n) == 0);
    return 0;
}

/* ---- connections that fail ----------------------------------------------------------------------------------------- */

static _Atomic(int) reported;
static void take(void *user, const weft_exception *e)
{
    (void)user;
    CHECK(e->kind == WEFT_NEVER_RETRIEVED && e->error == -EPROTO && strcmp(e->function, "serve") == 0);
    reported++;
}

/* Its tasks are nobody's but the runtime's, as start_server's. */
static int accept_detached(void *listener)
{
    weft_stream *s;
    int rc;
    while ((rc = weft_accept(listener, &s)) == 0)
        weft_release(weft_create_task(serve, .s = s));
    return rc;
}

enum { ROUNDS = 10 };
static int failing_clients(void *unused)
{
    weft_listener *l;
    weft_stream *steady, *s;
    char address[64], any[32], c;
    (void)unused;
    REQUIRE(weft_listen(&l, own_loopback(any)) == 0 && weft_listener_address(l, address, sizeof address) == 0);
    weft_task *server = start(accept_detached, l);
    REQUIRE(weft_connect(&steady, address) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        REQUIRE(weft_connect(&s, address) == 0);
        REQUIRE(exchange(s, "hello\n") == 0);
        CHECK(weft_write(s, "fail\n", 5) == 0);
        CHECK(weft_read(s, &c, 1) == 0); /* it has closed */
        weft_close(s);
        REQUIRE(exchange(steady, "still here\n") == 0); /* the others go on, and so does the server */
    }
    while (reported < ROUNDS)
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(!weft_done(server));
    weft_close(steady);
    await_acceptor(l);
    weft_close(l);
    CHECK(weft_await_release(server) == -EBADF);
    return 0;
}

static void one_that_fails_is_reported(void **state)
{
    static const unsigned numbers[] = {1, 2, 3, 8};
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        reported = 0;
        first_failure = NULL;
        int before = open_descriptors();
        assert_int_equal(
            weft_run_with(WEFT_OPTIONS(.workers = numbers[i], .slow_task = WEFT_FOREVER, .exception_handler = take),
                          limited, .fn = failing_clients),
            0);
        const char *failure = first_failure;
        assert_null(failure);
        assert_int_equal(reported, ROUNDS);
        assert_int_equal(open_descriptors(), before);
    }
}

/* ---- closing --------------------------------------------------------------------------------------------------------- */

static int accept_in_group(void *listener)
{
    weft_group g;
    weft_stream *s;
    int rc = weft_group_begin(&g);
    while (rc == 0 && (rc = weft_accept(listener, &s)) == 0) {
        rc = weft_group_start(&g, serve, .s = s);
        if (rc < 0)
            weft_close(s);
    }
    return weft_group_join(&g, rc == -EBADF ? 0 : rc); /* wait_closed() */
}

TEST(close_lets_connections_end)
{
    enum { CLIENTS = 5 };
    weft_listener *l;
    weft_stream *s[CLIENTS], *late;
    char address[64], any[32];
    REQUIRE(weft_listen(&l, own_loopback(any)) == 0 && weft_listener_address(l, address, sizeof address) == 0);
    weft_task *server = start(accept_in_group, l);
    for (int i = 0; i < CLIENTS; i++) {
        REQUIRE(weft_connect(&s[i], address) == 0);
        REQUIRE(exchange(s[i], "before\n") == 0);
    }
    await_acceptor(l); /* it goes on accepting before it may be closed */
    weft_close(l);
    CHECK(weft_connect(&late, address) == -ECONNREFUSED);
    for (int i = 0; i < CLIENTS; i++) {
        settle();
        CHECK(!weft_done(server)); /* it waits for those that are left */
        REQUIRE(exchange(s[i], "after\n") == 0);
        weft_close(s[i]);
    }
    CHECK(weft_await_release(server) == 0);
    return 0;
}

/* Cancelling the server (close_clients) ends every connection, and waits for them. */
TEST(cancel_ends_connections)
{
    weft_listener *l;
    weft_stream *s[3];
    char address[64], any[32], c;
    REQUIRE(weft_listen(&l, own_loopback(any)) == 0 && weft_listener_address(l, address, sizeof address) == 0);
    weft_task *server = start(accept_in_group, l);
    for (int i = 0; i < 3; i++) {
        REQUIRE(weft_connect(&s[i], address) == 0);
        REQUIRE(exchange(s[i], "before\n") == 0);
    }
    CHECK(weft_cancel(server));
    CHECK(weft_await_release(server) == -ECANCELED);
    for (int i = 0; i < 3; i++) {
        CHECK(weft_read(s[i], &c, 1) == 0);
        weft_close(s[i]);
    }
    weft_close(l);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_fails_is_reported),
        cmocka_unit_test(close_lets_connections_end),
        cmocka_unit_test(cancel_ends_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors run out: accept waits without spinning, resumes when one is free, and everything else says -EMFILE. */
#include "support/io.h"

#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* In the place of libc's: how often was the kernel asked in vain for a descriptor? */
static _Atomic(int) refused;
int accept4(int fd, __SOCKADDR_ARG address, socklen_t *restrict size, int flags)
{
    int rc = (int)syscall(SYS_accept4, fd, address.__sockaddr__, size, flags);
    if (rc < 0 && errno == EMFILE)
        refused++;
    return rc;
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

static struct rlimit limit_before;

/* No more descriptors than are open now. */
static void close_the_gate(void)
{
    getrlimit(RLIMIT_NOFILE, &limit_before);
    int lowest = dup(0); /* the lowest free number: all below are taken */
    close(lowest);
    struct rlimit now = {(rlim_t)lowest, limit_before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &now);
}

static void open_the_gate(void)
{
    setrlimit(RLIMIT_NOFILE, &limit_before);
}

/* All the numbers below the highest one in use, so that the limit leaves none. */
static int plug[64];
static int plugs;
static void plug_holes(int up_to)
{
    plugs = 0;
    for (int fd; plugs < 64 && (fd = dup(0)) >= 0; plugs++) {
        if (fd > up_to) {
            close(fd);
            break;
        }
        plug[plugs] = fd;
    }
}

static void unplug(void)
{
    while (plugs > 0)
        close(plug[--plugs]);
}

/* On the virtual clock, which stands while anybody has something to do: nobody spins while it moves on, and who was woken
 * by a close, and not by a pause that is over, goes on at the same instant. */
VIRTUAL_TEST(accept_resumes_when_a_stream_closes)
{
    weft_listener *l;
    weft_stream *a, *b, *client;
    char address[64], c;
    REQUIRE(tcp_pair(&a, &b) == 0 && weft_listen(&l, "127.0.0.1:0") == 0);
    REQUIRE(weft_listener_address(l, address, sizeof address) == 0);
    REQUIRE(weft_connect(&client, address) == 0);
    plug_holes(weft_stream_fd(client));
    refused = 0;
    close_the_gate();
    weft_task *t = weft_create_task(take, .l = l);
    while (refused < 2) { /* the kernel may take its time to hand the connection over */
        sched_yield();
        CHECK(weft_sleep(1) == 0);
    }
    CHECK(weft_sleep(WEFT_MS(90)) == 0 && refused == 2); /* at once, and when it was listed as starved */
    CHECK(weft_sleep(WEFT_MS(100)) == 0 && refused == 3);
    CHECK(weft_sleep(WEFT_MS(100)) == 0 && refused == 3); /* each pause is twice as long as the one before */
    CHECK(weft_sleep(WEFT_MS(100)) == 0 && refused == 4);
    CHECK(!weft_done(t));
    weft_ns before = weft_now();
    weft_close(a);
    REQUIRE(weft_await(t) == 0);
    CHECK(weft_now() == before && refused == 4);
    weft_stream *s = weft_result(take, t)->s;
    weft_release(t);
    open_the_gate();
    unplug();
    CHECK(weft_write(client, "x", 1) == 0 && weft_read(s, &c, 1) == 1);
    weft_close(s);
    weft_close(b);
    weft_close(client);
    weft_close(l);
    return 0;
}

/* Somebody else's descriptor was closed: found out after a pause. */
TEST(accept_resumes_by_itself)
{
    weft_listener *l;
    weft_stream *client;
    char address[64];
    REQUIRE(weft_listen(&l, "127.0.0.1:0") == 0);
    REQUIRE(weft_listener_address(l, address, sizeof address) == 0);
    REQUIRE(weft_connect(&client, address) == 0);
    plug_holes(weft_stream_fd(client));
    close_the_gate();
    weft_task *t = weft_create_task(take, .l = l);
    settle();
    CHECK(!weft_done(t));
    open_the_gate();
    REQUIRE(weft_await(t) == 0);
    weft_close(weft_result(take, t)->s);
    weft_release(t);
    unplug();
    weft_close(client);
    weft_close(l);
    return 0;
}

TEST(starved_accept_is_cancelled_and_closed)
{
    weft_listener *l;
    weft_stream *client, *s;
    char address[64], any[32];
    for (int how = 0; how < 2; how++) {
        REQUIRE(weft_listen(&l, own_loopback(any)) == 0);
        REQUIRE(weft_listener_address(l, address, sizeof address) == 0);
        REQUIRE(weft_connect(&client, address) == 0);
        plug_holes(weft_stream_fd(client));
        close_the_gate();
        weft_task *t = weft_create_task(take, .l = l);
        settle();
        CHECK(!weft_done(t));
        if (how == 0) {
            CHECK(weft_cancel(t));
            CHECK(weft_await_release(t) == -ECANCELED);
            weft_close(l);
        } else {
            weft_close(l);
            CHECK(weft_await_release(t) == -EBADF);
        }
        weft_stream_close(client);
        open_the_gate();
        unplug();
    }
    CHECK(weft_connect(&s, address) == -ECONNREFUSED);
    return 0;
}

TEST(others_say_so)
{
    weft_listener *l, *second;
    weft_stream *s;
    char address[64];
    REQUIRE(weft_listen(&l, "127.0.0.1:0") == 0);
    REQUIRE(weft_listener_address(l, address, sizeof address) == 0);
    REQUIRE(weft_connect(&s, address) == 0);
    plug_holes(weft_stream_fd(s));
    close_the_gate();
    weft_stream *none;
    CHECK(weft_connect(&none, address) == -EMFILE);
    CHECK(weft_listen(&second, "127.0.0.1:0") == -EMFILE);
    open_the_gate();
    unplug();
    weft_close(s);
    weft_close(l);
    return 0;
}

/* A runtime that cannot open its own descriptors does not start. */
struct nothing {
    WEFT_FRAME;
};
static int nothing(struct nothing *n)
{
    (void)n;
    return 0;
}
WEFT_CORO(nothing);

static void runtime_does_not_start(void **state)
{
    (void)state;
    int before = open_descriptors();
    for (int spare = 0; spare < 2; spare++) {
        plug_holes(40);
        if (spare)
            close(plug[--plugs]);
        close_the_gate();
        if (spare) {
            struct rlimit now;
            getrlimit(RLIMIT_NOFILE, &now);
            now.rlim_cur++;
            setrlimit(RLIMIT_NOFILE, &now);
        }
        int rc = weft_run(nothing);
        open_the_gate();
        unplug();
        assert_int_equal(rc, -EMFILE);
    }
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(weft_run(nothing), 0);
}

int main(void)
{
#ifdef M_ARENA_MAX
    /* Else malloc in a worker may just read the number of CPUs, by a descriptor that is free again when the gate is closed. */
    (void)mallopt(M_ARENA_MAX, 4);
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_resumes_when_a_stream_closes),
        cmocka_unit_test(accept_resumes_by_itself),
        cmocka_unit_test(starved_accept_is_cancelled_and_closed),
        cmocka_unit_test(others_say_so),
        cmocka_unit_test(runtime_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

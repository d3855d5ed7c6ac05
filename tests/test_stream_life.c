/* SPDX-License-Identifier: Apache-2.0 */
/* Streams' lives: adopting, closing and cancelling under waiters, time limits, one user a direction, fairness, reuse of
 * descriptors, outliving the runtime. */
#include "support/io.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>

static int peek_one(void *stream)
{
    const char *data;
    return (int)weft_peek(stream, 0, &data);
}

static int exactly_ten(void *stream)
{
    char buf[10];
    return (int)weft_read_exactly(stream, buf, sizeof buf);
}

static int exactly_many(void *stream)
{
    char *buf = malloc(100000);
    int rc = (int)weft_read_exactly(stream, buf, 100000);
    free(buf);
    return rc;
}

static int line(void *stream)
{
    char buf[10];
    return (int)weft_read_until(stream, '\n', buf, sizeof buf);
}

static int drain(void *stream)
{
    return weft_drain_until_end(stream, WEFT_FOREVER);
}

static int (*const waits[])(void *) = {read_one, peek_one, exactly_ten, exactly_many, line, drain, write_much};
#define WAITS (sizeof waits / sizeof waits[0])

TEST(close_wakes_with_ebadf)
{
    for (size_t i = 0; i < PAIRS; i++) {
        for (size_t w = 0; w < WAITS; w++) {
            weft_stream *a, *b;
            REQUIRE(pairs[i](&a, &b) == 0);
            weft_task *t = start(waits[w], a);
            settle();
            CHECK(!weft_done(t));
            weft_close(a);
            CHECK(weft_await_release(t) == -EBADF);
            weft_close(b);
        }
    }
    return 0;
}

/* Both directions at once, and without a pause: the closer meets the waiters anywhere in their calls. */
TEST(close_races_waiters)
{
    for (int round = 0; round < 300; round++) {
        weft_stream *a, *b;
        REQUIRE(unix_pair(&a, &b) == 0);
        weft_task *r = start(read_one, a), *w = start(write_much, a);
        for (int i = 0; i < round % 7; i++)
            CHECK(weft_yield() == 0);
        if (workers > 1 || round % 7 > 1)
            CHECK(weft_sleep(WEFT_US(round % 5 * 20)) == 0);
        /* A call on a closed object is a mistake: both must be inside. */
        while (weft_stream_written(a) == 0)
            CHECK(weft_sleep(WEFT_US(10)) == 0);
        settle();
        weft_close(a);
        CHECK(weft_await_release(w) == -EBADF);
        CHECK(weft_await_release(r) == -EBADF);
        weft_close(b);
        if (round > 20)
            round += 20;
    }
    return 0;
}

TEST(cancel_each_wait)
{
    for (size_t w = 0; w < WAITS; w++) {
        weft_stream *a, *b;
        REQUIRE(tcp_pair(&a, &b) == 0);
        weft_task *t = start(waits[w], a);
        settle();
        CHECK(weft_cancel(t));
        CHECK(weft_await(t) == -ECANCELED && weft_cancelled(t));
        weft_release(t);
        /* The stream works on. */
        char c = 0;
        CHECK(weft_write(b, "z", 1) == 0);
        CHECK(weft_read(a, &c, 1) == 1 && c == 'z');
        weft_close(a);
        weft_close(b);
    }
    return 0;
}

TEST(timeout_takes_no_byte)
{
    weft_stream *a, *b;
    char buf[8] = {0};
    weft_timeout limit;
    REQUIRE(tcp_pair(&a, &b) == 0);
    CHECK(weft_write(b, "abc", 3) == 0);
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_timeout_end(&limit, (int)weft_read_exactly(a, buf, 5)) == -ETIMEDOUT);
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_timeout_end(&limit, (int)weft_read_until(a, '\n', buf, 8)) == -ETIMEDOUT);
    CHECK(weft_write(b, "de", 2) == 0);
    CHECK(weft_read_exactly(a, buf, 5) == 5 && memcmp(buf, "abcde", 5) == 0);
    weft_close(a);
    weft_close(b);
    return 0;
}

/* A cancellation and data arrive together, again and again: no byte is lost or doubled. */
struct count_bytes {
    WEFT_FRAME;
    weft_stream *s;
    unsigned char next; /* result: the value the next byte must have */
};
static int count_bytes(struct count_bytes *c)
{
    unsigned char buf[7];
    ssize_t n;
    while ((n = weft_read(c->s, buf, sizeof buf)) > 0)
        for (ssize_t i = 0; i < n; i++)
            CHECK(buf[i] == c->next++);
    return (int)n;
}
WEFT_CORO(count_bytes);

TEST(cancel_against_data)
{
    weft_stream *a, *b;
    unsigned char next = 0, sent = 0;
    REQUIRE(unix_pair(&a, &b) == 0);
    for (int round = 0; round < 500; round++) {
        weft_task *t = weft_create_task(count_bytes, .s = a, .next = next);
        CHECK(weft_yield() == 0);
        for (int i = 0; i < 3; i++) {
            CHECK(weft_write(b, &sent, 1) == 0);
            sent++;
        }
        weft_cancel(t);
        CHECK(weft_await(t) == -ECANCELED);
        next = weft_result(count_bytes, t)->next;
        weft_release(t);
    }
    CHECK(weft_shutdown(b, WEFT_WRITABLE) == 0);
    weft_task *t = weft_create_task(count_bytes, .s = a, .next = next);
    CHECK(weft_await(t) == 0);
    CHECK(weft_result(count_bytes, t)->next == sent);
    weft_release(t);
    weft_close(a);
    weft_close(b);
    return 0;
}

TEST(one_reader_one_writer)
{
    weft_stream *a, *b;
    char c;
    REQUIRE(tcp_pair(&a, &b) == 0);
    weft_task *r = start(read_one, a), *w = start(write_much, a);
    settle();
    CHECK(weft_read(a, &c, 1) == -EBUSY);
    CHECK(weft_write(a, "x", 1) == -EBUSY);
    CHECK(weft_cancel(r) && weft_cancel(w));
    CHECK(weft_await_release(r) == -ECANCELED && weft_await_release(w) == -ECANCELED);
    weft_close(a);
    weft_close(b);
    return 0;
}

/* A socket that is always ready gets no more than its share of a worker. */
static _Atomic(bool) stop_flood;

static int flood(void *stream)
{
    char c[512] = {0};
    int rc = 0;
    while (rc >= 0 && !stop_flood) {
        rc = weft_write(stream, c, sizeof c);
        if (rc == 0)
            rc = (int)weft_read_exactly(stream, c, sizeof c);
    }
    return rc < 0 ? rc : 0;
}

static int mirror(void *stream)
{
    char c[512];
    ssize_t n;
    while ((n = weft_read(stream, c, sizeof c)) > 0) {
        int rc = weft_write(stream, c, (size_t)n);
        if (rc < 0)
            return rc;
    }
    return (int)n;
}

TEST(no_starvation)
{
    /* The task reads what it wrote itself: a socket connected to itself is always ready. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof self;
    weft_stream *s, *a, *b;
    REQUIRE(bind(fd, (struct sockaddr *)&self, sizeof self) == 0);
    REQUIRE(getsockname(fd, (struct sockaddr *)&self, &size) == 0);
    REQUIRE(connect(fd, (struct sockaddr *)&self, sizeof self) == 0);
    REQUIRE(weft_stream_adopt(&s, fd) == 0 && tcp_pair(&a, &b) == 0);
    stop_flood = false;
    weft_task *floods = start(flood, s), *echo = start(mirror, b);
    char c;
    for (int i = 0; i < 200; i++) { /* both a task that yields and one that waits for events get on */
        CHECK(weft_yield() == 0);
        CHECK(weft_write(a, "x", 1) == 0 && weft_read(a, &c, 1) == 1);
    }
    CHECK(!weft_done(floods));
    stop_flood = true;
    CHECK(weft_await_release(floods) == 0);
    weft_close(a);
    CHECK(weft_await_release(echo) == 0);
    weft_close(b);
    weft_close(s);
    return 0;
}

/* Numbers of descriptors come back at once, with data and ends still under way for their former owners: every stream sees
 * its own bytes and nothing else. */
struct reuse {
    WEFT_FRAME;
    int id;
};
static int reuse(struct reuse *r)
{
    for (int round = 0; round < 60; round++) {
        weft_stream *a, *b;
        int value = r->id * 1000 + round, got = 0;
        REQUIRE(unix_pair(&a, &b) == 0);
        weft_task *t = start(read_one, b); /* parked, or on its way */
        if (round % 2 == 0)
            CHECK(weft_yield() == 0);
        weft_cancel(t);
        (void)weft_await_release(t);
        CHECK(weft_write(a, &value, sizeof value) == 0);
        CHECK(weft_read_exactly(b, &got, sizeof got) == sizeof got && got == value);
        CHECK(weft_write(a, &value, sizeof value) == 0); /* left unread: an event that comes too late */
        if (round % 3 == 0)
            weft_close(a), weft_close(b);
        else
            weft_stream_abort(b), weft_stream_abort(a);
    }
    return 0;
}
WEFT_CORO(reuse);

TEST(stale_events_reach_nobody)
{
    weft_task *t[8];
    for (int i = 0; i < 8; i++)
        t[i] = weft_create_task(reuse, .id = i + 1);
    CHECK(weft_gather_n(t, 8) == 0);
    for (int i = 0; i < 8; i++)
        weft_release(t[i]);
    return 0;
}

static int write_in_two(void *stream)
{
    int rc = weft_write(stream, "ab", 2);
    if (rc == 0)
        rc = weft_sleep(WEFT_MS(3));
    return rc == 0 ? weft_write(stream, "cd", 2) : rc;
}

/* Pipes: no sockets, no MSG_NOSIGNAL. SIGPIPE would end the program. */
TEST(pipes)
{
    int fd[2];
    weft_stream *in, *out;
    char buf[8];
    REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
    REQUIRE(weft_stream_adopt(&in, fd[0]) == 0 && weft_stream_adopt(&out, fd[1]) == 0);
    weft_task *t = start(write_in_two, out);
    CHECK(weft_read_exactly(in, buf, 4) == 4 && memcmp(buf, "abcd", 4) == 0);
    CHECK(weft_await_release(t) == 0);
    CHECK(weft_shutdown(out, WEFT_WRITABLE) == -ENOTSOCK);
    weft_task *writer = start(write_much, out);
    settle();
    CHECK(!weft_done(writer));
    CHECK(weft_read(in, buf, 8) == 8);
    weft_close(in);
    CHECK(weft_await_release(writer) == -EPIPE);
    CHECK(weft_write(out, "x", 1) == -EPIPE);
    sigset_t pending;
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 0);
    weft_close(out);
    return 0;
}

TEST(adopt_refuses)
{
    weft_stream *s;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(weft_stream_adopt(&s, file) == -EPERM);
    CHECK((fcntl(file, F_GETFL) & O_NONBLOCK) == 0); /* as it was */
    CHECK(weft_stream_adopt(&s, udp) == -EINVAL);
    CHECK(weft_stream_adopt(&s, 1000000) == -EBADF);
    CHECK(close(file) == 0 && close(udp) == 0); /* still the caller's */
    weft_stream_close(NULL);
    weft_stream_abort(NULL);
    return 0;
}

/* A stream that was not closed when its runtime ended: closing it is all that is left to do. */
static weft_stream *survivor[2];

/* ---- read buffers ------------------------------------------------------------------------------------------------ */

/* More streams with bytes in their buffers than a worker keeps buffers, half of them closed by a thread that is no worker; then once more with what
 * was kept. (Address sanitizer and valgrind tell of a buffer that is lost or given twice.) */
enum { BUFFERED = 3 * WEFT__BUFFERS_KEPT };

static void *close_odd(void *streams)
{
    for (int i = 1; i < BUFFERED; i += 2)
        weft_close(((weft_stream **)streams)[i]);
    return NULL;
}

TEST(buffers_are_kept_and_freed)
{
    weft_stream *a[BUFFERED], *b[BUFFERED];
    struct weft__io *io = weft__runtime_io(weft_runtime_current());
    for (int round = 0; round < 3; round++) {
        const char *data;
        pthread_t thread;
        for (int i = 0; i < BUFFERED; i++) {
            REQUIRE(unix_pair(&a[i], &b[i]) == 0);
            CHECK(weft_write(a[i], "abc", 3) == 0);
            CHECK(weft_peek(b[i], 0, &data) == 3 && memcmp(data, "abc", 3) == 0);
        }
        REQUIRE(pthread_create(&thread, NULL, close_odd, b) == 0);
        for (int i = 0; i < BUFFERED; i += 2)
            weft_close(b[i]);
        CHECK(io->buffers[weft__worker_self()->index].count == WEFT__BUFFERS_KEPT);
        pthread_join(thread, NULL);
        for (int i = 0; i < BUFFERED; i++)
            weft_close(a[i]);
        CHECK(weft_yield() == 0);
    }
    return 0;
}

struct leave_open {
    WEFT_FRAME;
};
static int leave_open(struct leave_open *l)
{
    const char *data;
    (void)l;
    if (tcp_pair(&survivor[0], &survivor[1]) != 0 || weft_write(survivor[0], "x", 1) != 0)
        return -EIO;
    return weft_peek(survivor[1], 0, &data) == 1 ? 0 : -EIO;
}
WEFT_CORO(leave_open);

static void close_after_the_end(void **state)
{
    (void)state;
    int before = open_descriptors();
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2), leave_open), 0);
    assert_int_equal(open_descriptors(), before + 2);
    weft_close(survivor[0]);
    weft_stream_abort(survivor[1]);
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_wakes_with_ebadf),
        cmocka_unit_test(close_races_waiters),
        cmocka_unit_test(cancel_each_wait),
        cmocka_unit_test(timeout_takes_no_byte),
        cmocka_unit_test(cancel_against_data),
        cmocka_unit_test(one_reader_one_writer),
        cmocka_unit_test(no_starvation),
        cmocka_unit_test(stale_events_reach_nobody),
        cmocka_unit_test(pipes),
        cmocka_unit_test(adopt_refuses),
        cmocka_unit_test(buffers_are_kept_and_freed),
        cmocka_unit_test(close_after_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

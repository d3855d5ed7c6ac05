/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks parked at streams, listeners and foreign descriptors (weft/park.h): all that can end a parking, and what is done then. Many
 * of them, clocks and orders, small memory: test_parking_many.c. Tasks by themselves: test_parked.c. */
#include "support/parking.h"

TEST(echoes)
{
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        weft_stream *a, *b;
        REQUIRE(pairs[i / 2](&a, &b) == 0);
        weft_task *t = START(echo, .stream = a, .timeout = WEFT_FOREVER, .reads = i & 1);
        for (int k = 0; k < 20; k++) {
            if (k % 3 == 0) /* sometimes it has not parked yet */
                await_parked(1);
            CHECK(ask(b, k & 1 ? "hello" : "a longer question") == 0);
        }
        await_parked(1);
        weft_close(b);
        CHECK(weft_await(t) == -EPIPE);
        const struct echo *f = weft_result(echo, t);
        CHECK(f->calls > 1 && f->bytes == 10 * 5 + 10 * 17);
        weft_release(t);
    }
    CHECK(parked_now() == 0);
    return 0;
}

/* What is there before it parks, between the call and the return, and after: none is missed. */
TEST(bytes_at_each_moment)
{
    weft_stream *a, *b;
    REQUIRE(tcp_pair(&a, &b) == 0);
    CHECK(weft_write(b, "x", 1) == 0);
    weft_task *t = START(echo, .stream = a, .timeout = WEFT_FOREVER);
    char c;
    CHECK(weft_read(b, &c, 1) == 1 && c == 'x');
    for (int i = 0; i < 300; i++) {
        for (int k = 0; k < i % 5; k++)
            CHECK(weft_yield() == 0);
        CHECK(ask(b, "y") == 0);
    }
    CHECK(weft_shutdown(b, WEFT_WRITABLE) == 0);
    CHECK(weft_await_release(t) == -EPIPE);
    weft_close(b);
    return 0;
}

/* Another task shuts a stream for reading: who is parked there, or waits, reads what has come and finds the end. */
TEST(shut_for_reading)
{
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        weft_stream *a, *b;
        char c;
        REQUIRE(pairs[i / 2](&a, &b) == 0);
        weft_task *t = START(echo, .stream = a, .timeout = WEFT_FOREVER, .reads = i & 1);
        await_parked(1);
        CHECK(weft_shutdown(a, WEFT_READABLE) == 0);
        CHECK(weft_await_release(t) == -EPIPE);
        CHECK(weft_read(b, &c, 1) == 0);
        weft_close(b);
        REQUIRE(pairs[i / 2](&a, &b) == 0);
        CHECK(weft_write(b, "x", 1) == 0 && weft_shutdown(a, WEFT_READABLE) == 0);
        t = START(echo, .stream = a, .timeout = WEFT_FOREVER, .reads = i & 1);
        CHECK(weft_read(b, &c, 1) == 1 && c == 'x' && weft_await_release(t) == -EPIPE);
        weft_close(b);
    }
    return 0;
}

TEST(time_limit)
{
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        weft_stream *a, *b;
        REQUIRE(pairs[i / 2](&a, &b) == 0);
        weft_ns begun = weft_now();
        weft_task *t = START(echo, .stream = a, .timeout = WEFT_MS(3), .reads = i & 1);
        CHECK(weft_await(t) == -ETIMEDOUT && weft_now() - begun >= WEFT_MS(3));
        CHECK(weft_result(echo, t)->calls >= 2);
        weft_release(t);
        t = START(echo, .stream = b, .timeout = 0); /* none: the end, or nothing */
        CHECK(weft_await_release(t) == (i / 2 == 0 ? -EPIPE : -EPIPE));
    }
    return 0;
}

TEST(cancelled)
{
    for (size_t i = 0; i < PAIRS; i++) {
        for (int pauses = 0; pauses < 10; pauses++) {
            weft_stream *a, *b;
            REQUIRE(pairs[i](&a, &b) == 0);
            weft_task *t = START(echo, .stream = a, .timeout = pauses & 1 ? WEFT_FOREVER : WEFT_SEC(50));
            if (pauses > 5)
                await_parked(1);
            CHECK(weft_write(b, "abc", 3) == 0);
            for (int k = 0; k < pauses; k++)
                CHECK((pauses & 2 ? weft_sleep(WEFT_US(20)) : weft_yield()) == 0);
            CHECK(weft_cancel(t));
            CHECK(weft_await(t) == -ECANCELED && weft_cancelled(t));
            weft_release(t);
            weft_close(b);
        }
    }
    CHECK(parked_now() == 0);
    return 0;
}

/* Somebody else closes the stream: the parked task is told, and does not touch it. */
TEST(closed_while_parked)
{
    for (int way = 0; way < 6; way++) {
        weft_stream *a, *b;
        REQUIRE(tcp_pair(&a, &b) == 0);
        weft_task *t = START(echo, .stream = a, .timeout = way & 1 ? WEFT_SEC(50) : WEFT_FOREVER, .reads = way & 2);
        await_parked(1);
        int fd = weft_stream_fd(a);
        if (way < 3) {
            weft_close(a);
        } else {
            weft_stream_abort(a);
        }
        CHECK(weft_await(t) == -EBADF && weft_result(echo, t)->calls == 2);
        CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
        weft_release(t);
        weft_close(b);
    }
    return 0;
}

TEST(reset_by_the_peer)
{
    weft_stream *a, *b;
    REQUIRE(tcp_pair(&a, &b) == 0);
    weft_task *t = START(echo, .stream = a, .timeout = WEFT_FOREVER);
    await_parked(1);
    weft_stream_abort(b);
    CHECK(weft_await_release(t) == -ECONNRESET);
    return 0;
}

/* One reader: the parked task. A writer beside it is welcome. */
TEST(is_the_reader)
{
    weft_stream *a, *b;
    char buf[8];
    REQUIRE(unix_pair(&a, &b) == 0);
    weft_task *t = START(echo, .stream = a, .timeout = WEFT_FOREVER);
    await_parked(1);
    CHECK(weft_read(a, buf, 1) == -EBUSY);
    CHECK(weft_park_stream(a, WEFT_READABLE, WEFT_MS(1)) == -EBUSY);
    CHECK(weft_park_stream(a, WEFT_READABLE | WEFT_WRITABLE, WEFT_MS(1)) == -EBUSY);
    CHECK(weft_write(a, "hi", 2) == 0 && weft_read_exactly(b, buf, 2) == 2);
    CHECK(ask(b, "yes") == 0);
    weft_close(b);
    CHECK(weft_await_release(t) == -EPIPE);
    return 0;
}

/* ---- by weft_park_stream: the outcome, and what may be done before it is asked for --------------------------------- */

enum first { ASKS, READS, CLOSES, SHUTS, PARKS_ELSEWHERE, ENDS, SLEEPS, FIRSTS };
struct raw {
    WEFT_FRAME;
    weft_stream *stream;
    int interest, calls, outcome;
    weft_ns timeout;
    enum first first;
};
static int raw(struct raw *f)
{
    char c;
    if (f->calls++ == 0)
        return weft_park_stream(f->stream, f->interest, f->timeout);
    switch (f->first) {
    case ASKS:
        f->outcome = weft_parked();
        CHECK(weft_parked() == f->outcome);
        break;
    case READS:
        f->outcome = (int)weft_read(f->stream, &c, 1);
        break;
    case CLOSES:
        weft_close(f->stream);
        return weft_parked();
    case SHUTS:
        CHECK(weft_shutdown(f->stream, WEFT_WRITABLE) == 0);
        break;
    case PARKS_ELSEWHERE:
        if (f->calls == 2)
            return weft_park_for(WEFT_MS(1));
        f->outcome = weft_parked();
        break;
    case SLEEPS:
        f->outcome = weft_sleep(WEFT_MS(1));
        CHECK(weft_read(f->stream, &c, 1) == 1);
        break;
    default:
        break;
    }
    return 1;
}
WEFT_CORO(raw);

TEST(outcome_and_what_is_done_first)
{
    for (int first = 0; first < FIRSTS; first++) {
        weft_stream *a, *b;
        REQUIRE(tcp_pair(&a, &b) == 0);
        char c;
        CHECK(weft_write(b, "1", 1) == 0 && weft_read(a, &c, 1) == 1); /* from here on nothing is known to be there */
        int fd = weft_stream_fd(a);
        weft_task *t =
            START(raw, .stream = a, .interest = WEFT_READABLE, .timeout = WEFT_FOREVER, .first = (enum first)first);
        await_parked(1);
        CHECK(weft_write(b, "2", 1) == 0);
        CHECK(weft_await(t) == 1);
        int outcome = weft_result(raw, t)->outcome;
        CHECK(weft_result(raw, t)->calls == (first == PARKS_ELSEWHERE ? 3 : 2));
        CHECK(first != ASKS || outcome == WEFT_READABLE);
        CHECK(first != READS || outcome == 1);
        CHECK(first != PARKS_ELSEWHERE || outcome == -ETIMEDOUT);
        CHECK(first != SLEEPS || outcome == 0);
        weft_release(t);
        if (first == CLOSES) {
            CHECK(fcntl(fd, F_GETFD) == -1);
        } else {
            CHECK(first == READS || first == SLEEPS || weft_read(a, &c, 1) == 1); /* nobody is its reader any more */
            weft_close(a);
        }
        weft_close(b);
    }
    return 0;
}

TEST(writable)
{
    static char much[64 * 1024], sink[64 * 1024];
    weft_stream *a, *b;
    REQUIRE(unix_pair(&a, &b) == 0);
    weft_task *t = START(raw, .stream = a, .interest = WEFT_READABLE | WEFT_WRITABLE, .timeout = WEFT_FOREVER);
    CHECK(weft_await(t) == 1); /* nobody knows yet: at once */
    weft_release(t);
    weft_timeout limit;
    int rc;
    do {
        CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
        rc = weft_timeout_end(&limit, weft_write(a, much, sizeof much));
    } while (rc == 0);
    CHECK(rc == -ETIMEDOUT);
    t = START(raw, .stream = a, .interest = WEFT_WRITABLE, .timeout = WEFT_FOREVER);
    await_parked(1);
    do { /* until all of it is read: then there is room in any case */
        CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
        rc = weft_timeout_end(&limit, (int)weft_read(b, sink, sizeof sink));
    } while (rc > 0);
    CHECK(weft_await(t) == 1 && weft_result(raw, t)->outcome == WEFT_WRITABLE);
    weft_release(t);
    CHECK(weft_park_stream(a, 0, 0) == -EINVAL && weft_park_stream(a, 8, 0) == -EINVAL);
    weft_close(a);
    weft_close(b);
    return 0;
}

/* It asks, changes its mind, and closes. */
struct fickle {
    WEFT_FRAME;
    weft_stream *stream;
    int way;
};
static int fickle(struct fickle *f)
{
    const char *data;
    CHECK(weft_peek_or_park(f->stream, 0, &data, WEFT_SEC(1)) == WEFT_PARK);
    char c;
    switch (f->way) {
    case 0: /* waits on its stack after all */
        CHECK(weft_read(f->stream, &c, 1) == 1);
        break;
    case 1:
        CHECK(weft_peek_or_park(f->stream, 0, &data, WEFT_SEC(1)) == WEFT_PARK);
        break;
    case 2:
        CHECK(weft_park_for(WEFT_MS(1)) == WEFT_PARK);
        break;
    default:
        break;
    }
    if (f->way < 4)
        weft_close(f->stream);
    return 3;
}
WEFT_CORO(fickle);

TEST(asks_and_does_not_park)
{
    for (int way = 0; way < 5; way++) {
        weft_stream *a, *b;
        REQUIRE(tcp_pair(&a, &b) == 0);
        int fd = weft_stream_fd(a);
        weft_task *t = START(fickle, .stream = a, .way = way);
        CHECK(weft_write(b, "x", 1) == 0);
        CHECK(weft_await_release(t) == 3);
        if (way == 4)
            weft_close(a);
        CHECK(fcntl(fd, F_GETFD) == -1);
        weft_close(b);
    }
    CHECK(parked_now() == 0);
    return 0;
}

/* Half a request: with some bytes kept, and the rest looked at from the top again. */
struct lines {
    WEFT_FRAME;
    weft_stream *stream;
    int calls, lines;
};
static int lines(struct lines *f)
{
    const char *data;
    ssize_t n;
    size_t have = 0;
    f->calls++;
    while ((n = weft_peek_or_park(f->stream, have, &data, WEFT_FOREVER)) > 0) {
        const char *end = memchr(data, '\n', (size_t)n);
        have = end == NULL ? (size_t)n : 0;
        if (end != NULL) {
            weft_consume(f->stream, (size_t)(end + 1 - data));
            f->lines++;
        }
    }
    if (n == WEFT_PARK)
        return WEFT_PARK;
    weft_close(f->stream);
    return (int)n;
}
WEFT_CORO(lines);

TEST(half_a_request)
{
    weft_stream *a, *b;
    REQUIRE(tcp_pair(&a, &b) == 0);
    weft_task *t = START(lines, .stream = a);
    for (int i = 0; i < 30; i++) {
        await_parked(1);
        CHECK(weft_write(b, i % 3 == 2 ? "c\nd\n" : "ab", i % 3 == 2 ? 4 : 2) == 0);
        CHECK(weft_sleep(WEFT_US(200)) == 0);
    }
    weft_close(b);
    CHECK(weft_await(t) == 0 && weft_result(lines, t)->lines == 20);
    CHECK(weft_result(lines, t)->calls > 2); /* on a busy machine it may find several pieces at once */
    weft_release(t);
    return 0;
}

/* The same with the number of bytes and the instant of the limit in the frame. */
struct request {
    WEFT_FRAME;
    weft_stream *stream;
    weft_ns until;
    size_t have;
    bool forgets; /* what it has, when it is called again */
    _Atomic(size_t) *parked_with;
    int calls;
};
static int request(struct request *f)
{
    const char *data;
    ssize_t n;
    if (f->calls++ != 0 && f->forgets) {
        n = weft_peek_or_park(f->stream, 0, &data, WEFT_FOREVER);
        CHECK(n == 2); /* given again, and nothing said of the limit */
        if (weft_parked() == -ETIMEDOUT)
            return 1;
    }
    while ((n = weft_peek_or_park(f->stream, f->have, &data, f->forgets ? WEFT_MS(3) : f->until - weft_now())) > 0) {
        f->have = (size_t)n;
        if (memchr(data, '\n', f->have) != NULL)
            return (int)n;
    }
    if (n == WEFT_PARK)
        *f->parked_with = f->have;
    else
        CHECK(n == -ETIMEDOUT && memcmp(data, "ab", 2) == 0);
    return (int)n;
}
WEFT_CORO(request);

TEST(half_a_request_until_an_instant)
{
    static _Atomic(size_t) parked_with;
    weft_stream *a, *b;
    REQUIRE(unix_pair(&a, &b) == 0);
    parked_with = 0;
    weft_task *t = START(request, .stream = a, .until = weft_now() + WEFT_SEC(1000), .parked_with = &parked_with);
    for (size_t i = 1; i <= 3; i++) {
        CHECK(weft_write(b, "a", 1) == 0);
        while (!weft_done(t) && parked_with < i)
            CHECK(weft_sleep(WEFT_US(50)) == 0);
        await_parked(1);
    }
    CHECK(weft_write(b, "\n", 1) == 0 && weft_await(t) == 4 && weft_result(request, t)->calls >= 4);
    weft_release(t);
    weft_consume(a, 4);
    for (int forgets = 0; forgets < 2; forgets++) {
        weft_ns until = weft_now() + WEFT_MS(3);
        CHECK(weft_write(b, "ab", 2) == 0);
        t = START(request, .stream = a, .until = until, .forgets = forgets, .parked_with = &parked_with);
        CHECK(weft_await(t) == (forgets ? 1 : -ETIMEDOUT) && weft_now() >= until);
        weft_consume(a, weft_result(request, t)->have);
        weft_release(t);
    }
    weft_close(a);
    weft_close(b);
    return 0;
}

/* ---- listeners, foreign descriptors -------------------------------------------------------------------------------- */

struct doorman {
    WEFT_FRAME;
    weft_listener *listener;
    int calls, visitors;
};
static int doorman(struct doorman *f)
{
    weft_stream *s;
    if (f->calls++ == 0)
        return weft_park_listener(f->listener, WEFT_FOREVER);
    int rc = weft_parked();
    if (rc < 0)
        return rc;
    rc = weft_accept(f->listener, &s);
    if (rc < 0)
        return rc;
    weft_close(s);
    f->visitors++;
    return weft_park_listener(f->listener, WEFT_FOREVER);
}
WEFT_CORO(doorman);

TEST(listener)
{
    for (int way = 0; way < 2; way++) {
        weft_listener *l;
        char address[64], c;
        weft_stream *s;
        REQUIRE(weft_listen(&l, own_loopback(address)) == 0 && weft_listener_address(l, address, sizeof address) == 0);
        weft_task *t = START(doorman, .listener = l);
        for (int i = 0; i < 5; i++) {
            CHECK(weft_connect(&s, address) == 0);
            CHECK(weft_read(s, &c, 1) == 0);
            weft_close(s);
        }
        settle();
        if (way == 0)
            CHECK(weft_cancel(t));
        else
            weft_close(l);
        CHECK(weft_await(t) == (way == 0 ? -ECANCELED : -EBADF) && weft_result(doorman, t)->visitors == 5);
        weft_release(t);
        if (way == 0)
            weft_close(l);
    }
    return 0;
}

struct watches_fd {
    WEFT_FRAME;
    int fd, calls, outcome;
    weft_ns timeout;
};
static int watches_fd(struct watches_fd *f)
{
    char c;
    if (f->calls++ != 0 && (f->outcome = weft_parked()) < 0)
        return f->outcome;
    ssize_t n = read(f->fd, &c, 1);
    return n == 1 ? c : n == 0 ? 0 : weft_park_fd(f->fd, WEFT_READABLE, f->timeout);
}
WEFT_CORO(watches_fd);

TEST(foreign_descriptor)
{
    static const int outcomes[] = {'a', -ETIMEDOUT, -ECANCELED, 0};
    int ends[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    for (int way = 0; way < 4; way++) {
        weft_task *t = START(watches_fd, .fd = ends[0], .timeout = way == 1 ? WEFT_MS(2) : WEFT_FOREVER);
        if (way != 1)
            await_parked(1);
        CHECK(way == 1 || weft_park_fd(ends[0], WEFT_READABLE, 0) == -EBUSY);
        if (way == 0)
            CHECK(write(ends[1], "a", 1) == 1);
        if (way == 2)
            CHECK(weft_cancel(t));
        if (way == 3)
            close(ends[1]);
        CHECK(weft_await_release(t) == outcomes[way]);
    }
    CHECK(weft_park_fd(file, WEFT_READABLE, 0) == -EPERM && weft_park_fd(-1, WEFT_READABLE, 0) == -EBADF);
    CHECK(weft_park_fd(ends[0], 0, 0) == -EINVAL);
    close(file);
    close(ends[0]);
    return 0;
}

/* Dumps say at what. */
TEST(dump)
{
    weft_stream *a, *b;
    int ends[2];
    char text[1024] = "";
    REQUIRE(tcp_pair(&a, &b) == 0);
    weft_task *t = START(echo, .stream = a, .timeout = WEFT_FOREVER);
    await_parked(1);
    CHECK(pipe(ends) == 0 && weft_dump_tasks(weft_runtime_current(), ends[1]) == 0);
    CHECK(read(ends[0], text, sizeof text - 1) > 0 &&
          strstr(text, "echo() parked, waits for a stream (read), descriptor ") != NULL);
    close(ends[0]);
    close(ends[1]);
    weft_close(b);
    CHECK(weft_await_release(t) == -EPIPE);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoes),
        cmocka_unit_test(bytes_at_each_moment),
        cmocka_unit_test(shut_for_reading),
        cmocka_unit_test(time_limit),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(closed_while_parked),
        cmocka_unit_test(reset_by_the_peer),
        cmocka_unit_test(is_the_reader),
        cmocka_unit_test(outcome_and_what_is_done_first),
        cmocka_unit_test(writable),
        cmocka_unit_test(asks_and_does_not_park),
        cmocka_unit_test(half_a_request),
        cmocka_unit_test(half_a_request_until_an_instant),
        cmocka_unit_test(listener),
        cmocka_unit_test(foreign_descriptor),
        cmocka_unit_test(dump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks parked at streams, listeners and foreign descriptors (weft/park.h). Tasks by themselves: test_parked.c. */
#include "support/io.h"

#include <poll.h>
#include <sys/resource.h>

static uint64_t parked_now(void)
{
    weft_metrics m = {.size = sizeof m};
    weft_metrics_read(weft_runtime_current(), -1, &m);
    return m.tasks_parked;
}

static void await_parked(uint64_t n)
{
    for (int i = 0; parked_now() != n && i < 100000; i++)
        CHECK(weft_sleep(WEFT_US(50)) == 0);
    CHECK(parked_now() == n);
}

/* On a fiber of its own, so that it is parked, whoever awaits it. */
#define START(...) weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), __VA_ARGS__)

/* Echoes what comes, parked in between; -EPIPE at the end of the stream. Closes the stream. */
struct echo {
    WEFT_FRAME;
    weft_stream *stream;
    weft_ns timeout;
    bool reads; /* by weft_read_or_park */
    int calls;
    size_t bytes;
};
static int echo(struct echo *f)
{
    const char *data;
    char buf[3];
    ssize_t n;
    f->calls++;
    do {
        n = f->reads ? weft_read_or_park(f->stream, buf, sizeof buf, f->timeout)
                     : weft_peek_or_park(f->stream, 0, &data, f->timeout);
        if (n > 0) {
            f->bytes += (size_t)n;
            CHECK(weft_write(f->stream, f->reads ? buf : data, (size_t)n) == 0);
            if (!f->reads)
                weft_consume(f->stream, (size_t)n);
        }
    } while (n > 0);
    if (n == WEFT_PARK)
        return WEFT_PARK;
    if (n != -EBADF)
        weft_close(f->stream);
    return n == 0 ? -EPIPE : (int)n;
}
WEFT_CORO(echo);

static int ask(weft_stream *s, const char *what)
{
    char buf[64];
    size_t n = strlen(what);
    int rc = weft_write(s, what, n);
    return rc < 0 ? rc : weft_read_exactly(s, buf, n) == (ssize_t)n && memcmp(buf, what, n) == 0 ? 0 : -EIO;
}

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
        weft_task *t = START(raw, .stream = a, .interest = WEFT_READABLE, .timeout = WEFT_FOREVER, .first = (enum first)first);
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
    CHECK(weft_result(lines, t)->calls > 10);
    weft_release(t);
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

/* ---- without the right to a stack of its own ----------------------------------------------------------------------- */

struct waits_fd {
    WEFT_FRAME;
    int calls;
    weft_stream *stream;
};
static int waits_fd(struct waits_fd *f)
{
    return f->calls++ == 0 ? weft_park_stream(f->stream, WEFT_READABLE, WEFT_SEC(50)) : weft_parked();
}
WEFT_CORO(waits_fd);

TEST(on_a_stack_where_it_must)
{
    weft_stream *a, *b, *c, *d;
    REQUIRE(tcp_pair(&a, &b) == 0 && tcp_pair(&c, &d) == 0);
    struct echo frame = {.stream = a, .timeout = WEFT_FOREVER};
    weft_child child;
    weft_fork(&child, echo, &frame);
    CHECK(weft_write(b, "abc", 3) == 0 && weft_shutdown(b, WEFT_WRITABLE) == 0);
    CHECK(weft_join(&child) == -EPIPE && frame.bytes == 3);
    struct waits_fd waits = {.stream = c};
    weft_fork(&child, waits_fd, &waits);
    CHECK(weft_write(d, "x", 1) == 0);
    CHECK(weft_join(&child) == WEFT_READABLE && waits.calls == 2);
    weft_close(b);
    weft_close(c);
    weft_close(d);
    return 0;
}

/* ---- many ------------------------------------------------------------------------------------------------------------ */

/* Descriptors are reused while parked tasks of the ones before are told. */
TEST(descriptors_reused)
{
    for (int round = 0; round < 200; round++) {
        weft_stream *a, *b;
        REQUIRE(unix_pair(&a, &b) == 0);
        weft_task *t = START(echo, .stream = a, .timeout = round % 4 == 1 ? WEFT_US(50) : WEFT_FOREVER);
        int rc = -EPIPE;
        switch (round % 4) {
        case 0:
            CHECK(ask(b, "a") == 0);
            weft_close(b);
            break;
        case 1:
            CHECK((rc = weft_await(t)) == -ETIMEDOUT);
            weft_close(b);
            break;
        case 2:
            CHECK(weft_cancel(t));
            weft_close(b);
            rc = -ECANCELED;
            break;
        default:
            settle();
            weft_close(a);
            weft_close(b);
            rc = -EBADF;
        }
        CHECK(weft_await_release(t) == rc);
    }
    return 0;
}

/* 100,000 parkings of ten connections: resident memory stays. */
struct asker {
    WEFT_FRAME;
    weft_stream *stream;
    int times;
};
static int asker(struct asker *f)
{
    for (int i = 0; i < f->times; i++)
        CHECK(ask(f->stream, "x") == 0);
    weft_close(f->stream);
    return 0;
}
WEFT_CORO(asker);

static long resident(void)
{
    long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f != NULL && fscanf(f, "%ld %ld", &size, &pages) == 2);
    fclose(f);
    return pages;
}

static int park_often(int times)
{
    enum { N = 10 };
    weft_task *t[2 * N];
    for (int i = 0; i < N; i++) {
        weft_stream *a, *b;
        REQUIRE(unix_pair(&a, &b) == 0);
        t[2 * i] = START(echo, .stream = a, .timeout = i & 1 ? WEFT_SEC(100) : WEFT_FOREVER);
        t[2 * i + 1] = weft_create_task(asker, .stream = b, .times = times);
    }
    for (int i = 0; i < 2 * N; i++)
        CHECK(weft_await_release(t[i]) == (i & 1 ? 0 : -EPIPE));
    return 0;
}

TEST(memory_does_not_grow)
{
    int often = WEFT__FIBER_TOOLS ? 1000 : 5000;
    CHECK(park_often(often / 5) == 0);
    long before = resident();
    CHECK(park_often(often) == 0);
    CHECK(resident() - before < 100 || WEFT__FIBER_TOOLS);
    return 0;
}

/* How small an idle connection is: the task, the stream with its registration, the entry of a time limit, nothing else. */
_Static_assert(sizeof(struct weft_task) + sizeof(struct weft_stream) <= 256, "an idle connection");
static double bytes_each(bool with_limit, int n, weft_stream **a, weft_stream **b, weft_task **t)
{
    long before = resident();
    for (int i = 0; i < n; i++)
        t[i] = START(echo, .stream = a[i], .timeout = with_limit ? WEFT_SEC(1000) : WEFT_FOREVER);
    await_parked((uint64_t)n);
    weft_metrics m = {.size = sizeof m};
    weft_metrics_read(weft_runtime_current(), -1, &m);
    CHECK(m.stacks_live < 10);
    double bytes = (double)(resident() - before) * 4096 / n;
    for (int i = 0; i < n; i++)
        CHECK(ask(b[i], "q") == 0);
    await_parked((uint64_t)n);
    for (int i = 0; i < n; i++)
        CHECK(weft_cancel(t[i]) && weft_await_release(t[i]) == -ECANCELED);
    return bytes;
}

TEST(small)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int n = limit.rlim_cur < 20100 ? (int)limit.rlim_cur / 2 - 50 : 10000;
    if (WEFT__FIBER_TOOLS && n > 1000)
        n = 1000;
    weft_stream **a = calloc((size_t)n, sizeof *a), **b = calloc((size_t)n, sizeof *b);
    weft_task **t = calloc((size_t)n, sizeof(weft_task *));
    REQUIRE(a != NULL && b != NULL && t != NULL);
    for (int round = 0; round < 2; round++) {
        long before = resident();
        for (int i = 0; i < n; i++)
            REQUIRE(unix_pair(&a[i], &b[i]) == 0);
        double streams = (double)(resident() - before) * 4096 / n / 2;
        double tasks = bytes_each(round, n, a, b, t);
        /* The first round takes the memory, the second one has it. Slabs go on in huge pages, one of each kind may be nearly empty. */
        double rest = 4.0 * 1024 * 1024 / n;
        CHECK(WEFT__FIBER_TOOLS || workers != 1 || round != 0 || streams * 2 + tasks < 96 * 2 + 144 + rest);
        CHECK(WEFT__FIBER_TOOLS || workers != 1 || round != 1 || tasks < 24 * 2 + 16);
        for (int i = 0; i < n; i++)
            weft_close(b[i]);
    }
    free(a);
    free(b);
    free(t);
    return 0;
}

/* ---- other clocks and orders ------------------------------------------------------------------------------------- */

VIRTUAL_TEST(virtual_time)
{
    weft_stream *a, *b;
    REQUIRE(unix_pair(&a, &b) == 0);
    weft_ns begun = weft_now();
    weft_task *t = START(echo, .stream = a, .timeout = WEFT_SEC(30));
    CHECK(ask(b, "hello") == 0);
    CHECK(weft_await_release(t) == -ETIMEDOUT && weft_now() - begun >= WEFT_SEC(30));
    weft_close(b);
    return 0;
}

/* Cancelled in the moment before it is parked, again and again; the virtual clock must not lose count of who waits for the world. */
struct cancels_itself {
    WEFT_FRAME;
    weft_stream *stream;
    int left;
};
static int cancels_itself(struct cancels_itself *f)
{
    const char *data;
    ssize_t n = weft_peek_or_park(f->stream, 0, &data, WEFT_SEC(20));
    if (n == -ECANCELED) {
        CHECK(weft_uncancel(weft_current_task()) == 0);
        n = weft_peek_or_park(f->stream, 0, &data, WEFT_SEC(20));
    }
    if (n == WEFT_PARK && f->left-- > 0)
        CHECK(weft_cancel(weft_current_task()));
    return (int)n;
}
WEFT_CORO(cancels_itself);

VIRTUAL_TEST(cancelled_on_the_way)
{
    weft_stream *a, *b;
    REQUIRE(unix_pair(&a, &b) == 0);
    weft_task *t = START(cancels_itself, .stream = a, .left = 10);
    CHECK(weft_sleep(WEFT_SEC(1)) == 0);
    CHECK(weft__load_seq_cst(&a->reg.io->waits) == 1); /* pairs: IO-OPEN */
    CHECK(weft_write(b, "x", 1) == 0);
    CHECK(weft_await(t) == 1 && weft_result(cancels_itself, t)->left < 0);
    weft_release(t);
    CHECK(weft__load_seq_cst(&a->reg.io->waits) == 0); /* pairs: IO-OPEN */
    weft_close(a);
    weft_close(b);
    return 0;
}

static int in_order(void *unused)
{
    weft_stream *a, *b;
    (void)unused;
    REQUIRE(unix_pair(&a, &b) == 0);
    weft_task *t = START(echo, .stream = a, .timeout = WEFT_MS(20));
    for (int i = 0; i < 10; i++)
        CHECK(ask(b, "one") == 0);
    CHECK(weft_await(t) == -ETIMEDOUT);
    weft_release(t);
    weft_close(b);
    REQUIRE(unix_pair(&a, &b) == 0);
    t = START(echo, .stream = a, .timeout = WEFT_FOREVER);
    CHECK(weft_yield() == 0 && weft_cancel(t) && weft_await(t) == -ECANCELED);
    weft_release(t);
    weft_close(b);
    return 0;
}

static void orders_and_seeds(void **state)
{
    (void)state;
    first_failure = NULL;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .order = WEFT_ORDER_FIFO), limited, .fn = in_order), 0);
    for (uint64_t seed = 1; seed < 20; seed++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.sched = WEFT_SCHED_SEEDED, .seed = seed), limited, .fn = in_order), 0);
    if (first_failure != NULL)
        fail_msg("%s", first_failure);
}

/* A stream that outlives its runtime: the record stays until it is closed. */
static weft_stream *kept[2];
static int keep(void *unused)
{
    (void)unused;
    REQUIRE(unix_pair(&kept[0], &kept[1]) == 0);
    CHECK(weft_write(kept[1], "left", 4) == 0);
    const char *data;
    CHECK(weft_peek(kept[0], 0, &data) == 4);
    weft_release(START(echo, .stream = kept[1], .timeout = WEFT_FOREVER));
    return 0;
}
static int nothing(void *unused)
{
    (void)unused;
    return 0;
}
static void outlives_the_run(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        first_failure = NULL;
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2), limited, .fn = keep), 0);
        /* The end of the run has cancelled the parked one, which has closed its own. */
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2), limited, .fn = nothing), 0);
        weft_close(kept[0]);
        if (first_failure != NULL)
            fail_msg("%s", first_failure);
    }
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
    CHECK(read(ends[0], text, sizeof text - 1) > 0 && strstr(text, "echo() parked, waits for a stream (read)\n") != NULL);
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
        cmocka_unit_test(time_limit),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(closed_while_parked),
        cmocka_unit_test(reset_by_the_peer),
        cmocka_unit_test(is_the_reader),
        cmocka_unit_test(outcome_and_what_is_done_first),
        cmocka_unit_test(writable),
        cmocka_unit_test(asks_and_does_not_park),
        cmocka_unit_test(half_a_request),
        cmocka_unit_test(listener),
        cmocka_unit_test(foreign_descriptor),
        cmocka_unit_test(on_a_stack_where_it_must),
        cmocka_unit_test(descriptors_reused),
        cmocka_unit_test(memory_does_not_grow),
        cmocka_unit_test(small),
        cmocka_unit_test(virtual_time),
        cmocka_unit_test(cancelled_on_the_way),
        cmocka_unit_test(orders_and_seeds),
        cmocka_unit_test(outlives_the_run),
        cmocka_unit_test(dump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

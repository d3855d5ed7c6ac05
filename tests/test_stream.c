/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: reading in all its ways, writing, half-close, reset. (Adopting, closing, cancelling, fairness:
 * test_stream_life.c.) */
#include "support/io.h"

struct late_write {
    WEFT_FRAME;
    weft_stream *s;
    const char
        *parts[4]; /* each some time after the one before; on a busy machine the reader may meet several at once */
    weft_event
        *first_read; /* if not NULL: what follows the first waits until the reader has said that it has that one */
    bool close;
};
static int late_write(struct late_write *w)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < 4 && w->parts[i] != NULL; i++) {
        if (i == 1 && w->first_read != NULL)
            rc = weft_event_wait(w->first_read);
        if (rc == 0)
            rc = weft_sleep(WEFT_MS(3));
        if (rc == 0)
            rc = weft_write(w->s, w->parts[i], strlen(w->parts[i]));
    }
    if (w->close)
        weft_close(w->s);
    return rc;
}
WEFT_CORO(late_write);

TEST(read_what_there_is)
{
    for (size_t i = 0; i < PAIRS; i++) {
        weft_stream *a, *b;
        char buf[16];
        weft_event first_read;
        weft_event_init(&first_read);
        REQUIRE(pairs[i](&a, &b) == 0);
        weft_task *t = weft_create_task(late_write, .s = b, .parts = {"hello", "world!"}, .first_read = &first_read);
        CHECK(weft_read(a, buf, 0) == -EINVAL);
        CHECK(weft_read(a, buf, sizeof buf) == 5 && memcmp(buf, "hello", 5) == 0);
        weft_event_set(&first_read);
        CHECK(weft_read(a, buf, 3) == 3 && memcmp(buf, "wor", 3) == 0);
        CHECK(weft_read(a, buf, 3) == 3 &&
              memcmp(buf, "ld!", 3) == 0); /* a full read: there was more, and no event for it */
        CHECK(weft_await_release(t) == 0);
        weft_close(b);
        CHECK(weft_read(a, buf, sizeof buf) == 0);
        CHECK(weft_read(a, buf, sizeof buf) == 0);
        weft_close(a);
    }
    return 0;
}

TEST(exactly)
{
    for (size_t i = 0; i < PAIRS; i++) {
        weft_stream *a, *b;
        char buf[16] = {0};
        REQUIRE(pairs[i](&a, &b) == 0);
        weft_task *t = weft_create_task(late_write, .s = b, .parts = {"abc", "def", "gh", "ij"}, .close = true);
        CHECK(weft_read_exactly(a, buf, 0) == 0);
        CHECK(weft_read_exactly(a, buf, 4) == 4 && memcmp(buf, "abcd", 4) == 0);
        CHECK(weft_read_exactly(a, buf, 4) == 4 && memcmp(buf, "efgh", 4) == 0);
        CHECK(weft_read_exactly(a, buf, 4) == -EPIPE);
        CHECK(weft_read(a, buf, sizeof buf) == 2 && memcmp(buf, "ij", 2) == 0); /* what came stayed */
        CHECK(weft_await_release(t) == 0);
        weft_close(a);
    }
    return 0;
}

/* Bytes that tell their place in the stream. */
static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 31 + i / 251);
}

struct produce {
    WEFT_FRAME;
    weft_stream *s;
    size_t n;
    bool close;
};
static int produce(struct produce *p)
{
    unsigned char chunk[3000];
    int rc = 0;
    for (size_t done = 0; rc == 0 && done < p->n;) {
        size_t n = p->n - done < sizeof chunk ? p->n - done : sizeof chunk;
        for (size_t i = 0; i < n; i++)
            chunk[i] = byte_at(done + i);
        rc = weft_write(p->s, chunk, n);
        done += n;
    }
    if (p->close)
        weft_close(p->s);
    return rc;
}
WEFT_CORO(produce);

static bool in_order(const unsigned char *buf, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (buf[i] != byte_at(from + i))
            return false;
    return true;
}

/* Larger than the buffer: straight into the caller's memory, behind what was peeked. */
TEST(exactly_large)
{
    enum { SIZE = 300000 };
    for (size_t i = 0; i < PAIRS; i++) {
        weft_stream *a, *b;
        const char *data;
        unsigned char *buf = malloc(SIZE);
        REQUIRE(buf != NULL && pairs[i](&a, &b) == 0);
        weft_task *t = weft_create_task(produce, .s = b, .n = SIZE + 5, .close = true);
        CHECK(weft_peek(a, 0, &data) > 0);
        CHECK(weft_read_exactly(a, buf, SIZE) == SIZE && in_order(buf, 0, SIZE));
        CHECK(weft_read_exactly(a, buf, SIZE) == -EPIPE);
        CHECK(weft_read_exactly(a, buf, 5) == 5 && in_order(buf, SIZE, 5));
        CHECK(weft_await_release(t) == 0);
        weft_close(a);
        free(buf);
    }
    return 0;
}

/* Cancelled in the middle: every byte is still there, in order, more than a buffer of them. */
TEST(exactly_large_cancelled)
{
    enum { SIZE = 100000, PART = 60000 };
    weft_stream *a, *b;
    const char *data;
    unsigned char *buf = malloc(SIZE);
    weft_timeout limit;
    REQUIRE(buf != NULL && tcp_pair(&a, &b) == 0);
    weft_task *t = weft_create_task(produce, .s = b, .n = PART);
    CHECK(weft_peek(a, 0, &data) > 0);
    CHECK(weft_await_release(t) == 0); /* the sockets have room for all of it, so the read has it all before it waits */
    CHECK(weft_timeout_begin(&limit, WEFT_MS(50)) == 0);
    CHECK(weft_timeout_end(&limit, (int)weft_read_exactly(a, buf, SIZE)) == -ETIMEDOUT);
    CHECK(weft_peek(a, PART - 1, &data) == PART || weft_peek(a, PART, &data) == -ENOBUFS);
    CHECK(in_order((const unsigned char *)data, 0, 20000));
    CHECK(weft_read_exactly(a, buf, 10) == 10 && in_order(buf, 0, 10));
    CHECK(weft_read_exactly(a, buf, PART - 20) == PART - 20 && in_order(buf, 10, PART - 20));
    CHECK(weft_read(a, buf, SIZE) == 10 && in_order(buf, PART - 10, 10));
    weft_close(a);
    weft_close(b);
    free(buf);
    return 0;
}

TEST(until)
{
    for (size_t i = 0; i < PAIRS; i++) {
        weft_stream *a, *b;
        char buf[16];
        REQUIRE(pairs[i](&a, &b) == 0);
        weft_task *t =
            weft_create_task(late_write, .s = b, .parts = {"one\ntw", "o\n\nnine char", "s", "\nrest"}, .close = true);
        CHECK(weft_read_until(a, '\n', buf, sizeof buf) == 4 && memcmp(buf, "one\n", 4) == 0);
        CHECK(weft_read_until(a, '\n', buf, sizeof buf) == 4 && memcmp(buf, "two\n", 4) == 0);
        CHECK(weft_read_until(a, '\n', buf, sizeof buf) == 1 && buf[0] == '\n');
        CHECK(weft_read_until(a, '\n', buf, 5) == -ENOBUFS);
        CHECK(weft_read_until(a, '\n', buf, 10) == -ENOBUFS);
        CHECK(weft_read_until(a, '\n', buf, 11) == 11 && memcmp(buf, "nine chars\n", 11) == 0);
        CHECK(weft_read_until(a, '\n', buf, sizeof buf) == -EPIPE);
        CHECK(weft_read(a, buf, sizeof buf) == 4 && memcmp(buf, "rest", 4) == 0);
        CHECK(weft_await_release(t) == 0);
        weft_close(a);
    }
    return 0;
}

/* Lines of all lengths, across the ends of the buffer and longer than it. */
struct lines {
    WEFT_FRAME;
    weft_stream *s;
    size_t count, step;
};
static int lines(struct lines *l)
{
    char *line = malloc(l->count * l->step + 1);
    int rc = line == NULL ? -ENOMEM : 0;
    for (size_t i = 0; rc == 0 && i < l->count; i++) {
        memset(line, 'a' + (int)(i % 26), i * l->step);
        line[i * l->step] = '\n';
        rc = weft_write(l->s, line, i * l->step + 1);
    }
    free(line);
    weft_close(l->s);
    return rc;
}
WEFT_CORO(lines);

TEST(until_over_buffer_borders)
{
    enum { COUNT = 100, STEP = 397 };
    weft_stream *a, *b;
    char *line = malloc(COUNT * STEP);
    REQUIRE(line != NULL && tcp_pair(&a, &b) == 0);
    weft_task *t = weft_create_task(lines, .s = b, .count = COUNT, .step = STEP);
    for (size_t i = 0; i < COUNT; i++) {
        ssize_t n = weft_read_until(a, '\n', line, COUNT * STEP);
        CHECK(n == (ssize_t)(i * STEP + 1));
        for (ssize_t j = 0; j < n; j++)
            REQUIRE(line[j] == (j == n - 1 ? '\n' : 'a' + (int)(i % 26)));
    }
    CHECK(weft_read_until(a, '\n', line, 10) == -EPIPE);
    CHECK(weft_await_release(t) == 0);
    weft_close(a);
    free(line);
    return 0;
}

TEST(peek_and_consume)
{
    for (size_t i = 0; i < PAIRS; i++) {
        weft_stream *a, *b;
        const char *data;
        char buf[8];
        REQUIRE(pairs[i](&a, &b) == 0);
        weft_event first_read;
        weft_event_init(&first_read);
        weft_task *t =
            weft_create_task(late_write, .s = b, .parts = {"abc", "def"}, .first_read = &first_read, .close = true);
        CHECK(weft_peek(a, 0, &data) == 3 && memcmp(data, "abc", 3) == 0);
        CHECK(weft_peek(a, 2, &data) == 3 && memcmp(data, "abc", 3) == 0); /* no need to wait */
        weft_event_set(&first_read);
        weft_consume(a, 1);
        CHECK(weft_peek(a, 2, &data) == 5 && memcmp(data, "bcdef", 5) == 0);
        CHECK(weft_peek(a, 5, &data) == 0 && memcmp(data, "bcdef", 5) == 0); /* the end; they are still there */
        CHECK(weft_read(a, buf, 2) == 2 && memcmp(buf, "bc", 2) == 0);
        weft_consume(a, 3);
        CHECK(weft_peek(a, 0, &data) == 0);
        CHECK(weft_await_release(t) == 0);
        weft_close(a);
    }
    return 0;
}

TEST(peek_fills_the_buffer)
{
    weft_stream *a, *b;
    const char *data;
    REQUIRE(tcp_pair(&a, &b) == 0);
    weft_task *t = weft_create_task(produce, .s = b, .n = 3 * WEFT_STREAM_BUFFER, .close = true);
    CHECK(weft_peek(a, WEFT_STREAM_BUFFER - 1, &data) == (ssize_t)WEFT_STREAM_BUFFER);
    CHECK(in_order((const unsigned char *)data, 0, WEFT_STREAM_BUFFER));
    CHECK(weft_peek(a, WEFT_STREAM_BUFFER, &data) == -ENOBUFS);
    weft_consume(a, 100);
    CHECK(weft_peek(a, WEFT_STREAM_BUFFER - 1, &data) == (ssize_t)WEFT_STREAM_BUFFER);
    CHECK(in_order((const unsigned char *)data, 100, WEFT_STREAM_BUFFER));
    weft_close(a);
    int rc = weft_await_release(t);
    CHECK(rc == 0 || rc == -EPIPE || rc == -ECONNRESET);
    return 0;
}

TEST(half_close)
{
    for (size_t i = 0; i < PAIRS; i++) {
        weft_stream *a, *b;
        char buf[8];
        REQUIRE(pairs[i](&a, &b) == 0);
        CHECK(weft_write(a, "bye", 3) == 0);
        CHECK(weft_shutdown(a, 0) == -EINVAL);
        CHECK(weft_shutdown(a, WEFT_WRITABLE) == 0);
        CHECK(weft_write(a, "more", 4) == -EPIPE);
        CHECK(weft_read(b, buf, sizeof buf) == 3);
        CHECK(weft_read(b, buf, sizeof buf) == 0);
        CHECK(weft_write(b, "still", 5) == 0); /* the other direction goes on */
        CHECK(weft_read_exactly(a, buf, 5) == 5 && memcmp(buf, "still", 5) == 0);
        CHECK(weft_stream_written(a) == 3 && weft_stream_written(b) == 5);
        weft_close(b);
        CHECK(weft_read(a, buf, sizeof buf) == 0);
        weft_close(a);
    }
    return 0;
}

/* Data and the end of the stream in one event: nothing of either is lost. */
TEST(data_then_end_at_once)
{
    for (int round = 0; round < 50; round++) {
        weft_stream *a, *b;
        char buf[64];
        REQUIRE(tcp_pair(&a, &b) == 0);
        weft_task *t = weft_create_task(late_write, .s = b, .parts = {"last words"}, .close = true);
        CHECK(weft_read(a, buf, sizeof buf) == 10);
        CHECK(weft_read(a, buf, sizeof buf) == 0);
        CHECK(weft_await_release(t) == 0);
        weft_close(a);
    }
    return 0;
}

TEST(reset)
{
    weft_stream *a, *b;
    char buf[8];
    REQUIRE(tcp_pair(&a, &b) == 0);
    weft_stream_abort(b);
    CHECK(weft_read(a, buf, sizeof buf) == -ECONNRESET);
    CHECK(weft_read(a, buf, sizeof buf) == -ECONNRESET); /* not a clean end, however often one asks */
    CHECK(weft_write(a, "x", 1) < 0);
    weft_close(a);
    return 0;
}

/* Urgent data stops a recv short of what is there: a short read proves nothing then. */
TEST(urgent_data)
{
    weft_stream *a, *b;
    char buf[16];
    REQUIRE(tcp_pair(&a, &b) == 0);
    int fd = weft_stream_fd(b);
    CHECK(send(fd, "abc", 3, 0) == 3 && send(fd, "!", 1, MSG_OOB) == 1 && send(fd, "def", 3, 0) == 3);
    settle();
    size_t got = 0;
    while (got < 6) {
        ssize_t n = weft_read(a, buf + got, sizeof buf - got);
        REQUIRE(n > 0);
        got += (size_t)n;
    }
    CHECK(memcmp(buf, "abcdef", 6) == 0);
    weft_close(a);
    weft_close(b);
    return 0;
}

/* The reader sleeps, the writer must stop; what is under way is bounded by the sockets' buffers. */
struct slow_echo {
    WEFT_FRAME;
    weft_stream *s;
};
static int slow_echo(struct slow_echo *e)
{
    char buf[8192];
    ssize_t n;
    int rc = 0, turns = 0;
    while (rc == 0 && (n = weft_read(e->s, buf, sizeof buf)) != 0) {
        if (n < 0)
            return (int)n;
        if (++turns % 16 == 0)
            rc = weft_sleep(WEFT_MS(1));
        if (rc == 0)
            rc = weft_write(e->s, buf, (size_t)n);
    }
    return rc == 0 ? weft_shutdown(e->s, WEFT_WRITABLE) : rc;
}
WEFT_CORO(slow_echo);

struct send_all {
    WEFT_FRAME;
    weft_stream *s;
    size_t n;
};
static int send_all(struct send_all *p)
{
    unsigned char *all = malloc(p->n);
    if (all == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < p->n; i++)
        all[i] = byte_at(i);
    int rc = weft_write(p->s, all, p->n);
    free(all);
    return rc == 0 ? weft_shutdown(p->s, WEFT_WRITABLE) : rc;
}
WEFT_CORO(send_all);

TEST(echo_through_a_slow_reader)
{
    enum { SIZE = 1 << 20 };
    for (size_t i = 0; i < PAIRS; i++) {
        weft_stream *a, *b;
        REQUIRE(pairs[i](&a, &b) == 0);
        /* Loopback's segments have 32 KiB. When one fills a receive buffer and both directions are full, Linux's TCP itself comes
         * to a standstill, whoever reads and writes: each end repeats, with ever longer pauses, what the other drops. So: room
         * for several. */
        int sent = 16 * 1024, received = 128 * 1024;
        for (int end = 0; end < 2; end++) {
            setsockopt(weft_stream_fd(end ? a : b), SOL_SOCKET, SO_SNDBUF, &sent, sizeof sent);
            setsockopt(weft_stream_fd(end ? a : b), SOL_SOCKET, SO_RCVBUF, &received, sizeof received);
        }
        weft_task *sender = weft_create_task(send_all, .s = a, .n = SIZE);
        settle();
        CHECK(!weft_done(sender));
        CHECK(weft_stream_written(a) < SIZE / 2); /* stopped by the reader that is not there yet */
        weft_task *echo = weft_create_task(slow_echo, .s = b);
        unsigned char buf[5000];
        size_t total = 0;
        ssize_t n;
        while ((n = weft_read(a, buf, sizeof buf)) > 0) {
            CHECK(in_order(buf, total, (size_t)n));
            total += (size_t)n;
        }
        CHECK(n == 0 && total == SIZE);
        CHECK(weft_await_release(sender) == 0 && weft_await_release(echo) == 0);
        CHECK(weft_stream_written(a) == SIZE && weft_stream_written(b) == SIZE);
        weft_close(a);
        weft_close(b);
    }
    return 0;
}

static int read_all_in_order(void *stream)
{
    unsigned char buf[4096];
    size_t total = 0;
    ssize_t n;
    while ((n = weft_read(stream, buf, sizeof buf)) > 0) {
        CHECK(in_order(buf, total, (size_t)n));
        total += (size_t)n;
    }
    return n < 0 ? (int)n : (int)total;
}

TEST(writev_in_parts)
{
    enum { PARTS = 64, SIZE = 8192 };
    for (size_t i = 0; i < PAIRS; i++) {
        weft_stream *a, *b;
        unsigned char *all = malloc(PARTS * SIZE);
        REQUIRE(all != NULL && pairs[i](&a, &b) == 0);
        struct iovec parts[PARTS + 1], copy[PARTS];
        for (size_t k = 0; k < PARTS * SIZE; k++)
            all[k] = byte_at(k);
        for (size_t k = 0; k < PARTS; k++) /* every eighth begins a byte later, the one before it ends a byte later */
            parts[k] = (struct iovec){all + k * SIZE + (k % 8 == 4), (size_t)SIZE - (k % 8 == 4) + (k % 8 == 3)};
        memcpy(copy, parts, sizeof copy);
        weft_task *t = start(read_all_in_order, b);
        CHECK(weft_writev(a, parts, -1) == -EINVAL && weft_writev(a, parts, PARTS + 1) == -EINVAL);
        CHECK(weft_writev(a, parts, 0) == 0);
        CHECK(weft_writev(a, parts, PARTS) == 0);
        CHECK(memcmp(copy, parts, sizeof copy) == 0);
        weft_close(a);
        CHECK(weft_await_release(t) == PARTS * SIZE);
        weft_close(b);
        free(all);
    }
    return 0;
}

TEST(empty_writes)
{
    weft_stream *a, *b;
    char c;
    REQUIRE(tcp_pair(&a, &b) == 0);
    struct iovec parts[3] = {{NULL, 0}, {(void *)(uintptr_t) "x", 1}, {NULL, 0}};
    CHECK(weft_write(a, NULL, 0) == 0);
    CHECK(weft_writev(a, parts, 1) == 0);
    CHECK(weft_writev(a, parts, 3) == 0);
    CHECK(weft_read(b, &c, 1) == 1 && c == 'x');
    CHECK(weft_stream_written(a) == 1);
    weft_close(a);
    weft_close(b);
    return 0;
}

TEST(drain_until_end)
{
    weft_stream *a, *b;
    REQUIRE(tcp_pair(&a, &b) == 0);
    weft_task *t = weft_create_task(produce, .s = b, .n = 200000, .close = true);
    CHECK(weft_drain_until_end(a, LIMIT) == 0);
    CHECK(weft_await_release(t) == 0);
    weft_close(a);

    REQUIRE(tcp_pair(&a, &b) == 0);
    CHECK(weft_drain_until_end(a, WEFT_MS(5)) == -ETIMEDOUT); /* the peer says nothing */
    weft_task *writer = start(write_much, b);
    CHECK(weft_drain_until_end(a, WEFT_MS(20)) == -ETIMEDOUT); /* the peer never stops */
    CHECK(weft_cancel(writer));
    CHECK(weft_await_release(writer) == -ECANCELED);
    weft_close(a);
    weft_close(b);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_what_there_is),
        cmocka_unit_test(exactly),
        cmocka_unit_test(exactly_large),
        cmocka_unit_test(exactly_large_cancelled),
        cmocka_unit_test(until),
        cmocka_unit_test(until_over_buffer_borders),
        cmocka_unit_test(peek_and_consume),
        cmocka_unit_test(peek_fills_the_buffer),
        cmocka_unit_test(half_close),
        cmocka_unit_test(data_then_end_at_once),
        cmocka_unit_test(reset),
        cmocka_unit_test(urgent_data),
        cmocka_unit_test(echo_through_a_slow_reader),
        cmocka_unit_test(writev_in_parts),
        cmocka_unit_test(empty_writes),
        cmocka_unit_test(drain_until_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

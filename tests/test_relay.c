/* SPDX-License-Identifier: Apache-2.0 */
/* Files to streams, and streams to streams: whole, in order, ends and errors passed on, with and without sendfile and splice. */
#include "support/io.h"

#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

/* In the place of libc's: kernels that can't. */
static _Atomic(bool) no_sendfile, no_splice, no_pipes;
static _Atomic(int) splices;
ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
    if (no_sendfile) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_sendfile, out, in, offset, n);
}
ssize_t splice(int from, __off64_t *from_at, int to, __off64_t *to_at, size_t n, unsigned flags)
{
    splices++;
    if (no_splice) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_splice, from, from_at, to, to_at, n, flags);
}
int pipe2(int fds[2], int flags)
{
    if (no_pipes) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_pipe2, fds, flags);
}

static char byte_at(uint64_t i)
{
    return (char)(i * 2654435761u >> 9);
}

/* A file of n such bytes that has no name. */
static int file_of(size_t n)
{
    int fd = memfd_create("weft-test", MFD_CLOEXEC);
    char piece[4096];
    for (size_t at = 0; at < n; at += sizeof piece) {
        for (size_t i = 0; i < sizeof piece; i++)
            piece[i] = byte_at(at + i);
        CHECK(pwrite(fd, piece, sizeof piece, (off_t)at) == sizeof piece);
    }
    CHECK(ftruncate(fd, (off_t)n) == 0);
    return fd;
}

/* Reads to the end, and counts the bytes that are what they should be, from the from-th on. */
struct reader {
    WEFT_FRAME;
    weft_stream *s;
    uint64_t from;
    uint64_t right; /* result */
};
static int reader(struct reader *r)
{
    char piece[5000];
    ssize_t n;
    while ((n = weft_read(r->s, piece, sizeof piece)) > 0)
        for (ssize_t i = 0; i < n; i++)
            r->right += piece[i] == byte_at(r->from + r->right);
    return (int)n;
}
WEFT_CORO(reader);

struct writer {
    WEFT_FRAME;
    weft_stream *s;
    uint64_t n;
    size_t piece;
};
static int writer(struct writer *w)
{
    char *piece = malloc(w->piece);
    int rc = piece != NULL ? 0 : -ENOMEM;
    for (uint64_t at = 0; at < w->n && rc == 0;) {
        size_t n = w->n - at < w->piece ? (size_t)(w->n - at) : w->piece;
        for (size_t i = 0; i < n; i++)
            piece[i] = byte_at(at + i);
        rc = weft_write(w->s, piece, n);
        at += n;
    }
    free(piece);
    return rc == 0 ? weft_shutdown(w->s, WEFT_WRITABLE) : rc;
}
WEFT_CORO(writer);

enum { FILE_SIZE = 3000001 };

TEST(files)
{
    int file = file_of(FILE_SIZE);
    for (int way = 0; way < 2; way++) {
        no_sendfile = way != 0;
        for (size_t pair = 0; pair < PAIRS; pair++) {
            static const struct {
                off_t at;
                size_t n, sent;
            } cases[] = {{0, 0, FILE_SIZE},         {0, 10, 10},       {12345, 0, FILE_SIZE - 12345},
                         {12345, 1000000, 1000000}, {FILE_SIZE, 0, 0}, {FILE_SIZE + 5, 7, 0},
                         {FILE_SIZE - 3, 100, 3}};
            for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                weft_stream *a, *b;
                REQUIRE(pairs[pair](&a, &b) == 0);
                weft_task *t = weft_create_task(reader, .s = b, .from = (uint64_t)cases[i].at);
                CHECK(weft_sendfile(a, file, cases[i].at, cases[i].n) == (ssize_t)cases[i].sent);
                CHECK(weft_stream_written(a) == cases[i].sent);
                weft_close(a);
                CHECK(weft_await(t) == 0 && weft_result(reader, t)->right == cases[i].sent);
                weft_release(t);
                weft_close(b);
            }
        }
    }
    no_sendfile = false;
    CHECK(lseek(file, 0, SEEK_CUR) == 0);
    close(file);
    return 0;
}

TEST(files_that_fail)
{
    int file = file_of(FILE_SIZE);
    for (int way = 0; way < 2; way++) {
        no_sendfile = way != 0;
        weft_stream *a, *b;
        REQUIRE(tcp_pair(&a, &b) == 0);
        CHECK(weft_sendfile(a, -1, 0, 0) == -EBADF);
        CHECK(weft_sendfile(a, weft_stream_fd(b), 0, 0) == -EINVAL);
        CHECK(weft_sendfile(a, file, -1, 0) == -EINVAL);
        int empty = file_of(0);
        CHECK(weft_sendfile(a, empty, INT64_MAX - 1, 0) <= 0); /* whatever the kernel says to that */
        close(empty);
        /* Files that are made when they are read. */
        int made = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        weft_task *t = weft_create_task(reader, .s = b);
        CHECK(weft_sendfile(a, made, 0, 0) > 100);
        close(made);
        weft_close(a);
        CHECK(weft_await_release(t) == 0);
        weft_close(b);
        /* A peer that does not read, a cancellation, a peer that is gone. */
        REQUIRE(tcp_pair(&a, &b) == 0);
        weft_timeout limit;
        weft_timeout_begin(&limit, WEFT_MS(20));
        int rc = 0;
        while (rc >= 0)
            rc = (int)weft_sendfile(a, file, 0, 0);
        CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);
        weft_stream_abort(b);
        for (rc = 0; rc >= 0;)
            rc = (int)weft_sendfile(a, file, 0, 0);
        CHECK(rc == -EPIPE || rc == -ECONNRESET);
        weft_close(a);
    }
    no_sendfile = false;
    close(file);
    return 0;
}

struct between {
    WEFT_FRAME;
    weft_stream *a, *b;
};
static int between(struct between *r)
{
    return weft_relay(r->a, r->b);
}
WEFT_CORO(between);

/* client <-> (a relay b) <-> server. */
struct chain {
    weft_stream *client, *a, *b, *server;
    weft_task *relay;
};
static int chain_open(struct chain *c, pair_fn *pair)
{
    int rc = pair(&c->client, &c->a);
    if (rc == 0)
        rc = pair(&c->b, &c->server);
    if (rc == 0)
        c->relay = weft_create_task(between, .a = c->a, .b = c->b);
    return rc;
}
static void chain_close(struct chain *c)
{
    weft_close(c->client);
    weft_close(c->a);
    weft_close(c->b);
    weft_close(c->server);
}

/* Both directions at once, each ended by itself; small pieces, large ones, and what turns splice off on the way. */
TEST(relays)
{
    static const size_t pieces[] = {1, 100, 16384, 400000};
    for (int way = 0; way < 3; way++) {
        no_splice = way == 1;
        no_pipes = way == 2;
        for (size_t pair = 0; pair < PAIRS; pair++) {
            for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
                struct chain c;
                uint64_t n = pieces[i] < 1000 ? 300 * pieces[i] + 7 : 3000001;
                REQUIRE(chain_open(&c, pairs[pair]) == 0);
                weft_task *up = weft_create_task(writer, .s = c.client, .n = n, .piece = pieces[i]);
                weft_task *up_end = weft_create_task(reader, .s = c.server);
                CHECK(weft_await_release(up) == 0);
                CHECK(weft_await(up_end) == 0 && weft_result(reader, up_end)->right == n);
                /* The one half is closed, the other still works. */
                weft_task *down = weft_create_task(writer, .s = c.server, .n = n / 2, .piece = pieces[i]);
                weft_task *down_end = weft_create_task(reader, .s = c.client);
                CHECK(weft_await_release(down) == 0);
                CHECK(weft_await(down_end) == 0 && weft_result(reader, down_end)->right == n / 2);
                CHECK(weft_await_release(c.relay) == 0);
                CHECK(weft_stream_written(c.b) == n && weft_stream_written(c.a) == n / 2);
                weft_release(up_end);
                weft_release(down_end);
                chain_close(&c);
            }
        }
    }
    no_splice = no_pipes = false;
    CHECK(splices > 0);
    return 0;
}

/* A server that reads nothing stops the client: nothing piles up in between. */
TEST(relay_passes_backpressure_on)
{
    struct chain c;
    REQUIRE(chain_open(&c, tcp_pair) == 0);
    weft_timeout limit;
    weft_timeout_begin(&limit, WEFT_MS(100));
    static const char zeros[64 * 1024];
    int rc = 0;
    while (rc == 0)
        rc = weft_write(c.client, zeros, sizeof zeros);
    CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);
    CHECK(weft_stream_written(c.client) < 64u * 1024 * 1024);
    /* Cancelled in the middle of it. */
    weft_cancel(c.relay);
    CHECK(weft_await_release(c.relay) == -ECANCELED);
    chain_close(&c);
    return 0;
}

TEST(relay_ends_with_a_reset)
{
    for (int much = 0; much < 2; much++) {
        struct chain c;
        REQUIRE(chain_open(&c, tcp_pair) == 0);
        weft_task *t = start(write_much, c.client);
        char piece[1024];
        for (int i = 0; i < (much ? 2000 : 1); i++)
            CHECK(weft_read(c.server, piece, sizeof piece) > 0);
        weft_stream_abort(c.server);
        int rc = weft_await_release(c.relay);
        CHECK(rc == -ECONNRESET || rc == -EPIPE);
        weft_close(c.a);
        weft_close(c.b);
        rc = weft_await_release(t);
        CHECK(rc == -ECONNRESET || rc == -EPIPE);
        weft_close(c.client);
    }
    return 0;
}

/* Bytes that were received before it began come first. */
TEST(forward_begins_with_what_is_there)
{
    weft_stream *a, *b, *c, *d;
    char got[16];
    const char *data;
    REQUIRE(tcp_pair(&a, &b) == 0 && unix_pair(&c, &d) == 0);
    CHECK(weft_write(a, "head|rest", 9) == 0 && weft_shutdown(a, WEFT_WRITABLE) == 0);
    CHECK(weft_peek(b, 4, &data) == 9);
    weft_consume(b, 5);
    CHECK(weft_forward(b, c) == 0);
    CHECK(weft_read_exactly(d, got, 4) == 4 && memcmp(got, "rest", 4) == 0);
    CHECK(weft_read(d, got, 1) == 0);
    weft_close(a);
    weft_close(b);
    weft_close(c);
    weft_close(d);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(files_that_fail),
        cmocka_unit_test(relays),
        cmocka_unit_test(relay_passes_backpressure_on),
        cmocka_unit_test(relay_ends_with_a_reset),
        cmocka_unit_test(forward_begins_with_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

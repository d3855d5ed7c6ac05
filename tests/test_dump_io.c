/* SPDX-License-Identifier: Apache-2.0 */
/* weft_dump_tasks of tasks that wait for descriptors: which one, and for what; also while they are closed, and parked ones called again. */
#include "support/dump.h"
#include "support/parking.h"

struct waits_fd {
    WEFT_FRAME;
    int fd, interest;
};
static int waits_fd(struct waits_fd *f)
{
    return weft_fd_wait(f->fd, f->interest, WEFT_SEC(70));
}
WEFT_CORO(waits_fd);

struct parks_fd {
    WEFT_FRAME;
    int fd;
    bool again;
};
static int parks_fd(struct parks_fd *f)
{
    if (f->again)
        return weft_parked();
    f->again = true;
    return weft_park_fd(f->fd, WEFT_READABLE, WEFT_FOREVER);
}
WEFT_CORO(parks_fd);

struct reads {
    WEFT_FRAME;
    weft_stream *stream;
};
static int reads(struct reads *f)
{
    char byte;
    return (int)weft_read(f->stream, &byte, 1);
}
WEFT_CORO(reads);

struct accepts {
    WEFT_FRAME;
    weft_listener *listener;
};
static int accepts(struct accepts *f)
{
    weft_stream *s;
    return weft_accept(f->listener, &s);
}
WEFT_CORO(accepts);

/* Until the dump says it. */
static bool says(const char *format, int number)
{
    char wanted[128];
    snprintf(wanted, sizeof wanted, format, number);
    for (int i = 0; i < 20000; i++) { /* 20 s */
        char *text = dump_text(weft_runtime_current());
        bool found = text != NULL && dump_says(text, wanted);
        free(text);
        if (found)
            return true;
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
    }
    return false;
}

TEST(each_kind)
{
    weft_stream *a, *b;
    weft_listener *l;
    int ends[2], more[2];
    REQUIRE(tcp_pair(&a, &b) == 0 && pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0 &&
            pipe2(more, O_NONBLOCK | O_CLOEXEC) == 0);
    REQUIRE(weft_listen(&l, "127.0.0.1:0") == 0);
    weft_task *t[] = {START(waits_fd, .fd = ends[0], .interest = WEFT_READABLE), START(parks_fd, .fd = more[0]),
                      START(reads, .stream = a), START(accepts, .listener = l),
                      START(echo, .stream = b, .timeout = WEFT_SEC(70))};
    CHECK(says("waits_fd() waits for descriptor %d to be readable, at most 6", ends[0]));
    CHECK(says("parks_fd() parked, waits for descriptor %d to be readable\n", more[0]));
    CHECK(says("echo() parked, waits for a stream (read), descriptor %d, at most 6", weft_stream_fd(b)));
    CHECK(says("reads() waits for a stream (read), descriptor %d\n", weft_stream_fd(a)));
    CHECK(says("accepts() waits for a connection (accept), descriptor %d\n", weft_listener_fd(l)));
    weft_task_set_name(t[2], "reader");
    CHECK(says("reader#", 0));
    weft_listener_close(l);
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        (void)weft_cancel(t[i]);
        (void)weft_await_release(t[i]);
    }
    weft_close(a); /* echo has closed its own */
    close(ends[0]);
    close(ends[1]);
    close(more[0]);
    close(more[1]);
    return 0;
}

/* ---- nobody is disturbed ----------------------------------------------------------------------------------------- */

enum { ROUNDS = 400, PINGERS = 4 };

static struct {
    weft_runtime *rt;
    atomic_bool over;
} storm;

static void *dumps_on(void *unused)
{
    while (!atomic_load(&storm.over)) {
        char *text = dump_text(storm.rt);
        CHECK(text != NULL);
        free(text);
    }
    return unused;
}

struct pings {
    WEFT_FRAME;
};
static int pings(struct pings *f)
{
    (void)f;
    for (int i = 0; i < ROUNDS; i++) {
        weft_stream *a, *b;
        REQUIRE(tcp_pair(&a, &b) == 0);
        weft_task *t = START(echo, .stream = a, .timeout = WEFT_SEC(50)), *other = START(reads, .stream = b);
        CHECK(weft_sleep(WEFT_US(i % 100)) == 0);
        CHECK(weft_write(b, "x", 1) == 0);
        CHECK(weft_await_release(other) == 1);
        weft_close(b);
        CHECK(weft_await_release(t) == -EPIPE);
    }
    return 0;
}
WEFT_CORO(pings);

TEST(nobody_is_disturbed)
{
    pthread_t asker;
    weft_task *t[PINGERS];
    storm.rt = weft_runtime_current();
    atomic_store(&storm.over, false);
    CHECK(pthread_create(&asker, NULL, dumps_on, NULL) == 0);
    for (int i = 0; i < PINGERS; i++)
        t[i] = START(pings);
    for (int i = 0; i < PINGERS; i++)
        CHECK(weft_await_release(t[i]) == 0);
    atomic_store(&storm.over, true);
    pthread_join(asker, NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind),
        cmocka_unit_test(nobody_is_disturbed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

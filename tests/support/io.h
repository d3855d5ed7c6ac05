/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/io.h -- what the tests of descriptors, streams, listeners, names and signals share.
 *
 * A test is a coroutine that runs with 1, 2, 3 and 8 workers on the real clock, in time limits far above what it needs: a lost
 * wake-up ends it with an error, not with a hang. It looks at things with CHECK, which only records: the assertion comes when
 * the run has ended, in the main thread, together with one that no descriptor is left open. */
#ifndef WEFT_TESTS_SUPPORT_IO_H
#define WEFT_TESTS_SUPPORT_IO_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft.h>

#include "executor/runtime.h"
#include "io/listener.h"

#define LIMIT WEFT_SEC(60) /* of one test with one number of workers */

static _Atomic(const char *) first_failure;
static unsigned workers; /* of the present run */

static inline void check(bool holds, const char *what)
{
    const char *none = NULL;
    if (holds || !atomic_compare_exchange_strong(&first_failure, &none, what))
        return;
    /* Told at once: what follows a failed check may wait in vain, and would look like a lost wake-up until the limit. */
    struct iovec line[] = {{(void *)(uintptr_t)what, strlen(what)}, {(void *)(uintptr_t) "\n", 1}};
    (void)!writev(STDERR_FILENO, line, 2);
}
#define CHECK_TEXT(line) #line
#define CHECK_LINE(line) CHECK_TEXT(line)
#define CHECK(condition) check((condition), "line " CHECK_LINE(__LINE__) ": " #condition)
/* For what everything after it needs. */
#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            check(false, "line " CHECK_LINE(__LINE__) ": " #condition);                                                \
            return -EIO;                                                                                               \
        }                                                                                                              \
    } while (0)

/* Calls fn(argument) in a task of its own. */
struct call {
    WEFT_FRAME;
    int (*fn)(void *argument);
    void *argument;
};
static int call(struct call *c)
{
    return c->fn(c->argument);
}
WEFT_CORO(call);

static inline weft_task *start(int (*fn)(void *), void *argument)
{
    return weft_create_task(call, .fn = fn, .argument = argument);
}

struct limited {
    WEFT_FRAME;
    int (*fn)(void *argument);
};
static int limited(struct limited *l)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, LIMIT) == 0);
    return weft_timeout_end(&limit, l->fn(NULL));
}
WEFT_CORO(limited);

static inline int open_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static inline void run_on_clock(int (*fn)(void *argument), enum weft_clock clock)
{
    static const unsigned numbers[] = {1, 2, 3, 8};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        workers = numbers[i];
        first_failure = NULL;
        int before = open_descriptors();
        int rc = weft_run_with(
            WEFT_OPTIONS(.workers = workers, .pin = WEFT_PIN_NONE, .clock = clock, .slow_task = WEFT_FOREVER), limited,
            .fn = fn);
        const char *failure = first_failure;
        if (failure != NULL || rc != 0)
            fail_msg("with %u workers: %s; the run ended with %d (%s)", workers,
                     failure != NULL ? failure : "no check failed", rc, weft_strerror(rc));
        if (open_descriptors() != before)
            fail_msg("with %u workers: %d descriptors before, %d after", workers, before, open_descriptors());
    }
}

#define TEST_ON(clock, name)                                                                                           \
    static int name##_body(void *unused);                                                                              \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        run_on_clock(name##_body, clock);                                                                              \
    }                                                                                                                  \
    static int name##_body(void *unused WEFT_UNUSED)
#define TEST(name) TEST_ON(WEFT_CLOCK_REAL, name)
/* On the virtual clock: for what waits for time, and for no other machine. */
#define VIRTUAL_TEST(name) TEST_ON(WEFT_CLOCK_VIRTUAL, name)

/* Does no task run or wait for its turn but the caller? */
static inline bool alone(struct weft_runtime *rt)
{
    unsigned self = weft__worker_self()->index;
    for (unsigned i = 0; i < rt->worker_count; i++)
        if (i != self && (weft__load_seq_cst(&rt->idle.bits[i / 64]) >> i % 64 & 1) == 0) /* pairs: PARK */
            return false;
    return !weft__work_visible(rt, true, NULL);
}

/* Let all others come to where they wait, however busy the machine is; twice, because who collects events counts as asleep
 * until it has them. */
static inline void settle(void)
{
    int rc = 0;
    for (int quiet = 0; rc == 0 && quiet < 2;) {
        rc = weft_sleep(WEFT_MS(2));
        quiet = alone(weft_runtime_current()) ? quiet + 1 : 0;
    }
    CHECK(rc == 0);
}

/* "127.x.y.z:0" of this process alone: a port that it has given back is no other test's next one. */
static inline const char *own_loopback(char address[32])
{
    unsigned id = (unsigned)getpid();
    snprintf(address, 32, "127.%u.%u.%u:0", 1 + (id >> 16) % 250, id >> 8 & 255, 1 + id % 250);
    return address;
}

/* Wait until a task is inside weft_accept: whoever closes the listener earlier takes it from under that task. */
static inline void await_acceptor(weft_listener *l)
{
    while ((weft__load_acquire(&l->reg->users) & WEFT__READER) == 0) /* pairs: USERS */
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
}

/* Two ends of a connection over loopback. */
static inline int tcp_pair(weft_stream **a, weft_stream **b)
{
    weft_listener *l;
    char address[64];
    int rc = weft_listen(&l, "127.0.0.1:0");
    if (rc == 0)
        rc = weft_listener_address(l, address, sizeof address);
    if (rc == 0)
        rc = weft_connect(a, address);
    if (rc == 0)
        rc = weft_accept(l, b);
    weft_close(l);
    return rc;
}

static inline int unix_pair(weft_stream **a, weft_stream **b)
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return -errno;
    int rc = weft_stream_adopt(a, fd[0]);
    return rc == 0 ? weft_stream_adopt(b, fd[1]) : rc;
}

typedef int pair_fn(weft_stream **a, weft_stream **b);
static pair_fn *const pairs[] = {tcp_pair, unix_pair};
#define PAIRS (sizeof pairs / sizeof pairs[0])

/* Task bodies for a stream: wait for one byte, for the end of a write that nobody reads. */
static inline int read_one(void *stream)
{
    char c;
    return (int)weft_read(stream, &c, 1);
}

static inline int write_much(void *stream)
{
    static const char zeros[64 * 1024];
    int rc = 0;
    while (rc == 0)
        rc = weft_write(stream, zeros, sizeof zeros);
    return rc;
}

#endif

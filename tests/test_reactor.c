/* SPDX-License-Identifier: Apache-2.0 */
/* The reactor as a whole: old kernels, memory of closed descriptors, its account, two runtimes side by side, fork. */
#include "support/io.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "io/registration.h"

/* Closed while some collect is open (here usually: a worker that sleeps in it), records are used again all the same: their
 * number follows the open descriptors, not the ones there ever were. */
TEST(closed_records_are_used_again)
{
    struct weft__io *io = weft__runtime_io(weft_runtime_current());
    for (int i = 0; i < 30000; i++) {
        weft_stream *s;
        int fd = eventfd(0, EFD_CLOEXEC);
        REQUIRE(weft_stream_adopt(&s, fd) == 0);
        weft_close(s);
        if (i % 500 == 0)
            CHECK(weft_sleep(WEFT_US(500)) == 0); /* on a busy machine the kicked collector needs its turn */
    }
    CHECK(weft__load_relaxed(&io->records.mapped_bytes) < 2 * 1024 * 1024); /* relaxed: a count */
    return 0;
}

/* An event with an old generation, or for a record that nobody has open, wakes nobody. */
TEST(generations)
{
    struct weft__io *io = weft__runtime_io(weft_runtime_current());
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), dead = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t one = 1;
    struct weft__registration *reg;
    REQUIRE(weft__registration_open(io, fd, &reg) == 0);
    settle();
    (void)weft__interest_consume(reg, WEFT__READ);
    (void)weft__interest_consume(reg, WEFT__WRITE);
    uint64_t stale = ((uint64_t)(uintptr_t)reg & 0xffffffffffffu) |
                     (uint64_t)((weft__load_relaxed(&reg->generation) + 1) & 0xffff) << 48; /* relaxed: ours */
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = stale};
    CHECK(epoll_ctl(io->epoll, EPOLL_CTL_ADD, dead, &e) == 0);
    CHECK(write(dead, &one, sizeof one) == sizeof one);
    settle();
    CHECK((weft__interest_look(reg, WEFT__READ) & WEFT__READY) == 0);
    CHECK(write(fd, &one, sizeof one) == sizeof one);
    while ((weft__interest_look(reg, WEFT__READ) & WEFT__READY) == 0) /* until the time limit of the test */
        REQUIRE(weft_sleep(WEFT_MS(1)) == 0);
    weft__registration_retire(reg);
    close(fd);
    close(dead);
    return 0;
}

TEST(account)
{
    weft_stream *a, *b;
    char c;
    weft_metrics before = {.size = sizeof before}, after = {.size = sizeof after};
    REQUIRE(tcp_pair(&a, &b) == 0);
    CHECK(weft_metrics_read(weft_runtime_current(), -1, &before) == 0);
    for (int i = 0; i < 10; i++) {
        weft_task *t = start(read_one, b);
        settle();
        CHECK(weft_write(a, "x", 1) == 0);
        CHECK(weft_await_release(t) == 1);
    }
    CHECK(weft_metrics_read(weft_runtime_current(), -1, &after) == 0);
    CHECK(after.reactor_events >= before.reactor_events + 10);
    CHECK(after.reactor_batches > before.reactor_batches);
    CHECK(after.reactor_batches - before.reactor_batches <= after.reactor_events - before.reactor_events);
    weft_close(a);
    CHECK(weft_read(b, &c, 1) == 0);
    weft_close(b);
    return 0;
}

/* ---- a kernel without epoll_pwait2 ---- */

struct short_sleeps {
    WEFT_FRAME;
};
static int short_sleeps(struct short_sleeps *s)
{
    (void)s;
    weft_stream *a, *b;
    char c;
    REQUIRE(tcp_pair(&a, &b) == 0);
    for (int i = 0; i < 20; i++) {
        weft_ns before = weft_now();
        CHECK(weft_sleep(WEFT_US(300)) == 0);
        CHECK(weft_now() - before >= WEFT_US(300));
        weft_task *t = start(read_one, b);
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
        CHECK(weft_write(a, "x", 1) == 0);
        CHECK(weft_await_release(t) == 1);
    }
    weft_close(a);
    CHECK(weft_read(b, &c, 1) == 0);
    weft_close(b);
    return 7;
}
WEFT_CORO(short_sleeps);

static int on_an_old_kernel(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 77;
    struct timespec limit = {0, 1};
    if (epoll_pwait2(-1, NULL, 0, &limit, NULL) == 0 || errno != ENOSYS)
        return 1;
    first_failure = NULL;
    for (unsigned n = 1; n <= 2; n++)
        if (weft_run_with(WEFT_OPTIONS(.workers = n), short_sleeps) != 7)
            return 2;
    const char *failure = first_failure;
    return failure == NULL ? 0 : 3;
}

static void without_nanoseconds(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0)
        _exit(on_an_old_kernel());
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- several runtimes, and fork ---- */

static void *run_short_sleeps(void *result)
{
    *(int *)result = weft_run_with(WEFT_OPTIONS(.workers = 2), short_sleeps);
    return NULL;
}

static void side_by_side(void **state)
{
    (void)state;
    pthread_t thread[3];
    int result[3];
    first_failure = NULL;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_short_sleeps, &result[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(result[i], 7);
    }
    const char *failure = first_failure;
    assert_null(failure);
}

/* Thread sanitizer lets no thread start in the child of a process with threads. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHILD_RUNS false
#endif
#endif
#ifndef CHILD_RUNS
#define CHILD_RUNS true
#endif

/* The child closes its copies of the runtime's descriptors, and may run one of its own; the parent notices nothing. */
TEST(fork_within)
{
    weft_stream *a, *b;
    char c;
    REQUIRE(tcp_pair(&a, &b) == 0);
    int descriptors = open_descriptors();
    pid_t child = fork();
    if (child == 0) {
        if (open_descriptors() >= descriptors)
            _exit(1);
        _exit(!CHILD_RUNS || weft_run_with(WEFT_OPTIONS(.workers = 1), short_sleeps) == 7 ? 0 : 2);
    }
    weft_task *t = start(read_one, b);
    settle();
    int status = -1;
    while (child > 0 && waitpid(child, &status, WNOHANG) == 0)
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(status == 0);
    CHECK(!weft_done(t));
    CHECK(weft_write(a, "x", 1) == 0 && weft_await_release(t) == 1);
    weft_close(a);
    CHECK(weft_read(b, &c, 1) == 0);
    weft_close(b);
    return 0;
}

/* ---- the virtual clock ------------------------------------------------------------------------------------------- */

static atomic_int late;

/* Each message holds the instant at which it was sent, and is read in that instant: the clock does not move while a message has
 * arrived that a task waits for, whichever worker sleeps on the descriptors. */
static int read_instants(void *stream)
{
    weft_ns sent;
    while (weft_read_exactly(stream, &sent, sizeof sent) == (ssize_t)sizeof sent)
        late += weft_now() != sent;
    return 0;
}

static int send_instants(void *unused WEFT_UNUSED)
{
    weft_stream *a, *b;
    REQUIRE(unix_pair(&a, &b) == 0);
    weft_task *t = start(read_instants, b);
    for (int i = 0; i < 1000; i++) {
        weft_ns now = weft_now();
        CHECK(weft_write(a, &now, sizeof now) == 0);
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
    }
    weft_close(a);
    CHECK(weft_await_release(t) == 0);
    weft_close(b);
    return 0;
}

static void virtual_clock_waits_for_events(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 8; n *= 2) {
        late = 0;
        first_failure = NULL;
        int rc = weft_run_with(WEFT_OPTIONS(.workers = n, .pin = WEFT_PIN_NONE, .clock = WEFT_CLOCK_VIRTUAL), call,
                               .fn = send_instants);
        if (rc != 0 || late != 0 || first_failure != NULL)
            fail_msg("with %u workers: %d messages were read late, the run ended with %d", n, late, rc);
    }
}

/* Threads from outside wake workers just when these leave and park by themselves, again and again: whoever parks last moves
 * the clock, or each sleep that is submitted here would never end. The root task waits for a descriptor all the time. */
enum { SUBMITTERS = 2, SUBMISSIONS = 150 };
static weft_runtime *submit_to;
static atomic_int naps;

struct nap {
    WEFT_FRAME;
};
static int nap(struct nap *n)
{
    (void)n;
    return weft_sleep(WEFT_MS(1));
}
WEFT_CORO(nap);

static void *submit_naps(void *unused WEFT_UNUSED)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < SUBMISSIONS; i++) {
        weft_task *t = weft_submit(submit_to, nap);
        rc = weft_block_on(t, WEFT_SEC(30)); /* of the real clock */
        naps += rc == 0;
        weft_release(t);
    }
    return NULL;
}

static void *submit_and_tell(void *fd)
{
    pthread_t thread[SUBMITTERS];
    int started = 0;
    while (started < SUBMITTERS && pthread_create(&thread[started], NULL, submit_naps, NULL) == 0)
        started++;
    while (started > 0)
        pthread_join(thread[--started], NULL);
    (void)!write(*(int *)fd, "x", 1);
    return NULL;
}

static int naps_from_outside(void *unused WEFT_UNUSED)
{
    int fd[2];
    weft_stream *s;
    pthread_t thread;
    char c;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0 && weft_stream_adopt(&s, fd[0]) == 0);
    submit_to = weft_runtime_current();
    REQUIRE(pthread_create(&thread, NULL, submit_and_tell, &fd[1]) == 0);
    CHECK(weft_read(s, &c, 1) == 1);
    pthread_join(thread, NULL);
    close(fd[1]);
    weft_close(s);
    return 0;
}

static void virtual_clock_and_threads_from_outside(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 8; n *= 2) {
        naps = 0;
        first_failure = NULL;
        int rc = weft_run_with(WEFT_OPTIONS(.workers = n, .pin = WEFT_PIN_NONE, .clock = WEFT_CLOCK_VIRTUAL), call,
                               .fn = naps_from_outside);
        if (rc != 0 || naps != SUBMITTERS * SUBMISSIONS || first_failure != NULL)
            fail_msg("with %u workers: %d of %d naps ended, the run with %d", n, naps, SUBMITTERS * SUBMISSIONS, rc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(virtual_clock_waits_for_events),
        cmocka_unit_test(virtual_clock_and_threads_from_outside),
        cmocka_unit_test(closed_records_are_used_again),
        cmocka_unit_test(generations),
        cmocka_unit_test(account),
        cmocka_unit_test(without_nanoseconds),
        cmocka_unit_test(side_by_side),
        cmocka_unit_test(fork_within),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

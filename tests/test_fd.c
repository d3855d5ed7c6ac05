/* SPDX-License-Identifier: Apache-2.0 */
/* weft_fd_wait: descriptors of other libraries. */
#include "support/io.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

struct later {
    WEFT_FRAME;
    int fd;
};
static int later(struct later *l)
{
    int rc = weft_sleep(WEFT_MS(5));
    uint64_t one = 1;
    return rc == 0 && write(l->fd, &one, sizeof one) == sizeof one ? 0 : -EIO;
}
WEFT_CORO(later);

TEST(waits_and_is_level_triggered)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t value;
    for (int round = 0; round < 3; round++) {
        weft_task *t = weft_create_task(later, .fd = fd);
        CHECK(weft_fd_wait(fd, WEFT_READABLE, WEFT_FOREVER) == WEFT_READABLE);
        CHECK(weft_fd_wait(fd, WEFT_READABLE, WEFT_FOREVER) == WEFT_READABLE); /* still so */
        CHECK(weft_fd_wait(fd, WEFT_READABLE | WEFT_WRITABLE, 0) == (WEFT_READABLE | WEFT_WRITABLE));
        CHECK(read(fd, &value, sizeof value) == sizeof value);
        CHECK(weft_fd_wait(fd, WEFT_READABLE, 0) == -ETIMEDOUT);
        CHECK(weft_fd_wait(fd, WEFT_READABLE | WEFT_WRITABLE, WEFT_FOREVER) == WEFT_WRITABLE);
        CHECK(weft_await_release(t) == 0);
    }
    close(fd);
    return 0;
}

TEST(arguments)
{
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), closed = eventfd(0, EFD_CLOEXEC);
    close(closed);
    CHECK(weft_fd_wait(0, 0, WEFT_FOREVER) == -EINVAL);
    CHECK(weft_fd_wait(0, 4, WEFT_FOREVER) == -EINVAL);
    CHECK(weft_fd_wait(-1, WEFT_READABLE, WEFT_FOREVER) == -EBADF);
    CHECK(weft_fd_wait(closed, WEFT_READABLE, WEFT_FOREVER) == -EBADF);
    CHECK(weft_fd_wait(file, WEFT_READABLE, WEFT_FOREVER) == -EPERM);
    close(file);
    return 0;
}

TEST(timeout)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    weft_ns before = weft_now();
    CHECK(weft_fd_wait(fd, WEFT_READABLE, WEFT_MS(5)) == -ETIMEDOUT);
    CHECK(weft_now() - before >= WEFT_MS(5));
    CHECK(weft_fd_wait(fd, WEFT_READABLE, -1) == -ETIMEDOUT);
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_timeout_end(&limit, weft_fd_wait(fd, WEFT_READABLE, WEFT_FOREVER)) == -ETIMEDOUT);
    close(fd);
    return 0;
}

struct await_fd {
    WEFT_FRAME;
    int fd, interest;
};
static int await_fd(struct await_fd *w)
{
    return weft_fd_wait(w->fd, w->interest, WEFT_FOREVER);
}
WEFT_CORO(await_fd);

TEST(cancel)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    weft_task *t = weft_create_task(await_fd, .fd = fd, .interest = WEFT_READABLE);
    settle();
    CHECK(weft_cancel(t));
    CHECK(weft_await_release(t) == -ECANCELED);
    t = weft_create_task(await_fd, .fd = fd, .interest = WEFT_READABLE); /* nothing of the old wait is left */
    settle();
    uint64_t one = 1;
    CHECK(write(fd, &one, sizeof one) == sizeof one);
    CHECK(weft_await_release(t) == WEFT_READABLE);
    close(fd);
    return 0;
}

/* Two tasks, one a direction; a second one for the same direction is refused. */
TEST(both_directions)
{
    int fd[2];
    static char zeros[1 << 20];
    char c;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) == 0);
    for (int round = 0; round < 3; round++) {
        while (write(fd[0], zeros, sizeof zeros) > 0)
            ;
        weft_task *r = weft_create_task(await_fd, .fd = fd[0], .interest = WEFT_READABLE);
        settle();
        weft_task *w = weft_create_task(await_fd, .fd = fd[0], .interest = WEFT_WRITABLE);
        settle();
        CHECK(!weft_done(r) && !weft_done(w));
        CHECK(weft_fd_wait(fd[0], WEFT_READABLE, WEFT_FOREVER) == -EBUSY);
        CHECK(weft_fd_wait(fd[0], WEFT_READABLE | WEFT_WRITABLE, WEFT_FOREVER) == -EBUSY);
        if (round == 1) {
            CHECK(weft_cancel(w));
            CHECK(weft_await(w) == -ECANCELED);
        }
        CHECK(write(fd[1], "x", 1) == 1);
        CHECK(weft_await_release(r) == WEFT_READABLE);
        CHECK(read(fd[0], &c, 1) == 1);
        CHECK(round == 1 || !weft_done(w));
        while (read(fd[1], zeros, sizeof zeros) > 0)
            ;
        CHECK(weft_await_release(w) == (round == 1 ? -ECANCELED : WEFT_WRITABLE));
    }
    close(fd[0]);
    close(fd[1]);
    return 0;
}

TEST(hang_up_counts_as_all)
{
    int fd[2];
    REQUIRE(pipe2(fd, O_CLOEXEC | O_NONBLOCK) == 0);
    weft_task *t = weft_create_task(await_fd, .fd = fd[0], .interest = WEFT_READABLE);
    settle();
    close(fd[1]);
    CHECK(weft_await_release(t) == WEFT_READABLE);
    close(fd[0]);
    return 0;
}

/* Between waits a number may change its file: nothing of the old one is remembered. */
TEST(reused_numbers)
{
    for (int round = 0; round < 25; round++) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), number = fd;
        weft_task *t = weft_create_task(later, .fd = fd);
        CHECK(weft_fd_wait(fd, WEFT_READABLE, WEFT_US(10 * (round % 20))) != 0);
        int kept = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* the old file lives on under another number */
        CHECK(weft_await_release(t) == 0);
        close(fd);
        fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        CHECK(fd == number);
        CHECK(weft_fd_wait(fd, WEFT_READABLE, WEFT_US(100)) == -ETIMEDOUT);
        struct itimerspec soon = {.it_value.tv_nsec = 1000};
        CHECK(timerfd_settime(fd, 0, &soon, NULL) == 0);
        CHECK(weft_fd_wait(fd, WEFT_READABLE, WEFT_FOREVER) == WEFT_READABLE);
        close(fd);
        close(kept);
    }
    return 0;
}

TEST(descriptor_of_a_stream)
{
    weft_stream *a, *b;
    REQUIRE(tcp_pair(&a, &b) == 0);
    CHECK(weft_fd_wait(weft_stream_fd(a), WEFT_READABLE, WEFT_FOREVER) == -EBUSY);
    char c;
    CHECK(weft_write(b, "x", 1) == 0 && weft_read(a, &c, 1) == 1); /* and it works as before */
    weft_close(a);
    weft_close(b);
    return 0;
}

/* Many descriptors, more than the table has places, all ready in one batch. */
TEST(many)
{
    enum { MANY = 600 };
    static int fd[MANY];
    static weft_task *t[MANY];
    for (int i = 0; i < MANY; i++) {
        fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        REQUIRE(fd[i] >= 0);
        t[i] = weft_create_task(await_fd, .fd = fd[i], .interest = WEFT_READABLE);
    }
    settle();
    uint64_t one = 1;
    for (int i = MANY - 1; i >= 0; i--)
        CHECK(write(fd[i], &one, sizeof one) == sizeof one);
    for (int i = 0; i < MANY; i++) {
        CHECK(weft_await_release(t[i]) == WEFT_READABLE);
        close(fd[i]);
    }
    return 0;
}

/* The event comes before, while and after the wait is set up. */
TEST(event_against_wait)
{
    int fd[2];
    REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
    set_nonblocking(fd[0]);
    char c = 0;
    for (int i = 0; i < 300; i++) {
        weft_task *t = weft_create_task(await_fd, .fd = fd[0], .interest = WEFT_READABLE);
        if (i % 2 == 0)
            CHECK(weft_yield() == 0);
        CHECK(write(fd[1], "x", 1) == 1);
        CHECK(weft_await_release(t) == WEFT_READABLE);
        CHECK(read(fd[0], &c, 1) == 1);
    }
    close(fd[0]);
    close(fd[1]);
    return 0;
}

/* On the virtual clock an hour passes at once beside a task that waits for a descriptor; events that have come are seen first;
 * and nobody calls it a deadlock while a descriptor may still become ready. */
struct virtual_wait {
    WEFT_FRAME;
};
static int virtual_wait(struct virtual_wait *v)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)v;
    weft_task *t = weft_create_task(await_fd, .fd = fd, .interest = WEFT_READABLE);
    CHECK(weft_sleep(WEFT_SEC(3600)) == 0);
    uint64_t one = 1;
    CHECK(!weft_done(t));
    CHECK(write(fd, &one, sizeof one) == sizeof one);
    CHECK(weft_await_release(t) == WEFT_READABLE);
    CHECK(weft_fd_wait(fd, WEFT_READABLE, WEFT_FOREVER) == WEFT_READABLE);
    uint64_t value;
    CHECK(read(fd, &value, sizeof value) == sizeof value);
    CHECK(weft_fd_wait(fd, WEFT_READABLE, WEFT_SEC(3600)) == -ETIMEDOUT);
    close(fd);
    return 0;
}
WEFT_CORO(virtual_wait);

static void virtual_clock(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 3; n++) {
        first_failure = NULL;
        int rc = weft_run_with(WEFT_OPTIONS(.workers = n, .clock = WEFT_CLOCK_VIRTUAL), virtual_wait);
        const char *failure = first_failure;
        if (failure != NULL || rc != 0)
            fail_msg("with %u workers: %s; %d", n, failure != NULL ? failure : "no check failed", rc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_and_is_level_triggered),
        cmocka_unit_test(arguments),
        cmocka_unit_test(timeout),
        cmocka_unit_test(cancel),
        cmocka_unit_test(both_directions),
        cmocka_unit_test(hang_up_counts_as_all),
        cmocka_unit_test(reused_numbers),
        cmocka_unit_test(descriptor_of_a_stream),
        cmocka_unit_test(many),
        cmocka_unit_test(event_against_wait),
        cmocka_unit_test(virtual_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

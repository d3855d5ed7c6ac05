/* SPDX-License-Identifier: Apache-2.0 */
/* Every worker is stuck in a blocking call inside a task: the reactor thread still collects what arrives, the report names the
 * function, and connections made meanwhile are accepted and served as soon as one worker is free. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

#define CLIENTS 20
#define BLOCK_MS 400

static atomic_int port, blocking, reports;
static char report_line[256];

static void take_report(void *user, const char *line)
{
    (void)user;
    if (strstr(line, "sleeps_in_the_kernel()") == NULL)
        return; /* on a busy machine another one may be held up as long */
    strncpy(report_line, line, sizeof report_line - 1);
    atomic_fetch_add(&reports, 1);
}

struct sleeps_in_the_kernel {
    WEFT_FRAME;
};
static int sleeps_in_the_kernel(struct sleeps_in_the_kernel *f)
{
    (void)f;
    atomic_fetch_add(&blocking, 1);
    for (int i = 0; i < BLOCK_MS || (i < 30000 && atomic_load(&reports) < atomic_load(&blocking)); i++)
        usleep(1000); /* until each has been named, and no shorter than this */
    atomic_fetch_sub(&blocking, 1);
    return 0;
}
WEFT_CORO(sleeps_in_the_kernel);

struct echo {
    WEFT_FRAME;
    weft_stream *peer;
};
static int echo(struct echo *f)
{
    char buf[64];
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = weft_read(f->peer, buf, sizeof buf)) != 0)
        rc = n < 0 ? (int)n : weft_write(f->peer, buf, (size_t)n);
    weft_close(f->peer);
    return rc;
}
WEFT_CORO(echo);

struct serve {
    WEFT_FRAME;
    unsigned workers;
};
static int serve(struct serve *f)
{
    weft_listener *door;
    char address[64];
    TASK_CHECK(weft_listen(&door, "127.0.0.1:0") == 0);
    TASK_CHECK(weft_listener_address(door, address, sizeof address) == 0);
    weft_group g;
    TASK_CHECK(weft_group_begin(&g) == 0);
    for (unsigned i = 0; i < f->workers; i++)
        TASK_CHECK(weft_group_start(&g, sleeps_in_the_kernel) == 0);
    atomic_store(&port, atoi(strrchr(address, ':') + 1));
    for (int i = 0; i < CLIENTS; i++) {
        weft_stream *peer;
        TASK_CHECK(weft_accept(door, &peer) == 0);
        TASK_CHECK(weft_group_start(&g, echo, .peer = peer) == 0);
    }
    weft_close(door);
    return weft_group_join(&g, 0);
}
WEFT_CORO(serve);

static void *client(void *unused)
{
    (void)unused;
    while (atomic_load(&port) == 0)
        usleep(1000);
    usleep(50000); /* the workers are stuck by now */
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atomic_load(&port))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char buf[8] = "";
    TASK_CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    TASK_CHECK(write(fd, "hello", 5) == 5);
    TASK_CHECK(read(fd, buf, 5) == 5 && memcmp(buf, "hello", 5) == 0);
    close(fd);
    return NULL;
}

static void run(unsigned workers)
{
    pthread_t thread[CLIENTS];
    atomic_store(&port, 0);
    atomic_store(&reports, 0);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, client, NULL), 0);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers, .slow_task = WEFT_MS(100), .report = take_report),
                                   serve, .workers = workers),
                     0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&reports), workers); /* each is named, once */
    assert_tasks_ok();
}

static void test_served_after_all_were_blocked(void **state)
{
    (void)state;
    run(1);
    run(2);
    run(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_served_after_all_were_blocked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

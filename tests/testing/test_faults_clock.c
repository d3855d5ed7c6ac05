/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupted looks at descriptors on the virtual clock: what lies there has arrived, and no time passes before it is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <weft.h>
#include <weft/testing.h>

#include <cmocka.h>

enum { BYTES = 50 };

struct echo {
    WEFT_FRAME;
    weft_stream *s;
};
static int echo(struct echo *f)
{
    char c;
    int rc = 0;
    for (int i = 0; i < BYTES && rc == 0; i++) {
        weft_timeout limit;
        weft_timeout_begin(&limit, WEFT_SEC(5));
        ssize_t n = weft_read(f->s, &c, 1);
        rc = weft_timeout_end(&limit, n < 0 ? (int)n : 0);
        if (rc == 0)
            rc = weft_write(f->s, &c, 1);
    }
    weft_close(f->s);
    return rc;
}
WEFT_CORO(echo);

struct client {
    WEFT_FRAME;
    long answers;
    weft_ns took;
};
static int client(struct client *f)
{
    int fd[2];
    weft_stream *a, *b;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0 || weft_stream_adopt(&a, fd[0]) != 0 ||
        weft_stream_adopt(&b, fd[1]) != 0)
        return -1;
    weft_ns start = weft_now();
    weft_task *t = weft_create_task(echo, .s = b);
    char c = 'x';
    while (f->answers < BYTES && weft_write(a, &c, 1) == 0 && weft_read(a, &c, 1) == 1)
        f->answers++;
    weft_close(a);
    f->took = weft_now() - start;
    return weft_await_release(t);
}
WEFT_CORO(client);

static void test_an_interrupted_look_moves_no_clock(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct client f = {.frame_ = {&client_coro_}};
        assert_int_equal(weft_faults_begin("epoll_wait=EINTR@20%", seed), 0);
        int rc = weft_run_frame(WEFT_OPTIONS(.clock = WEFT_CLOCK_VIRTUAL, .workers = 1), client, &f);
        weft_faults_end();
        assert_int_equal(rc, 0);
        assert_int_equal(f.answers, BYTES);
        assert_int_equal(f.took, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_interrupted_look_moves_no_clock)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

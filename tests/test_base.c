/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_base.c -- executor/base.h and the texts of weft/base.h. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "executor/base.h"

static void test_texts(void **state)
{
    (void)state;
    assert_string_equal(weft_strerror(0), "success");
    assert_string_equal(weft_strerror(17), "success");
    assert_string_equal(weft_strerror(INT_MAX), "success");
    assert_string_equal(weft_strerror(-ECANCELED), "cancelled");
    assert_string_equal(weft_strerror(-ETIMEDOUT), "timed out");
    assert_string_equal(weft_strerror(-4000), "unknown error");
    assert_string_equal(weft_strerror(INT_MIN), "unknown error");
    /* static: one text does not overwrite another, and each code has its own */
    const int codes[] = {ECANCELED, ETIMEDOUT, ESHUTDOWN, EDEADLK, ENOMEM,  EINVAL, EPIPE,
                         EBADF,     EAGAIN,    EBUSY,     EPERM,   ENOBUFS, EMFILE, ECONNRESET};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const char *one = weft_strerror(-codes[i]);
        assert_true(strlen(one) > 3);
        assert_string_not_equal(one, "unknown error");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(one, weft_strerror(-codes[j]));
    }
}

static void test_version(void **state)
{
    (void)state;
    char numbers[32];
    snprintf(numbers, sizeof numbers, "%d.%d.%d", WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR, WEFT_VERSION_PATCH);
    assert_string_equal(weft_version(), numbers);
}

static void test_clock_moves_on(void **state)
{
    (void)state;
    weft_ns first = weft__monotonic(), last = first;
    assert_true(first > 0);
    for (int i = 0; i < 1000; i++) {
        weft_ns now = weft__monotonic();
        assert_true(now >= last);
        last = now;
    }
    usleep(1000);
    assert_true(weft__monotonic() - first >= WEFT_MS(1));
}

static void test_random_is_spread(void **state)
{
    (void)state;
    uint64_t random = 1;
    unsigned buckets[16] = {0};
    for (int i = 0; i < 16000; i++)
        buckets[weft__random(&random) >> 60]++;
    for (int i = 0; i < 16; i++)
        assert_in_range(buckets[i], 800, 1200);
}

static char long_text[4096];

static void die_by(int which)
{
    switch (which) {
    case 0:
        weft__bug("some/file.c", 42, "the impossible");
    case 1:
        weft__misuse("weft_await", "called outside a task");
    case 2:
        WEFT__BUG_ON(which == 2);
        break;
    case 3:
        memset(long_text, 'x', sizeof long_text - 1);
        weft__misuse("weft_await", long_text);
    default:
        break;
    }
    _exit(0);
}

static void test_last_words(void **state)
{
    (void)state;
    const char *const words[] = {
        "weft: bug in the library at some/file.c:42: the impossible\n",
        "weft: weft_await: called outside a task\n",
        "test_base.c:",
        "weft: weft_await: xxxx",
    };
    for (int which = 0; which < 4; which++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            signal(SIGABRT, SIG_DFL);
            dup2(ends[1], STDERR_FILENO);
            close(ends[0]);
            close(ends[1]);
            die_by(which);
        }
        close(ends[1]);
        char text[16384];
        size_t got = 0;
        for (ssize_t n = 1; n > 0; got += n > 0 ? (size_t)n : 0)
            n = read(ends[0], text + got, sizeof text - 1 - got);
        text[got] = '\0';
        close(ends[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(text, words[which]));
        if (which == 3)
            assert_non_null(strstr(text, "xxx\n")); /* cut, but a line */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),          cmocka_unit_test(test_version),
        cmocka_unit_test(test_clock_moves_on), cmocka_unit_test(test_random_is_spread),
        cmocka_unit_test(test_last_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

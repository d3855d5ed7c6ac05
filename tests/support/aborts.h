/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/aborts.h -- misuse that cannot be an error code ends the program with a sentence that names the call. The
 * including file has cmocka, errno and the usual headers. Main thread only, while no runtime runs. */
#ifndef TESTS_SUPPORT_ABORTS_H
#define TESTS_SUPPORT_ABORTS_H

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A process that hangs instead is ended by SIGALRM, and the test fails. */
#define ABORTS_LIMIT_S 60

/* Runs `what` in a process of its own, which has to end by SIGABRT with `text` in what it says on stderr. */
static inline void expect_abort(void (*what)(void), const char *text)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(ABORTS_LIMIT_S);
        dup2(fds[1], 2);
        what();
        _exit(0);
    }
    close(fds[1]);
    char out[4096];
    size_t n = 0;
    ssize_t got;
    while (n < sizeof out - 1 && (got = read(fds[0], out + n, sizeof out - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = '\0';
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(out, text));
}

#endif

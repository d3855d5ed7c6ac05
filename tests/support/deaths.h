/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/deaths.h -- misuse that cannot be an error code ends the program with a sentence that names the call: it
 * happens in a child process, whose last words are looked at. The including file has cmocka, errno and the usual headers.
 * For the test's main thread, outside of runs. */
#ifndef WEFT_TESTS_SUPPORT_DEATHS_H
#define WEFT_TESTS_SUPPORT_DEATHS_H

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* A process that hangs instead is ended by SIGALRM, and the test fails. */
#define DEATH_LIMIT_S 60

/* Call what() in a child: it must abort, and say `text` on stderr. */
static inline void expect_abort(void (*what)(void), const char *text)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        alarm(DEATH_LIMIT_S);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        what();
        _exit(0);
    }
    close(fds[1]);
    char out[4096], rest[512];
    size_t n = 0;
    ssize_t got;
    while ((got = n < sizeof out - 1 ? read(fds[0], out + n, sizeof out - 1 - n) : read(fds[0], rest, sizeof rest)) > 0)
        n += n < sizeof out - 1 ? (size_t)got : 0;
    out[n] = '\0';
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || strstr(out, text) == NULL)
        fail_msg("status %x, expected \"%s\" in: %s", (unsigned)status, text, out);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Forks at any moment of other threads' runtimes, which start and end all the time: the child can run one of its own, and has no action of theirs. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft.h>
#include <weft/io.h>

#include "support/threads.h"

static _Atomic(bool) over;

struct keeping {
    WEFT_FRAME;
};
static int keeping(struct keeping *f)
{
    (void)f;
    const int term = SIGTERM;
    int rc = weft_signal_keep(&term, 1);
    return rc < 0 ? rc : weft_yield();
}
WEFT_CORO(keeping);

static void *runs(void *argument)
{
    (void)argument;
    while (!over) {
        if (weft_run_with(WEFT_OPTIONS(.workers = 1, .pin = WEFT_PIN_NONE), keeping) != 0)
            return NULL;
    }
    return &over;
}

static int child(void)
{
    struct sigaction action;
    alarm(20); /* one that hangs dies of it */
    if (sigaction(SIGTERM, NULL, &action) != 0 || action.sa_handler != SIG_DFL)
        return 3;
    return weft_run_with(WEFT_OPTIONS(.workers = 1, .pin = WEFT_PIN_NONE), keeping) == 0 ? 0 : 4;
}

static void test_beside_starts_and_ends(void **state)
{
    (void)state;
    if (THREADS_SANITIZED) /* their own locks are not safe for the child of a process with threads */
        skip();
    pthread_t thread;
    void *good = NULL;
    assert_int_equal(pthread_create(&thread, NULL, runs, NULL), 0);
    unsigned n = threads_scale(600), bad = 0;
    for (unsigned i = 0; i < n; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(child());
        assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
        bad += status != 0;
    }
    over = true;
    pthread_join(thread, &good);
    assert_ptr_equal(good, &over);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beside_starts_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

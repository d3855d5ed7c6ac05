/* SPDX-License-Identifier: Apache-2.0 */
/* asyncio's introduction with a cancellation at each of its awaits, and with a failure at each call that can fail
 * (weft/testing.h). The programs are those of examples/intro, as they are: only their main has another name here. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/testing.h>

#define INTRO(name)                                                                                                    \
    int intro_##name##_main(void);                                                                                     \
    static void run_##name(void)                                                                                       \
    {                                                                                                                  \
        intro_##name##_main();                                                                                         \
    }                                                                                                                  \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        everywhere(#name, run_##name);                                                                                 \
    }

/* What the programs print is tested elsewhere. */
static void everywhere(const char *name, void (*program)(void))
{
    fflush(stdout);
    int kept = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDOUT_FILENO);
    close(nowhere);
    long cancels = weft_sweep_cancel_program(NULL, name, program),
         faults = weft_sweep_faults_program(NULL, name, program);
    static const char calls[] =
        "malloc,calloc,realloc,aligned_alloc,mmap,mprotect,epoll_create1,epoll_ctl,eventfd,pthread_create";
    long starved = weft_sweep_faults_program(WEFT_SWEEP(.workers = 2, .persistent = 1, .calls = calls), name, program);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    assert_true(cancels > 0 && faults > 0 && starved > 0);
    fprintf(stderr, "%s: %ld cancelled runs, %ld failing calls, %ld that go on failing\n", name, cancels, faults,
            starved);
}

INTRO(hello)
INTRO(value)
INTRO(gather)
INTRO(create_task)
INTRO(two_tasks)
INTRO(cancel)
INTRO(timeout)
INTRO(queue)
INTRO(group)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello),       cmocka_unit_test(value),     cmocka_unit_test(gather),
        cmocka_unit_test(create_task), cmocka_unit_test(two_tasks), cmocka_unit_test(cancel),
        cmocka_unit_test(timeout),     cmocka_unit_test(queue),     cmocka_unit_test(group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

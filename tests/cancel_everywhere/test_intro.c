/* SPDX-License-Identifier: Apache-2.0 */
/* asyncio's introduction with a cancellation at each of its awaits (see harness.h). The programs are those of examples/intro,
 * as they are: only their main has another name here, and their weft_run goes through the harness (--wrap=weft_run_). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness.h"

int __real_weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size);
int __wrap_weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size);

/* The programs' call comes here first, then the harness's own. */
static bool inside;

int __wrap_weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size)
{
    if (inside)
        return __real_weft_run_(options, frame, frame_size);
    inside = true;
    int rc = harness_run(frame);
    inside = false;
    return rc;
}

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
static void everywhere(const char *name, harness_program *program)
{
    static const enum victim both[] = {VICTIM_MAIN, VICTIM_SELF};
    fflush(stdout);
    int kept = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDOUT_FILENO);
    close(nowhere);
    harness_everywhere(name, program, both, 2, 1);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/check.h -- checks inside tasks: they count and print, and the test asserts afterwards in its own thread
 * (cmocka's assertions jump, which must not happen on a task's stack). */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H

#include <stdatomic.h>
#include <stdio.h>

static atomic_int task_check_failures;

#define TASK_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            atomic_fetch_add(&task_check_failures, 1);                                                                 \
            fprintf(stderr, "%s:%d: in a task: %s\n", __FILE__, __LINE__, #condition);                                 \
        }                                                                                                              \
    } while (0)

/* After a run: no check failed. */
#define assert_tasks_ok() assert_int_equal(atomic_exchange(&task_check_failures, 0), 0)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The leak checker of address sanitizer takes longer than the run it looks after, and there are thousands of runs here: so it looks
 * after one in SOME, and when the program ends, as always. A leak is found as surely, only some runs later. */
#include <stddef.h>

enum { SOME = 16 };

int __real___lsan_do_recoverable_leak_check(void) __attribute__((weak));
int __wrap___lsan_do_recoverable_leak_check(void);

int __wrap___lsan_do_recoverable_leak_check(void)
{
    static unsigned runs;
    if (__real___lsan_do_recoverable_leak_check == NULL || ++runs % SOME != 0)
        return 0;
    return __real___lsan_do_recoverable_leak_check();
}

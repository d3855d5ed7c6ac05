/* SPDX-License-Identifier: Apache-2.0 */
/* executor/membarrier.c -- a barrier in all threads at once, by the kernel (private, expedited). With it one side of a mutual
 * exclusion, the one that is on every fast path, needs no barrier of its own: only the compiler must keep the order. Thread
 * sanitizer knows nothing of it, so what is read after it is read by acquiring loads of what the other side released.
 *
 * Threads: any. */
#include "executor/membarrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool command(int which)
{
    return syscall(SYS_membarrier, which, 0, 0) == 0;
}

bool weft__membarrier_prepare(void)
{
    return command(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

bool weft__membarrier(void)
{
    return command(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* executor/membarrier.h -- see membarrier.c: the heavy half of a lock whose owner pays nothing. */
#ifndef WEFT_EXECUTOR_MEMBARRIER_H
#define WEFT_EXECUTOR_MEMBARRIER_H

#include <stdbool.h>

/* Process-wide, to be called before the first use; false: the kernel cannot. Any thread, any number of times. */
bool weft__membarrier_prepare(void);
/* Every thread of the process that runs now has executed a full barrier when this returns true. About 10 us, and 6 for each of them. */
bool weft__membarrier(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h -- memory that lives as long as the program that is interpreted.
 *
 * Values are immutable and shared, and tasks of a program that deadlocks never unwind their stacks: so nothing is
 * freed singly, all goes at the end. The memory of a program that deadlocked is kept to the end of the process,
 * because what the library holds for its tasks is known from there only.
 *
 * Threads: any. What cannot be had, or is more than 1 GiB, ends the process with a message: this is a test program. */
#ifndef CONFORMANCE_MEMORY_H
#define CONFORMANCE_MEMORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct memory {
    pthread_mutex_t lock;
    struct memory_chunk *first;
    size_t total; /* bytes in chunks */
};

void memory_begin(struct memory *m);
/* Zeroed, aligned for everything. */
void *memory_get(struct memory *m, size_t size);
char *memory_print(struct memory *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Free all; `keep`: leave it where it is, findable by leak checkers. */
void memory_end(struct memory *m, bool keep);

#endif

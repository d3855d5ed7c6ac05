/* SPDX-License-Identifier: Apache-2.0 */
/* slots.h -- tables of named slots: the program's, and one for each call of a coroutine (which its callbacks share).
 * Each single access is atomic, nothing else is. Any thread. Names are not copied. */
#ifndef CONFORMANCE_SLOTS_H
#define CONFORMANCE_SLOTS_H

#include "value.h"

struct slot {
    const char *name;
    struct value value;
};

struct slots {
    pthread_mutex_t lock;
    struct memory *memory;
    struct slot *items;
    size_t n, capacity;
};

struct slots *slots_new(struct memory *m);
bool slots_get(struct slots *slots, const char *name, struct value *out);
void slots_put(struct slots *slots, const char *name, struct value v);
/* Add to a number. 0; -ENOENT: unset; -EINVAL: not a number. */
int slots_add(struct slots *slots, const char *name, int64_t n);

#endif

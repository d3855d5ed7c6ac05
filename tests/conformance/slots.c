/* SPDX-License-Identifier: Apache-2.0 */
/* slots.c -- tables of named slots. They are small: a program has a few dozen names. */
#include "slots.h"

#include <errno.h>
#include <string.h>

struct slots *slots_new(struct memory *m)
{
    struct slots *slots = memory_get(m, sizeof *slots);
    pthread_mutex_init(&slots->lock, NULL);
    slots->memory = m;
    return slots;
}

static struct slot *find(struct slots *slots, const char *name)
{
    for (size_t i = 0; i < slots->n; i++)
        if (strcmp(slots->items[i].name, name) == 0)
            return &slots->items[i];
    return NULL;
}

bool slots_get(struct slots *slots, const char *name, struct value *out)
{
    pthread_mutex_lock(&slots->lock);
    const struct slot *slot = find(slots, name);
    if (slot != NULL)
        *out = slot->value;
    pthread_mutex_unlock(&slots->lock);
    return slot != NULL;
}

void slots_put(struct slots *slots, const char *name, struct value v)
{
    pthread_mutex_lock(&slots->lock);
    struct slot *slot = find(slots, name);
    if (slot == NULL) {
        if (slots->n == slots->capacity) {
            size_t capacity = slots->capacity == 0 ? 4 : 2 * slots->capacity;
            struct slot *items = memory_get(slots->memory, capacity * sizeof items[0]);
            for (size_t i = 0; i < slots->n; i++)
                items[i] = slots->items[i];
            slots->items = items;
            slots->capacity = capacity;
        }
        slot = &slots->items[slots->n++];
        slot->name = name;
    }
    slot->value = v;
    pthread_mutex_unlock(&slots->lock);
}

int slots_add(struct slots *slots, const char *name, int64_t n)
{
    pthread_mutex_lock(&slots->lock);
    struct slot *slot = find(slots, name);
    int rc = slot == NULL ? -ENOENT : slot->value.kind != VALUE_INT && slot->value.kind != VALUE_BOOL ? -EINVAL : 0;
    if (rc == 0)
        slot->value = int_value(slot->value.integer + n);
    pthread_mutex_unlock(&slots->lock);
    return rc;
}

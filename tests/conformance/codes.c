/* SPDX-License-Identifier: Apache-2.0 */
/* codes.c -- the table of a program's errors. Entries are never changed once they are in it. */
#include "codes.h"

#include <errno.h>
#include <string.h>
#include <weft/base.h>

struct failure {
    const char *name; /* NULL: a group */
    size_t n;
    int members[];
};

static const char *const own_names[] = {
    "Timeout",   "InvalidState",  "Runtime",       "Value", "QueueEmpty",
    "QueueFull", "QueueShutDown", "BrokenBarrier", "Unset", "Unsupported",
};

static int add(struct codes *codes, const char *name, const int members[], size_t n)
{
    struct failure *failure = memory_get(codes->memory, sizeof *failure + n * sizeof failure->members[0]);
    failure->name = name;
    failure->n = n;
    for (size_t i = 0; i < n; i++)
        failure->members[i] = members[i];
    if (codes->n == codes->capacity) {
        size_t capacity = codes->capacity == 0 ? 32 : 2 * codes->capacity;
        struct failure **items = memory_get(codes->memory, capacity * sizeof(items[0]));
        for (size_t i = 0; i < codes->n; i++)
            items[i] = codes->items[i];
        codes->items = items;
        codes->capacity = capacity;
    }
    codes->items[codes->n] = failure;
    return FIRST_CODE - (int)codes->n++;
}

void codes_begin(struct codes *codes, struct memory *m)
{
    *codes = (struct codes){.memory = m};
    pthread_mutex_init(&codes->lock, NULL);
    for (size_t i = 0; i < sizeof own_names / sizeof own_names[0]; i++)
        add(codes, own_names[i], NULL, 0);
}

void codes_end(struct codes *codes)
{
    pthread_mutex_destroy(&codes->lock);
}

static struct failure *failure_of(struct codes *codes, int code)
{
    pthread_mutex_lock(&codes->lock);
    struct failure *failure = codes->items[FIRST_CODE - code];
    pthread_mutex_unlock(&codes->lock);
    return failure;
}

int code_named(struct codes *codes, const char *name)
{
    pthread_mutex_lock(&codes->lock);
    int code = 0;
    for (size_t i = 0; i < codes->n && code == 0; i++)
        if (codes->items[i]->name != NULL && strcmp(codes->items[i]->name, name) == 0)
            code = FIRST_CODE - (int)i;
    if (code == 0)
        code = add(codes, name, NULL, 0);
    pthread_mutex_unlock(&codes->lock);
    return code;
}

int code_of_group(struct codes *codes, const int members[], size_t n)
{
    pthread_mutex_lock(&codes->lock);
    int code = add(codes, NULL, members, n);
    pthread_mutex_unlock(&codes->lock);
    return code;
}

int code_of_library(struct codes *codes, int rc)
{
    return code_named(codes, memory_print(codes->memory, "weft: %s (%d)", weft_strerror(rc), rc));
}

const char *code_name(struct codes *codes, int code)
{
    return failure_of(codes, code)->name;
}

static struct value pair(struct memory *m, const char *kind, struct value v)
{
    struct list *list = list_new(m, 2);
    list->items[0] = string_value(kind);
    list->items[1] = v;
    return list_value(list);
}

struct value code_result(struct codes *codes, int code, const char *message)
{
    if (code == -ECANCELED) {
        if (message != NULL && message[0] != '\0')
            return pair(codes->memory, "cancelled", string_value(message));
        struct list *list = list_new(codes->memory, 1);
        list->items[0] = string_value("cancelled");
        return list_value(list);
    }
    if (!is_code(code))
        code = code_of_library(codes, code);
    const struct failure *failure = failure_of(codes, code);
    if (failure->name != NULL)
        return pair(codes->memory, "err", string_value(failure->name));
    struct list *members = list_new(codes->memory, failure->n);
    for (size_t i = 0; i < failure->n; i++)
        members->items[i] = code_result(codes, failure->members[i], NULL);
    return pair(codes->memory, "group", list_value(members));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* value.h -- what a slot holds: a value of the language, or one of its objects. Immutable; copied freely between
 * threads. */
#ifndef CONFORMANCE_VALUE_H
#define CONFORMANCE_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_STRING,
    VALUE_LIST,
    /* Objects: never traced, never compared; `object` points to the struct named. */
    VALUE_FUTURE,  /* struct future */
    VALUE_SCOPE,   /* struct scope */
    VALUE_GROUP,   /* struct group */
    VALUE_HANDLE,  /* struct callback */
    VALUE_TOKEN,   /* struct token */
    VALUE_CONTEXT, /* weft_context */
};

struct value {
    enum value_kind kind;
    union {
        int64_t integer; /* also of VALUE_BOOL */
        const char *string;
        const struct list *list;
        void *object;
    };
};

struct list {
    size_t n;
    struct value items[];
};

#define NULL_VALUE ((struct value){.kind = VALUE_NULL})

static inline struct value bool_value(bool b)
{
    return (struct value){.kind = VALUE_BOOL, .integer = b};
}
static inline struct value int_value(int64_t i)
{
    return (struct value){.kind = VALUE_INT, .integer = i};
}
static inline struct value string_value(const char *s)
{
    return (struct value){.kind = VALUE_STRING, .string = s};
}
static inline struct value object_value(enum value_kind kind, void *object)
{
    return (struct value){.kind = kind, .object = object};
}

/* A list of n nulls, to be filled before anybody else sees it. */
struct list *list_new(struct memory *m, size_t n);
static inline struct value list_value(const struct list *list)
{
    return (struct value){.kind = VALUE_LIST, .list = list};
}

/* Strings stay the JSON's. NULL and JSON null are the same. What the language does not have (fractions, objects) is
 * null. */
struct value value_of_json(struct memory *m, const json_t *json);
/* A new reference. */
json_t *value_to_json(struct value v);

/* As Python's == and <: a bool is a number. Values of different kinds are unequal, and ordered by kind. */
bool value_equal(struct value a, struct value b);
/* Negative, 0, positive. */
int value_compare(const struct value *a, const struct value *b);

#endif

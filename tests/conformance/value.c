/* SPDX-License-Identifier: Apache-2.0 */
/* value.c -- values: made from JSON and back, compared. */
#include "value.h"

#include <string.h>

struct list *list_new(struct memory *m, size_t n)
{
    struct list *list = memory_get(m, sizeof *list + n * sizeof list->items[0]);
    list->n = n;
    return list;
}

struct value value_of_json(struct memory *m, const json_t *json)
{
    if (json == NULL)
        return NULL_VALUE;
    switch (json_typeof(json)) {
    case JSON_TRUE:
    case JSON_FALSE:
        return bool_value(json_is_true(json));
    case JSON_INTEGER:
        return int_value(json_integer_value(json));
    case JSON_STRING:
        return string_value(json_string_value(json));
    case JSON_ARRAY: {
        struct list *list = list_new(m, json_array_size(json));
        for (size_t i = 0; i < list->n; i++)
            list->items[i] = value_of_json(m, json_array_get(json, i));
        return list_value(list);
    }
    case JSON_NULL:
    case JSON_REAL:
    case JSON_OBJECT:
        break;
    }
    return NULL_VALUE;
}

json_t *value_to_json(struct value v)
{
    switch (v.kind) {
    case VALUE_NULL:
        return json_null();
    case VALUE_BOOL:
        return json_boolean(v.integer);
    case VALUE_INT:
        return json_integer(v.integer);
    case VALUE_STRING:
        return json_string(v.string);
    case VALUE_LIST: {
        json_t *array = json_array();
        for (size_t i = 0; i < v.list->n; i++)
            json_array_append_new(array, value_to_json(v.list->items[i]));
        return array;
    }
    case VALUE_FUTURE:
    case VALUE_SCOPE:
    case VALUE_GROUP:
    case VALUE_HANDLE:
    case VALUE_TOKEN:
    case VALUE_CONTEXT:
        break;
    }
    return json_string("<obj>");
}

static enum value_kind comparable_kind(struct value v)
{
    return v.kind == VALUE_BOOL ? VALUE_INT : v.kind;
}

int value_compare(const struct value *a, const struct value *b)
{
    enum value_kind kind = comparable_kind(*a), other = comparable_kind(*b);
    if (kind != other)
        return kind < other ? -1 : 1;
    switch (kind) {
    case VALUE_NULL:
        return 0;
    case VALUE_BOOL:
    case VALUE_INT:
        return (a->integer > b->integer) - (a->integer < b->integer);
    case VALUE_STRING:
        return strcmp(a->string, b->string);
    case VALUE_LIST:
        for (size_t i = 0; i < a->list->n && i < b->list->n; i++) {
            int order = value_compare(&a->list->items[i], &b->list->items[i]);
            if (order != 0)
                return order;
        }
        return (a->list->n > b->list->n) - (a->list->n < b->list->n);
    case VALUE_FUTURE:
    case VALUE_SCOPE:
    case VALUE_GROUP:
    case VALUE_HANDLE:
    case VALUE_TOKEN:
    case VALUE_CONTEXT:
        break;
    }
    uintptr_t x = (uintptr_t)a->object, y = (uintptr_t)b->object;
    return (x > y) - (x < y);
}

bool value_equal(struct value a, struct value b)
{
    return value_compare(&a, &b) == 0;
}

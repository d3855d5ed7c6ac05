/* SPDX-License-Identifier: Apache-2.0 */
/* check.c -- looks through a program before it runs: does the interpreter know every step, and does none suspend in a
 * callback? */
#include <string.h>

#include "interp.h"

static const char *check_block(struct memory *m, const json_t *steps, bool callback);

static const char *check_try(struct memory *m, const json_t *clauses)
{
    const json_t *handlers = json_object_get(clauses, "except");
    for (size_t i = 0; i < json_array_size(handlers); i++) {
        const json_t *handler = json_array_get(handlers, i), *kinds = json_array_get(handler, 0);
        for (size_t k = 0; k < json_array_size(kinds); k++)
            if (!json_is_string(json_array_get(kinds, k)))
                return "a handler of what is no kind";
        const char *unknown = check_block(m, json_array_get(handler, 1), false);
        if (unknown != NULL)
            return unknown;
    }
    const char *unknown = check_block(m, json_object_get(clauses, "else"), false);
    return unknown != NULL ? unknown : check_block(m, json_object_get(clauses, "finally"), false);
}

static const char *check_step(struct memory *m, const json_t *step, bool callback)
{
    const char *name = argument_name(step, 0);
    if (name == NULL)
        return "a step without a name";
    const struct step_kind *kind = step_kind_named(name);
    if (kind == NULL)
        return memory_print(m, "step %s", name);
    for (size_t i = 1; kind->names >> i != 0; i++)
        if ((kind->names >> i & 1) != 0 && argument_name(step, i) == NULL)
            return memory_print(m, "step %s without the name that is word %zu", name, i);
    if (callback && kind->suspends)
        return memory_print(m, "step %s in a callback", name);
    const char *unknown = strcmp(name, "try") == 0 ? check_try(m, argument(step, 2)) : NULL;
    const unsigned blocks[] = {kind->block_arg, kind->block_arg2};
    for (size_t i = 0; i < 2 && unknown == NULL; i++)
        if (blocks[i] != 0)
            unknown = check_block(m, argument(step, blocks[i]), callback || kind->callback_block);
    return unknown;
}

static const char *check_block(struct memory *m, const json_t *steps, bool callback)
{
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const char *unknown = check_step(m, json_array_get(steps, i), callback);
        if (unknown != NULL)
            return unknown;
    }
    return NULL;
}

const char *program_check(struct memory *m, const json_t *program)
{
    const char *name;
    json_t *steps;
    json_object_foreach(json_object_get(program, "coros"), name, steps)
    {
        const char *unknown = check_block(m, steps, false);
        if (unknown != NULL)
            return unknown;
    }
    return NULL;
}

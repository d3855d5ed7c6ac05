/* SPDX-License-Identifier: Apache-2.0 */
/* structured.c -- --joins structured: children that are waited for where they are made are forked (weft/join.h),
 * not created.
 *
 * Two forms are taken, where nobody can tell the difference but by the time it takes:
 *   ["create", t, c] directly before ["await", t, r]              t is named nowhere else
 *   ["gather", ["@a", "@b", ...], true, r], and awaited so        nothing in the program can cancel its caller
 * A gather passes a cancellation on to all children at once, a join only to its own child: hence the condition. A
 * task group has to cancel the others when one fails, which nobody can do to a forked child: groups stay as they
 * are.
 *
 * Both only in main's own task, or in a child forked there: whoever else makes children may be cancelled at the end
 * of the run, and then each of them for itself. What the child's task can call its own must not be asked for: no
 * program that lists tasks, no child that says "self" or sets context variables.
 *
 * Found once, before the run; afterwards read by any thread. */
#include "structured.h"

#include <stdio.h>
#include <string.h>

/* ---- what a program names ---------------------------------------------------------------------------------------- */

/* How many strings of a tree are `word`. */
static size_t count_word(const json_t *json, const char *word)
{
    if (json_is_string(json))
        return strcmp(json_string_value(json), word) == 0;
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(json); i++)
        n += count_word(json_array_get(json, i), word);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        n += count_word(value, word);
    }
    return n;
}

static bool names_any(const json_t *json, const char *const words[])
{
    for (size_t i = 0; words[i] != NULL; i++)
        if (count_word(json, words[i]) != 0)
            return true;
    return false;
}

/* Does a coroutine, or what it may call or start, do what only a task of its own may? `seen` guards against circles. */
static bool needs_task(const json_t *coroutines, const char *name, json_t *seen)
{
    static const char *const own[] = {"self", "ctx_set", "ctx_reset", "ctx_copy", NULL};
    const json_t *steps = json_object_get(coroutines, name[0] == '@' ? name + 1 : name);
    if (steps == NULL || json_object_get(seen, name[0] == '@' ? name + 1 : name) != NULL)
        return false;
    json_object_set_new(seen, name[0] == '@' ? name + 1 : name, json_true());
    if (names_any(steps, own))
        return true;
    const char *other;
    json_t *ignored;
    json_object_foreach((json_t *)coroutines, other, ignored)
    {
        char called[256];
        snprintf(called, sizeof called, "@%s", other);
        if ((count_word(steps, other) != 0 || count_word(steps, called) != 0) && needs_task(coroutines, other, seen))
            return true;
    }
    return false;
}

static bool may_fork(const json_t *program, const char *coroutine)
{
    json_t *seen = json_object();
    bool needs = needs_task(json_object_get(program, "coros"), coroutine, seen);
    json_decref(seen);
    return !needs;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

struct site {
    const struct site *next;
    const json_t *step;
};

struct finder {
    struct run *run;
    bool gathers; /* may gathers be taken? */
};

static void take(struct finder *finder, const json_t *step)
{
    struct site *site = memory_get(&finder->run->memory, sizeof *site);
    site->step = step;
    site->next = finder->run->sites;
    finder->run->sites = site;
}

static bool is_step(const json_t *step, const char *name)
{
    const char *own = json_is_array(step) ? argument_name(step, 0) : NULL;
    return own != NULL && strcmp(own, name) == 0;
}

static bool is_pair(const json_t *program, const json_t *step, const json_t *next)
{
    if (!is_step(step, "create") || !is_step(next, "await") || argument(step, 3) != NULL)
        return false;
    const char *slot = argument_name(step, 1), *awaited = argument_name(next, 1), *coroutine = argument_name(step, 2);
    return slot != NULL && awaited != NULL && coroutine != NULL && strcmp(slot, awaited) == 0 &&
           count_word(json_object_get(program, "coros"), slot) == 2 &&
           json_object_get(json_object_get(program, "objects"), slot) == NULL && may_fork(program, coroutine);
}

/* The expression ["gather", ...] of a step that awaits one; NULL: another step. */
static const json_t *gather_of(const json_t *step)
{
    if (is_step(step, "gather"))
        return step;
    const json_t *awaited = is_step(step, "await") ? argument(step, 1) : NULL;
    return is_step(awaited, "gather") ? awaited : NULL;
}

static bool is_forkable_gather(const json_t *program, const json_t *step)
{
    const json_t *expression = gather_of(step);
    if (expression == NULL || !json_is_true(argument(expression, 2)))
        return false;
    const json_t *children = argument(expression, 1);
    for (size_t i = 0; i < json_array_size(children); i++) {
        const char *name = json_string_value(json_array_get(children, i));
        if (name == NULL || name[0] != '@' || !may_fork(program, name))
            return false;
    }
    return json_array_size(children) != 0;
}

/* Every array of the tree is looked at as if it were a block. */
static void find(struct finder *finder, const json_t *json)
{
    const json_t *program = finder->run->program;
    for (size_t i = 0; i < json_array_size(json); i++) {
        const json_t *step = json_array_get(json, i);
        if (is_pair(program, step, json_array_get(json, i + 1)))
            take(finder, step);
        else if (finder->gathers && is_forkable_gather(program, step))
            take(finder, step);
        find(finder, step);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        find(finder, value);
    }
}

void structured_find(struct run *run)
{
    static const char *const lists_tasks[] = {"all_tasks", NULL};
    static const char *const cancels[] = {"cancel", "timeout", "timeout_at", "wait_for", "taskgroup", NULL};
    const json_t *coroutines = json_object_get(run->program, "coros");
    struct finder finder = {.run = run, .gathers = !names_any(coroutines, cancels)};
    if (!names_any(coroutines, lists_tasks))
        find(&finder, coroutines);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

struct forked {
    struct body frame; /* first */
    weft_child child;
};

static void fork_child(struct call *c, struct forked *forked, const char *base, const char *coroutine)
{
    struct future *task = future_new(c->run, FUTURE_TASK);
    task->base = base;
    task->forked = true;
    future_identify(task);
    forked->frame.task = task;
    forked->frame.what = awaitable_call(c->run, coroutine);
    weft_fork(&forked->child, body, &forked->frame);
}

static struct flow run_pair(struct call *c, const json_t *create, const json_t *await)
{
    struct forked *forked = memory_get(&c->run->memory, sizeof *forked);
    const char *slot = argument_name(create, 1);
    fork_child(c, forked, slot + strspn(slot, "_"), argument_name(create, 2));
    struct flow f = flow_plain(c, weft_join(&forked->child));
    return store_if_next(c, f, await, 2, forked->frame.value);
}

static struct flow run_gather(struct call *c, const json_t *step)
{
    const json_t *children = argument(gather_of(step), 1);
    size_t n = json_array_size(children);
    struct forked *forked = memory_get(&c->run->memory, n * sizeof *forked);
    struct list *list = list_new(&c->run->memory, n);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(children, i)) + 1;
        fork_child(c, &forked[i], name, name);
    }
    for (size_t i = n; i-- != 0;) {
        int rc = weft_join(&forked[i].child);
        list->items[i] = rc < 0 ? code_result(&c->run->codes, rc, NULL) : forked[i].frame.value;
    }
    store(c, step, is_step(step, "gather") ? 3 : 2, list_value(list));
    return NEXT;
}

size_t structured_run(struct call *c, const json_t *steps, size_t i, struct flow *f)
{
    const json_t *step = json_array_get(steps, i);
    if (c->me == NULL || !(c->me->is_main || c->me->forked))
        return 0;
    for (const struct site *site = c->run->sites; site != NULL; site = site->next) {
        if (site->step != step)
            continue;
        bool pair = is_step(step, "create");
        *f = pair ? run_pair(c, step, json_array_get(steps, i + 1)) : run_gather(c, step);
        return pair ? 2 : 1;
    }
    return 0;
}

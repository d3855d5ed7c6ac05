/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sight.c -- the phrases of weft_dump_tasks: text, times, names, and who awaits whom. All of it belongs to one call in one thread. */
#include "executor/sight.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/runtime.h"

bool weft__sight_reserve(struct weft__sight *s, void *array, size_t *capacity, size_t count, size_t more, size_t size)
{
    if (count + more <= *capacity)
        return true;
    size_t next = *capacity != 0 ? 2 * *capacity : 64;
    while (next < count + more)
        next *= 2;
    void *grown;
    memcpy(&grown, array, sizeof grown); /* a pointer of whatever type */
    grown = realloc(grown, next * size);
    if (grown == NULL) {
        s->failed = true;
        return false;
    }
    memcpy(array, &grown, sizeof grown);
    *capacity = next;
    return true;
}

void weft__sight_say(struct weft__sight *s, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(s->phrase + s->used, sizeof s->phrase - s->used, format, list);
    va_end(list);
    if (n > 0)
        s->used += (size_t)n;
    if (s->used >= sizeof s->phrase)
        s->used = sizeof s->phrase - 1;
}

void weft__sight_time(struct weft__sight *s, const char *before, weft_ns instant, const char *after)
{
    weft_ns left = instant > s->now ? (instant - s->now + 500000) / 1000000 : 0;
    weft__sight_say(s, "%s%" PRId64 ".%03d s%s", before, (int64_t)(left / 1000), (int)(left % 1000), after);
}

void weft__sight_sleep(struct weft__sight *s, struct weft__timer *timer)
{
    weft_ns deadline = weft__timer_deadline(timer);
    s->sleeps = true;
    weft__sight_say(s, "sleeps");
    if (deadline != WEFT_FOREVER)
        weft__sight_time(s, " ", deadline, " more");
}

void weft__sight_others(struct weft__sight *s, const weft__waitlist *l)
{
    if (l->count_ > 1)
        weft__sight_say(s, l->count_ == 2 ? ", %u other waits" : ", %u others wait", l->count_ - 1);
}

/* Four bytes are all that there is room for. The runtime goes in: a task of another one has the same number. */
uint32_t weft__sight_number(const struct weft_runtime *rt, uint64_t id)
{
    return (uint32_t)id ^ (uint32_t)((uintptr_t)rt >> 6) * UINT32_C(0x9e3779b1);
}

void weft__sight_owner(struct weft__sight *s, uint32_t number)
{
    if (number == 0 || s->task_count == 0)
        return;
    uint32_t low = number ^ weft__sight_number(s->rt, 0);
    uint64_t last = s->tasks[s->task_count - 1]->id, id = (last & ~(uint64_t)UINT32_MAX) | low;
    id -= id > last && id > UINT32_MAX ? (uint64_t)1 << 32 : 0;
    size_t from = 0, to = s->task_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (s->tasks[middle]->id < id)
            from = middle + 1;
        else
            to = middle;
    }
    weft__sight_say(s, " by ");
    if (from < s->task_count && s->tasks[from]->id == id)
        weft__sight_name(s, s->tasks[from]);
    else
        weft__sight_say(s, "Task-%" PRIu64 ", which has ended or just begun", id);
}

const char *weft__sight_function(const struct weft_task *t)
{
    return t->frame != NULL ? t->frame->coro->name : "?";
}

void weft__sight_name_of(const struct weft_task *t, char *name, size_t size)
{
    struct weft__task_extra *x = weft__task_has_extra(t);
    size_t n = weft_task_name(t, name, size);
    if (x != NULL && weft__load_relaxed(&x->name) != NULL && n < size) /* relaxed: only shown */
        snprintf(name + n, size - n, "#%" PRIu64, t->id);
}

void weft__sight_name(struct weft__sight *s, struct weft_task *t)
{
    if (t == NULL) {
        weft__sight_say(s, "a task that could not be created");
    } else if (t->kind == WEFT__KIND_CHILD) {
        weft__sight_say(s, "child %p (%s)", (void *)t, weft__sight_function(t));
    } else if (!weft__task_visible(t)) {
        const char *kind =
            t->kind == WEFT__KIND_FUTURE && t->future != NULL ? t->future->name : weft__sight_function(t);
        weft__sight_say(s, "%s %p (%s)", t->kind == WEFT__KIND_FUTURE ? "future" : "callback", (void *)t, kind);
    } else {
        char name[64];
        weft__sight_name_of(t, name, sizeof name);
        weft__sight_say(s, "%s (%s)", name, weft__sight_function(t));
    }
}

static void note_edge(struct weft__sight *s, const struct weft_task *t)
{
    if (t == NULL || !weft__task_counted(t) || !weft__task_visible(t) || weft__task_rt(t) != s->rt ||
        !weft__sight_reserve(s, &s->edges, &s->edge_capacity, s->edge_count, 1, sizeof *s->edges))
        return;
    s->edges[s->edge_count++] = (struct weft__sight_edge){.awaited = t->id, .awaiter = s->teller};
}

void weft__sight_task(struct weft__sight *s, struct weft_task *t)
{
    weft__sight_name(s, t);
    note_edge(s, t);
}

void weft__sight_one_of(struct weft__sight *s, size_t i, struct weft_task *t)
{
    if (i < WEFT__SIGHT_NAMED) {
        weft__sight_say(s, i == 0 ? ": " : ", ");
        weft__sight_name(s, t);
    } else if (i == WEFT__SIGHT_NAMED) {
        weft__sight_say(s, ", ...");
    }
    note_edge(s, t);
}

void weft__sight_begin(struct weft__sight *s, uint64_t teller)
{
    s->used = 0;
    s->phrase[0] = '\0';
    s->teller = teller;
    s->how = s->what = "";
    s->sleeps = false;
}

size_t weft__sight_end(struct weft__sight *s)
{
    if (!weft__sight_reserve(s, &s->pool, &s->pool_capacity, s->pool_used, s->used + 1, 1))
        return WEFT__SIGHT_NONE;
    size_t at = s->pool_used;
    memcpy(s->pool + at, s->phrase, s->used + 1);
    s->pool_used += s->used + 1;
    return at;
}

static int by_kind(const void *a, const void *b)
{
    const struct weft__sight_kind *x = a, *y = b;
    int order = strcmp(x->function, y->function);
    order = order != 0 ? order : strcmp(x->how, y->how);
    return order != 0 ? order : strcmp(x->what, y->what);
}

static int by_count(const void *a, const void *b)
{
    const struct weft__sight_kind *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : by_kind(a, b);
}

size_t weft__sight_gather(struct weft__sight_kind *kinds, size_t n)
{
    size_t left = 0;
    qsort(kinds, n, sizeof *kinds, by_kind);
    for (size_t i = 0; i < n; i++) {
        if (left != 0 && by_kind(&kinds[left - 1], &kinds[i]) == 0)
            kinds[left - 1].count += kinds[i].count;
        else
            kinds[left++] = kinds[i];
    }
    qsort(kinds, left, sizeof *kinds, by_count);
    return left;
}

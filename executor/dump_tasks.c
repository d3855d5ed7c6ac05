/* SPDX-License-Identifier: Apache-2.0 */
/* executor/dump_tasks.c -- what each task is at, as text: for people who look at a program that stands still.
 *
 * Nobody is stopped, and nothing is written down beforehand: it is all found in what is there anyhow. What a suspended task waits for may be told
 * only while it cannot go on, so its fiber is held for that moment as a canceller holds it (LOCKED, fiber.h; HELD of a parked one, parked.c).
 * If it is woken then, it is made ready when it is let go. Each line is true at some moment of the call; lines of different moments need not fit together.
 *
 * Counted tasks are found in their slab, with a reference each. Forked children lie in their parents' frames and are in no list: they are found
 * on the fibers that are suspended, as part of their chains. One that runs, or that nobody has begun, is not seen.
 *
 * The virtual clock must not take a program for idle of which one task has been woken and is held: so there its guard is held, too.
 *
 * Any thread; one that is no worker is a visitor. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/chain.h"
#include "executor/guard.h"
#include "executor/runtime.h"
#include "executor/sight.h"

#define PHRASE 640 /* longest, with its end */
#define TRIES 64   /* to hold a fiber that somebody else holds */
#define NONE SIZE_MAX

/* Who awaits a task. */
struct edge {
    uint64_t awaited, awaiter; /* ids */
};

/* A forked child that is suspended. */
struct child {
    uint64_t root; /* the counted task that it or its parents were forked by */
    unsigned depth;
    const void *address;
    const char *function;
    size_t text;
};

struct weft__sight {
    struct weft_runtime *rt;
    weft_ns now;
    char phrase[PHRASE];
    size_t used;
    uint64_t teller; /* whose phrase it is: the counted task, or the one that a child belongs to */
    bool sleeps;     /* the phrase tells the time already */
    bool failed;     /* memory was short */
    struct edge *edges;
    size_t edge_count, edge_capacity;
    struct child *children;
    size_t child_count, child_capacity;
    char *pool; /* phrases, as offsets */
    size_t pool_used, pool_capacity;
};

/* Room for one more of `size` bytes; false: memory. */
static bool reserve(struct weft__sight *s, void *array, size_t *capacity, size_t count, size_t more, size_t size)
{
    if (count + more <= *capacity)
        return true;
    size_t next = *capacity != 0 ? 2 * *capacity : 64;
    while (next < count + more)
        next *= 2;
    void *grown = realloc(*(void **)array, next * size);
    if (grown == NULL) {
        s->failed = true;
        return false;
    }
    *(void **)array = grown;
    *capacity = next;
    return true;
}

/* ---- phrases ----------------------------------------------------------------------------------------------------- */

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

static const char *function_of(const struct weft_task *t)
{
    return t->frame != NULL ? t->frame->coro->name : "?";
}

/* With a number, if somebody gave it a name: others may have the same. */
static void name_of(const struct weft_task *t, char *name, size_t size)
{
    struct weft__task_extra *x = weft__task_has_extra(t);
    size_t n = weft_task_name(t, name, size);
    if (x != NULL && weft__load_relaxed(&x->name) != NULL && n < size) /* relaxed: only shown */
        snprintf(name + n, size - n, "#%" PRIu64, t->id);
}

static void say_task(struct weft__sight *s, struct weft_task *t)
{
    if (t == NULL) {
        weft__sight_say(s, "a task that could not be created");
    } else if (t->kind == WEFT__KIND_CHILD) {
        weft__sight_say(s, "child %p (%s)", (void *)t, function_of(t));
    } else if (!weft__task_visible(t)) {
        const char *kind = t->kind == WEFT__KIND_FUTURE && t->future != NULL ? t->future->name : function_of(t);
        weft__sight_say(s, "%s %p (%s)", t->kind == WEFT__KIND_FUTURE ? "future" : "callback", (void *)t, kind);
    } else {
        char name[64];
        name_of(t, name, sizeof name);
        weft__sight_say(s, "%s (%s)", name, function_of(t));
    }
}

static void note_edge(struct weft__sight *s, const struct weft_task *t)
{
    if (t == NULL || !weft__task_counted(t) || !weft__task_visible(t) || t->rt != s->rt ||
        !reserve(s, &s->edges, &s->edge_capacity, s->edge_count, 1, sizeof *s->edges))
        return;
    s->edges[s->edge_count++] = (struct edge){.awaited = t->id, .awaiter = s->teller};
}

void weft__sight_task(struct weft__sight *s, struct weft_task *t)
{
    say_task(s, t);
    note_edge(s, t);
}

void weft__sight_one_of(struct weft__sight *s, size_t i, struct weft_task *t)
{
    if (i < WEFT__SIGHT_NAMED) {
        weft__sight_say(s, i == 0 ? ": " : ", ");
        say_task(s, t);
    } else if (i == WEFT__SIGHT_NAMED) {
        weft__sight_say(s, ", ...");
    }
    note_edge(s, t);
}

static void begin_phrase(struct weft__sight *s, uint64_t teller)
{
    s->used = 0;
    s->phrase[0] = '\0';
    s->teller = teller;
    s->sleeps = false;
}

/* Into the pool. NONE: memory. */
static size_t end_phrase(struct weft__sight *s)
{
    if (!reserve(s, &s->pool, &s->pool_capacity, s->pool_used, s->used + 1, 1))
        return NONE;
    size_t at = s->pool_used;
    memcpy(s->pool + at, s->phrase, s->used + 1);
    s->pool_used += s->used + 1;
    return at;
}

/* ---- one fiber --------------------------------------------------------------------------------------------------- */

/* Keep the virtual clock from standing in judgement over what is held. */
static void clock_hold(struct weft_runtime *rt)
{
    if (rt->is_virtual)
        weft__guard_lock(&rt->virtual_guard);
}

static void clock_release(struct weft_runtime *rt)
{
    if (rt->is_virtual)
        weft__guard_unlock(&rt->virtual_guard);
}

/* True: f is suspended, and can't go on. */
static bool hold(struct weft__sight *s, struct weft__fiber *f)
{
    clock_hold(s->rt);
    for (unsigned tries = 0; tries < TRIES; tries++) {
        uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
        if ((word & WEFT__FIBER_STATE) != WEFT__FIBER_PARKED)
            break;
        if (!(word & WEFT__FIBER_LOCKED) &&
            weft__cas_acq_rel(&f->word, &word, word | WEFT__FIBER_LOCKED)) /* pairs: FIBER-WORD */
            return true;
        sched_yield(); /* a canceller has it, for a moment */
    }
    clock_release(s->rt);
    return false;
}

static void let_go(struct weft__sight *s, struct weft__fiber *f)
{
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    weft__fiber_unlock(f, &list);
    weft__cancel_run(&list);
    clock_release(s->rt);
}

static void tell_requests(struct weft__sight *s, const struct weft_task *t)
{
    unsigned n = weft__load_relaxed(&((struct weft_task *)t)->requests); /* relaxed: only shown */
    if (n != 0)
        weft__sight_say(s, n == 1 ? "; cancellation requested" : "; cancellation requested %u times", n);
}

/* f is held, or the caller's own; `above` is the task that t of its chain awaits there, NULL: t is the innermost. */
static void tell_of_chain(struct weft__sight *s, struct weft__fiber *f, struct weft_task *t, struct weft_task *above,
                          bool own)
{
    if (above != NULL) {
        weft__sight_say(s, "awaits ");
        weft__sight_task(s, above);
    } else if (own) {
        weft__sight_say(s, "running: it asks");
    } else {
        const struct weft__wait_kind *kind = weft__load_relaxed(&f->wait_kind); /* relaxed: FIBER-WORD published it */
        if (kind->tell != NULL)
            kind->tell(f, f->wait_object, s);
        else
            weft__sight_say(s, "waits for %s", kind->name);
        weft_ns deadline = s->sleeps ? WEFT_FOREVER : weft__timer_deadline(&f->timer);
        if (deadline != WEFT_FOREVER)
            weft__sight_time(s, ", at most ", deadline, " more");
    }
    weft__scopes_tell(f, t, s);
}

/* False: t is not in the chain of f, which is held or the caller's own. */
static bool tell_in_chain(struct weft__sight *s, struct weft__fiber *f, struct weft_task *t, bool own)
{
    struct weft_task *above = NULL;
    for (struct weft_task *at = f->task; at != NULL; above = at, at = at->below) {
        if (at == t) {
            tell_of_chain(s, f, t, above, own);
            return true;
        }
    }
    return false;
}

static bool tell_fiber(struct weft__sight *s, struct weft__fiber *f, struct weft_task *t)
{
    if (f == weft__fiber_self())
        return tell_in_chain(s, f, t, true);
    if (!hold(s, f))
        return false;
    bool told = tell_in_chain(s, f, t, false);
    let_go(s, f);
    return told;
}

static bool tell_parked(struct weft__sight *s, struct weft_task *t)
{
    clock_hold(s->rt);
    bool held = weft__parked_hold(t);
    if (held) {
        weft__parked_tell(t, s);
        weft__parked_release(t);
    }
    clock_release(s->rt);
    return held;
}

/* ---- tasks ------------------------------------------------------------------------------------------------------- */

/* What t, which is referenced, is at. */
static void tell(struct weft__sight *s, struct weft_task *t)
{
    begin_phrase(s, t->id);
    uint64_t state = weft__task_state(t);
    uint64_t parked = weft__load_acquire(&t->parked); /* pairs: TASK-PARKED, TASK-FIBER */
    struct weft__fiber *f = weft__task_fiber(t);
    if (state == WEFT__NEW) {
        weft__sight_say(s, "ready, not begun");
    } else if (t->kind == WEFT__KIND_THREAD) {
        weft__sight_say(s, "in a helper thread");
    } else if (parked & WEFT__PARK ? tell_parked(s, t) : f != NULL && tell_fiber(s, f, t)) {
        ;
    } else if (f != NULL && weft__load_relaxed(&f->wait_kind) == &weft__chain_wait) { /* relaxed: only shown */
        weft__sight_say(s, "waits for gather: its tasks run");
    } else {
        weft__sight_say(s, parked & WEFT__PARK ? "ready" : "running, or ready to");
    }
    tell_requests(s, t);
}

/* ---- children ---------------------------------------------------------------------------------------------------- */

static void tell_child(struct weft__sight *s, struct weft__fiber *f, struct weft_task *t, struct weft_task *above)
{
    unsigned depth = 0;
    const struct weft_task *root = t; /* parents stay, and stay what they are, as long as their children */
    for (; root->kind == WEFT__KIND_CHILD; root = root->parent)
        depth++;
    begin_phrase(s, root->id);
    tell_of_chain(s, f, t, above, f == weft__fiber_self());
    tell_requests(s, t);
    size_t text = end_phrase(s);
    if (text == NONE || !reserve(s, &s->children, &s->child_capacity, s->child_count, 1, sizeof *s->children))
        return;
    s->children[s->child_count++] =
        (struct child){.root = root->id, .depth = depth, .address = t, .function = function_of(t), .text = text};
}

static void look_for_children(void *user, void *owner)
{
    struct weft__sight *s = user;
    struct weft__fiber *f = owner;
    bool own = f == weft__fiber_self();
    if (s->failed || (!own && !hold(s, f)))
        return;
    struct weft_task *above = NULL;
    for (struct weft_task *t = f->task; t != NULL; above = t, t = t->below) {
        if (t->kind == WEFT__KIND_CHILD)
            tell_child(s, f, t, above);
    }
    if (!own)
        let_go(s, f);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int by_root(const void *a, const void *b)
{
    const struct child *x = a, *y = b;
    if (x->root != y->root)
        return x->root < y->root ? -1 : 1;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    return (x->address > y->address) - (x->address < y->address);
}

static int by_awaited(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    if (x->awaited != y->awaited)
        return x->awaited < y->awaited ? -1 : 1;
    return (x->awaiter > y->awaiter) - (x->awaiter < y->awaiter);
}

static int id_of(const void *key, const void *task)
{
    uint64_t id = *(const uint64_t *)key, other = (*(struct weft_task *const *)task)->id;
    return (id > other) - (id < other);
}

/* Where a line goes. */
struct lines {
    struct weft_runtime *rt;
    FILE *out; /* NULL: reported, a hundred of them */
    unsigned count;
};
#define MOST_REPORTED 100

static void put_line(struct lines *l, const char *name, const char *function, const char *what, bool child)
{
    if (l->out != NULL)
        fprintf(l->out, child ? "  %-22s %s() %s\n" : "%-24s %s() %s\n", name, function, what);
    else if (l->count++ < MOST_REPORTED)
        weft__report(l->rt, child ? "its child %s (%s) %s" : "task \"%s\" (%s) %s", name, function, what);
}

/* "; awaited by Task-3 (main)": *at stands in the sorted edges, and goes on. */
static void tell_awaiters(struct weft__sight *s, struct weft_task *const *tasks, size_t n, uint64_t id, size_t *at)
{
    size_t first = NONE, count = 0;
    for (; *at < s->edge_count && s->edges[*at].awaited <= id; ++*at) {
        if (s->edges[*at].awaited != id || (count != 0 && s->edges[*at].awaiter == s->edges[*at - 1].awaiter))
            continue;
        first = count++ == 0 ? *at : first;
    }
    struct weft_task *const *found =
        count != 0 ? bsearch(&s->edges[first].awaiter, tasks, n, sizeof(struct weft_task *), id_of) : NULL;
    if (found == NULL)
        return;
    weft__sight_say(s, "; awaited by ");
    say_task(s, *found);
    if (count > 1)
        weft__sight_say(s, " and %zu more", count - 1);
}

static void put_lines(struct weft__sight *s, struct weft_task *const *tasks, size_t n, const size_t *texts,
                      struct lines *l)
{
    if (s->edge_count > 1)
        qsort(s->edges, s->edge_count, sizeof *s->edges, by_awaited);
    if (s->child_count > 1)
        qsort(s->children, s->child_count, sizeof *s->children, by_root);
    for (size_t i = 0, edge = 0, child = 0; i < n; i++) {
        struct weft_task *t = tasks[i];
        char name[64], created[128];
        begin_phrase(s, t->id);
        weft__sight_say(s, "%s", s->pool + texts[i]);
        tell_awaiters(s, tasks, n, t->id, &edge);
        weft__creation_text(t, created, sizeof created);
        if (created[0] != '\0')
            weft__sight_say(s, " (created at %s)", created);
        name_of(t, name, sizeof name);
        put_line(l, name, function_of(t), s->phrase, false);
        for (; child < s->child_count && s->children[child].root <= t->id; child++) {
            const struct child *c = &s->children[child];
            if (c->root != t->id)
                continue; /* its task has begun since the tasks were collected */
            snprintf(name, sizeof name, "%*schild %p", (int)(2 * (c->depth < 8 ? c->depth - 1 : 7)), "", c->address);
            put_line(l, name, c->function, s->pool + c->text, true);
        }
    }
}

/* Look at everything, then put the lines. */
static int dump(struct weft_runtime *rt, struct weft_task **tasks, size_t n, struct lines *l)
{
    struct weft__sight *s = calloc(1, sizeof *s);
    size_t *texts = calloc(n + 1, sizeof *texts);
    int rc = -ENOMEM;
    if (s != NULL && texts != NULL) {
        s->rt = rt;
        s->now = weft__runtime_now(rt);
        for (size_t i = 0; i < n && !s->failed; i++) {
            tell(s, tasks[i]);
            texts[i] = end_phrase(s);
        }
        weft__stack_each_live(&rt->arena, look_for_children, s);
        if (!s->failed) {
            put_lines(s, tasks, n, texts, l);
            rc = 0;
        }
        free(s->edges);
        free(s->children);
        free(s->pool);
    }
    free(texts);
    free(s);
    return rc;
}

static int dump_all(struct weft_runtime *rt, struct lines *l)
{
    struct weft__worker *w = weft__worker_self();
    bool foreign = w == NULL || w->rt != rt;
    if (foreign && !weft__runtime_enter(rt))
        return 0; /* it has ended, and so have they */
    struct weft_task **tasks;
    long n = weft__all_tasks(rt, &tasks);
    int rc = n < 0 ? (int)n : 0;
    if (n >= 0) {
        if (l->out == NULL)
            weft__report(rt, "nothing can go on: %ld tasks wait, and nobody is left to wake them", n);
        rc = dump(rt, tasks, (size_t)n, l);
        for (long i = 0; i < n; i++)
            weft__task_unref(tasks[i]);
        free(tasks);
    }
    if (foreign)
        weft__runtime_leave(rt);
    return rc;
}

int weft_dump_tasks(weft_runtime *rt, int fd)
{
    char *text;
    size_t size;
    struct lines l = {.rt = rt, .out = open_memstream(&text, &size)};
    if (l.out == NULL)
        return -ENOMEM;
    int rc = dump_all(rt, &l);
    int written = weft__write_stream(l.out, &text, &size, fd);
    return rc != 0 ? rc : written;
}

void weft__report_deadlock(struct weft_runtime *rt)
{
    struct lines l = {.rt = rt};
    (void)dump_all(rt, &l);
}

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
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "executor/chain.h"
#include "executor/guard.h"
#include "executor/requests.h"
#include "executor/runtime.h"
#include "executor/sight.h"
#include "executor/task_hot.h"

#define TRIES 64 /* to hold a fiber that somebody else holds */

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
            weft__sole_cas(&f->word, &word, word | WEFT__FIBER_LOCKED)) /* pairs: FIBER-WORD */
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
    /* relaxed: only shown */
    unsigned n = weft__requests_count(weft__load_relaxed(&((struct weft_task *)t)->requests));
    if (n != 0)
        weft__sight_say(s, n == 1 ? "; cancellation requested" : "; cancellation requested %u times", n);
}

/* That it waits for nothing. */
static void tell_state(struct weft__sight *s, const char *state)
{
    s->what = state;
    weft__sight_say(s, "%s", state);
}

/* f is held, or the caller's own; `above` is the task that t of its chain awaits there, NULL: t is the innermost. */
static void tell_of_chain(struct weft__sight *s, struct weft__fiber *f, struct weft_task *t, struct weft_task *above,
                          bool own)
{
    s->how = "waits for ";
    s->what = "task";
    if (above != NULL) {
        weft__sight_say(s, "awaits ");
        weft__sight_task(s, above);
    } else if (own) {
        s->how = "";
        tell_state(s, "running: it asks");
    } else {
        const struct weft__wait_kind *kind = weft__load_relaxed(&f->wait_kind); /* relaxed: FIBER-WORD published it */
        s->what = kind->name;
        if (kind->tell != NULL)
            kind->tell(f, f->wait_object, s);
        else
            weft__sight_say(s, "waits for %s", kind->name);
        if (s->sleeps) {
            s->how = "";
            s->what = "sleeps";
        }
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
    weft__sight_begin(s, t->id);
    uint64_t state = weft__task_state(t);
    uint64_t parked = weft__load_acquire(&t->parked); /* pairs: TASK-PARKED, TASK-FIBER */
    struct weft__fiber *f = weft__task_fiber(t);
    if (state == WEFT__NEW) {
        tell_state(s, "ready, not begun");
    } else if (t->kind == WEFT__KIND_THREAD) {
        tell_state(s, "in a helper thread");
    } else if (parked & WEFT__PARK ? tell_parked(s, t) : f != NULL && tell_fiber(s, f, t)) {
        ;
    } else if (f != NULL && weft__load_relaxed(&f->wait_kind) == &weft__chain_wait) { /* relaxed: only shown */
        tell_state(s, "waits for gather: its tasks run");
    } else {
        tell_state(s, parked & WEFT__PARK ? "ready" : "running, or ready to");
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
    weft__sight_begin(s, root->id);
    tell_of_chain(s, f, t, above, f == weft__fiber_self());
    tell_requests(s, t);
    size_t text = weft__sight_end(s);
    if (text == WEFT__SIGHT_NONE ||
        !weft__sight_reserve(s, &s->children, &s->child_capacity, s->child_count, 1, sizeof *s->children))
        return;
    s->children[s->child_count++] = (struct weft__sight_child){
        .root = root->id, .depth = depth, .address = t, .function = weft__sight_function(t), .text = text};
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
    const struct weft__sight_child *x = a, *y = b;
    if (x->root != y->root)
        return x->root < y->root ? -1 : 1;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    return (x->address > y->address) - (x->address < y->address);
}

static int by_awaited(const void *a, const void *b)
{
    const struct weft__sight_edge *x = a, *y = b;
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
#define MANY 20 /* from so many tasks on their kinds are told at the end */
#define MOST_KINDS 20

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
    size_t first = WEFT__SIGHT_NONE, count = 0;
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
    weft__sight_name(s, *found);
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
        weft__sight_begin(s, t->id);
        weft__sight_say(s, "%s", s->pool + texts[i]);
        tell_awaiters(s, tasks, n, t->id, &edge);
        weft__creation_text(t, created, sizeof created);
        if (created[0] != '\0')
            weft__sight_say(s, " (created at %s)", created);
        weft__sight_name_of(t, name, sizeof name);
        put_line(l, name, weft__sight_function(t), s->phrase, false);
        for (; child < s->child_count && s->children[child].root <= t->id; child++) {
            const struct weft__sight_child *c = &s->children[child];
            if (c->root != t->id)
                continue; /* its task has begun since the tasks were collected */
            snprintf(name, sizeof name, "%*schild %p", (int)(2 * (c->depth < 8 ? c->depth - 1 : 7)), "", c->address);
            put_line(l, name, c->function, s->pool + c->text, true);
        }
    }
}

/* Of very many lines nobody sees whether they are alike. */
static void put_kinds(const struct weft__sight_kind *kinds, size_t n, size_t tasks, const struct lines *l)
{
    size_t told = 0;
    if (l->out != NULL)
        fprintf(l->out, "in all %zu tasks:\n", tasks);
    for (size_t i = 0; i < n && i < MOST_KINDS; i++) {
        const struct weft__sight_kind *k = &kinds[i];
        told += k->count;
        if (l->out != NULL)
            fprintf(l->out, "%8zu %s() %s%s\n", k->count, k->function, k->how, k->what);
        else
            weft__report(l->rt, "in all %zu tasks (%s): %s%s", k->count, k->function, k->how, k->what);
    }
    if (l->out != NULL && told < tasks)
        fprintf(l->out, "%8zu others\n", tasks - told);
}

/* Look at everything, then put the lines. */
static int dump(struct weft_runtime *rt, struct weft_task **tasks, size_t n, struct lines *l)
{
    struct weft__sight *s = calloc(1, sizeof *s);
    size_t *texts = calloc(n + 1, sizeof *texts);
    struct weft__sight_kind *kinds = calloc(n + 1, sizeof *kinds);
    int rc = -ENOMEM;
    if (s != NULL && texts != NULL && kinds != NULL) {
        s->rt = rt;
        s->now = weft__runtime_now(rt);
        s->tasks = tasks;
        s->task_count = n;
        for (size_t i = 0; i < n && !s->failed; i++) {
            tell(s, tasks[i]);
            kinds[i] = (struct weft__sight_kind){weft__sight_function(tasks[i]), s->how, s->what, 1};
            texts[i] = weft__sight_end(s);
        }
        weft__stack_each_live(&rt->arena, look_for_children, s);
        if (!s->failed) {
            put_lines(s, tasks, n, texts, l);
            if (n >= MANY)
                put_kinds(kinds, weft__sight_gather(kinds, n), n, l);
            rc = 0;
        }
        free(s->edges);
        free(s->children);
        free(s->pool);
    }
    free(kinds);
    free(texts);
    free(s);
    return rc;
}

static int dump_all(struct weft_runtime *rt, struct lines *l)
{
    bool foreign = weft__own_worker(rt) == NULL;
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

void weft__deadlocked(struct weft_runtime *rt)
{
    if (rt->options.debug != 0)
        weft__report_deadlock(rt);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* executor/memory_check.c -- asks the kernel where the workers' memory is (weft_memory_check).
 *
 * Looked at are whole pages: each worker's own structure, the arrays of its queues, the stacks that it keeps warm, and each part of the slabs.
 * What is not touched yet has no place. Timers and buffers are allocated by the worker's thread, under its policy (numa.h); a
 * program sees where that puts memory by looking at some of its own.
 *
 * Threads: when the workers have stopped (at_end), or while nothing runs: their caches and arrays are theirs. */
#include <errno.h>
#include <unistd.h>

#include "executor/numa.h"
#include "executor/runtime.h"

#define AT_ONCE 256

struct check {
    weft_memory m;
    int rc;
};

static void look_at(struct check *c, const void *memory, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = (uintptr_t)memory & ~(page - 1), end = (uintptr_t)memory + size;
    while (at < end && c->rc == 0) {
        void *pages[AT_ONCE];
        int nodes[AT_ONCE];
        size_t n = 0;
        for (; n < AT_ONCE && at < end; at += page)
            pages[n++] = (void *)at;
        c->rc = weft__numa_where(pages, nodes, n);
        for (size_t i = 0; i < n && c->rc == 0; i++) {
            c->m.pages++;
            c->m.untouched += nodes[i] < 0;
            c->m.home += nodes[i] >= 0 && (c->m.node < 0 || nodes[i] == c->m.node);
            c->m.elsewhere += nodes[i] >= 0 && c->m.node >= 0 && nodes[i] != c->m.node;
        }
    }
}

static void begin(struct check *c, const char *what, unsigned worker, int node)
{
    c->m = (weft_memory){.size = sizeof c->m, .what = what, .worker = worker, .node = node};
}

static void look_at_stacks(struct check *c, struct weft__worker *w)
{
    for (unsigned class = 0; class < WEFT__STACK_CLASSES; class ++) {
        uint32_t n = weft__load_relaxed(&w->stacks[class].count); /* relaxed: the worker is at rest */
        for (uint32_t i = 0; i < n; i++) {
            const struct weft__fiber *f = w->stacks[class].fibers[i];
            look_at(c, f->stack.base, f->stack.size + sizeof *f);
        }
    }
}

int weft_memory_check(weft_runtime *rt, void (*visit)(void *user, const weft_memory *m), void *user)
{
    struct check c = {.rc = 0};
    for (unsigned i = 0; i < rt->worker_count; i++) {
        struct weft__worker *w = &rt->workers[i];
        int node = rt->plan->worker[i].node;
        begin(&c, "worker", i, node);
        look_at(&c, w, sizeof *w);
        visit(user, &c.m);
        begin(&c, "queues", i, node);
        look_at(&c, w->ready.slots, ((size_t)w->ready.mask + 1) * sizeof *w->ready.slots);
        look_at(&c, w->ready.shared.slots, ((size_t)w->ready.shared.mask + 1) * sizeof *w->ready.shared.slots);
        look_at(&c, w->joins.slots, ((size_t)w->joins.mask + 1) * sizeof *w->joins.slots);
        visit(user, &c.m);
        begin(&c, "stacks", i, node);
        look_at_stacks(&c, w);
        visit(user, &c.m);
    }
    struct weft__slab *slabs[] = {&rt->tasks[0], &rt->tasks[1], &rt->tasks[2], &rt->blocks, &rt->large_blocks};
    static const char *const names[] = {"tasks", "larger tasks", "largest tasks", "blocks", "large blocks"};
    for (unsigned s = 0; s < sizeof slabs / sizeof *slabs; s++) {
        for (unsigned p = 0; p < slabs[s]->parts; p++) {
            begin(&c, names[s], UINT32_MAX, slabs[s]->part[p].node);
            for (const void *memory = NULL;;) {
                size_t size = 0;
                memory = weft__slab_memory(slabs[s], p, memory, &size);
                if (memory == NULL)
                    break;
                look_at(&c, memory, size);
            }
            visit(user, &c.m);
        }
    }
    return c.rc;
}

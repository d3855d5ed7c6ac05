/* SPDX-License-Identifier: Apache-2.0 */
/* executor/stack.c -- stacks, cut from large mappings.
 *
 * A chunk is 64 MiB of a larger mapping (stack_space.c; no swap reserved, no huge pages: a touched stack shall cost its pages and no more), cut
 * into slots of one size class. The lowest page of each slot is its guard, made when the slot is first given out and kept for
 * life: by MADV_GUARD_INSTALL (Linux 6.13), which splits no mapping; else by mprotect, which makes two mappings of one, so
 * that the kernel's limit (vm.max_map_count, 65,530) ends it at about 32,600 stacks in the process: then -ENOMEM, with some
 * mappings left for the rest of the program. A freed slot keeps its guard and gives back its memory.
 *
 *   | guard page | ... the stack grows down ... | owner, WEFT__STACK_OWNER bytes | colour, 0 to 960 bytes |
 *
 * The owner lies in the page that each use of the stack touches first, so it costs no memory; the price is that what overruns
 * upwards, past the outermost frame, meets the owner before it meets the next slot's guard.
 *
 * Rejected: a mapping for each stack (the limit above, and a system call each time); free lists in the stacks themselves
 * (touches a page of each); guards in the way of growth (MAP_GROWSDOWN: unsafe next to other mappings).
 *
 * Invariants: 1. A slot is given to one owner at a time. 2. A slot handed out has its guard. 3. A chunk is on a list exactly
 * while it has what the list is for; chunks leave a list only at its head. 4. Chunk headers lie in memory of their own and
 * are never freed, only used again for the same class: the signal handler walks them without a lock, at any time.
 * 5. With several NUMA nodes a chunk's memory prefers one node, so lists are kept for each; without, one list serves all.
 *
 * Any thread may get and put. Two locks, never both: the arena's guard (lists, free slots; no system call under it), and
 * known_guard (the process's list of chunk headers). */
#include "executor/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "executor/fork.h"
#include "executor/guard.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define CHUNK_SIZE WEFT__STACK_CHUNK
#define NONE UINT32_MAX
#define TAKEN (NONE - 1)
/* Stacks all begin at the same place of a page, and would fight for the same sets of the first-level cache: the tops are
 * staggered by a line each. 16 lines: a parked task still fits into its first page. */
#define COLOURS 16
#define COLOUR_SIZE 64     /* so the top page of a stack has at least 2.75 KiB of it */
#define SPARE_MAPPINGS 256 /* left to the rest of the program when mprotect guards eat all others */

struct weft__stack_chunk {
    /* Where the mapping lies, 0: nowhere. Written by who maps and unmaps, read by the signal handler (pairs: STACK-BASE: the
     * release of a new base comes after the slots were cleared, the handler's acquire sees them so). */
    _Atomic(uintptr_t) base;
    struct weft__stack_chunk *known; /* next in the list of all; never changes once it is there */
    uint32_t size_class, slots;      /* never change */
    struct weft__stack_chunk *next;  /* of the arena's, or of the unused headers of its class */
    /* under the arena's guard */
    struct weft__stack_chunk *warm, *fresh; /* next on these lists */
    struct weft__stack_list *list;
    uint32_t first_free; /* slots with a guard */
    uint32_t first_bare; /* slots whose guard was refused */
    uint32_t virgin;     /* slots from here on were never given out */
    bool on_fresh;
    _Atomic(uint32_t)
        by_protect; /* slots whose guard was made by mprotect; relaxed: read when nobody writes any more */
    /* TAKEN: in use; else the next one on its free list (NONE: the last), or nothing yet. relaxed everywhere: the lists are
     * under the guard, and the thread whose stack overflows got its slot after it was taken. */
    _Atomic(uint32_t) slot[];
};

/* All chunk headers, the newest first. Headers are only ever added, at the head. pairs: STACK-KNOWN: the release of a new
 * head comes after the header was filled in, the acquire of the handler sees it filled. */
static _Atomic(struct weft__stack_chunk *) known_chunks;
static struct weft__stack_chunk *unused_chunks[WEFT__STACK_CLASSES]; /* under known_guard */
static uint32_t known_guard;
/* Guards made by mprotect, in the whole process; relaxed everywhere: a count, compared with a limit that is itself rough. */
static _Atomic(uint64_t) protected_pages;

static size_t page_size(void)
{
#ifdef __x86_64__
    return WEFT__PAGE;
#else
    return (size_t)sysconf(_SC_PAGESIZE); /* 4, 16 or 64 KiB on arm */
#endif
}

static size_t slot_size(uint32_t size_class)
{
    return WEFT__STACK_SLOT << size_class;
}

uint32_t weft__stack_class(size_t guaranteed)
{
    /* Three quarters more, so that a task just begun can run another of the same guarantee on its stack. */
    size_t wanted = guaranteed + guaranteed / 4 * 3 + COLOURS * COLOUR_SIZE + WEFT__STACK_OWNER;
    uint32_t size_class = 0;
    while (size_class < WEFT__STACK_CLASSES - 1 && (WEFT__STACK_PLAIN_SLOT << size_class) - page_size() < wanted)
        size_class++;
    return size_class;
}

/* Try it on a page, and try the page: an emulator or sandbox may say yes to any advice and do nothing. */
static bool have_guard_install(void)
{
    size_t page = page_size();
    void *probe = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED)
        return false;
    bool works = madvise(probe, page, MADV_GUARD_INSTALL) == 0 &&
                 syscall(SYS_clock_gettime, CLOCK_MONOTONIC, probe) == -1 && errno == EFAULT;
    munmap(probe, page);
    return works;
}

static size_t read_small_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n < 0)
        n = 0;
    text[n] = '\0';
    return (size_t)n;
}

static uint64_t protect_limit(void)
{
    char text[32];
    uint64_t limit = 65530; /* the kernel's default */
    if (read_small_file("/proc/sys/vm/max_map_count", text, sizeof text) > 0)
        limit = strtoull(text, NULL, 10);
    return limit > 2 * SPARE_MAPPINGS ? (limit - SPARE_MAPPINGS) / 2 : SPARE_MAPPINGS / 2;
}

void weft__stack_arena_init(struct weft__stack_arena *a)
{
    memset(a, 0, sizeof *a);
    a->guard_install = have_guard_install();
    a->protect_limit = protect_limit();
    char nodes[64];
    /* "0" on a machine with one node, "0-3" or "0,2" with more */
    if (read_small_file("/sys/devices/system/node/online", nodes, sizeof nodes) > 0)
        a->many_nodes = strpbrk(nodes, "-,") != NULL;
}

/* ---- chunks ---- */

void weft__stack_fork(bool before)
{
    if (before)
        weft__guard_lock(&known_guard);
    else
        weft__guard_unlock(&known_guard);
}

static struct weft__stack_chunk *header_get(uint32_t size_class)
{
    weft__guard_lock(&known_guard);
    struct weft__stack_chunk *c = unused_chunks[size_class];
    if (c != NULL)
        unused_chunks[size_class] = c->next;
    weft__guard_unlock(&known_guard);
    if (c != NULL)
        return c;
    uint32_t slots = (uint32_t)(CHUNK_SIZE / slot_size(size_class));
    c = calloc(1, sizeof *c + slots * sizeof c->slot[0]);
    if (c == NULL)
        return NULL;
    c->size_class = size_class;
    c->slots = slots;
    weft__guard_lock(&known_guard);
    c->known = weft__load_relaxed(&known_chunks); /* relaxed: writers hold known_guard */
    weft__store_release(&known_chunks, c);        /* pairs: STACK-KNOWN */
    weft__guard_unlock(&known_guard);
    return c;
}

static void header_put(struct weft__stack_chunk *c)
{
    weft__guard_lock(&known_guard);
    c->next = unused_chunks[c->size_class];
    unused_chunks[c->size_class] = c;
    weft__guard_unlock(&known_guard);
}

static struct weft__stack_chunk *chunk_map(struct weft__stack_arena *a, uint32_t size_class, unsigned node, bool bind)
{
    struct weft__stack_chunk *c = header_get(size_class);
    if (c == NULL)
        return NULL;
    void *memory = weft__stack_space_get(&a->space, &a->guard, node, bind);
    if (memory == NULL) {
        header_put(c);
        return NULL;
    }
    c->warm = NULL;
    c->fresh = NULL;
    c->first_free = NONE;
    c->first_bare = NONE;
    c->virgin = 0;
    c->on_fresh = false;
    weft__store_relaxed(&c->by_protect, 0);           /* relaxed: not yet shared */
    weft__store_release(&c->base, (uintptr_t)memory); /* pairs: STACK-BASE */
    return c;
}

static char *chunk_base(const struct weft__stack_chunk *c)
{
    return (char *)weft__load_relaxed(&c->base); /* relaxed: constant while the arena lives, which the caller holds */
}

void weft__stack_arena_destroy(struct weft__stack_arena *a)
{
    while (a->chunks != NULL) {
        struct weft__stack_chunk *c = a->chunks;
        a->chunks = c->next;
        size_t size = slot_size(c->size_class);
        char *base = chunk_base(c);
        for (uint32_t i = 0; i < c->virgin; i++) {
            if (weft__load_relaxed(&c->slot[i]) == TAKEN) { /* relaxed: nobody uses the arena any more */
                weft__tools_stack_forget(base + i * size + page_size(), size - page_size());
                weft__store_relaxed(&c->slot[i], NONE); /* relaxed: see the field */
            }
        }
        weft__store_release(&c->base, 0); /* pairs: STACK-BASE; before somebody else's memory can lie there */
        uint64_t by_protect = weft__load_relaxed(&c->by_protect);  /* relaxed: see the field */
        weft__fetch_add_relaxed(&protected_pages, 0 - by_protect); /* relaxed: see the variable */
        header_put(c);
    }
    weft__stack_space_end(&a->space);
    memset(a->lists, 0, sizeof a->lists);
    weft__store_relaxed(&a->live, 0);   /* relaxed: statistics */
    weft__store_relaxed(&a->mapped, 0); /* relaxed: statistics */
}

/* ---- slots; these three under the arena's guard ---- */

static bool take_warm(struct weft__stack_list *list, struct weft__stack_chunk **chunk, uint32_t *slot)
{
    struct weft__stack_chunk *c = list->warm;
    if (c == NULL)
        return false;
    *chunk = c;
    *slot = c->first_free;
    c->first_free = weft__load_relaxed(&c->slot[*slot]); /* relaxed: see the field */
    if (c->first_free == NONE)
        list->warm = c->warm;
    return true;
}

static bool take_fresh(struct weft__stack_list *list, struct weft__stack_chunk **chunk, uint32_t *slot)
{
    struct weft__stack_chunk *c = list->fresh;
    if (c == NULL)
        return false;
    *chunk = c;
    if (c->first_bare != NONE) {
        *slot = c->first_bare;
        c->first_bare = weft__load_relaxed(&c->slot[*slot]); /* relaxed: see the field */
    } else {
        *slot = c->virgin++;
    }
    if (c->first_bare == NONE && c->virgin == c->slots) {
        list->fresh = c->fresh;
        c->on_fresh = false;
    }
    return true;
}

static void add_fresh(struct weft__stack_chunk *c)
{
    if (c->on_fresh)
        return;
    c->on_fresh = true;
    c->fresh = c->list->fresh;
    c->list->fresh = c;
}

/* ---- get and put ---- */

/* Make the lowest page of a slot its guard: 0 or -ENOMEM. */
static int guard_slot(struct weft__stack_arena *a, struct weft__stack_chunk *c, uint32_t slot)
{
    size_t page = page_size();
    char *lowest = chunk_base(c) + slot * slot_size(c->size_class);
    /* Refused for locked memory (mlockall), where the other way works. */
    if (a->guard_install && madvise(lowest, page, MADV_GUARD_INSTALL) == 0)
        return 0;
    /* relaxed: see the variable */
    if (weft__fetch_add_relaxed(&protected_pages, 1) < a->protect_limit && mprotect(lowest, page, PROT_NONE) == 0) {
        weft__fetch_add_relaxed(&c->by_protect, 1); /* relaxed: see the field */
        return 0;
    }
    weft__fetch_add_relaxed(&protected_pages, (uint64_t)-1); /* relaxed: see the variable */
    return -ENOMEM;
}

/* What lies in the slot, from its lowest byte: the stack begins at page_size(), and ends at the owner. */
static inline size_t owner_offset(const struct weft__stack_chunk *c, uint32_t slot)
{
    return slot_size(c->size_class) - slot % COLOURS * COLOUR_SIZE - WEFT__STACK_OWNER;
}

static void hand_out(struct weft__stack_chunk *c, uint32_t slot, struct weft__stack *out)
{
    weft__store_relaxed(&c->slot[slot], TAKEN); /* relaxed: see the field */
    out->base = chunk_base(c) + slot * slot_size(c->size_class) + page_size();
    out->size = owner_offset(c, slot) - page_size();
    out->size_class = c->size_class;
    out->slot = slot;
    out->chunk = c;
    out->valgrind_id = weft__tools_stack_register(out->base, out->size);
}

int weft__stack_get(struct weft__stack_arena *a, uint32_t size_class, int node, struct weft__stack *out)
{
    bool bind = a->many_nodes && node >= 0 && node < WEFT__STACK_NODES - 1;
    unsigned which = bind ? (unsigned)node : WEFT__STACK_NODES - 1;
    struct weft__stack_list *list = &a->lists[size_class][which];
    struct weft__stack_chunk *c;
    uint32_t slot;

    weft__guard_lock(&a->guard);
    if (take_warm(list, &c, &slot)) {
        weft__count(&a->live, 1);
        weft__guard_unlock(&a->guard);
        hand_out(c, slot, out);
        return 0;
    }
    while (!take_fresh(list, &c, &slot)) {
        weft__guard_unlock(&a->guard);
        c = chunk_map(a, size_class, which, bind);
        if (c == NULL)
            return -ENOMEM;
        weft__guard_lock(&a->guard);
        c->next = a->chunks;
        a->chunks = c;
        c->list = list;
        add_fresh(c);
    }
    weft__guard_unlock(&a->guard);

    int rc = guard_slot(a, c, slot);
    weft__guard_lock(&a->guard);
    if (rc == 0) {
        weft__count(&a->live, 1);
        weft__count(&a->mapped, 1);
    } else {
        weft__store_relaxed(&c->slot[slot], c->first_bare); /* relaxed: see the field */
        c->first_bare = slot;
        add_fresh(c);
    }
    weft__guard_unlock(&a->guard);
    if (rc == 0)
        hand_out(c, slot, out);
    return rc;
}

void weft__stack_put(struct weft__stack_arena *a, struct weft__stack *s)
{
    struct weft__stack_chunk *c = s->chunk;
    uint32_t slot = s->slot;
    size_t size = slot_size(c->size_class) - page_size();
    weft__tools_stack_unregister(s->valgrind_id);
    weft__tools_stack_forget(s->base, size);
    weft__store_relaxed(&c->slot[slot], NONE); /* relaxed: see the field */
    memset(weft__stack_owner(s), 0, WEFT__STACK_OWNER);
    madvise(s->base, size, MADV_DONTNEED); /* refused for locked memory, which then stays: no harm */
    s->chunk = NULL;
    s->base = NULL;
    weft__guard_lock(&a->guard);
    if (c->first_free == NONE) {
        c->warm = c->list->warm;
        c->list->warm = c;
    }
    weft__store_relaxed(&c->slot[slot], c->first_free); /* relaxed: see the field */
    c->first_free = slot;
    weft__count(&a->live, (uint64_t)-1);
    weft__guard_unlock(&a->guard);
}

void weft__stack_trim(struct weft__stack *s)
{
    uintptr_t keep = ((uintptr_t)s->base + s->size - 1) & ~(uintptr_t)(page_size() - 1);
    madvise(s->base, keep - (uintptr_t)s->base, MADV_DONTNEED);
}

void weft__stack_each(struct weft__stack_arena *a, void (*visit)(void *user, void *owner), void *user)
{
    for (struct weft__stack_chunk *c = a->chunks; c != NULL; c = c->next) {
        for (uint32_t i = 0; i < c->virgin; i++) {
            if (weft__load_relaxed(&c->slot[i]) == TAKEN) /* relaxed: one thread */
                visit(user, chunk_base(c) + i * slot_size(c->size_class) + owner_offset(c, i));
        }
    }
}

void weft__stack_each_live(struct weft__stack_arena *a, void (*visit)(void *user, void *owner), void *user)
{
    weft__guard_lock(&a->guard);
    struct weft__stack_chunk *c = a->chunks; /* chunks are only ever added, before the first */
    weft__guard_unlock(&a->guard);
    while (c != NULL) {
        weft__guard_lock(&a->guard);
        struct weft__stack_chunk *next = c->next;
        uint32_t used = c->virgin;
        weft__guard_unlock(&a->guard);
        for (uint32_t i = 0; i < used; i++) {
            if (weft__load_relaxed(&c->slot[i]) == TAKEN) /* relaxed: see the field */
                visit(user, chunk_base(c) + i * slot_size(c->size_class) + owner_offset(c, i));
        }
        c = next;
    }
}

bool weft__stack_find_guard(uintptr_t address, void **owner, size_t *size)
{
    struct weft__stack_chunk *c = weft__load_acquire(&known_chunks); /* pairs: STACK-KNOWN */
    for (; c != NULL; c = c->known) {
        uintptr_t base = weft__load_acquire(&c->base); /* pairs: STACK-BASE */
        if (base == 0 || address - base >= CHUNK_SIZE) /* an address below base wraps round */
            continue;
        size_t whole = slot_size(c->size_class);
        uint32_t i = (uint32_t)((address - base) / whole);
        if (weft__load_relaxed(&c->slot[i]) != TAKEN ||
            (address - base) % whole >= page_size()) /* relaxed: see the field */
            return false;
        *owner = (char *)base + i * whole + owner_offset(c, i);
        *size = whole - page_size();
        return true;
    }
    return false;
}

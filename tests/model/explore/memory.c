/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c -- what a load may return, and who knows what of whom: the memory of the explorer.
 *
 * The library's sources and the models are compiled with -fsanitize=thread, which calls a function for each access, atomic (with its order) or
 * plain. These functions are here, in the place of thread sanitizer's: the code explored is the library's own, untouched.
 *
 * Each atomic location has all its stores in their order, the order of execution. A load returns one of them, the newest or an older one, but
 * none that the thread is bound to know replaced:
 *   - by a store that happens before the load, or one that a load which happens before it has returned (coherence);
 *   - a seq_cst load: by a later seq_cst store to the location. (The single order of these operations is that of the execution.)
 * Read-modify-writes take the newest. What happens before what: program order, and an acquiring load that returned what a releasing store
 * wrote, or a read-modify-write in its release sequence; told by vector clocks. That is C11 with these differences: a load never returns what
 * is written later (no "load buffering"), two stores to one location are never in another order than executed, a failed compare-and-swap sees the newest value.
 *
 * Plain accesses take place where they stand and are checked instead: of two by different threads to one byte, one of them a write, one must
 * happen before the other (else: a data race); and none may touch freed memory.
 *
 * Who uses and who writes a location is learned on the way: no decision is asked for where nobody else's accesses matter; what was found out too late begins
 * the search anew. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOCATIONS = 1 << 12, CELLS = 1 << 14, MARKS = 8, STORES = 1 << 16, THREADS = EXPLORE_THREADS };
enum order { RELAXED, CONSUME, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST };

struct store {
    uint64_t value;
    uint32_t older; /* the one before it at this location, 0: none */
    uint8_t thread;
    bool releases, seq_cst;
    uint32_t clock;          /* of its thread */
    uint32_t known[THREADS]; /* what one gets to know by acquiring it */
    uint32_t seen[THREADS];  /* when each thread first returned it, 0: never */
};

struct location {
    uintptr_t address;
    uint64_t execution;
    uint32_t newest;
    unsigned size;
    /* Bits of threads: who uses it, who writes it, in all executions; the first of each pair stands still during one. */
    uint32_t users, users_next, writers, writers_next;
};

/* The last accesses to eight bytes. */
struct mark {
    const void *pc;
    uint32_t clock;
    uint8_t thread, bytes;
    bool write, atomic;
};
struct cell {
    uintptr_t address;
    uint64_t execution;
    unsigned count, turn;
    struct mark marks[MARKS];
};

static struct location locations[LOCATIONS];
static struct cell cells[CELLS];
static struct store stores[STORES];
static uint32_t stored;
static uint64_t execution;
static bool grew;
static uint32_t clocks[THREADS][THREADS];

static bool releases(int order)
{
    return order == RELEASE || order == ACQ_REL || order == SEQ_CST;
}
static bool acquires(int order)
{
    return order == CONSUME || order == ACQUIRE || order == ACQ_REL || order == SEQ_CST;
}

static void join(uint32_t to[], const uint32_t from[])
{
    for (unsigned i = 0; i < THREADS; i++)
        if (from[i] > to[i])
            to[i] = from[i];
}

void explore_memory_reset(void)
{
    execution++;
    stored = 0;
    for (unsigned i = 0; grew && i < LOCATIONS; i++) {
        locations[i].users = locations[i].users_next;
        locations[i].writers = locations[i].writers_next;
    }
    grew = false;
    memset(clocks, 0, sizeof clocks);
    for (unsigned i = 0; i < THREADS; i++)
        clocks[i][i] = 1;
}

void explore_memory_forget(void)
{
    memset(locations, 0, sizeof locations);
}

bool explore_memory_grew(void)
{
    return grew;
}

void explore_memory_again(void)
{
    grew = false;
}

void explore_memory_fork(unsigned thread)
{
    join(clocks[thread], clocks[0]);
    clocks[0][0]++;
}
void explore_memory_join(unsigned thread)
{
    join(clocks[0], clocks[thread]);
}
void explore_memory_barrier(unsigned thread)
{
    uint32_t *a = clocks[explore_current], *b = clocks[thread];
    join(a, b);
    join(b, a);
    a[explore_current]++;
    b[thread]++;
}
void explore_leave(struct explore_sync *s)
{
    join(s->clock, clocks[explore_current]);
    clocks[explore_current][explore_current]++;
}
void explore_arrive(const struct explore_sync *s)
{
    join(clocks[explore_current], s->clock);
}

/* ---- races ---- */

static struct cell *cell_of(uintptr_t address)
{
    for (size_t i = (address >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 50;; i++) {
        struct cell *c = &cells[i % CELLS];
        if (c->execution != execution)
            *c = (struct cell){.address = address, .execution = execution};
        if (c->address == address)
            return c;
    }
}

static void touch_cell(uintptr_t address, uint8_t bytes, bool write, bool atomic, const void *pc)
{
    struct cell *c = cell_of(address);
    const uint32_t *clock = clocks[explore_current];
    struct mark *own = NULL;
    for (unsigned i = 0; i < c->count; i++) {
        struct mark *m = &c->marks[i];
        if (m->thread == explore_current) {
            if (m->bytes == bytes && m->write == write && m->atomic == atomic)
                own = m;
        } else if ((m->bytes & bytes) != 0 && (m->write || write) && !(m->atomic && atomic) &&
                   m->clock > clock[m->thread]) {
            explore_note(m->write ? "was wr." : "was read", (void *)address, m->thread, m->pc);
            explore_note(write ? "writes" : "reads", (void *)address, 0, pc);
            explore_fail("a data race: %s by thread %u beside %s by thread %u", write ? "a write" : "a read",
                         explore_current, m->write ? "a write" : "a read", m->thread);
        }
    }
    if (own == NULL)
        own = c->count < MARKS ? &c->marks[c->count++] : &c->marks[c->turn++ % MARKS];
    *own = (struct mark){pc, clock[explore_current], (uint8_t)explore_current, bytes, write, atomic};
}

static void touch(const volatile void *pointer, size_t size, bool write, bool atomic, const void *pc)
{
    uintptr_t address = (uintptr_t)pointer, end = address + size;
    if (explore_is_freed(address)) {
        explore_note("touches", (void *)address, 0, pc);
        explore_fail("thread %u touches memory that was freed", explore_current);
    }
    while (address < end) {
        uintptr_t base = address & ~(uintptr_t)7, stop = base + 8 < end ? base + 8 : end;
        touch_cell(base, (uint8_t)((0xffu << (address - base)) & (0xffu >> (base + 8 - stop))), write, atomic, pc);
        address = stop;
    }
}

/* ---- atomic locations ---- */

static uint64_t raw(const volatile void *p, unsigned size)
{
    switch (size) {
    case 1:
        return *(const volatile uint8_t *)p;
    case 2:
        return *(const volatile uint16_t *)p;
    case 4:
        return *(const volatile uint32_t *)p;
    default:
        return *(const volatile uint64_t *)p;
    }
}
static void set_raw(volatile void *p, unsigned size, uint64_t value)
{
    switch (size) {
    case 1:
        *(volatile uint8_t *)p = (uint8_t)value;
        break;
    case 2:
        *(volatile uint16_t *)p = (uint16_t)value;
        break;
    case 4:
        *(volatile uint32_t *)p = (uint32_t)value;
        break;
    default:
        *(volatile uint64_t *)p = value;
    }
}
static uint64_t cut(uint64_t value, unsigned size)
{
    return size == 8 ? value : value & ((UINT64_C(1) << 8 * size) - 1);
}

static struct store *add_store(struct location *l, uint64_t value, unsigned thread)
{
    if (stored + 1 == STORES)
        explore_fail("too many stores");
    struct store *s = &stores[++stored];
    *s = (struct store){.value = value, .older = l->newest, .thread = (uint8_t)thread, .clock = clocks[thread][thread]};
    l->newest = stored;
    return s;
}

static struct location *location_of(const volatile void *p, unsigned size)
{
    uintptr_t address = (uintptr_t)p;
    struct location *l;
    for (size_t i = (address >> 2) * UINT64_C(0x9e3779b97f4a7c15) >> 52;; i++) {
        l = &locations[i % LOCATIONS];
        if (l->address == 0)
            l->address = address;
        if (l->address == address)
            break;
    }
    if (l->execution != execution) {
        l->execution = execution;
        l->newest = 0;
        l->size = size;
        add_store(l, raw(p, size), 0)->clock = 0; /* as it was at the beginning: everybody knows */
    } else if (stores[l->newest].value != raw(p, size)) {
        add_store(l, raw(p, size), explore_current); /* written plainly since; if by another thread, that was checked */
    }
    return l;
}

/* An operation begins. Others may come first, if it is one that could come out otherwise then, or let theirs: it reads what another writes, or
 * writes what another uses. */
static struct location *reach(const volatile void *p, unsigned size, bool writes)
{
    struct location *l = location_of(p, size);
    if (explore_current == 0)
        return l;
    uint32_t bit = UINT32_C(1) << explore_current;
    if (!(l->users_next & bit) || (writes && !(l->writers_next & bit))) {
        l->users_next |= bit;
        l->writers_next |= writes ? bit : 0;
        grew = true;
    }
    if (((writes ? l->users : l->writers) & ~bit) == 0) {
        explore_moved();
        return l;
    }
    explore_point();
    return location_of(p, size);
}

static bool known(const struct store *s, const uint32_t clock[])
{
    if (s->clock <= clock[s->thread])
        return true;
    for (unsigned i = 0; i < THREADS; i++)
        if (s->seen[i] != 0 && s->seen[i] <= clock[i])
            return true;
    return false;
}

static struct store *choose_store(struct location *l, bool seq_cst)
{
    const uint32_t *clock = clocks[explore_current];
    unsigned n = 1;
    uint32_t at = l->newest;
    while (!known(&stores[at], clock) && !(seq_cst && stores[at].seq_cst) && stores[at].older != 0 && n < 8) {
        at = stores[at].older;
        n++;
    }
    unsigned back = explore_current == 0 ? 0 : explore_choose(EXPLORE_STALE, n);
    for (at = l->newest; back > 0; back--)
        at = stores[at].older;
    return &stores[at];
}

static void return_store(struct store *s, int order)
{
    uint32_t *clock = clocks[explore_current];
    if (s->seen[explore_current] == 0)
        s->seen[explore_current] = clock[explore_current];
    if (acquires(order) && s->releases)
        join(clock, s->known);
}

static uint64_t load(const volatile void *p, unsigned size, int order, const void *pc)
{
    if (!explore_inside)
        return raw(p, size);
    struct location *l = reach(p, size, false);
    touch(p, size, false, true, pc);
    struct store *s = choose_store(l, order == SEQ_CST);
    return_store(s, order);
    explore_note(s == &stores[l->newest] ? "load" : "load old", (const void *)p, s->value, pc);
    return s->value;
}

static void put(struct location *l, volatile void *p, uint64_t value, int order, const struct store *sequence)
{
    uint32_t *clock = clocks[explore_current];
    unsigned size = l->size;
    struct store *s = add_store(l, cut(value, size), explore_current);
    s->seq_cst = order == SEQ_CST;
    if (sequence != NULL && sequence->releases) {
        s->releases = true;
        join(s->known, sequence->known);
    }
    if (releases(order)) {
        s->releases = true;
        join(s->known, clock);
        clock[explore_current]++;
    }
    set_raw(p, size, value);
    explore_wrote();
}

static void store(volatile void *p, unsigned size, uint64_t value, int order, const void *pc)
{
    if (!explore_inside) {
        set_raw(p, size, value);
        return;
    }
    struct location *l = reach(p, size, true);
    touch(p, size, true, true, pc);
    explore_note("store", (const void *)p, cut(value, size), pc);
    put(l, p, value, order, NULL);
}

enum change { EXCHANGE, ADD, SUB, AND, OR, XOR, COMPARE };

static uint64_t changed(enum change how, uint64_t old, uint64_t v)
{
    switch (how) {
    case ADD:
        return old + v;
    case SUB:
        return old - v;
    case AND:
        return old & v;
    case OR:
        return old | v;
    case XOR:
        return old ^ v;
    default:
        return v;
    }
}

/* COMPARE: writes only if the value is `expected`. Returns what was there. */
static uint64_t change(volatile void *p, unsigned size, enum change how, uint64_t expected, uint64_t v, int order,
                       int failed, const void *pc)
{
    static const char *const names[] = {"exchange", "add", "sub", "and", "or", "xor", "cas"};
    if (!explore_inside) {
        uint64_t old = raw(p, size);
        if (how != COMPARE || old == cut(expected, size))
            set_raw(p, size, changed(how, old, v));
        return old;
    }
    struct location *l = reach(p, size, true);
    struct store *s = &stores[l->newest];
    uint64_t old = s->value;
    bool writes = how != COMPARE || old == cut(expected, size);
    touch(p, size, writes, true, pc);
    return_store(s, writes ? order : failed);
    explore_note(writes ? names[how] : "cas fails", (const void *)p, old, pc);
    if (writes)
        put(l, p, changed(how, old, v), order, s);
    return old;
}

/* ---- what the compiler calls ---- */

#define PC __builtin_return_address(0)

#define PLAIN(name, size)                                                                                              \
    void __tsan_read##name(void *p);                                                                                   \
    void __tsan_write##name(void *p);                                                                                  \
    void __tsan_read##name(void *p)                                                                                    \
    {                                                                                                                  \
        if (explore_inside)                                                                                            \
            touch(p, size, false, false, PC);                                                                          \
    }                                                                                                                  \
    void __tsan_write##name(void *p)                                                                                   \
    {                                                                                                                  \
        if (explore_inside)                                                                                            \
            touch(p, size, true, false, PC);                                                                           \
    }
PLAIN(1, 1)
PLAIN(2, 2)
PLAIN(4, 4)
PLAIN(8, 8)
PLAIN(16, 16)
#define UNALIGNED(size)                                                                                                \
    void __tsan_unaligned_read##size(void *p);                                                                         \
    void __tsan_unaligned_write##size(void *p);                                                                        \
    void __tsan_unaligned_read##size(void *p)                                                                          \
    {                                                                                                                  \
        if (explore_inside)                                                                                            \
            touch(p, size, false, false, PC);                                                                          \
    }                                                                                                                  \
    void __tsan_unaligned_write##size(void *p)                                                                         \
    {                                                                                                                  \
        if (explore_inside)                                                                                            \
            touch(p, size, true, false, PC);                                                                           \
    }
UNALIGNED(2)
UNALIGNED(4)
UNALIGNED(8)
UNALIGNED(16)

void __tsan_init(void);
void __tsan_read_range(void *p, size_t size);
void __tsan_write_range(void *p, size_t size);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);
void __tsan_init(void)
{
}
void __tsan_func_entry(void *pc)
{
    (void)pc;
}
void __tsan_func_exit(void)
{
}
void __tsan_read_range(void *p, size_t size)
{
    if (explore_inside)
        touch(p, size, false, false, PC);
}
void __tsan_write_range(void *p, size_t size)
{
    if (explore_inside)
        touch(p, size, true, false, PC);
}

void *__real_memset(void *to, int value, size_t size);
void *__real_memcpy(void *to, const void *from, size_t size);
void *__wrap_memset(void *to, int value, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__wrap_memset(void *to, int value, size_t size)
{
    if (explore_inside && explore_current != 0)
        touch(to, size, true, false, PC);
    return __real_memset(to, value, size);
}
void *__wrap_memcpy(void *to, const void *from, size_t size)
{
    if (explore_inside && explore_current != 0) {
        touch(from, size, false, false, PC);
        touch(to, size, true, false, PC);
    }
    return __real_memcpy(to, from, size);
}

#define FETCH(bits, name, how)                                                                                         \
    uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *p, uint##bits##_t v, int order);              \
    uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *p, uint##bits##_t v, int order)               \
    {                                                                                                                  \
        return (uint##bits##_t)change(p, bits / 8, how, 0, v, order, order, PC);                                       \
    }
#define COMPARES(bits, name)                                                                                           \
    int __tsan_atomic##bits##_compare_exchange_##name(volatile uint##bits##_t *p, uint##bits##_t *expected,            \
                                                      uint##bits##_t v, int order, int failed);                        \
    int __tsan_atomic##bits##_compare_exchange_##name(volatile uint##bits##_t *p, uint##bits##_t *expected,            \
                                                      uint##bits##_t v, int order, int failed)                         \
    {                                                                                                                  \
        uint##bits##_t wanted = *expected;                                                                             \
        *expected = (uint##bits##_t)change(p, bits / 8, COMPARE, wanted, v, order, failed, PC);                        \
        return *expected == wanted;                                                                                    \
    }
#define ATOMIC(bits)                                                                                                   \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *p, int order);                            \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *p, uint##bits##_t v, int order);                         \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *p, int order)                             \
    {                                                                                                                  \
        return (uint##bits##_t)load(p, bits / 8, order, PC);                                                           \
    }                                                                                                                  \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *p, uint##bits##_t v, int order)                          \
    {                                                                                                                  \
        store(p, bits / 8, v, order, PC);                                                                              \
    }                                                                                                                  \
    FETCH(bits, exchange, EXCHANGE)                                                                                    \
    FETCH(bits, fetch_add, ADD)                                                                                        \
    FETCH(bits, fetch_sub, SUB)                                                                                        \
    FETCH(bits, fetch_and, AND)                                                                                        \
    FETCH(bits, fetch_or, OR)                                                                                          \
    FETCH(bits, fetch_xor, XOR)                                                                                        \
    COMPARES(bits, strong)                                                                                             \
    COMPARES(bits, weak)
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}
void __tsan_atomic_thread_fence(int order)
{
    (void)order;
    explore_fail("a stand-alone fence: the explorer does not know them");
}

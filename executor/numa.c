/* SPDX-License-Identifier: Apache-2.0 */
/* executor/numa.c -- memory on a NUMA node, by the kernel's own calls.
 *
 * The policy is "preferred": when a node is full, memory comes from the next, which is better than to fail. A kernel without these calls (or a
 * sandbox that refuses them) leaves memory where it is first touched, which is a pinned worker's own node mostly. Callers ask for a node
 * only where there are several.
 *
 * Threads: any. */
#define _GNU_SOURCE
#include "executor/numa.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "executor/base.h"

#define MOST_NODES 1024 /* the kernel's own limit */
#define BITS (sizeof(unsigned long) * CHAR_BIT)

enum { POLICY_DEFAULT = 0, POLICY_PREFERRED = 1 }; /* MPOL_ in linux/mempolicy.h */

struct mask {
    unsigned long bits[MOST_NODES / BITS];
};

static bool set_mask(struct mask *mask, int node)
{
    if (node < 0 || node >= MOST_NODES)
        return false;
    memset(mask, 0, sizeof *mask);
    mask->bits[(unsigned)node / BITS] = 1UL << ((unsigned)node % BITS);
    return true;
}

void weft__numa_bind(void *memory, size_t size, int node)
{
    struct mask mask;
#ifdef SYS_mbind
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)memory + page - 1) & ~(uintptr_t)(page - 1);
    uintptr_t end = ((uintptr_t)memory + size) & ~(uintptr_t)(page - 1);
    if (set_mask(&mask, node) && first < end)
        (void)syscall(SYS_mbind, first, end - first, POLICY_PREFERRED, mask.bits, MOST_NODES + 1, 0);
#else
    (void)memory, (void)size, (void)set_mask(&mask, node);
#endif
}

void weft__numa_prefer(int node)
{
    struct mask mask;
#ifdef SYS_set_mempolicy
    if (node < 0)
        (void)syscall(SYS_set_mempolicy, POLICY_DEFAULT, NULL, 0);
    else if (set_mask(&mask, node))
        (void)syscall(SYS_set_mempolicy, POLICY_PREFERRED, mask.bits, MOST_NODES + 1);
#else
    (void)set_mask(&mask, node);
#endif
}

static size_t rounded(size_t size, size_t to)
{
    return (size + to - 1) & ~(to - 1);
}

void *weft__numa_alloc(size_t size, int node)
{
    if (node < 0)
        return aligned_alloc(WEFT__CACHELINE, rounded(size, WEFT__CACHELINE));
    size = rounded(size, (size_t)sysconf(_SC_PAGESIZE));
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    weft__numa_bind(memory, size, node);
    return memory;
}

void *weft__numa_grow(void *memory, size_t size, size_t larger, int node)
{
    if (node < 0)
        return realloc(memory, larger); /* which moves large pieces as mremap does */
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    memory = mremap(memory, rounded(size, page), rounded(larger, page), MREMAP_MAYMOVE);
    return memory != MAP_FAILED ? memory : NULL; /* the mapping's policy holds for what is new, too */
}

void weft__numa_free(void *memory, size_t size, int node)
{
    if (node < 0)
        free(memory);
    else if (memory != NULL)
        WEFT__BUG_ON(munmap(memory, rounded(size, (size_t)sysconf(_SC_PAGESIZE))) != 0);
}

int weft__numa_where(void *const pages[], int nodes[], size_t n)
{
#ifdef SYS_move_pages
    return syscall(SYS_move_pages, 0, n, pages, NULL, nodes, 0) == 0 ? 0 : -errno;
#else
    (void)pages, (void)nodes, (void)n;
    return -ENOSYS;
#endif
}

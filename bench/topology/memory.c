/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as a CPU sees it: on each node a buffer several times larger than the caches, bound there (mbind) and asked for in huge pages.
 *   latency    a chain of loads through all its lines in random order, each load needing the one before
 *   read       the sum of a part of it, by one CPU
 *   write      the same part filled, by one CPU
 *   together   all CPUs of a node read at once, each a part of its own
 * Where the pages really are is asked of the kernel (move_pages), and so is whether huge pages came. The chain is checked to lead back to its
 * beginning. One thread at a time but for `together`, whose threads share nothing that is written but the starting gate. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "topology.h"

enum { LINE = 64, MOST_ROWS = 32, SAMPLES = 4, ASKED = 64, BIND = 2, MOST_TOGETHER = 256 };
static const size_t MIB = (size_t)1 << 20, HUGE_PAGE = (size_t)2 << 20;

struct line {
    struct line *next;
    uint64_t number[LINE / 8 - 1];
};

struct buffer {
    struct line *line;
    size_t bytes, lines;
    double huge, home; /* shares of its pages; home -1: the kernel does not tell */
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static double huge_share(const struct buffer *buffer)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long from, to, at = (unsigned long)(uintptr_t)buffer->line;
    double kib = 0, found = 0;
    bool inside = false;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from < at + buffer->bytes && to > at;
        else if (inside && sscanf(line, "AnonHugePages: %lf", &kib) == 1)
            found += kib * 1024;
    }
    if (f != NULL)
        fclose(f);
    return fmin(1, found / (double)buffer->bytes);
}

static double home_share(const struct buffer *buffer, int node)
{
    void *page[ASKED];
    int status[ASKED], home = 0, known = 0;
    for (size_t i = 0; i < ASKED; i++)
        page[i] = (char *)buffer->line + i * (buffer->bytes / ASKED);
    if (syscall(SYS_move_pages, 0, (unsigned long)ASKED, page, NULL, status, 0) != 0)
        return -1;
    for (int i = 0; i < ASKED; i++) {
        known += status[i] >= 0;
        home += status[i] == node;
    }
    return known > 0 ? (double)home / known : -1;
}

/* One cycle through all lines in random order (Sattolo). */
static void make_chain(struct buffer *buffer)
{
    uint64_t state = 88172645463325252;
    for (size_t i = 0; i < buffer->lines; i++) {
        buffer->line[i].number[0] = i;
        buffer->line[i].number[1] = 1;
    }
    for (size_t i = buffer->lines - 1; i > 0; i--) {
        size_t j = next_random(&state) % i;
        uint64_t t = buffer->line[i].number[0];
        buffer->line[i].number[0] = buffer->line[j].number[0];
        buffer->line[j].number[0] = t;
    }
    for (size_t i = 0; i < buffer->lines; i++)
        buffer->line[i].next = &buffer->line[buffer->line[i].number[0]];
}

/* 0; 1: this node cannot be had; or -errno. */
static int get_buffer(weft_bench *b, const struct wb__node *node, size_t bytes, struct buffer *out)
{
    unsigned long mask[16] = {0};
    size_t bits = 8 * sizeof *mask;
    char *memory =
        mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    char *start = (char *)(((uintptr_t)memory + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    if (start > memory)
        munmap(memory, (size_t)(start - memory));
    if (memory + HUGE_PAGE > start)
        munmap(start + bytes, (size_t)(memory + HUGE_PAGE - start));
    (void)madvise(start, bytes, MADV_HUGEPAGE);
    if ((size_t)node->node >= bits * (sizeof mask / sizeof *mask)) {
        munmap(start, bytes);
        return 1;
    }
    mask[(size_t)node->node / bits] = 1ul << ((size_t)node->node % bits);
    if (b->machine.nodes > 1 && syscall(SYS_mbind, start, bytes, BIND, mask, sizeof mask * 8, 0) != 0) {
        wb__note(b, "missing", "memory of a node", "the kernel does not bind memory to node %d: %s", node->node,
                 strerror(errno));
        munmap(start, bytes);
        return 1;
    }
    *out = (struct buffer){.line = (struct line *)(void *)start, .bytes = bytes, .lines = bytes / LINE};
    make_chain(out);
    out->huge = huge_share(out);
    out->home = b->machine.nodes > 1 ? home_share(out, node->node) : 1;
    return 0;
}

/* ---- what is timed ---- */

/* Nanoseconds of one load; the chain goes on where the last call ended. */
static double chase(struct line **at, size_t loads)
{
    struct line *line = *at;
    weft_ns start = weft_now();
    for (size_t i = 0; i < loads; i++)
        line = line->next;
    __asm__ volatile("" : "+r"(line));
    weft_ns took = weft_now() - start;
    *at = line;
    return (double)took / (double)loads;
}

/* Sums what lies there, in streams that do not wait for each other. */
static uint64_t sum(const uint64_t *word, size_t words)
{
    uint64_t s[8] = {0};
    for (size_t i = 0; i + 8 <= words; i += 8) {
        for (int k = 0; k < 8; k++)
            s[k] += word[i + (size_t)k];
    }
    return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

struct reader {
    pthread_t thread;
    int cpu;
    const uint64_t *word;
    size_t words;
    uint64_t sum;
    _Atomic(int) *gate; /* so many have still to come */
    weft_ns began, ended;
};

static void *read_part(void *argument)
{
    struct reader *r = argument;
    struct wb__mask before;
    int rc = wb__bind(&r->cpu, 1, &before);
    atomic_fetch_sub(r->gate, 1);
    while (atomic_load(r->gate) > 0)
        topology_relax();
    r->began = weft_now();
    r->sum = sum(r->word, r->words);
    r->ended = weft_now();
    if (rc == 0)
        wb__unbind(&before);
    return NULL;
}

/* Bytes a second of all of them; NAN: a thread could not be had, or a wrong sum. */
static double together(const int cpu[], size_t n, const struct buffer *buffer, uint64_t expected)
{
    struct reader *r = calloc(n, sizeof *r);
    _Atomic(int) gate;
    atomic_init(&gate, (int)n);
    size_t words = buffer->bytes / 8 / n / 8 * 8, begun = 0;
    weft_ns first = INT64_MAX, last = 0;
    uint64_t total = 0;
    for (; r != NULL && begun < n; begun++) {
        r[begun] = (struct reader){.cpu = cpu[begun],
                                   .word = (const uint64_t *)(const void *)buffer->line + begun * words,
                                   .words = words,
                                   .gate = &gate};
        if (pthread_create(&r[begun].thread, NULL, read_part, &r[begun]) != 0)
            break;
    }
    if (begun < n)
        atomic_store(&gate, 0);
    for (size_t i = 0; i < begun; i++) {
        pthread_join(r[i].thread, NULL);
        first = r[i].began < first ? r[i].began : first;
        last = r[i].ended > last ? r[i].ended : last;
        total += r[i].sum;
    }
    free(r);
    bool right = begun == n && (words * n * 8 != buffer->bytes || total == expected);
    return right && last > first ? (double)(words * 8 * n) / (double)(last - first) * 1e9 : NAN;
}

/* ---- figures ---- */

struct figures {
    struct wb__figure *latency, *read, *write, *together;
};

static size_t row_cpus(const weft_bench *b, size_t out[])
{
    return topology_some(&b->machine, MOST_ROWS, out);
}

static void make_figures(weft_bench *b, struct figures *f, const size_t cpu[], size_t cpus, const size_t node[],
                         size_t nodes)
{
    char **row = topology_cpu_names(b, cpu, cpus), **column = wb__names(nodes);
    for (size_t i = 0; column != NULL && i < nodes; i++)
        column[i] = wb__print("node %d", b->machine.node[node[i]].node);
    struct wb__text t = {.section = "memory", .kind = "matrix", .row_axis = "CPU", .column_axis = "memory of"};
    t.id = "memory_latency", t.title = "Memory latency", t.unit = "ns";
    t.what = "One load that needs the one before, in random order over a buffer larger than the caches";
    f->latency = wb__figure(b, &t, cpus, row, nodes, column);
    t.id = "memory_read", t.title = "Reading, one CPU", t.unit = "B/s", t.higher = true;
    t.what = "Bytes a second that one CPU reads in order";
    f->read = wb__figure(b, &t, cpus, row, nodes, column);
    t.id = "memory_write", t.title = "Writing, one CPU";
    t.what = "Bytes a second that one CPU fills (memset)";
    f->write = wb__figure(b, &t, cpus, row, nodes, column);
    wb__names_free(row, cpus);
    row = wb__names(b->machine.nodes);
    for (size_t i = 0; row != NULL && i < b->machine.nodes; i++)
        row[i] = wb__print("CPUs of node %d", b->machine.node[i].node);
    t.id = "memory_read_together", t.title = "Reading, all CPUs of a node", t.row_axis = "CPUs";
    t.what = "Bytes a second that all CPUs of a node read at once, each a part of its own";
    f->together = wb__figure(b, &t, b->machine.nodes, row, nodes, column);
    wb__names_free(row, b->machine.nodes);
    wb__names_free(column, nodes);
}

static int one_cpu(weft_bench *b, const struct figures *f, size_t row, size_t column, int cpu,
                   const struct buffer *buffer, weft_ns slot)
{
    struct wb__mask before;
    int rc = wb__bind(&cpu, 1, &before);
    if (rc != 0)
        return rc;
    struct line *at = buffer->line;
    weft_ns until = weft_now() + slot / 2;
    size_t loads = buffer->lines / 16 < 200000 ? buffer->lines / 16 : 200000;
    (void)chase(&at, loads / 4);
    for (int i = 0; i < SAMPLES && (i < 2 || weft_now() < until); i++)
        wb__sample(b, f->latency, row, column, chase(&at, loads));
    until = weft_now() + slot / 2;
    for (int i = 0; i < SAMPLES && (i < 1 || weft_now() < until); i++) {
        weft_ns start = weft_now();
        volatile uint64_t keep = sum((const uint64_t *)(const void *)buffer->line, buffer->bytes / 8);
        (void)keep;
        wb__sample(b, f->read, row, column, (double)buffer->bytes / (double)(weft_now() - start) * 1e9);
    }
    wb__unbind(&before);
    return 0;
}

static void writes(weft_bench *b, const struct figures *f, size_t row, size_t column, int cpu,
                   const struct buffer *buffer)
{
    struct wb__mask before;
    if (wb__bind(&cpu, 1, &before) != 0)
        return;
    for (int i = 0; i < SAMPLES / 2; i++) {
        weft_ns start = weft_now();
        memset(buffer->line, i, buffer->bytes);
        __asm__ volatile("" ::"r"(buffer->line) : "memory");
        wb__sample(b, f->write, row, column, (double)buffer->bytes / (double)(weft_now() - start) * 1e9);
    }
    wb__unbind(&before);
}

static int one_node(weft_bench *b, const struct figures *f, size_t column, const size_t cpu[], size_t cpus,
                    const struct buffer *buffer, double seconds)
{
    int rc = 0, many[MOST_TOGETHER];
    weft_ns slot = WEFT_SEC(seconds / (double)cpus);
    for (size_t i = 0; i < cpus && rc == 0; i++)
        rc = one_cpu(b, f, i, column, b->machine.cpu[cpu[i]].cpu, buffer, slot);
    uint64_t expected = sum((const uint64_t *)(const void *)buffer->line, buffer->bytes / 8);
    for (size_t g = 0; g < b->machine.nodes && rc == 0; g++) {
        size_t n = 0;
        for (size_t i = 0; i < b->machine.cpus && n < MOST_TOGETHER; i++) {
            if (b->machine.cpu[i].node == b->machine.node[g].node)
                many[n++] = b->machine.cpu[i].cpu;
        }
        for (int i = 0; i < SAMPLES / 2 && n > 0; i++)
            wb__sample(b, f->together, g, column, together(many, n, buffer, expected));
    }
    for (size_t i = 0; i < cpus && rc == 0; i++) /* last: they overwrite the chain */
        writes(b, f, i, column, b->machine.cpu[cpu[i]].cpu, buffer);
    return rc;
}

int topology_memory(weft_bench *b, double seconds)
{
    const struct wb__machine *m = &b->machine;
    size_t cpu[MOST_ROWS], cpus = row_cpus(b, cpu), node[MOST_ROWS], nodes = 0;
    for (size_t i = 0; i < m->nodes && nodes < MOST_ROWS; i++) {
        if (m->node[i].memory > 0)
            node[nodes++] = i;
    }
    if (nodes == 0) {
        wb__note(b, "missing", "memory", "which nodes have memory is not told here");
        return 0;
    }
    struct figures f;
    make_figures(b, &f, cpu, cpus, node, nodes);
    int rc = 0;
    for (size_t k = 0; k < nodes && rc == 0; k++) {
        const struct wb__node *n = &m->node[node[k]];
        size_t wanted = 4 * (size_t)m->last_cache, most = (size_t)n->memory / 4;
        wanted = wanted < 64 * MIB ? 64 * MIB : wanted > 1024 * MIB ? 1024 * MIB : wanted;
        size_t bytes = (wanted < most ? wanted : most) / HUGE_PAGE * HUGE_PAGE;
        struct buffer buffer = {.line = NULL};
        if (bytes < 4 * HUGE_PAGE || bytes < 2 * m->last_cache) {
            wb__note(b, "missing", "memory of a node",
                     "node %d has too little memory for a buffer larger than the caches", n->node);
            continue;
        }
        rc = get_buffer(b, n, bytes, &buffer);
        if (rc == 1) {
            rc = 0;
            continue;
        }
        if (rc < 0)
            break;
        if (buffer.huge < 0.9)
            wb__note(b, "limit", "huge pages",
                     "the kernel gave huge pages for %.0f %% of a buffer only: memory latencies hold some address "
                     "translation",
                     100 * buffer.huge);
        if (buffer.home >= 0 && buffer.home < 0.99)
            wb__note(b, "missing", "memory of a node", "%.0f %% of a buffer for node %d lie elsewhere: not measured",
                     100 * (1 - buffer.home), n->node);
        else
            rc = one_node(b, &f, k, cpu, cpus, &buffer, seconds / (double)nodes);
        if (buffer.home < 0)
            wb__note(
                b, "limit", "pages",
                "the kernel does not tell where pages are: that buffers lie on their nodes is believed, not known");
        munmap(buffer.line, buffer.bytes);
        wb__progress(b, (double)(k + 1) / (double)nodes);
    }
    return rc;
}

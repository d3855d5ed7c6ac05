/* SPDX-License-Identifier: Apache-2.0 */
/* executor/plan_api.c -- reading a plan (weft/topology.h): its fields one by one, as text, and as JSON.
 *
 * Workers of one tier come as lists of ranges ("1-3,9"), so the text of a thousand workers is long but not a million numbers.
 *
 * Threads: any; a plan never changes. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/runtime.h"

/* Fill the caller's struct, which may be an older and shorter one. */
static int give(void *out, const void *in, size_t size)
{
    size_t wanted = *(size_t *)out;
    if (wanted < sizeof wanted)
        return -EINVAL;
    wanted = wanted < size ? wanted : size;
    memcpy((char *)out + sizeof wanted, (const char *)in + sizeof wanted, wanted - sizeof wanted);
    *(size_t *)out = wanted;
    return 0;
}

const weft_plan *weft_runtime_plan(const weft_runtime *rt)
{
    return rt->plan;
}

int weft_plan_read(const weft_plan *p, weft_plan_info *out)
{
    const struct weft__machine *m = &p->machine;
    weft_plan_info info = {.workers = p->workers,
                           .pin = p->pin,
                           .spread = p->spread,
                           .allowed = p->allowed,
                           .cores = m->cores,
                           .caches = m->caches,
                           .packages = m->packages,
                           .kinds = m->kinds,
                           .nodes = m->nodes,
                           .quota = p->quota,
                           .here = m->here};
    return give(out, &info, sizeof info);
}

int weft_plan_read_worker(const weft_plan *p, unsigned worker, weft_plan_worker *out)
{
    if (worker >= p->workers)
        return -EINVAL;
    const struct weft__plan_worker *w = &p->worker[worker];
    weft_plan_worker info = {.cpu = w->cpu,
                             .cpus = w->cpus,
                             .node = w->node,
                             .core = w->place.core,
                             .package = w->place.package,
                             .cache = w->place.cache,
                             .kind = w->place.kind,
                             .smt = w->place.smt};
    return give(out, &info, sizeof info);
}

static bool may_run_on(const weft_plan *p, const struct weft__plan_worker *w, int cpu)
{
    return w->cpuset == NULL || CPU_ISSET_S((unsigned)cpu, p->mask_size, (const cpu_set_t *)w->cpuset);
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* All CPUs of a worker, ascending, malloc'd. Their number, or -ENOMEM. */
static long list_cpus(const weft_plan *p, unsigned worker, int **out)
{
    int *cpus = calloc(p->machine.cpus + 1, sizeof *cpus);
    if (cpus == NULL)
        return -ENOMEM;
    long n = 0;
    for (unsigned k = 0; k < p->machine.cpus; k++)
        if (may_run_on(p, &p->worker[worker], p->machine.cpu[k].number))
            cpus[n++] = p->machine.cpu[k].number;
    qsort(cpus, (size_t)n, sizeof *cpus, compare_ints);
    *out = cpus;
    return n;
}

long weft_plan_cpus(const weft_plan *p, unsigned worker, int cpus[], size_t n)
{
    int *all;
    if (worker >= p->workers)
        return -EINVAL;
    long found = list_cpus(p, worker, &all);
    if (found < 0)
        return found;
    memcpy(cpus, all, (n < (size_t)found ? n : (size_t)found) * sizeof *cpus);
    free(all);
    return found;
}

int weft_plan_read_victim(const weft_plan *p, unsigned worker, unsigned k, weft_plan_victim *out)
{
    if (worker >= p->workers || k + 1 >= p->workers)
        return -EINVAL;
    const struct weft__plan_worker *w = &p->worker[worker];
    weft_plan_victim info = {
        .worker = w->victims[k], .tier = w->tier[k], .distance = (enum weft_distance)w->distance[k]};
    return give(out, &info, sizeof info);
}

static unsigned workers_of_node(const weft_plan *p, int node)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->workers; i++)
        n += p->worker[i].node == node;
    return n;
}

int weft_plan_read_node(const weft_plan *p, unsigned index, weft_plan_node *out)
{
    if (index >= p->machine.nodes)
        return -EINVAL;
    const struct weft__node *node = &p->machine.node[index];
    weft_plan_node info = {
        .node = node->number, .cpus = node->cpus, .workers = workers_of_node(p, node->number), .memory = node->memory};
    return give(out, &info, sizeof info);
}

unsigned weft_plan_latency(const weft_plan *p, unsigned from, unsigned to)
{
    const struct weft__machine *m = &p->machine;
    return from < m->nodes && to < m->nodes ? m->latency[(size_t)from * m->nodes + to] : 0;
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static const char *const pin_names[] = {"default", "none", "node", "core"};
static const char *const spread_names[] = {"evenly", "compact"};
static const char *const distance_names[WEFT_DISTANCES] = {"smt", "cache", "node", "package", "far"};

/* n ascending numbers as "0-2,5"; nothing for none. */
static void put_list(FILE *out, const int *numbers, size_t n)
{
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && numbers[end] == numbers[end - 1] + 1;)
            end++;
        fprintf(out, end - i > 1 ? "%s%d-%d" : "%s%d", i != 0 ? "," : "", numbers[i], numbers[end - 1]);
    }
}

/* The victims [first, end) of one tier. `scratch`: room for them. */
static void put_tier(FILE *out, const struct weft__plan_worker *w, unsigned first, unsigned end, int *scratch)
{
    for (unsigned k = first; k < end; k++)
        scratch[k - first] = w->victims[k];
    qsort(scratch, end - first, sizeof *scratch, compare_ints);
    put_list(out, scratch, end - first);
}

static unsigned tier_end(const weft_plan *p, const struct weft__plan_worker *w, unsigned first)
{
    unsigned end = first + 1;
    while (end + 1 < p->workers && w->tier[end] == w->tier[first])
        end++;
    return end;
}

static void print_nodes(FILE *out, const weft_plan *p)
{
    const struct weft__machine *m = &p->machine;
    for (unsigned i = 0; i < m->nodes; i++) {
        const struct weft__node *node = &m->node[i];
        fprintf(out, "node %d: ", node->number);
        if (node->cpus != 0)
            fprintf(out, "%u CPU%s", node->cpus, node->cpus != 1 ? "s" : "");
        else
            fprintf(out, "no CPU");
        if (node->memory != 0)
            fprintf(out, ", %llu MiB", (unsigned long long)(node->memory >> 20));
        else
            fprintf(out, ", no memory told");
        fprintf(out, ", home of %u worker%s", workers_of_node(p, node->number),
                workers_of_node(p, node->number) != 1 ? "s" : "");
        for (unsigned j = 0; j < m->nodes && m->nodes <= 16; j++)
            if (weft_plan_latency(p, i, j) != 0)
                fprintf(out, "%s%d: %u", j == 0 ? "; latency to node " : ", ", m->node[j].number,
                        weft_plan_latency(p, i, j));
        fprintf(out, "\n");
    }
}

static void print_worker(FILE *out, const weft_plan *p, unsigned i, int *scratch)
{
    const struct weft__plan_worker *w = &p->worker[i];
    int *cpus;
    long n = list_cpus(p, i, &cpus);
    fprintf(out, "worker %u: ", i);
    if (n > 0) {
        fprintf(out, w->cpuset == NULL ? "anywhere on CPUs " : n == 1 ? "CPU " : "CPUs ");
        put_list(out, cpus, (size_t)n);
    } else {
        fprintf(out, "anywhere");
    }
    if (n >= 0)
        free(cpus);
    if (p->machine.kinds > 1 && w->cpu >= 0)
        fprintf(out, ", kind %d", w->place.kind);
    if (w->node >= 0)
        fprintf(out, ", node %d", w->node);
    for (unsigned first = 0, end; first + 1 < p->workers; first = end) {
        end = tier_end(p, w, first);
        fprintf(out, "%s%s ", first == 0 ? "; asks " : ", then ", distance_names[w->distance[first]]);
        put_tier(out, w, first, end, scratch);
    }
    fprintf(out, "\n");
}

static void print_text(FILE *out, const weft_plan *p, int *scratch)
{
    const struct weft__machine *m = &p->machine;
    fprintf(out, "machine: %u CPU%s", p->allowed, p->allowed != 1 ? "s" : "");
    const struct {
        unsigned n;
        const char *one, *many;
    } parts[] = {{m->cores, "core", "cores"},
                 {m->kinds > 1 ? m->kinds : 0, "kind of cores", "kinds of cores"},
                 {m->caches, "shared cache", "shared caches"},
                 {m->packages, "package", "packages"},
                 {m->nodes, "NUMA node", "NUMA nodes"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].n != 0)
            fprintf(out, ", %u %s", parts[i].n, parts[i].n == 1 ? parts[i].one : parts[i].many);
    if (p->quota > 0)
        fprintf(out, ", a quota of %.2f CPUs", p->quota);
    fprintf(out, "%s\n", m->here ? "" : " (described, not this machine)");
    static const char *const how[] = {"", "not pinned", "each pinned to the CPUs of its node", "each pinned to a CPU"};
    fprintf(out, "plan: %u worker%s, %s%s\n", p->workers, p->workers != 1 ? "s" : "", how[p->pin],
            p->pin == WEFT_PIN_NONE            ? ""
            : p->spread == WEFT_SPREAD_COMPACT ? ", compact"
                                               : ", spread evenly");
    print_nodes(out, p);
    for (unsigned i = 0; i < p->workers; i++)
        print_worker(out, p, i, scratch);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

/* A number, or null for "unknown". */
static void put_known(FILE *out, const char *name, int value)
{
    if (value >= 0)
        fprintf(out, ",\"%s\":%d", name, value);
    else
        fprintf(out, ",\"%s\":null", name);
}

static void json_worker(FILE *out, const weft_plan *p, unsigned i, int *scratch)
{
    const struct weft__plan_worker *w = &p->worker[i];
    int *cpus;
    long n = list_cpus(p, i, &cpus);
    fprintf(out, "%s\n{\"worker\":%u,\"pinned\":%s,\"cpus\":\"", i != 0 ? "," : "", i, w->cpuset ? "true" : "false");
    if (n >= 0) {
        put_list(out, cpus, (size_t)n);
        free(cpus);
    }
    fprintf(out, "\"");
    put_known(out, "cpu", w->cpu);
    put_known(out, "node", w->node);
    put_known(out, "core", w->place.core);
    put_known(out, "cache", w->place.cache);
    put_known(out, "package", w->place.package);
    fprintf(out, ",\"kind\":%d,\"smt\":%u,\"asks\":[", w->place.kind, w->place.smt);
    for (unsigned first = 0, end; first + 1 < p->workers; first = end) {
        end = tier_end(p, w, first);
        fprintf(out, "%s{\"distance\":\"%s\",\"workers\":\"", first != 0 ? "," : "",
                distance_names[w->distance[first]]);
        put_tier(out, w, first, end, scratch);
        fprintf(out, "\"}");
    }
    fprintf(out, "]}");
}

static void print_json(FILE *out, const weft_plan *p, int *scratch)
{
    const struct weft__machine *m = &p->machine;
    fprintf(out,
            "{\"plan\":1,\"workers\":%u,\"pin\":\"%s\",\"spread\":\"%s\",\"this_machine\":%s,\"allowed_cpus\":%u,"
            "\"quota\":%.3f,\"cores\":%u,\"kinds\":%u,\"shared_caches\":%u,\"packages\":%u,\n\"nodes\":[",
            p->workers, pin_names[p->pin], spread_names[p->spread], m->here ? "true" : "false", p->allowed, p->quota,
            m->cores, m->kinds, m->caches, m->packages);
    for (unsigned i = 0; i < m->nodes; i++) {
        fprintf(out, "%s\n{\"node\":%d,\"cpus\":%u,\"memory\":%llu,\"workers\":%u,\"latency\":[", i != 0 ? "," : "",
                m->node[i].number, m->node[i].cpus, (unsigned long long)m->node[i].memory,
                workers_of_node(p, m->node[i].number));
        for (unsigned j = 0; j < m->nodes; j++)
            fprintf(out, "%s%u", j != 0 ? "," : "", weft_plan_latency(p, i, j));
        fprintf(out, "]}");
    }
    fprintf(out, "],\n\"worker\":[");
    for (unsigned i = 0; i < p->workers; i++)
        json_worker(out, p, i, scratch);
    fprintf(out, "]}\n");
}

static int print(const weft_plan *p, int fd, void (*how)(FILE *, const weft_plan *, int *))
{
    char *text = NULL;
    size_t size = 0;
    int *scratch = calloc(p->workers, sizeof *scratch);
    FILE *out = scratch != NULL ? open_memstream(&text, &size) : NULL;
    if (out != NULL)
        how(out, p, scratch);
    free(scratch);
    return out != NULL ? weft__write_stream(out, &text, &size, fd) : -ENOMEM;
}

int weft_plan_print(const weft_plan *p, int fd)
{
    return print(p, fd, print_text);
}

int weft_plan_print_json(const weft_plan *p, int fd)
{
    return print(p, fd, print_json);
}

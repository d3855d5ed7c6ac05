/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPUs belong together: as hwloc tells it, and as the core-to-core latencies show it. What latencies show and hwloc does not know is told, and so is
 * what hwloc knows and latencies do not show (a virtual machine's invention, often). Main thread, after the measurement. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../report/cluster.h"
#include "topology.h"

/* ---- choosing CPUs ---- */

static int ascending(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

size_t topology_some(const struct wb__machine *m, size_t most, size_t out[])
{
    size_t n = m->cpus;
    if (n <= most) {
        for (size_t i = 0; i < n; i++)
            out[i] = i;
        return n;
    }
    /* Half of them alone on their cores, evenly; the others beside them, so that no distance is left out. */
    size_t chosen = most / 2;
    wb__choose(m, WB_CORES, chosen, out);
    for (size_t k = 0; k < most / 2 && chosen < most; k++) {
        for (size_t step = 1; step < n; step++) { /* the next one that is not there yet */
            size_t next = (out[k] + step) % n, j = 0;
            while (j < chosen && out[j] != next)
                j++;
            if (j == chosen) {
                out[chosen++] = next;
                break;
            }
        }
    }
    qsort(out, chosen, sizeof *out, ascending);
    return chosen;
}

char **topology_cpu_names(const weft_bench *b, const size_t cpu[], size_t n)
{
    char **names = wb__names(n);
    for (size_t i = 0; names != NULL && i < n; i++)
        names[i] = wb__print("%d", b->machine.cpu[cpu[i]].cpu);
    return names;
}

/* ---- domains ---- */

struct known {
    const char *name;
    unsigned *group;
    unsigned groups;
    bool shown;
};

static unsigned group_by(const struct wb__machine *m, const size_t cpu[], size_t n, int what, unsigned *group)
{
    unsigned groups = 0;
    for (size_t i = 0; i < n; i++) {
        const struct wb__cpu *c = &m->cpu[cpu[i]];
        size_t j = 0;
        for (; j < i; j++) {
            const struct wb__cpu *o = &m->cpu[cpu[j]];
            if (what == 0   ? o->core == c->core
                : what == 1 ? o->cache == c->cache
                : what == 2 ? o->node == c->node
                            : o->package == c->package)
                break;
        }
        group[i] = j < i ? group[j] : groups++;
    }
    return groups;
}

static char *members(const struct wb__machine *m, const size_t cpu[], size_t n, const unsigned *group, unsigned groups)
{
    enum { ROOM = 400 };
    char *text = calloc(1, ROOM + 8);
    size_t length = 0;
    for (unsigned g = 0; text != NULL && g < groups; g++) {
        const char *before = g == 0 ? "" : "; ";
        for (size_t i = 0; i < n && length < ROOM - 16; i++) {
            if (group[i] == g) {
                length += (size_t)snprintf(text + length, ROOM - length, "%s%d", before, m->cpu[cpu[i]].cpu);
                before = " ";
            }
        }
    }
    if (text != NULL && length >= ROOM - 16)
        strcat(text, " ...");
    return text;
}

/* The CPUs of the figure are looked up by their names. */
static size_t figure_cpus(const weft_bench *b, const struct wb__figure *f, size_t out[])
{
    size_t n = 0;
    for (size_t r = 0; r < f->rows; r++) {
        for (size_t i = 0; i < b->machine.cpus; i++) {
            if (b->machine.cpu[i].cpu == atoi(f->row[r]))
                out[n++] = i;
        }
    }
    return n;
}

void topology_domains(weft_bench *b)
{
    const struct wb__machine *m = &b->machine;
    const struct wb__figure *f = wb__find(b, "core_to_core");
    size_t n = f != NULL ? f->rows : 0;
    if (n < 3) {
        wb__note(b, "missing", "measured domains", "with %s no groups of CPUs can show in latencies",
                 n == 2 ? "two CPUs" : "one CPU");
        return;
    }
    double *latency = malloc(n * n * sizeof *latency);
    size_t *cpu = malloc(n * sizeof *cpu);
    unsigned *groups = malloc(4 * n * sizeof *groups);
    struct wb__level level[WB_LEVELS];
    size_t levels = 0;
    if (latency != NULL && cpu != NULL && groups != NULL && figure_cpus(b, f, cpu) == n) {
        for (size_t i = 0; i < n * n; i++)
            latency[i] = wb__median(f->cell[i].value, f->cell[i].n);
        levels = wb__levels(latency, n, level);
        struct known known[] = {
            {.name = "cores"}, {.name = "last-level caches"}, {.name = "nodes"}, {.name = "packages"}};
        for (int k = 0; k < 4; k++) {
            known[k].group = groups + (size_t)k * n;
            known[k].groups = group_by(m, cpu, n, k, known[k].group);
        }
        for (size_t l = 0; l < levels; l++) {
            const char *as = NULL;
            for (int k = 0; k < 4; k++) {
                if (wb__same_groups(known[k].group, level[l].group, n)) {
                    as = as == NULL ? known[k].name : as;
                    known[k].shown = true;
                }
            }
            char *text = members(m, cpu, n, level[l].group, level[l].groups);
            wb__note(b, "domains", as != NULL ? "as hwloc tells it" : "hwloc does not know",
                     "%u groups (%s): at most %.0f ns within, %.0f ns or more to others; CPUs %s", level[l].groups,
                     as != NULL ? as : "found by measurement only", level[l].within, level[l].beyond,
                     text != NULL ? text : "");
            free(text);
        }
        if (levels == 0)
            wb__note(b, "domains", "none", "the latencies between these %zu CPUs show no groups", n);
        for (int k = 0; k < 4; k++) {
            if (known[k].groups > 1 && known[k].groups < n && !known[k].shown)
                wb__note(b, "domains", "not seen", "hwloc tells of %u %s, but latencies do not show them",
                         known[k].groups, known[k].name);
        }
        wb__levels_free(level, levels);
    }
    free(latency);
    free(cpu);
    free(groups);
}

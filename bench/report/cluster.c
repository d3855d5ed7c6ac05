/* SPDX-License-Identifier: Apache-2.0 */
/* Clustering by gaps. All latencies are put in order; at each gap the pairs below it are joined, and the groups that come of it are looked at.
 * Noise has no gaps that leave whole groups: one slow pair joins nothing, one quick pair makes a group of two among many that are alone.
 * To be robust against a few of such all the same, groups are made by average (an item belongs to the group of which it is near to most),
 * not by chains of neighbours. */
#include "cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

static const double GAP = 1.15, STRAY = 0.03;

/* The latency of a pair: the lower of both directions, since noise only adds. */
static double between(const double *latency, size_t n, size_t i, size_t j)
{
    double a = latency[i * n + j], b = latency[j * n + i];
    return isnan(a) ? b : isnan(b) ? a : a < b ? a : b;
}

/* Each item joins the first group of whose members it is near to at least half. */
static unsigned join(const double *latency, size_t n, double limit, unsigned *group)
{
    unsigned groups = 0;
    for (size_t i = 0; i < n; i++) {
        group[i] = groups;
        for (unsigned g = 0; g < groups && group[i] == groups; g++) {
            size_t near = 0, known = 0;
            for (size_t j = 0; j < i; j++) {
                double d = group[j] == g ? between(latency, n, i, j) : NAN;
                known += isnan(d) ? 0 : 1;
                near += d <= limit;
            }
            if (known > 0 && 2 * near > known)
                group[i] = g;
        }
        groups += group[i] == groups;
    }
    return groups;
}

/* Are the groups whole and apart, and most items in one? */
static int holds(const double *latency, size_t n, double limit, const unsigned *group, unsigned groups)
{
    size_t inside = 0, outside = 0, far_inside = 0, near_outside = 0, *members = calloc(groups, sizeof *members);
    size_t together = 0;
    if (members == NULL)
        return 0;
    for (size_t i = 0; i < n; i++) {
        members[group[i]]++;
        for (size_t j = 0; j < i; j++) {
            double d = between(latency, n, i, j);
            if (isnan(d))
                continue;
            inside += group[i] == group[j];
            outside += group[i] != group[j];
            far_inside += group[i] == group[j] && d > limit;
            near_outside += group[i] != group[j] && d <= limit;
        }
    }
    for (unsigned g = 0; g < groups; g++)
        together += members[g] > 1 ? members[g] : 0;
    free(members);
    return inside > 0 && outside > 0 && 2 * together > n && (double)far_inside <= STRAY * (double)inside &&
           (double)near_outside <= STRAY * (double)outside;
}

int wb__same_groups(const unsigned *a, const unsigned *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if ((a[i] == a[j]) != (b[i] == b[j]))
                return 0;
        }
    }
    return 1;
}

size_t wb__levels(const double *latency, size_t n, struct wb__level level[WB_LEVELS])
{
    size_t known = 0, levels = 0;
    double *sorted = n > 2 ? malloc(n * n * sizeof *sorted) : NULL;
    unsigned *group = sorted != NULL ? malloc(n * sizeof *group) : NULL;
    for (size_t i = 0; group != NULL && i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            double d = between(latency, n, i, j);
            if (!isnan(d))
                sorted[known++] = d;
        }
    }
    wb__sort(sorted, known);
    for (size_t k = 0; k + 1 < known && levels < WB_LEVELS; k++) {
        if (sorted[k + 1] < sorted[k] * GAP)
            continue;
        unsigned groups = join(latency, n, sorted[k], group);
        if (groups < 2 || !holds(latency, n, sorted[k], group, groups) ||
            (levels > 0 && wb__same_groups(level[levels - 1].group, group, n)))
            continue;
        level[levels] = (struct wb__level){sorted[k], sorted[k + 1], groups, malloc(n * sizeof *group)};
        if (level[levels].group == NULL)
            break;
        memcpy(level[levels++].group, group, n * sizeof *group);
    }
    free(sorted);
    free(group);
    return levels;
}

void wb__levels_free(struct wb__level level[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(level[i].group);
}

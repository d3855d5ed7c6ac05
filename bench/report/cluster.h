/* SPDX-License-Identifier: Apache-2.0 */
/* bench/report/cluster.h -- domains that show in a matrix of latencies. Plain functions, any thread. */
#ifndef BENCH_REPORT_CLUSTER_H
#define BENCH_REPORT_CLUSTER_H

#include <stddef.h>

enum { WB_LEVELS = 6 };

/* One way to cut the items into groups: within a group every latency is at most `within`, from group to group at least `beyond`. */
struct wb__level {
    double within, beyond;
    unsigned groups;
    unsigned *group; /* of each item: 0 .. groups - 1, in the order in which they first appear */
};

/* The levels of an n by n matrix of latencies (row to column; NAN: not measured; the diagonal is not looked at), finest first, at most
 * WB_LEVELS. A level is there where latencies leave a gap: the next one is at least 15 % more, the items on this side of it fall into
 * groups that are whole (3 % of the latencies within groups may lie beyond it, and 3 % of those between them on this side), and most items
 * are not alone. Returns the number of levels; their `group` is malloc'd. Too little memory: 0. */
size_t wb__levels(const double *latency, size_t n, struct wb__level level[WB_LEVELS]);
void wb__levels_free(struct wb__level level[], size_t n);

/* Do two ways to cut n items have the same groups? */
int wb__same_groups(const unsigned *a, const unsigned *b, size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* bench/kernels.h -- the sequential work at the leaves of the fork-join programs. kernels.c is compiled once and linked into
 * weft-bench and into the peers' programs (bench/peers), so that they differ in nothing but how they fork and join. Plain
 * functions of their arguments; any thread. */
#ifndef BENCH_KERNELS_H
#define BENCH_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Ways to put queens into the rows left: bit sets of all columns, of those taken, and of those under attack from the left and
 * the right in the next row. */
long kernel_queens(uint32_t all, uint32_t columns, uint32_t left, uint32_t right);
/* Known answers for boards of 0 to 17; -1 beyond. */
long kernel_queens_answer(long n);

/* c += a b for square blocks of n, rows `stride` apart. */
void kernel_matmul(double *c, const double *a, const double *b, long stride, long n);
/* Fill a and b of size n with small whole numbers; is c their product? (By multiplying with a vector.) */
void kernel_matmul_fill(double *a, double *b, long n);
int kernel_matmul_right(const double *c, const double *a, const double *b, long n);

/* Fill with random numbers; return their sum. */
uint64_t kernel_numbers(int32_t *v, long n);
/* Part v around a middle element: everything in v[0 .. result) is <= everything behind; 0 < result < n; n >= 2. */
long kernel_partition(int32_t *v, long n);
void kernel_sort(int32_t *v, long n); /* sequential quicksort */
int kernel_sorted(const int32_t *v, long n, uint64_t sum);

/* The unbalanced tree: a node is a number, and has as many children as its number says, above `limit` levels none. */
uint64_t kernel_tree_root(void);
uint64_t kernel_tree_child(uint64_t node, int i);
int kernel_tree_children(uint64_t node, int level, int limit);
long kernel_tree_count(uint64_t node, int level, int limit); /* nodes of the whole tree below, itself included */

#ifdef __cplusplus
}
#endif

/* Where the programs stop to fork. */
enum { QUEENS_FORKED_ROWS = 6, MATMUL_BLOCK = 64, SORT_BLOCK = 2048 };

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Fork-join with work in it: n queens, matrix product, quicksort, an unbalanced tree. The work is kernels.c; each prints a
 * line for the same done sequentially, in the same unit. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "kernels.h"

/* ---- n queens: the first rows forked ---- */

enum { MOST_QUEENS = 17 };

struct queens {
    WEFT_FRAME;
    int row;
    uint32_t all, columns, left, right;
    long ways;
};
static int queens(struct queens *f);
WEFT_CORO(queens);
static int queens(struct queens *f)
{
    if (f->row == QUEENS_FORKED_ROWS || f->columns == f->all) {
        f->ways = kernel_queens(f->all, f->columns, f->left, f->right);
        return 0;
    }
    struct queens part[MOST_QUEENS];
    weft_child child[MOST_QUEENS];
    int n = 0, rc = 0;
    for (uint32_t open = f->all & ~(f->columns | f->left | f->right); open != 0; open &= open - 1, n++) {
        uint32_t bit = open & -open;
        part[n] = (struct queens){.row = f->row + 1,
                                  .all = f->all,
                                  .columns = f->columns | bit,
                                  .left = (f->left | bit) << 1,
                                  .right = (f->right | bit) >> 1};
        weft_fork(&child[n], queens, &part[n]);
    }
    f->ways = 0;
    while (n-- > 0) {
        int one = weft_join(&child[n]);
        rc = one < 0 ? one : rc;
        f->ways += part[n].ways;
    }
    return rc;
}

static void run_nqueens(long n, struct outcome *out)
{
    if (n < 1 || n > MOST_QUEENS) {
        out->wrong = true;
        return;
    }
    uint32_t all = (UINT32_C(1) << n) - 1;
    weft_ns start = weft_now();
    long sequential = kernel_queens(all, 0, 0, 0);
    weft_ns took = weft_now() - start;
    struct queens f = {.all = all};
    bench_start(out);
    out->wrong |= queens(&f) < 0;
    bench_stop(out);
    out->wrong |= f.ways != kernel_queens_answer(n) || sequential != f.ways;
    out->operations = 1;
    bench_extra(out, "nqueens_sequential", (double)took);
}

/* ---- matrix product: quarters of the result in parallel, one half of the sum after the other; alone, a worker takes the
 * quarters as they lie in memory, which is a tenth quicker than backwards ---- */

struct product {
    WEFT_FRAME;
    double *c;
    const double *a, *b;
    long stride, n;
};
static int product(struct product *f);
WEFT_CORO(product);
static int product(struct product *f)
{
    if (f->n <= MATMUL_BLOCK) {
        kernel_matmul(f->c, f->a, f->b, f->stride, f->n);
        return 0;
    }
    long h = f->n / 2, s = f->stride;
    int rc = 0;
    for (int k = 0; k < 2 && rc == 0; k++) {
        struct product part[4];
        weft_child child[4];
        for (int i = 4; i-- > 0;) {
            part[i] = (struct product){.c = f->c + (i / 2) * h * s + (i % 2) * h,
                                       .a = f->a + (i / 2) * h * s + k * h,
                                       .b = f->b + k * h * s + (i % 2) * h,
                                       .stride = s,
                                       .n = h};
            if (i > 0)
                weft_fork(&child[i], product, &part[i]);
        }
        rc = product(&part[0]);
        for (int i = 1; i < 4; i++) {
            int one = weft_join(&child[i]);
            rc = one < 0 ? one : rc;
        }
    }
    return rc;
}

static void run_matmul(long n, struct outcome *out)
{
    size_t bytes = (size_t)(n * n) * sizeof(double);
    double *a = malloc(bytes), *b = malloc(bytes), *c = malloc(bytes);
    out->wrong = a == NULL || b == NULL || c == NULL || n < MATMUL_BLOCK || (n & (n - 1)) != 0;
    if (!out->wrong) {
        kernel_matmul_fill(a, b, n);
        for (int pass = 0; pass < 2; pass++) {
            memset(c, 0, bytes);
            struct product f = {.c = c, .a = a, .b = b, .stride = n, .n = pass == 0 && n >= 256 ? n / 4 : n};
            bench_start(out);
            out->wrong |= product(&f) < 0;
            bench_stop(out);
        }
        out->wrong |= !kernel_matmul_right(c, a, b, n);
        out->operations = 1;
    }
    free(a);
    free(b);
    free(c);
}

/* ---- quicksort: both parts of every partition in parallel ---- */

struct sorting {
    WEFT_FRAME;
    int32_t *v;
    long n;
};
static int sorting(struct sorting *f);
WEFT_CORO(sorting);
static int sorting(struct sorting *f)
{
    if (f->n <= SORT_BLOCK) {
        kernel_sort(f->v, f->n);
        return 0;
    }
    long left = kernel_partition(f->v, f->n);
    struct sorting a = {.v = f->v, .n = left}, b = {.v = f->v + left, .n = f->n - left};
    weft_child child;
    weft_fork(&child, sorting, &a);
    int rb = sorting(&b);
    int ra = weft_join(&child);
    return ra < 0 ? ra : rb;
}

static void run_quicksort(long n, struct outcome *out)
{
    int32_t *v = malloc((size_t)n * sizeof *v);
    out->wrong = v == NULL;
    for (int pass = 0; pass < 2 && v != NULL; pass++) {
        uint64_t sum = kernel_numbers(v, n);
        struct sorting f = {.v = v, .n = n};
        bench_start(out);
        if (pass == 0)
            kernel_sort(v, n);
        else
            out->wrong |= sorting(&f) < 0;
        bench_stop(out);
        out->wrong |= !kernel_sorted(v, n, sum);
        if (pass == 0)
            bench_extra(out, "quicksort_sequential", (double)out->elapsed / (double)n);
    }
    out->operations = (double)n;
    free(v);
}

/* ---- an unbalanced tree: a node's children are halved until they are one ---- */

struct nodes {
    WEFT_FRAME;
    uint64_t parent; /* whose children `first` to `last` - 1 are these */
    int first, last, level, limit;
    long count;
};
static int nodes(struct nodes *f);
WEFT_CORO(nodes);
static int nodes(struct nodes *f)
{
    uint64_t parent = f->parent;
    int first = f->first, last = f->last, level = f->level;
    f->count = 0;
    if (last - first == 1) {
        parent = kernel_tree_child(parent, first);
        first = 0;
        last = kernel_tree_children(parent, level, f->limit);
        level++;
        f->count = 1;
    }
    if (last == 0)
        return 0;
    int half = first + (last - first + 1) / 2;
    struct nodes a = {.parent = parent, .first = first, .last = half, .level = level, .limit = f->limit},
                 b = {.parent = parent, .first = half, .last = last, .level = level, .limit = f->limit};
    if (half == last) { /* one child */
        int rc = nodes(&a);
        f->count += a.count;
        return rc;
    }
    weft_child child;
    weft_fork(&child, nodes, &a);
    int rb = nodes(&b);
    int ra = weft_join(&child);
    f->count += a.count + b.count;
    return ra < 0 ? ra : rb;
}

static void run_uts(long n, struct outcome *out)
{
    uint64_t root = kernel_tree_root();
    int limit = (int)n;
    weft_ns start = weft_now();
    long sequential = kernel_tree_count(root, 0, limit);
    weft_ns took = weft_now() - start;
    struct nodes f = {
        .parent = root, .first = 0, .last = kernel_tree_children(root, 0, limit), .level = 1, .limit = limit};
    bench_start(out);
    out->wrong |= f.last > 0 && nodes(&f) < 0;
    bench_stop(out);
    out->wrong |= f.count + 1 != sequential;
    out->operations = (double)sequential;
    bench_extra(out, "uts_sequential", (double)took / (double)sequential);
    bench_extra(out, "uts_nodes", (double)sequential);
}

const struct workload real_work_workloads[] = {
    {.name = "nqueens",
     .what = "all ways to put n queens on a board, the first 6 rows forked",
     .n = 14,
     .run = run_nqueens},
    {.name = "matmul",
     .what = "a product of two matrices of n x n doubles, blocks of 64",
     .n = 1024,
     .run = run_matmul},
    {.name = "quicksort", .what = "a number of n that are sorted, blocks of 2048", .n = 10000000, .run = run_quicksort},
    {.name = "uts", .what = "a node of an unbalanced random tree with n levels", .n = 12, .run = run_uts},
    {.name = NULL},
};

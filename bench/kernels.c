/* SPDX-License-Identifier: Apache-2.0 */
/* The sequential work of the fork-join programs: see kernels.h. */
#include "kernels.h"

long kernel_queens(uint32_t all, uint32_t columns, uint32_t left, uint32_t right)
{
    if (columns == all)
        return 1;
    long ways = 0;
    for (uint32_t open = all & ~(columns | left | right); open != 0; open &= open - 1) {
        uint32_t bit = open & -open;
        ways += kernel_queens(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return ways;
}

long kernel_queens_answer(long n)
{
    static const long answers[] = {1,   1,   0,    0,     2,     10,     4,       40,       92,
                                   352, 724, 2680, 14200, 73712, 365596, 2279184, 14772512, 95815104};
    return n >= 0 && n < (long)(sizeof answers / sizeof *answers) ? answers[n] : -1;
}

void kernel_matmul(double *restrict c, const double *restrict a, const double *restrict b, long stride, long n)
{
    for (long i = 0; i < n; i++) {
        for (long k = 0; k < n; k++) {
            double x = a[i * stride + k];
            for (long j = 0; j < n; j++)
                c[i * stride + j] += x * b[k * stride + j];
        }
    }
}

static uint64_t scrambled(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

void kernel_matmul_fill(double *a, double *b, long n)
{
    for (long i = 0; i < n * n; i++) {
        a[i] = (double)(scrambled((uint64_t)i) % 17) - 8;
        b[i] = (double)(scrambled((uint64_t)~i) % 13) - 6;
    }
}

/* c x == a (b x) for x = (1, 2, 3, 1, 2, ...): whole numbers below 2^53, so exactly. */
int kernel_matmul_right(const double *c, const double *a, const double *b, long n)
{
    for (long i = 0; i < n; i++) {
        double direct = 0, through = 0;
        for (long j = 0; j < n; j++)
            direct += c[i * n + j] * (double)(j % 3 + 1);
        if (i % 16 != 0 && i != n - 1)
            continue; /* one row in 16: a row costs n * n */
        for (long k = 0; k < n; k++) {
            double inner = 0;
            for (long j = 0; j < n; j++)
                inner += b[k * n + j] * (double)(j % 3 + 1);
            through += a[i * n + k] * inner;
        }
        if (direct != through)
            return 0;
    }
    return 1;
}

uint64_t kernel_numbers(int32_t *v, long n)
{
    uint64_t sum = 0;
    for (long i = 0; i < n; i++) {
        v[i] = (int32_t)(scrambled((uint64_t)i) >> 33);
        sum += (uint64_t)v[i];
    }
    return sum;
}

long kernel_partition(int32_t *v, long n)
{
    int32_t x = v[0], y = v[n / 2], z = v[n - 1];
    int32_t middle = x < y ? (y < z ? y : x < z ? z : x) : (x < z ? x : y < z ? z : y);
    long i = -1, j = n;
    for (;;) {
        do
            i++;
        while (v[i] < middle);
        do
            j--;
        while (v[j] > middle);
        if (i >= j)
            return j + 1 < n ? j + 1 : j;
        int32_t t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}

void kernel_sort(int32_t *v, long n)
{
    while (n > 24) {
        long left = kernel_partition(v, n);
        kernel_sort(v, left);
        v += left;
        n -= left;
    }
    for (long i = 1; i < n; i++) {
        int32_t x = v[i];
        long j = i;
        for (; j > 0 && v[j - 1] > x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

int kernel_sorted(const int32_t *v, long n, uint64_t sum)
{
    for (long i = 0; i < n; i++) {
        sum -= (uint64_t)v[i];
        if (i > 0 && v[i - 1] > v[i])
            return 0;
    }
    return sum == 0;
}

/* The number of children is geometric with mean 4, at most 100. A child's number is ROUNDS scramblings away from its
 * parent's: some 40 ns, as a hash function for such trees costs. */
enum { MOST_CHILDREN = 100, ROUNDS = 20 };

uint64_t kernel_tree_root(void)
{
    return scrambled(19);
}

uint64_t kernel_tree_child(uint64_t node, int i)
{
    node += (uint64_t)i;
    for (int round = 0; round < ROUNDS; round++)
        node = scrambled(node);
    return node;
}

int kernel_tree_children(uint64_t node, int level, int limit)
{
    uint64_t draw = node >> 32, below = UINT32_MAX / 5 * UINT64_C(4); /* one child or more: 4 in 5 */
    int n = 0;
    while (level < limit && n < MOST_CHILDREN && draw < below) {
        below = below / 5 * 4;
        n++;
    }
    return n;
}

long kernel_tree_count(uint64_t node, int level, int limit)
{
    long count = 1;
    int n = kernel_tree_children(node, level, limit);
    for (int i = 0; i < n; i++)
        count += kernel_tree_count(kernel_tree_child(node, i), level + 1, limit);
    return count;
}

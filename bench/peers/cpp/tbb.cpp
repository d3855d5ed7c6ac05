// SPDX-License-Identifier: Apache-2.0
// The peer oneTBB: fork-join whose tasks cannot suspend.
//     peer-tbb fib|fib_gather|skynet|spawn_many|nqueens|matmul|quicksort|uts N WORKERS
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/resource.h>
#include <tbb/global_control.h>
#include <tbb/parallel_invoke.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#include <vector>

#include "../../kernels.h"

static void check(bool right, const char *what)
{
    if (!right) {
        fprintf(stderr, "check failed: %s\n", what);
        exit(2);
    }
}

static void figure(const std::string &name, long n, int workers, double seconds, double operations)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double ns = seconds * 1e9 / operations;
    printf("%s,%ld,%d,%.6f,%.3f,%.0f,%ld\n", name.c_str(), n, workers, seconds, ns, 1e9 / ns, u.ru_maxrss);
}

template <class F> static double timed(F work)
{
    auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

static long fib_of(long n)
{
    long a = 0, b = 1;
    while (n-- > 0) {
        long c = a + b;
        a = b;
        b = c;
    }
    return a;
}

static long fib(long n)
{
    if (n < 2)
        return n;
    long a, b;
    tbb::task_group g;
    g.run([&a, n] { a = fib(n - 1); });
    b = fib(n - 2);
    g.wait();
    return a + b;
}

static long fib_gather(long n)
{
    if (n < 2)
        return n;
    long a, b;
    tbb::parallel_invoke([&a, n] { a = fib_gather(n - 1); }, [&b, n] { b = fib_gather(n - 2); });
    return a + b;
}

static long skynet(long first, long size)
{
    if (size == 1)
        return first;
    long sums[10], sum = 0;
    tbb::task_group g;
    for (int i = 0; i < 10; i++)
        g.run([&sums, i, first, size] { sums[i] = skynet(first + i * (size / 10), size / 10); });
    g.wait();
    for (long one : sums)
        sum += one;
    return sum;
}

static long spawn_many(long n)
{
    std::atomic<long> sum{0};
    tbb::task_group g;
    for (long i = 0; i < n; i++)
        g.run([&sum, i] { sum.fetch_add(i, std::memory_order_relaxed); });
    g.wait();
    return sum;
}

static long queens(int row, uint32_t all, uint32_t columns, uint32_t left, uint32_t right)
{
    if (row == QUEENS_FORKED_ROWS || columns == all)
        return kernel_queens(all, columns, left, right);
    long ways[32], sum = 0;
    int n = 0;
    tbb::task_group g;
    for (uint32_t open = all & ~(columns | left | right); open != 0; open &= open - 1, n++) {
        uint32_t bit = open & -open;
        long *one = &ways[n];
        g.run([=] { *one = queens(row + 1, all, columns | bit, (left | bit) << 1, (right | bit) >> 1); });
    }
    g.wait();
    while (n-- > 0)
        sum += ways[n];
    return sum;
}

static void product(double *c, const double *a, const double *b, long stride, long n)
{
    if (n <= MATMUL_BLOCK) {
        kernel_matmul(c, a, b, stride, n);
        return;
    }
    long h = n / 2;
    for (int k = 0; k < 2; k++) {
        auto part = [=](int i) {
            product(c + (i / 2) * h * stride + (i % 2) * h, a + (i / 2) * h * stride + k * h,
                    b + k * h * stride + (i % 2) * h, stride, h);
        };
        tbb::parallel_invoke([=] { part(0); }, [=] { part(1); }, [=] { part(2); }, [=] { part(3); });
    }
}

static void sort(int32_t *v, long n)
{
    if (n <= SORT_BLOCK) {
        kernel_sort(v, n);
        return;
    }
    long left = kernel_partition(v, n);
    tbb::parallel_invoke([=] { sort(v, left); }, [=] { sort(v + left, n - left); });
}

// The children first to last - 1 of a node, halved until they are one.
static long nodes(uint64_t parent, int first, int last, int level, int limit)
{
    long count = 0;
    if (last - first == 1) {
        parent = kernel_tree_child(parent, first);
        first = 0;
        last = kernel_tree_children(parent, level, limit);
        level++;
        count = 1;
    }
    if (last == 0)
        return count;
    int half = first + (last - first + 1) / 2;
    if (half == last)
        return count + nodes(parent, first, last, level, limit);
    long a, b;
    tbb::task_group g;
    g.run([=, &a] { a = nodes(parent, first, half, level, limit); });
    b = nodes(parent, half, last, level, limit);
    g.wait();
    return count + a + b;
}

static void run(const std::string &name, long n, int workers)
{
    double s;
    long result;
    if (name == "fib" || name == "fib_gather") {
        auto *f = name == "fib" ? fib : fib_gather;
        f(20);
        s = timed([&] { result = f(n); });
        check(result == fib_of(n), "fib");
        figure(name, n, workers, s, fib_of(n + 1) - 1);
    } else if (name == "skynet") {
        skynet(0, 1000);
        s = timed([&] { result = skynet(0, n); });
        check(result == n * (n - 1) / 2, "skynet");
        figure(name, n, workers, s, n * 10.0 / 9);
    } else if (name == "spawn_many") {
        for (const char *pass : {"spawn_many_cold", "spawn_many"}) {
            s = timed([&] { result = spawn_many(n); });
            check(result == n * (n - 1) / 2, "spawn_many");
            figure(pass, n, workers, s, n);
        }
    } else if (name == "nqueens") {
        uint32_t all = (UINT32_C(1) << n) - 1;
        queens(0, all >> 3, 0, 0, 0);
        s = timed([&] { result = queens(0, all, 0, 0, 0); });
        check(result == kernel_queens_answer(n), "nqueens");
        figure(name, n, workers, s, 1);
    } else if (name == "matmul") {
        std::vector<double> a(n * n), b(n * n), c;
        kernel_matmul_fill(a.data(), b.data(), n);
        for (long size : {n / 4, n}) {
            c.assign(n * n, 0.0);
            s = timed([&] { product(c.data(), a.data(), b.data(), n, size); });
        }
        check(kernel_matmul_right(c.data(), a.data(), b.data(), n), "matmul");
        figure(name, n, workers, s, 1);
    } else if (name == "quicksort") {
        std::vector<int32_t> v(n);
        for (long size : {n / 10, n}) {
            uint64_t sum = kernel_numbers(v.data(), size);
            s = timed([&] { sort(v.data(), size); });
            check(kernel_sorted(v.data(), size, sum), "quicksort");
        }
        figure(name, n, workers, s, n);
    } else if (name == "uts") {
        uint64_t root = kernel_tree_root();
        int limit = static_cast<int>(n), children = kernel_tree_children(root, 0, limit);
        long expected = kernel_tree_count(root, 0, limit);
        s = timed([&] { result = 1 + (children > 0 ? nodes(root, 0, children, 1, limit) : 0); });
        check(result == expected, "uts");
        figure(name, n, workers, s, result);
    } else {
        exit(3);
    }
}

int main(int argc, char **argv)
{
    check(argc > 3, "usage: peer-tbb BENCH N WORKERS");
    int workers = atoi(argv[3]);
    tbb::global_control limit(tbb::global_control::max_allowed_parallelism, workers);
    tbb::task_arena arena(workers);
    arena.execute([&] { run(argv[1], atol(argv[2]), workers); });
}

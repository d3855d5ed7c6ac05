/* SPDX-License-Identifier: Apache-2.0 */
/* The peer MassiveThreads: every task has a stack and may suspend, child first; its idle workers spin.
 *     myth_bench fib|skynet|spawn_join|spawn_many|yield|ping_pong|mutex N WORKERS
 * Results go through the thread's value, as in its own programs. */
#include <myth/myth.h>
#include <stdint.h>

#include "peer.h"

static void *fib(void *argument)
{
    intptr_t n = (intptr_t)argument;
    if (n < 2)
        return (void *)n;
    void *a;
    myth_thread_t t = myth_create(fib, (void *)(n - 1));
    intptr_t b = (intptr_t)fib((void *)(n - 2));
    myth_join(t, &a);
    return (void *)((intptr_t)a + b);
}

struct node {
    long first, size;
};
static void *skynet(void *argument)
{
    const struct node *f = argument;
    if (f->size == 1)
        return (void *)f->first;
    struct node part[10];
    myth_thread_t t[10];
    long sum = 0;
    for (int i = 0; i < 10; i++) {
        part[i] = (struct node){f->first + i * (f->size / 10), f->size / 10};
        t[i] = myth_create(skynet, &part[i]);
    }
    for (int i = 0; i < 10; i++) {
        void *one;
        myth_join(t[i], &one);
        sum += (long)one;
    }
    return (void *)sum;
}

static void *same(void *argument)
{
    return argument;
}

static long spawn_join(long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++) {
        void *one;
        myth_join(myth_create(same, (void *)i), &one);
        sum += (long)one;
    }
    return sum;
}

static long spawn_many(long n)
{
    myth_thread_t *t = malloc((size_t)n * sizeof *t);
    long sum = 0;
    for (long i = 0; i < n; i++)
        t[i] = myth_create(same, (void *)i);
    for (long i = 0; i < n; i++) {
        void *one;
        myth_join(t[i], &one);
        sum += (long)one;
    }
    free(t);
    return sum;
}

static void *yielder(void *argument)
{
    for (long i = (long)argument; i > 0; i--)
        myth_yield();
    return argument;
}

static long yields(long tasks, long times)
{
    myth_thread_t *t = malloc((size_t)tasks * sizeof *t);
    long sum = 0;
    for (long i = 0; i < tasks; i++)
        t[i] = myth_create(yielder, (void *)times);
    for (long i = 0; i < tasks; i++) {
        void *one;
        myth_join(t[i], &one);
        sum += (long)one;
    }
    free(t);
    return sum;
}

/* A queue of one item over its mutex and condition. */
struct slot {
    myth_mutex_t lock;
    myth_cond_t changed;
    long item;
    int full;
};
static void put(struct slot *s, long item)
{
    myth_mutex_lock(&s->lock);
    while (s->full)
        myth_cond_wait(&s->changed, &s->lock);
    s->item = item;
    s->full = 1;
    myth_cond_signal(&s->changed);
    myth_mutex_unlock(&s->lock);
}
static long get(struct slot *s)
{
    myth_mutex_lock(&s->lock);
    while (!s->full)
        myth_cond_wait(&s->changed, &s->lock);
    long item = s->item;
    s->full = 0;
    myth_cond_signal(&s->changed);
    myth_mutex_unlock(&s->lock);
    return item;
}
static struct slot to, from;
static void *server(void *argument)
{
    for (long i = (long)argument; i > 0; i--)
        put(&from, get(&to) + 1);
    return NULL;
}
static void *client(void *argument)
{
    long v = 0;
    for (long i = (long)argument; i > 0; i--) {
        put(&to, v);
        v = get(&from);
    }
    return (void *)v;
}
static long ping_pong(long n)
{
    myth_thread_t s = myth_create(server, (void *)n), c = myth_create(client, (void *)n);
    void *v;
    myth_join(c, &v);
    myth_join(s, NULL);
    return (long)v;
}

static myth_mutex_t counter_lock;
static long counter;
static void *count(void *argument)
{
    for (long i = (long)argument; i > 0; i--) {
        myth_mutex_lock(&counter_lock);
        counter++;
        myth_mutex_unlock(&counter_lock);
    }
    return NULL;
}
static long mutexes(long tasks, long times)
{
    myth_thread_t *t = malloc((size_t)tasks * sizeof *t);
    counter = 0;
    for (long i = 0; i < tasks; i++)
        t[i] = myth_create(count, (void *)times);
    for (long i = 0; i < tasks; i++)
        myth_join(t[i], NULL);
    free(t);
    return counter;
}

int main(int argc, char **argv)
{
    CHECK(argc > 3);
    const char *bench = argv[1];
    long n = atol(argv[2]);
    int workers = atoi(argv[3]);
    myth_globalattr_t attr;
    myth_globalattr_init(&attr);
    myth_globalattr_set_n_workers(&attr, (size_t)workers);
    myth_globalattr_set_stacksize(&attr, 16384);
    myth_init_ex(&attr);
    myth_mutex_init(&to.lock, NULL);
    myth_mutex_init(&from.lock, NULL);
    myth_cond_init(&to.changed, NULL);
    myth_cond_init(&from.changed, NULL);
    myth_mutex_init(&counter_lock, NULL);
    double start;
    if (strcmp(bench, "fib") == 0) {
        CHECK((long)fib((void *)(n - 6)) == fib_of(n - 6));
        start = now();
        CHECK((long)fib((void *)n) == fib_of(n));
        emit(bench, n, workers, now() - start, (double)(fib_of(n + 1) - 1));
    } else if (strcmp(bench, "skynet") == 0) {
        struct node warm = {0, n / 10}, all = {0, n};
        CHECK((long)skynet(&warm) == triangle(n / 10));
        start = now();
        CHECK((long)skynet(&all) == triangle(n));
        emit(bench, n, workers, now() - start, (double)n * 10 / 9);
    } else if (strcmp(bench, "spawn_join") == 0) {
        CHECK(spawn_join(n / 10) == triangle(n / 10));
        start = now();
        CHECK(spawn_join(n) == triangle(n));
        emit(bench, n, workers, now() - start, (double)n);
    } else if (strcmp(bench, "spawn_many") == 0) {
        for (int pass = 0; pass < 2; pass++) {
            start = now();
            CHECK(spawn_many(n) == triangle(n));
            emit(pass == 0 ? "spawn_many_cold" : bench, n, workers, now() - start, (double)n);
        }
    } else if (strcmp(bench, "yield") == 0) {
        CHECK(yields(n, 100) == n * 100);
        start = now();
        CHECK(yields(n, 1000) == n * 1000);
        emit(bench, n, workers, now() - start, (double)n * 1000);
    } else if (strcmp(bench, "ping_pong") == 0) {
        CHECK(ping_pong(n / 10) == n / 10);
        start = now();
        CHECK(ping_pong(n) == n);
        emit(bench, n, workers, now() - start, (double)n);
    } else if (strcmp(bench, "mutex") == 0) {
        CHECK(mutexes(n, 100) == n * 100);
        start = now();
        CHECK(mutexes(n, 1000) == n * 1000);
        emit(bench, n, workers, now() - start, (double)n * 1000);
    } else {
        return 3;
    }
    fflush(stdout);
    myth_fini();
    return 0;
}

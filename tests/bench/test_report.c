/* SPDX-License-Identifier: Apache-2.0 */
/* weft/bench.h: workloads of one's own, what is refused, and what is written; choosing CPUs on machines that are described, not there. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <weft.h>
#include <weft/bench.h>

#include "bench/report/report.h"

static weft_bench *open_bench(unsigned rounds)
{
    weft_bench *b = NULL;
    assert_int_equal(weft_bench_open(&b, WEFT_BENCH_OPTIONS(.title = "a <title> & \"more\"", .label = "here",
                                                            .rounds = rounds, .workers = 3)),
                     0);
    return b;
}

/* ---- workloads ---- */

static atomic_int calls, most_workers;

struct sum {
    WEFT_FRAME;
    int to;      /* argument */
    int changed; /* each call has to get a new copy */
};
static int sum(struct sum *f)
{
    atomic_fetch_add(&calls, 1);
    int workers = (int)weft_runtime_workers(weft_runtime_current());
    if (workers > atomic_load(&most_workers))
        atomic_store(&most_workers, workers);
    if (f->changed++ != 0)
        return -EILSEQ;
    volatile int all = 0;
    for (int i = 1; i <= f->to; i++)
        all += i;
    return all == f->to * (f->to + 1) / 2 ? 0 : -EIO;
}
WEFT_CORO(sum);

struct wrong {
    WEFT_FRAME;
    int after;
};
static int wrong(struct wrong *f)
{
    return atomic_fetch_add(&calls, 1) < f->after ? 0 : -EBADMSG;
}
WEFT_CORO(wrong);

static void a_workload_becomes_figures(void **state)
{
    (void)state;
    weft_bench *b = open_bench(2);
    calls = most_workers = 0;
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(
        weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "sum", .operations = 100, .seconds = 0.01), sum, .to = 100), 0);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    assert_int_equal(most_workers, b->options.workers);
    const struct wb__figure *f = wb__find(b, "sum_workers");
    assert_non_null(f);
    int settings = 0, samples = 0;
    for (size_t i = 0; i < b->figures; i++) {
        for (size_t k = 0; k < b->figure[i]->rows * b->figure[i]->columns; k++) {
            const struct wb__samples *s = &b->figure[i]->cell[k];
            settings += s->n > 0;
            samples += (int)s->n;
            for (size_t n = 0; n < s->n; n++)
                assert_true(s->value[n] > 0 && s->round[n] < 2);
            assert_true(s->n == 0 || s->n >= 6); /* three times in each of two rounds */
        }
    }
    assert_true(settings >= 4);                   /* worker counts, and three policies */
    assert_true(calls >= samples + 2 * settings); /* and once at least to warm up */
    weft_bench_close(b);
}

static void sweeps_can_be_chosen(void **state)
{
    (void)state;
    weft_bench *b = open_bench(1);
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "only", .sweeps = WEFT_BENCH_PINS, .seconds = 0.001),
                                    sum, .to = 5),
                     0);
    assert_int_equal(b->figures, 1);
    assert_non_null(wb__find(b, "only_pins"));
    weft_bench_close(b);
}

static void a_wrong_answer_ends_it(void **state)
{
    (void)state;
    weft_bench *b = open_bench(1);
    calls = 0;
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "wrong", .seconds = 0.001), wrong, .after = 2),
                     -EBADMSG);
    assert_int_equal(calls, 3);
    weft_bench_close(b);
}

struct inside {
    WEFT_FRAME;
    weft_bench *b;
};
static int inside(struct inside *f)
{
    return weft_bench_run(f->b, WEFT_BENCH_WORKLOAD(.name = "inside"), sum, .to = 1);
}
WEFT_CORO(inside);

/* A workload is called as a function: what it would be parked for is nobody's to wait for. */
struct parks {
    WEFT_FRAME;
};
static int parks(struct parks *f)
{
    (void)f;
    atomic_fetch_add(&calls, 1);
    return weft_park_for(WEFT_MS(1));
}
WEFT_CORO(parks);

static void numbers_that_cannot_be_meant(void **state)
{
    (void)state;
    weft_bench *b = open_bench(1);
    const double strange[] = {-1, (double)NAN, (double)INFINITY, -(double)INFINITY, 1e300};
    calls = 0;
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "x", .seconds = strange[i]), sum, .to = 1),
                         -EINVAL);
        assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "x", .operations = strange[i]), sum, .to = 1),
                         -EINVAL);
    }
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "x", .sweeps = 16), sum, .to = 1), -EINVAL);
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "x", .sweeps = 17), sum, .to = 1), -EINVAL);
    assert_int_equal(weft_bench_run(b, NULL, sum, .to = 1), -EINVAL);
    assert_int_equal(calls, 0);
    assert_int_equal(b->figures, 0);
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "parks", .seconds = 0.001), parks), -EINVAL);
    assert_int_equal(calls, 1);
    /* As short as can be: each setting still has its samples. */
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "short", .seconds = 1e-12), sum, .to = 1), 0);
    assert_int_equal(weft_bench_write(b, NULL), -EINVAL);
    assert_int_equal(weft_bench_write(b, ""), -EINVAL);
    assert_int_equal(wb__may_write("no/such/folder/report"), -ENOENT);
    weft_bench_close(b);
}

/* CPUs that are taken away between two settings: the runtime has no place there, and says so. */
static void an_affinity_that_changes_meanwhile(void **state)
{
    (void)state;
    weft_bench *b = open_bench(1);
    cpu_set_t before;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    b->machine.cpu[0].cpu = CPU_SETSIZE - 1; /* not there any more, as far as we know */
    int rc = weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "gone", .seconds = 0.001), sum, .to = 1);
    assert_int_equal(rc, -EINVAL); /* the kernel's word for it */
    cpu_set_t after;
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    weft_bench_close(b);
}

static void what_is_refused(void **state)
{
    (void)state;
    weft_bench *b = NULL;
    assert_int_equal(weft_bench_open(&b, &(weft_bench_options){.size = 3}), -EINVAL);
    assert_int_equal(weft_bench_open(&b, WEFT_BENCH_OPTIONS(.rounds = 100000)), -EINVAL);
    b = open_bench(1);
    static const char *const names[] = {NULL, "", "a b", "a/b", "a\"b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = names[i]), sum, .to = 1), -EINVAL);
    assert_int_equal(weft_bench_run(b, &(weft_bench_workload){.name = "x"}, sum, .to = 1), -EINVAL);
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "x", .seconds = -1), sum, .to = 1), -EINVAL);
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "x", .seconds = 0.001), sum, .to = 1), 0);
    assert_int_equal(weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "x"), sum, .to = 1), -EINVAL);
    assert_int_equal(weft_run(inside, .b = b), -EBUSY);
    assert_int_equal(weft_bench_write(b, "no/such/folder/report"), -ENOENT);
    weft_bench_close(b);
    weft_bench_close(NULL);
}

/* ---- files ---- */

static char *whole(const char *path)
{
    char *text = calloc(1, 1 << 20);
    int fd = open(path, O_RDONLY);
    assert_true(text != NULL && fd >= 0);
    assert_true(read(fd, text, (1 << 20) - 1) > 0);
    close(fd);
    return text;
}

static void the_files_say_the_same(void **state)
{
    (void)state;
    char folder[] = "/tmp/weft-report-XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    weft_bench *b = open_bench(2);
    char *rows[] = {"</script><b>", "one"}, *columns[] = {"a,\"b\"", "two"};
    struct wb__figure *f = wb__figure(
        b, &(struct wb__text){.id = "own", .section = "own", .kind = "bars", .unit = "ns", .title = "@DATA@"}, 2, rows,
        2, columns);
    for (unsigned i = 0; i < 6; i++) {
        b->round = i / 3;
        wb__sample(b, f, 0, 0, 10 + i);
        wb__sample(b, f, 1, 1, 0.0 / (i == 0 ? 0.0 : 1.0) + 5); /* no number the first time */
    }
    wb__note(b, "noise", "a", "%d", 1);
    wb__note(b, "noise", "a", "%d", 1);
    (void)snprintf(path, sizeof path, "%s/r", folder);
    assert_int_equal(weft_bench_write(b, path), 0);

    (void)snprintf(path, sizeof path, "%s/r.json", folder);
    json_t *o = json_load_file(path, 0, NULL), *g;
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "title")), "a <title> & \"more\"");
    assert_int_equal(json_integer_value(json_object_get(o, "format_version")), 1);
    assert_string_equal(json_string_value(json_object_get(json_object_get(o, "machine"), "weft")), weft_version());
    assert_int_equal(json_array_size(json_object_get(json_object_get(o, "machine"), "cpus")), b->machine.cpus);
    size_t same = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(o, "notes")); i++)
        same += strcmp(json_string_value(json_object_get(json_array_get(json_object_get(o, "notes"), i), "what")),
                       "a") == 0;
    assert_int_equal(same, 1);
    g = json_array_get(json_object_get(o, "figures"), 0);
    assert_float_equal(json_number_value(json_array_get(json_array_get(json_object_get(g, "values"), 0), 0)), 12.5,
                       1e-6);
    assert_true(json_is_null(json_array_get(json_array_get(json_object_get(g, "values"), 0), 1)));
    json_t *samples = json_array_get(json_array_get(json_object_get(g, "samples"), 0), 0);
    assert_int_equal(json_array_size(samples), 2); /* rounds */
    assert_int_equal(json_array_size(json_array_get(samples, 1)), 3);
    json_decref(o);
    unlink(path);

    (void)snprintf(path, sizeof path, "%s/r.csv", folder);
    char *text = whole(path);
    assert_non_null(strstr(text, "\n\"own\",\"</script><b>\",\"a,\"\"b\"\"\",\"ns\",12.5,"));
    assert_null(strstr(text, "nan"));
    free(text);
    unlink(path);

    (void)snprintf(path, sizeof path, "%s/r.html", folder);
    text = whole(path);
    assert_null(strstr(text, "</script><b>")); /* data cannot leave its element */
    assert_non_null(strstr(text, "\\u003c/script>\\u003cb>") != NULL ? text : strstr(text, "\\u003c/script"));
    assert_non_null(strstr(text, "<title>a &lt;title> &amp; \"more\"</title>"));
    assert_non_null(strstr(text, "\"@DATA@\"")); /* what stands in the data is not a mark */
    for (const char *at = text; (at = strstr(at, "http")) != NULL; at++)
        assert_memory_equal(at, "http://www.w3.org/", 18); /* a name, not a place to load from */
    free(text);
    unlink(path);
    rmdir(folder);
    weft_bench_close(b);
}

/* ---- choosing CPUs ---- */

/* Two packages of a node and a cache each, four cores, two threads: numbered as hwloc orders them. */
static struct wb__machine described(struct wb__cpu cpu[16])
{
    for (int i = 0; i < 16; i++)
        cpu[i] = (struct wb__cpu){
            .cpu = i, .core = i / 2, .cache = i / 8, .node = i / 8, .package = i / 8, .smt = (unsigned)i % 2};
    return (struct wb__machine){.cpu = cpu, .cpus = 16, .cores = 8, .caches = 2, .packages = 2};
}

static void expect(const struct wb__machine *m, enum wb__spread spread, size_t n, const size_t expected[])
{
    size_t out[16];
    wb__choose(m, spread, n, out);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(out[i], expected[i]);
}

static void cpus_are_chosen(void **state)
{
    (void)state;
    struct wb__cpu cpu[16];
    struct wb__machine m = described(cpu);
    expect(&m, WB_SIBLINGS, 5, (size_t[]){0, 1, 2, 3, 4});
    expect(&m, WB_COMPACT, 5, (size_t[]){0, 2, 4, 6, 8});
    expect(&m, WB_CORES, 5, (size_t[]){0, 8, 2, 10, 4});
    expect(&m, WB_COMPACT, 10, (size_t[]){0, 2, 4, 6, 8, 10, 12, 14, 1, 3});
    size_t all[16];
    bool seen[16] = {false};
    wb__choose(&m, WB_CORES, 16, all);
    for (int i = 0; i < 16; i++)
        seen[all[i]] = true;
    for (int i = 0; i < 16; i++)
        assert_true(seen[i]);
}

/* As many CPUs as a runtime may have workers: a choice is made of them at once. */
static void many_cpus_are_chosen(void **state)
{
    (void)state;
    enum { MANY = 4096 };
    struct wb__machine m = {.cpu = calloc(MANY, sizeof *m.cpu), .cpus = MANY};
    size_t *out = calloc(MANY, sizeof *out), nodes[8] = {0};
    assert_true(m.cpu != NULL && out != NULL);
    for (int i = 0; i < MANY; i++)
        m.cpu[i] = (struct wb__cpu){
            .cpu = i, .core = i / 2, .cache = i / 64, .node = i / 512, .package = i / 1024, .smt = (unsigned)i % 2};
    wb__choose(&m, WB_CORES, 1024, out);
    for (size_t i = 0; i < 1024; i++) {
        assert_int_equal(m.cpu[out[i]].smt, 0);
        nodes[m.cpu[out[i]].node]++;
    }
    for (int i = 0; i < 8; i++)
        assert_int_equal(nodes[i], 128);
    free(m.cpu);
    free(out);
}

static void distances_are_told(void **state)
{
    (void)state;
    struct wb__cpu cpu[16];
    struct wb__machine m = described(cpu);
    assert_int_equal(wb__distance(&m.cpu[0], &m.cpu[1]), WEFT_NEAR_SMT);
    assert_int_equal(wb__distance(&m.cpu[0], &m.cpu[2]), WEFT_NEAR_CACHE);
    assert_int_equal(wb__distance(&m.cpu[0], &m.cpu[8]), WEFT_FAR);
    cpu[2].cache = 7;
    assert_int_equal(wb__distance(&m.cpu[0], &m.cpu[2]), WEFT_NEAR_NODE);
    cpu[2].node = 7;
    assert_int_equal(wb__distance(&m.cpu[0], &m.cpu[2]), WEFT_NEAR_PACKAGE);
    cpu[0] = cpu[1] = (struct wb__cpu){.core = -1, .cache = -1, .node = -1, .package = -1};
    assert_int_equal(wb__distance(&m.cpu[0], &m.cpu[1]), WEFT_FAR); /* nothing is known */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_workload_becomes_figures),   cmocka_unit_test(sweeps_can_be_chosen),
        cmocka_unit_test(a_wrong_answer_ends_it),       cmocka_unit_test(what_is_refused),
        cmocka_unit_test(numbers_that_cannot_be_meant), cmocka_unit_test(an_affinity_that_changes_meanwhile),
        cmocka_unit_test(the_files_say_the_same),       cmocka_unit_test(cpus_are_chosen),
        cmocka_unit_test(many_cpus_are_chosen),         cmocka_unit_test(distances_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

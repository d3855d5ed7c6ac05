/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan.c -- plans of many machines, read by the public way (weft/topology.h): the telling ones written out, and for thousands of described
 * ones what must hold of each.
 *
 * Machines are hwloc's synthetic descriptions, or files: those in tests/topologies, and if WEFT_TOPOLOGIES names a folder, the larger ones
 * there (tests/topologies/README.md tells where they come from). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <dirent.h>

#include <cmocka.h>
#include <weft.h>

#ifndef WEFT_TEST_DIR
#define WEFT_TEST_DIR "tests"
#endif

static char text[65536];

/* Numbers as "0,4-7,8-14:2" (first-last:step), from the worker order. */
static const char *sequence(const int *numbers, unsigned n)
{
    size_t at = 0;
    text[0] = '\0';
    for (unsigned i = 0, end; i < n; i = end) {
        end = i + 1;
        int step = end < n ? numbers[end] - numbers[i] : 0;
        while (step > 0 && end < n && numbers[end] - numbers[end - 1] == step)
            end++;
        if (end - i < 4)
            end = i + 1;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%d", i != 0 ? "," : "", numbers[i]);
        if (end - i > 1)
            at += (size_t)snprintf(text + at, sizeof text - at, step > 1 ? "-%d:%d" : "-%d", numbers[end - 1], step);
    }
    return text;
}

/* Numbers as "0x4 1x4", from the worker order. */
static const char *repeats(const int *numbers, unsigned n)
{
    size_t at = 0;
    text[0] = '\0';
    for (unsigned i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && numbers[end] == numbers[i];)
            end++;
        at += (size_t)snprintf(text + at, sizeof text - at, end - i > 1 ? "%s%dx%u" : "%s%d", i != 0 ? " " : "",
                               numbers[i], end - i);
    }
    return text;
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Whom a worker asks, as "smt 4; cache 1-3,5-7; far 8-15". */
static const char *asks(const weft_plan *plan, unsigned worker, unsigned workers)
{
    static const char *const names[] = {"smt", "cache", "node", "package", "far"};
    size_t at = 0;
    text[0] = '\0';
    for (unsigned k = 0, end; k + 1 < workers; k = end) {
        static int tier[WEFT_MAX_WORKERS];
        weft_plan_victim first = {.size = sizeof first}, v = first;
        assert_int_equal(weft_plan_read_victim(plan, worker, k, &first), 0);
        for (end = k; end + 1 < workers; end++) {
            v.size = sizeof v;
            assert_int_equal(weft_plan_read_victim(plan, worker, end, &v), 0);
            if (v.tier != first.tier)
                break;
            tier[end - k] = (int)v.worker;
        }
        qsort(tier, end - k, sizeof *tier, compare);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s ", k != 0 ? "; " : "", names[first.distance]);
        for (unsigned i = 0, e; i < end - k; i = e) {
            for (e = i + 1; e < end - k && tier[e] == tier[e - 1] + 1;)
                e++;
            at += (size_t)snprintf(text + at, sizeof text - at, e - i > 1 ? "%s%d-%d" : "%s%d", i != 0 ? "," : "",
                                   tier[i], tier[e - 1]);
        }
    }
    return text;
}

/* ---- what holds of every plan ------------------------------------------------------------------------------------ */

static void check(const weft_plan *plan)
{
    weft_plan_info info = {.size = sizeof info};
    assert_int_equal(weft_plan_read(plan, &info), 0);
    assert_in_range(info.workers, 1, WEFT_MAX_WORKERS);
    assert_in_range(info.pin, WEFT_PIN_NONE, WEFT_PIN_CORE);
    unsigned homes = 0, wrong = 0;
    for (unsigned i = 0; i < info.nodes; i++) {
        weft_plan_node node = {.size = sizeof node};
        assert_int_equal(weft_plan_read_node(plan, i, &node), 0);
        homes += node.workers;
    }
    for (unsigned i = 0; i < info.workers; i++) {
        static bool seen[WEFT_MAX_WORKERS];
        weft_plan_worker w = {.size = sizeof w};
        assert_int_equal(weft_plan_read_worker(plan, i, &w), 0);
        homes -= w.node >= 0;
        wrong += w.cpus == 0 || w.cpus > info.allowed || (info.pin == WEFT_PIN_CORE) != (w.cpu >= 0);
        memset(seen, 0, sizeof seen);
        seen[i] = true;
        unsigned tier = 0, distance = 0;
        for (unsigned k = 0; k + 1 < info.workers; k++) {
            weft_plan_victim v = {.size = sizeof v};
            wrong += weft_plan_read_victim(plan, i, k, &v) != 0 || v.worker >= info.workers || seen[v.worker];
            wrong += v.tier < tier || v.tier > tier + 1 || v.distance < distance;
            seen[v.worker] = true;
            tier = v.tier;
            distance = v.distance;
        }
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(homes, 0);
}

static weft_plan *make(const char *machine, const weft_options *options)
{
    bool file = strstr(machine, ".xml") != NULL;
    char path[4096];
    const char *larger = getenv("WEFT_TOPOLOGIES");
    snprintf(path, sizeof path, "%s/topologies/%s", WEFT_TEST_DIR, machine);
    if (file && access(path, R_OK) != 0)
        snprintf(path, sizeof path, "%s/%s", larger != NULL ? larger : "", machine);
    if (file && access(path, R_OK) != 0)
        return NULL;
    setenv(file ? "HWLOC_XMLFILE" : "HWLOC_SYNTHETIC", file ? path : machine, 1);
    weft_plan *plan = NULL;
    int rc = weft_plan_create(&plan, options);
    unsetenv(file ? "HWLOC_XMLFILE" : "HWLOC_SYNTHETIC");
    assert_int_equal(rc, 0);
    check(plan);
    return plan;
}

/* ---- written out -------------------------------------------------------------------------------------------------- */

struct expected {
    const char *machine; /* a description, or a file */
    unsigned workers, spread;
    const char *cpus, *nodes; /* of the workers, each pinned to one CPU */
    unsigned who;
    const char *asks; /* whom that worker asks */
};

static const struct expected table[] = {
#include "plans.inc"
};

static void telling_machines(void **state)
{
    (void)state;
    unsigned left_out = 0, failures = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct expected *e = &table[i];
        static int cpus[WEFT_MAX_WORKERS], nodes[WEFT_MAX_WORKERS];
        weft_plan *plan =
            make(e->machine, WEFT_OPTIONS(.workers = e->workers, .pin = WEFT_PIN_CORE, .spread = e->spread));
        if (plan == NULL) {
            left_out++;
            continue;
        }
        weft_plan_info info = {.size = sizeof info};
        assert_int_equal(weft_plan_read(plan, &info), 0);
        for (unsigned k = 0; k < info.workers; k++) {
            weft_plan_worker w = {.size = sizeof w};
            assert_int_equal(weft_plan_read_worker(plan, k, &w), 0);
            cpus[k] = w.cpu;
            nodes[k] = w.node;
        }
        const struct {
            const char *what, *is, *wanted;
        } pairs[] = {{"CPUs", strdup(sequence(cpus, info.workers)), e->cpus},
                     {"nodes", strdup(repeats(nodes, info.workers)), e->nodes},
                     {"asks", strdup(asks(plan, e->who, info.workers)), e->asks}};
        for (size_t k = 0; k < 3; k++) {
            if (strcmp(pairs[k].is, pairs[k].wanted) != 0) {
                printf("%s, %u workers: %s:\n  %s\nnot\n  %s\n", e->machine, e->workers, pairs[k].what, pairs[k].is,
                       pairs[k].wanted);
                failures++;
            }
            free((char *)pairs[k].is);
        }
        weft_plan_release(plan);
    }
    if (left_out != 0)
        printf("%u plans of larger files left out: WEFT_TOPOLOGIES names no folder that has them\n", left_out);
    assert_int_equal(failures, 0);
    assert_true(sizeof table / sizeof *table - left_out >= 20);
}

/* Every file there is, with every way to pin. */
static void every_file(void **state)
{
    (void)state;
    const char *folders[] = {WEFT_TEST_DIR "/topologies", getenv("WEFT_TOPOLOGIES")};
    unsigned files = 0;
    for (int f = 0; f < 2; f++) {
        DIR *folder = folders[f] != NULL ? opendir(folders[f]) : NULL;
        for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
            if (strstr(entry->d_name, ".xml") == NULL)
                continue;
            files++;
            for (unsigned pin = WEFT_PIN_DEFAULT; pin <= WEFT_PIN_CORE; pin++)
                for (unsigned workers = 0; workers < 6; workers++)
                    weft_plan_release(make(
                        entry->d_name, WEFT_OPTIONS(.workers = workers * workers, .pin = pin, .spread = workers & 1)));
        }
        if (folder != NULL)
            closedir(folder);
    }
    assert_true(files >= 16);
}

/* ---- what holds of regular machines ------------------------------------------------------------------------------ */

struct machine {
    unsigned packages, nodes, caches, cores, threads; /* of each: nodes in a package, and so on */
};

static void check_regular(const struct machine *m, unsigned workers, unsigned spread)
{
    char description[128];
    snprintf(description, sizeof description, "pack:%u numa:%u l3:%u core:%u pu:%u", m->packages, m->nodes, m->caches,
             m->cores, m->threads);
    weft_plan *plan = make(description, WEFT_OPTIONS(.workers = workers, .pin = WEFT_PIN_CORE, .spread = spread));
    unsigned nodes = m->packages * m->nodes, per_node = m->caches * m->cores, cores = nodes * per_node;
    unsigned cpus = cores * m->threads, on_core[4096] = {0}, on_node[64] = {0}, wrong = 0;
    for (unsigned i = 0; i < workers; i++) {
        weft_plan_worker w = {.size = sizeof w};
        assert_int_equal(weft_plan_read_worker(plan, i, &w), 0);
        on_core[(unsigned)w.cpu / m->threads]++;
        on_node[(unsigned)w.node]++;
        wrong += (unsigned)w.cpu / m->threads / per_node != (unsigned)w.node;
    }
    assert_int_equal(wrong, 0);
    unsigned most = 0, least = UINT32_MAX, used = 0, node_most = 0, node_least = UINT32_MAX;
    for (unsigned i = 0; i < cores; i++) {
        most = on_core[i] > most ? on_core[i] : most;
        least = on_core[i] < least ? on_core[i] : least;
    }
    for (unsigned i = 0; i < nodes; i++) {
        node_most = on_node[i] > node_most ? on_node[i] : node_most;
        node_least = on_node[i] < node_least ? on_node[i] : node_least;
        used += on_node[i] != 0;
    }
    assert_true(most - least <= 1 || workers > cpus); /* one for each core before a second for any */
    if (spread == WEFT_SPREAD_EVENLY && workers <= cpus)
        assert_true(node_most - node_least <= 1);
    if (spread == WEFT_SPREAD_COMPACT && workers <= cores)
        assert_int_equal(used, (workers + per_node - 1) / per_node);
    weft_plan_release(plan);
}

static void regular_machines(void **state)
{
    (void)state;
    uint64_t random = 20240229;
    for (int round = 0; round < 150; round++) {
        struct machine m;
        unsigned *part[] = {&m.packages, &m.nodes, &m.caches, &m.cores, &m.threads};
        for (int i = 0; i < 5; i++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            *part[i] = 1 + (unsigned)(random >> 40) % (i == 4 ? 2 : i == 3 ? 6 : 3);
        }
        unsigned cpus = m.packages * m.nodes * m.caches * m.cores * m.threads;
        for (unsigned spread = 0; spread < 2; spread++) {
            check_regular(&m, 1 + (unsigned)(random >> 33) % cpus, spread);
            check_regular(&m, cpus, spread);
            check_regular(&m, cpus + 1, spread);
        }
    }
}

/* ---- lists of CPUs, reading, text -------------------------------------------------------------------------------- */

static void lists_of_cpus(void **state)
{
    (void)state;
    const char *machine = "pack:2 [numa] l3:1 core:4 pu:2";
    const int listed[] = {9, 2, 3, 2};
    weft_plan *plan = make(machine, WEFT_OPTIONS(.cpus = listed, .cpu_count = 4));
    weft_plan_info info = {.size = sizeof info};
    assert_int_equal(weft_plan_read(plan, &info), 0);
    assert_int_equal(info.workers, 4);
    assert_int_equal(info.pin, WEFT_PIN_CORE);
    for (unsigned i = 0; i < 4; i++) {
        weft_plan_worker w = {.size = sizeof w};
        assert_int_equal(weft_plan_read_worker(plan, i, &w), 0);
        assert_int_equal(w.cpu, listed[i]);
        assert_int_equal(w.node, listed[i] / 8);
    }
    assert_string_equal(asks(plan, 1, 4), "smt 2-3; far 0");
    weft_plan_release(plan);
    plan = make(machine, WEFT_OPTIONS(.cpus = listed, .cpu_count = 4, .workers = 6, .pin = WEFT_PIN_NODE));
    int cpus[8];
    assert_int_equal(weft_plan_cpus(plan, 0, cpus, 8), 1);
    assert_int_equal(cpus[0], 9);
    assert_int_equal(weft_plan_cpus(plan, 5, cpus, 8), 2); /* the second one again, widened to those of its node */
    assert_true(cpus[0] == 2 && cpus[1] == 3);
    assert_int_equal(weft_plan_cpus(plan, 6, cpus, 8), -EINVAL);
    weft_plan_release(plan);
    setenv("HWLOC_SYNTHETIC", machine, 1);
    plan = NULL;
    const int missing[] = {0, 16}, *none = NULL;
    assert_int_equal(weft_plan_create(&plan, WEFT_OPTIONS(.cpus = missing, .cpu_count = 2)), -EINVAL);
    assert_int_equal(weft_plan_create(&plan, WEFT_OPTIONS(.cpus = listed, .cpu_count = 0)), -EINVAL);
    assert_int_equal(weft_plan_create(&plan, WEFT_OPTIONS(.cpus = none, .cpu_count = 1)), -EINVAL);
    assert_int_equal(weft_plan_create(&plan, WEFT_OPTIONS(.cpus = listed, .cpu_count = 4, .pin = WEFT_PIN_NONE)),
                     -EINVAL);
    assert_int_equal(weft_plan_create(&plan, WEFT_OPTIONS(.spread = 2)), -EINVAL);
    unsetenv("HWLOC_SYNTHETIC");
    assert_null(plan);
}

static void reading_what_is_not_there(void **state)
{
    (void)state;
    weft_plan *plan = make("pack:2 [numa] core:2 pu:1", WEFT_OPTIONS(.workers = 3));
    weft_plan_worker w = {.size = sizeof w};
    weft_plan_node node = {.size = sizeof node};
    weft_plan_victim v = {.size = sizeof v};
    weft_plan_info info = {.size = 0};
    assert_int_equal(weft_plan_read(plan, &info), -EINVAL);
    assert_int_equal(weft_plan_read_worker(plan, 3, &w), -EINVAL);
    assert_int_equal(weft_plan_read_node(plan, 2, &node), -EINVAL);
    assert_int_equal(weft_plan_read_victim(plan, 0, 2, &v), -EINVAL);
    assert_int_equal(weft_plan_latency(plan, 0, 2), 0);
    info = (weft_plan_info){.size = offsetof(weft_plan_info, spread), .spread = 77}; /* an older program's */
    assert_int_equal(weft_plan_read(plan, &info), 0);
    assert_int_equal(info.workers, 3);
    assert_int_equal(info.spread, 77);
    weft_plan_release(plan);
    weft_plan_release(NULL);
}

static const char *printed(const weft_plan *plan, int (*print)(const weft_plan *, int))
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(print(plan, fileno(file)), 0);
    rewind(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

static void as_text_and_json(void **state)
{
    (void)state;
    weft_plan *plan =
        make("pack:2 [numa(memory=1073741824)] l3:1 core:2 pu:2", WEFT_OPTIONS(.workers = 5, .pin = WEFT_PIN_CORE));
    assert_string_equal(
        printed(plan, weft_plan_print),
        "machine: 8 CPUs, 4 cores, 2 shared caches, 2 packages, 2 NUMA nodes (described, not this machine)\n"
        "plan: 5 workers, each pinned to a CPU, spread evenly\n"
        "node 0: 4 CPUs, 1024 MiB, home of 3 workers\n"
        "node 1: 4 CPUs, 1024 MiB, home of 2 workers\n"
        "worker 0: CPU 0, node 0; asks smt 4, then cache 1, then far 2-3\n"
        "worker 1: CPU 2, node 0; asks cache 0,4, then far 2-3\n"
        "worker 2: CPU 4, node 1; asks cache 3, then far 0-1,4\n"
        "worker 3: CPU 6, node 1; asks cache 2, then far 0-1,4\n"
        "worker 4: CPU 1, node 0; asks smt 0, then cache 1, then far 2-3\n");
    assert_string_equal(
        printed(plan, weft_plan_print_json),
        "{\"plan\":1,\"workers\":5,\"pin\":\"core\",\"spread\":\"evenly\",\"this_machine\":false,\"allowed_cpus\":8,"
        "\"quota\":0.000,\"cores\":4,\"kinds\":1,\"shared_caches\":2,\"packages\":2,\n\"nodes\":[\n"
        "{\"node\":0,\"cpus\":4,\"memory\":1073741824,\"workers\":3,\"latency\":[0,0]},\n"
        "{\"node\":1,\"cpus\":4,\"memory\":1073741824,\"workers\":2,\"latency\":[0,0]}],\n\"worker\":[\n"
        "{\"worker\":0,\"pinned\":true,\"cpus\":\"0\",\"cpu\":0,\"node\":0,\"core\":0,\"cache\":0,\"package\":0,"
        "\"kind\":0,"
        "\"smt\":0,\"asks\":[{\"distance\":\"smt\",\"workers\":\"4\"},{\"distance\":\"cache\",\"workers\":\"1\"},"
        "{\"distance\":\"far\",\"workers\":\"2-3\"}]},\n"
        "{\"worker\":1,\"pinned\":true,\"cpus\":\"2\",\"cpu\":2,\"node\":0,\"core\":1,\"cache\":0,\"package\":0,"
        "\"kind\":0,"
        "\"smt\":0,\"asks\":[{\"distance\":\"cache\",\"workers\":\"0,4\"},{\"distance\":\"far\",\"workers\":\"2-3\"}]},"
        "\n"
        "{\"worker\":2,\"pinned\":true,\"cpus\":\"4\",\"cpu\":4,\"node\":1,\"core\":2,\"cache\":2,\"package\":1,"
        "\"kind\":0,"
        "\"smt\":0,\"asks\":[{\"distance\":\"cache\",\"workers\":\"3\"},{\"distance\":\"far\",\"workers\":\"0-1,4\"}]},"
        "\n"
        "{\"worker\":3,\"pinned\":true,\"cpus\":\"6\",\"cpu\":6,\"node\":1,\"core\":3,\"cache\":2,\"package\":1,"
        "\"kind\":0,"
        "\"smt\":0,\"asks\":[{\"distance\":\"cache\",\"workers\":\"2\"},{\"distance\":\"far\",\"workers\":\"0-1,4\"}]},"
        "\n"
        "{\"worker\":4,\"pinned\":true,\"cpus\":\"1\",\"cpu\":1,\"node\":0,\"core\":0,\"cache\":0,\"package\":0,"
        "\"kind\":0,"
        "\"smt\":1,\"asks\":[{\"distance\":\"smt\",\"workers\":\"0\"},{\"distance\":\"cache\",\"workers\":\"1\"},"
        "{\"distance\":\"far\",\"workers\":\"2-3\"}]}]}\n");
    weft_plan_release(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(telling_machines),          cmocka_unit_test(every_file),
        cmocka_unit_test(regular_machines),          cmocka_unit_test(lists_of_cpus),
        cmocka_unit_test(reading_what_is_not_there), cmocka_unit_test(as_text_and_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles, intervals by resampling, and domains in matrices whose answers are known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/report/cluster.h"
#include "bench/report/stats.h"

static uint64_t seed = 88172645463325252;
static double uniform(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed >> 11) / 9007199254740992.0;
}

/* The sum of twelve: near enough to a normal distribution of that mean and width. */
static double normal(double mean, double width)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += uniform();
    return mean + width * sum;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9 * (1 + fabs(b));
}

/* ---- quantiles ---- */

static void quantiles_of_known_values(void **state)
{
    (void)state;
    double v[101];
    for (int i = 0; i <= 100; i++)
        v[i] = i;
    assert_true(near(wb__quantile(v, 101, 0), 0));
    assert_true(near(wb__quantile(v, 101, 0.5), 50));
    assert_true(near(wb__quantile(v, 101, 0.99), 99));
    assert_true(near(wb__quantile(v, 101, 1), 100));
    assert_true(near(wb__quantile((double[]){1, 2}, 2, 0.25), 1.25));
    assert_true(near(wb__quantile((double[]){7}, 1, 0.9), 7));
    assert_true(isnan(wb__quantile(v, 0, 0.5)));
}

static void medians_by_selection_are_those_by_sorting(void **state)
{
    (void)state;
    for (size_t n = 1; n < 60; n++) {
        for (int turn = 0; turn < 50; turn++) {
            double v[60], sorted[60];
            for (size_t i = 0; i < n; i++)
                v[i] = turn % 2 ? floor(uniform() * 5) : uniform(); /* also with many equal ones */
            memcpy(sorted, v, sizeof v);
            wb__sort(sorted, n);
            double expected = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
            assert_true(near(wb__median(v, n), expected));
        }
    }
    assert_true(isnan(wb__median(NULL, 0)));
}

/* ---- intervals ---- */

enum { MOST = 64 };
struct held {
    double value[MOST];
    uint16_t round[MOST];
};

static struct wb__samples draw(struct held *h, size_t rounds, size_t each, double mean, double width, double between)
{
    size_t n = 0;
    for (size_t r = 0; r < rounds; r++) {
        double shift = normal(0, between);
        for (size_t i = 0; i < each; i++, n++) {
            h->value[n] = normal(mean, width) + shift;
            h->round[n] = (uint16_t)r;
        }
    }
    return (struct wb__samples){h->value, h->round, n};
}

/* Of 95 % intervals about as many hold the true value; resampling few values is known to fall somewhat short. */
static void intervals_hold_the_true_median(void **state)
{
    (void)state;
    int held = 0, narrow = 0;
    enum { TIMES = 200 };
    for (int i = 0; i < TIMES; i++) {
        struct held h;
        struct wb__samples s = draw(&h, 1, 30, 100, 5, 0);
        struct wb__interval e = wb__estimate(&s, 0.95);
        assert_true(e.low <= e.value && e.value <= e.high);
        held += e.low <= 100 && 100 <= e.high;
        narrow += e.high - e.low < 8;
    }
    assert_in_range(held, TIMES * 87 / 100, TIMES);
    assert_in_range(narrow, TIMES * 90 / 100, TIMES);
}

/* What differs between rounds is in the interval: by samples alone it would be far too narrow. */
static void rounds_that_differ_widen_the_interval(void **state)
{
    (void)state;
    struct held h;
    for (int i = 0; i < 30; i++) {
        h.value[i] = (i / 10 == 0 ? 100 : i / 10 == 1 ? 110 : 120) + 0.1 * (i % 10);
        h.round[i] = (uint16_t)(i / 10);
    }
    struct wb__samples s = {h.value, h.round, 30};
    struct wb__interval by_rounds = wb__estimate(&s, 0.95);
    assert_true(by_rounds.low < 102 && by_rounds.high > 119);
    memset(h.round, 0, sizeof h.round);
    struct wb__interval as_one = wb__estimate(&s, 0.95);
    assert_true(as_one.high - as_one.low < by_rounds.high - by_rounds.low);
}

static void the_same_samples_give_the_same_interval(void **state)
{
    (void)state;
    struct held h;
    struct wb__samples s = draw(&h, 3, 12, 50, 5, 1);
    struct wb__interval a = wb__estimate(&s, 0.95), b = wb__estimate(&s, 0.95);
    assert_true(a.low == b.low && a.high == b.high); /* NOLINT: exactly */
    struct wb__interval wide = wb__estimate(&s, 0.999);
    assert_true(wide.low <= a.low && wide.high >= a.high);
}

static void ratios_tell_a_difference_from_none(void **state)
{
    (void)state;
    int false_alarms = 0, missed = 0;
    enum { TIMES = 100 };
    for (int i = 0; i < TIMES; i++) {
        struct held ha, hb, hc;
        struct wb__samples a = draw(&ha, 3, 12, 100, 4, 0.5), b = draw(&hb, 3, 12, 100, 4, 0.5),
                           c = draw(&hc, 3, 12, 120, 4, 0.5);
        struct wb__interval same = wb__ratio(&a, &b, 0.95), more = wb__ratio(&a, &c, 0.95);
        false_alarms += same.low > 1 || same.high < 1;
        missed += more.low <= 1;
        assert_true(more.value > 1.1 && more.value < 1.3);
    }
    assert_in_range(false_alarms, 0, TIMES * 12 / 100);
    assert_int_equal(missed, 0);
}

static void few_samples_are_no_trouble(void **state)
{
    (void)state;
    struct held h = {.value = {3}};
    struct wb__samples none = {h.value, h.round, 0}, one = {h.value, h.round, 1};
    assert_true(isnan(wb__estimate(&none, 0.95).value));
    assert_true(isnan(wb__ratio(&one, &none, 0.95).value));
    struct wb__interval e = wb__estimate(&one, 0.95);
    assert_true(near(e.value, 3) && near(e.low, 3) && near(e.high, 3));
}

/* ---- domains ---- */

enum { CPUS = 32 };

/* 32 CPUs as two sockets of two caches each, cores of two threads; every latency with some noise. */
static void two_sockets(double m[CPUS * CPUS], double noise)
{
    for (int i = 0; i < CPUS; i++) {
        for (int j = 0; j < CPUS; j++) {
            double ns = i / 16 != j / 16 ? 130 : i / 8 != j / 8 ? 85 : i / 2 != j / 2 ? 40 : 12;
            m[i * CPUS + j] = i == j ? NAN : ns * (1 + noise * fabs(normal(0, 1)));
        }
    }
}

static void expect_groups_of(const struct wb__level *level, int size)
{
    unsigned expected[CPUS];
    for (int i = 0; i < CPUS; i++)
        expected[i] = (unsigned)(i / size);
    assert_int_equal(level->groups, CPUS / size);
    assert_true(wb__same_groups(level->group, expected, CPUS));
}

static void two_sockets_are_found(void **state)
{
    (void)state;
    double m[CPUS * CPUS];
    for (double noise = 0; noise < 0.045; noise += 0.02) {
        two_sockets(m, noise);
        struct wb__level level[WB_LEVELS];
        size_t n = wb__levels(m, CPUS, level);
        assert_int_equal(n, 3);
        expect_groups_of(&level[0], 2);
        expect_groups_of(&level[1], 8);
        expect_groups_of(&level[2], 16);
        assert_true(level[2].beyond > 125 && level[2].within < 125);
        wb__levels_free(level, n);
    }
}

/* A pair that was disturbed, a pair that was lucky, cells that were not measured. */
static void strays_and_holes_change_nothing(void **state)
{
    (void)state;
    double m[CPUS * CPUS];
    two_sockets(m, 0.02);
    m[0 * CPUS + 5] = m[5 * CPUS + 0] = 900;
    m[3 * CPUS + 30] = m[30 * CPUS + 3] = 14;
    for (int i = 0; i < CPUS * CPUS; i += 7)
        m[i] = NAN; /* the other direction is still there, mostly */
    struct wb__level level[WB_LEVELS];
    size_t n = wb__levels(m, CPUS, level);
    assert_int_equal(n, 3);
    expect_groups_of(&level[2], 16);
    wb__levels_free(level, n);
}

/* CPUs are numbered in turn over the sockets, as many machines do it. */
static void scattered_numbers_are_found(void **state)
{
    (void)state;
    double m[16 * 16];
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 16; j++)
            m[i * 16 + j] = i == j ? NAN : i % 2 == j % 2 ? normal(50, 1) : normal(120, 2);
    }
    struct wb__level level[WB_LEVELS];
    size_t n = wb__levels(m, 16, level);
    assert_int_equal(n, 1);
    assert_int_equal(level[0].groups, 2);
    assert_true(level[0].group[0] == level[0].group[14] && level[0].group[0] != level[0].group[15]);
    wb__levels_free(level, n);
}

static void noise_has_no_domains(void **state)
{
    (void)state;
    for (int turn = 0; turn < 50; turn++) {
        double m[12 * 12];
        for (int i = 0; i < 144; i++)
            m[i] = i % 13 == 0 ? NAN : 100 * exp(normal(0, turn % 2 ? 0.3 : 0.05));
        struct wb__level level[WB_LEVELS];
        size_t n = wb__levels(m, 12, level);
        assert_int_equal(n, 0);
    }
}

static void small_matrices_have_no_domains(void **state)
{
    (void)state;
    struct wb__level level[WB_LEVELS];
    double m[4] = {NAN, 10, 20, NAN};
    assert_int_equal(wb__levels(m, 0, level), 0);
    assert_int_equal(wb__levels(m, 1, level), 0);
    assert_int_equal(wb__levels(m, 2, level), 0);
    double unknown[9] = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    assert_int_equal(wb__levels(unknown, 3, level), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_of_known_values),
        cmocka_unit_test(medians_by_selection_are_those_by_sorting),
        cmocka_unit_test(intervals_hold_the_true_median),
        cmocka_unit_test(rounds_that_differ_widen_the_interval),
        cmocka_unit_test(the_same_samples_give_the_same_interval),
        cmocka_unit_test(ratios_tell_a_difference_from_none),
        cmocka_unit_test(few_samples_are_no_trouble),
        cmocka_unit_test(two_sockets_are_found),
        cmocka_unit_test(strays_and_holes_change_nothing),
        cmocka_unit_test(scattered_numbers_are_found),
        cmocka_unit_test(noise_has_no_domains),
        cmocka_unit_test(small_matrices_have_no_domains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

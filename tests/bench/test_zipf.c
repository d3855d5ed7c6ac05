/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks that weft-load resp draws: the table holds the law, and the frequencies of a seeded run are those of the law. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/load/zipf.h"

static double *law(uint32_t n, double s)
{
    double *p = calloc(n, sizeof *p), sum = 0;
    assert_non_null(p);
    for (uint32_t k = 0; k < n; k++)
        sum += pow(k + 1.0, -s);
    for (uint32_t k = 0; k < n; k++)
        p[k] = pow(k + 1.0, -s) / sum;
    return p;
}

static const struct {
    uint32_t n;
    double s;
} cases[] = {{1, 1},      {2, 0},    {2, 1},      {3, 5},         {1000, 0},
             {1000, 0.5}, {1000, 1}, {1000, 1.2}, {100000, 0.99}, {100000, 1}};

/* What the columns give each rank, added up, is its probability. */
static void the_table_is_the_law(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t n = cases[i].n;
        struct zipf z;
        assert_true(zipf_make(&z, n, cases[i].s));
        double *p = law(n, cases[i].s), *share = calloc(n, sizeof *share);
        for (uint32_t k = 0; k < n; k++) {
            assert_true(z.column[k].other < n);
            share[k] += z.column[k].keep * 0x1p-32 / n;
            share[z.column[k].other] += (1 - z.column[k].keep * 0x1p-32) / n;
        }
        for (uint32_t k = 0; k < n; k++)
            assert_true(fabs(share[k] - p[k]) < 1e-9);
        free(share);
        free(p);
        zipf_free(&z);
    }
}

/* Pearson's sum over the ranks of which 20 or more are to be expected: within five of its standard deviations of its mean. */
static void the_frequencies_are_the_law(void **state)
{
    (void)state;
    enum { DRAWS = 2000000 };
    for (size_t i = 1; i < sizeof cases / sizeof *cases; i++) {
        uint32_t n = cases[i].n;
        struct zipf z;
        assert_true(zipf_make(&z, n, cases[i].s));
        double *p = law(n, cases[i].s), sum = 0, cells = 0, rest = 1, rest_seen = DRAWS;
        uint32_t *seen = calloc(n, sizeof *seen);
        uint64_t random = 20 + i;
        for (int d = 0; d < DRAWS; d++) {
            uint32_t k = zipf_draw(&z, random_bits(&random));
            assert_true(k < n);
            seen[k]++;
        }
        for (uint32_t k = 0; k < n; k++)
            if (p[k] * DRAWS >= 20) {
                sum += pow(seen[k] - p[k] * DRAWS, 2) / (p[k] * DRAWS);
                cells++;
                rest -= p[k];
                rest_seen -= seen[k];
            }
        if (rest * DRAWS >= 20) { /* all the rare ones together */
            sum += pow(rest_seen - rest * DRAWS, 2) / (rest * DRAWS);
            cells++;
        }
        assert_true(cells >= 2);
        assert_true(fabs(sum - (cells - 1)) <= 5 * sqrt(2 * (cells - 1)));
        free(seen);
        free(p);
        zipf_free(&z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_the_law),
        cmocka_unit_test(the_frequencies_are_the_law),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

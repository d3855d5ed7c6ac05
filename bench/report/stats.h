/* SPDX-License-Identifier: Apache-2.0 */
/* bench/report/stats.h -- what is made of samples: quantiles, and intervals by resampling them.
 *
 * Samples are kept with the round of the measurement in which they were taken. Rounds lie minutes apart, samples of one round milliseconds:
 * so rounds are drawn first, then samples within each drawn round, and what changed between rounds widens the interval as it
 * should. The same samples always give the same interval (the generator starts from a constant). Plain functions, any thread. */
#ifndef BENCH_REPORT_STATS_H
#define BENCH_REPORT_STATS_H

#include <stddef.h>
#include <stdint.h>

struct wb__samples {
    double *value;
    uint16_t *round; /* of each value; ascending */
    size_t n;
};

struct wb__interval {
    double value, low, high; /* NAN when there are no samples */
};

/* The value below which the share p of n ascending values lies, between neighbours in proportion. NAN for none. */
double wb__quantile(const double sorted[], size_t n, double p);
void wb__sort(double values[], size_t n);
/* NAN for none. Leaves the values as they are, as the next ones do. */
double wb__median(const double values[], size_t n);

/* The median, and the interval in which it lies with the probability `level` (0.95). One sample: no width. */
struct wb__interval wb__estimate(const struct wb__samples *s, double level);
/* The ratio of the medians, b / a. */
struct wb__interval wb__ratio(const struct wb__samples *a, const struct wb__samples *b, double level);

#endif

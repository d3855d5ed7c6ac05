/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles, and the bootstrap in two steps (rounds, then samples). Nothing is shared; any thread. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DRAWS = 2000,       /* for an interval at 95 % */
    MOST_DRAWS = 40000, /* for one far out in the tails */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void wb__sort(double values[], size_t n)
{
    if (n > 1)
        qsort(values, n, sizeof *values, by_value);
}

double wb__quantile(const double sorted[], size_t n, double p)
{
    if (n == 0)
        return NAN;
    double at = p * (double)(n - 1);
    size_t i = at <= 0 ? 0 : (size_t)at;
    if (i + 1 >= n)
        return sorted[n - 1];
    return sorted[i] + (sorted[i + 1] - sorted[i]) * (at - (double)i);
}

/* The median of values that may be put into another order: by selection, since it is wanted thousands of times. */
static double select_median(double v[], size_t n)
{
    size_t k = n / 2, low = 0, high = n - 1;
    while (low < high) {
        double pivot = v[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i >= j)
                break;
            double t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        /* v[low..j] <= pivot <= v[j+1..high], and j < high */
        if (k <= j)
            high = j;
        else
            low = j + 1;
    }
    double upper = v[k];
    if (n % 2 != 0)
        return upper;
    double lower = v[0];
    for (size_t i = 1; i < k; i++)
        lower = v[i] > lower ? v[i] : lower;
    return (lower + upper) / 2;
}

double wb__median(const double values[], size_t n)
{
    if (n == 0)
        return NAN;
    double *copy = malloc(n * sizeof *copy);
    if (copy == NULL)
        return NAN;
    memcpy(copy, values, n * sizeof *copy);
    double m = select_median(copy, n);
    free(copy);
    return m;
}

/* ---- drawing ---- */

struct draw {
    uint64_t state;
    const struct wb__samples *s;
    size_t rounds, *first; /* rounds + 1 of them */
    double *drawn;         /* room for one draw */
};

static size_t below(struct draw *d, size_t n)
{
    /* xorshift64*: the high half times n is even enough for any n that is met here */
    d->state ^= d->state >> 12;
    d->state ^= d->state << 25;
    d->state ^= d->state >> 27;
    uint64_t high = (d->state * UINT64_C(2685821657736338717)) >> 32;
    return (size_t)((high * n) >> 32);
}

static int draw_begin(struct draw *d, const struct wb__samples *s, uint64_t seed)
{
    size_t longest = 0;
    d->s = s;
    d->state = seed;
    d->rounds = 0;
    d->drawn = NULL;
    d->first = malloc((s->n + 1) * sizeof *d->first);
    if (d->first == NULL)
        return -1;
    for (size_t i = 0; i < s->n; i++) {
        if (i == 0 || s->round[i] != s->round[i - 1])
            d->first[d->rounds++] = i;
    }
    d->first[d->rounds] = s->n;
    for (size_t r = 0; r < d->rounds; r++) {
        size_t length = d->first[r + 1] - d->first[r];
        longest = length > longest ? length : longest;
    }
    d->drawn = malloc((d->rounds * longest + 1) * sizeof *d->drawn);
    return d->drawn != NULL ? 0 : -1;
}

static void draw_end(struct draw *d)
{
    free(d->first);
    free(d->drawn);
}

static double draw_median(struct draw *d)
{
    size_t n = 0;
    for (size_t r = 0; r < d->rounds; r++) {
        size_t chosen = d->rounds == 1 ? 0 : below(d, d->rounds);
        size_t first = d->first[chosen], length = d->first[chosen + 1] - first;
        for (size_t i = 0; i < length; i++)
            d->drawn[n++] = d->s->value[first + below(d, length)];
    }
    return select_median(d->drawn, n);
}

static size_t draws_for(double level)
{
    double wanted = 40 / (1 - level); /* twenty draws beyond each end */
    return wanted < DRAWS ? DRAWS : wanted > MOST_DRAWS ? MOST_DRAWS : (size_t)wanted;
}

static struct wb__interval interval(const struct wb__samples *a, const struct wb__samples *b, double level)
{
    struct wb__interval out = {NAN, NAN, NAN};
    struct draw da = {.first = NULL}, db = {.first = NULL};
    size_t n = draws_for(level);
    double *drawn = malloc(n * sizeof *drawn);
    if (drawn != NULL && draw_begin(&da, a, UINT64_C(0x9e3779b97f4a7c15)) == 0 &&
        (b == NULL || draw_begin(&db, b, UINT64_C(0xd1b54a32d192ed03)) == 0)) {
        for (size_t i = 0; i < n; i++) {
            double x = draw_median(&da);
            drawn[i] = b != NULL ? draw_median(&db) / x : x;
        }
        wb__sort(drawn, n);
        out.low = wb__quantile(drawn, n, (1 - level) / 2);
        out.high = wb__quantile(drawn, n, (1 + level) / 2);
        double x = wb__median(a->value, a->n);
        out.value = b != NULL ? wb__median(b->value, b->n) / x : x;
    }
    draw_end(&da);
    draw_end(&db);
    free(drawn);
    return out;
}

struct wb__interval wb__estimate(const struct wb__samples *s, double level)
{
    if (s->n == 0)
        return (struct wb__interval){NAN, NAN, NAN};
    return interval(s, NULL, level);
}

struct wb__interval wb__ratio(const struct wb__samples *a, const struct wb__samples *b, double level)
{
    if (a->n == 0 || b->n == 0)
        return (struct wb__interval){NAN, NAN, NAN};
    return interval(a, b, level);
}

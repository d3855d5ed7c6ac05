/* SPDX-License-Identifier: Apache-2.0 */
/* load/histogram.c -- counts of latencies in buckets that grow with the value: exact below 256 ns, to 1 part in 128 above. */
#include "load.h"

static unsigned bucket_of(uint64_t v)
{
    if (v < 2 * HISTOGRAM_SUB) {
        return (unsigned)v;
    }
    unsigned shift = 56u - (unsigned)__builtin_clzll(v); /* leaves 8 bits, of which the first is 1 */
    return shift * HISTOGRAM_SUB + (unsigned)(v >> shift);
}

/* The largest value of a bucket. */
static uint64_t top_of(unsigned bucket)
{
    if (bucket < 2 * HISTOGRAM_SUB) {
        return bucket;
    }
    unsigned shift = bucket / HISTOGRAM_SUB - 1;
    return ((uint64_t)(bucket - shift * HISTOGRAM_SUB + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->bucket[bucket_of(ns)]++;
    h->count++;
    if (ns > h->max) {
        h->max = ns;
    }
}

uint64_t histogram_at(const struct histogram *h, double p)
{
    double want = p * (double)h->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && h->count > 0; i++) {
        seen += h->bucket[i];
        if (h->bucket[i] > 0 && (double)seen >= want) {
            return top_of(i) < h->max ? top_of(i) : h->max;
        }
    }
    return h->max;
}

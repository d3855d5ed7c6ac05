/* SPDX-License-Identifier: Apache-2.0 */
/* load/zipf.h -- random ranks by Zipf's law: rank k of n (from 0) comes with a probability that is proportional to 1 / (k + 1)^s. With s = 0
 * all are alike; with s = 1 and n = 100,000 the first one is every twelfth. */
#ifndef BENCH_LOAD_ZIPF_H
#define BENCH_LOAD_ZIPF_H

#include <stdbool.h>
#include <stdint.h>

struct zipf {
    uint32_t n;
    struct zipf_column {
        uint32_t keep, other; /* the column's own rank below `keep` of 2^32, else the other one */
    } * column;
};
/* For 1 to 2^30 ranks, s from 0 on. False: no memory. */
bool zipf_make(struct zipf *z, uint32_t n, double s);
void zipf_free(struct zipf *z);
/* One rank for 64 random bits. */
static inline uint32_t zipf_draw(const struct zipf *z, uint64_t bits)
{
    uint32_t at = (uint32_t)(((bits >> 32) * z->n) >> 32);
    return (uint32_t)bits < z->column[at].keep ? at : z->column[at].other;
}

/* 64 random bits, of a state that any number may begin (splitmix64). */
static inline uint64_t random_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h -- what the fuzz targets share. A target is one function (libFuzzer's): it must return whatever bytes come,
 * and aborts when a rule does not hold. The rule of all: cut into pieces in any way, the same bytes give the same
 * result. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Where the pieces end: the first byte of the input chooses. */
struct cuts {
    uint32_t state;
};
static inline size_t cut_next(struct cuts *c, size_t most)
{
    c->state = c->state * 1664525u + 1013904223u;
    size_t piece = 1 + (c->state >> 24) % (c->state % 3 == 0 ? 200u : 7u);
    return piece < most ? piece : most;
}

/* A copy in memory of exactly that size, so that a sanitizer sees the first byte read beyond it. To be freed. */
static inline char *exact_copy(const char *bytes, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    MUST(copy != NULL);
    memcpy(copy, bytes, n);
    return copy;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* bench/options.h -- values of command line options. What is no such value is told on stderr, with the option's name; then they return false. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>

/* A whole number from least to most. */
bool bench_whole(const char *option, const char *text, long least, long most, long *out);
/* Seconds, above 0 and at most `most`. */
bool bench_seconds(const char *option, const char *text, double most, double *out);
/* One of these words, which end with NULL: its place among them. */
bool bench_word(const char *option, const char *text, const char *const words[], unsigned *out);
/* none, node, core, default: an enum weft_pin. */
bool bench_pin(const char *text, unsigned *out);
/* Whether all that was printed has been written: the exit status, which stays if it is not 0. */
int bench_printed(int status);

#endif

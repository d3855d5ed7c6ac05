/* SPDX-License-Identifier: Apache-2.0 */
/* codes.h -- errors of the language as results of the library, and outcomes as values.
 *
 * A weft outcome is an int. Each error code of a program (E1, Timeout, ...) and each group error gets a negative
 * number of its own, far from errno: so a task's outcome tells everything, and the library's own returns
 * (-ETIMEDOUT, -EDEADLK, ...) are never mistaken for it. They are turned into the language's codes at the call
 * where they appear. Cancelled stays -ECANCELED.
 *
 * Threads: any. */
#ifndef CONFORMANCE_CODES_H
#define CONFORMANCE_CODES_H

#include "value.h"

#define FIRST_CODE (-10000)

/* The language's own; the rest is numbered as it comes. */
enum {
    CODE_TIMEOUT = FIRST_CODE,
    CODE_INVALID_STATE = FIRST_CODE - 1,
    CODE_RUNTIME = FIRST_CODE - 2,
    CODE_VALUE = FIRST_CODE - 3,
    CODE_QUEUE_EMPTY = FIRST_CODE - 4,
    CODE_QUEUE_FULL = FIRST_CODE - 5,
    CODE_QUEUE_SHUT_DOWN = FIRST_CODE - 6,
    CODE_BROKEN_BARRIER = FIRST_CODE - 7,
    CODE_UNSET = FIRST_CODE - 8,
    CODE_UNSUPPORTED = FIRST_CODE - 9,
};

struct codes {
    struct memory *memory;
    pthread_mutex_t lock;
    struct failure **items;
    size_t n, capacity;
};

void codes_begin(struct codes *codes, struct memory *m);
void codes_end(struct codes *codes);

/* The number of an error code; of a group with these members, in this order. */
int code_named(struct codes *codes, const char *name);
int code_of_group(struct codes *codes, const int members[], size_t n);
/* The number of a result of the library that means none of the language's errors: shows up as "weft: its text". */
int code_of_library(struct codes *codes, int rc);
static inline bool is_code(int rc)
{
    return rc <= FIRST_CODE;
}

/* The name; NULL for a group. */
const char *code_name(struct codes *codes, int code);
/* ["err", CODE], ["group", [...]] or, for -ECANCELED, ["cancelled"] or ["cancelled", message]. */
struct value code_result(struct codes *codes, int code, const char *message);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/testing/lock_pair.h -- takes two locks, one after the other: two of these with the same locks the other way round may wait for each other for ever. */
#ifndef WEFT_TESTS_TESTING_LOCK_PAIR_H
#define WEFT_TESTS_TESTING_LOCK_PAIR_H

#include <weft.h>

struct pair {
    WEFT_FRAME;
    weft_lock *first, *second;
};
static int pair(struct pair *f)
{
    int rc = weft_lock_acquire(f->first);
    if (rc < 0)
        return rc;
    if ((rc = weft_lock_acquire(f->second)) == 0)
        weft_lock_release(f->second);
    weft_lock_release(f->first);
    return rc;
}
WEFT_CORO(pair);

#endif

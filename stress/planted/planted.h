/* SPDX-License-Identifier: Apache-2.0 */
/* stress/planted/planted.h -- a planted race: a function run in the main task, with its fault or without. */
#ifndef STRESS_PLANTED_H
#define STRESS_PLANTED_H

#include <errno.h>

#include <weft.h>
#include <weft/testing.h>

struct planted {
    const char *name;
    int (*body)(bool cured); /* 0, unless it shows; what must hold is said by weft_expect */
    unsigned within;         /* schedules */
};
extern const struct planted planted_races[];

/* An actor of a race: a task that runs a function with two arguments. */
struct actor {
    WEFT_FRAME;
    int (*play)(void *scene, int number);
    void *scene;
    int number;
};
extern const weft_coro actor_coro_;

/* Tasks 0 .. n - 1 of a scene, all to their end; the first error of them, or 0. n is at most 8. */
int play_all(int (*play)(void *scene, int number), void *scene, int n);

#endif

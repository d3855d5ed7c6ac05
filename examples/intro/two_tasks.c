/* SPDX-License-Identifier: Apache-2.0 */
/* One second and two seconds: awaited one after the other they take three, as tasks they take two. */
#include "intro.h"

struct say_after {
    WEFT_FRAME;
    weft_ns delay;
    const char *what;
};
static int say_after(struct say_after *f)
{
    int rc = weft_sleep(f->delay);
    if (rc == 0) {
        printf("%s\n", f->what);
    }
    return rc;
}
WEFT_CORO(say_after);

struct program {
    WEFT_FRAME;
};
static int program(struct program *f)
{
    (void)f;
    weft_ns start = weft_now();
    int rc = say_after(&(struct say_after){.delay = WEFT_SEC(1), .what = "hello"});
    if (rc == 0) {
        rc = say_after(&(struct say_after){.delay = WEFT_SEC(2), .what = "world"});
    }
    printf("one after the other: " INTRO_ELAPSED "\n", INTRO_SINCE(start));
    if (rc < 0) {
        return rc;
    }

    start = weft_now();
    weft_task *hello = weft_create_task(say_after, .delay = WEFT_SEC(1), .what = "hello");
    weft_task *world = weft_create_task(say_after, .delay = WEFT_SEC(2), .what = "world");
    rc = weft_await_release(hello);
    int rc_world = weft_await_release(world);
    printf("together: " INTRO_ELAPSED "\n", INTRO_SINCE(start));
    return rc < 0 ? rc : rc_world;
}
WEFT_CORO(program);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, program) < 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A coroutine that takes two seconds and returns a value. Its frame holds its arguments and its results, by name. */
#include "intro.h"

struct answer {
    WEFT_FRAME;
    const char *question; /* argument */
    int value;            /* result */
};
static int answer(struct answer *f)
{
    printf("thinking about %s\n", f->question);
    int rc = weft_sleep(WEFT_SEC(2));
    f->value = 42;
    return rc;
}
WEFT_CORO(answer);

struct program {
    WEFT_FRAME;
};
static int program(struct program *f)
{
    (void)f;
    weft_ns start = weft_now();

    /* `await answer(...)` is a plain call: it runs inside this task, and its result is in the frame. */
    struct answer a = {.question = "everything"};
    int rc = answer(&a);
    if (rc < 0) {
        return rc;
    }
    printf("%d after " INTRO_ELAPSED "\n", a.value, INTRO_SINCE(start));
    return 0;
}
WEFT_CORO(program);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, program) < 0;
}

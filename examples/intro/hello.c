/* SPDX-License-Identifier: Apache-2.0 */
/* Hello world: a coroutine that waits. While it sleeps its worker is free for other tasks.
 *
 *     async def main():
 *         print("hello")
 *         await asyncio.sleep(1)
 *         print("world")
 *     asyncio.run(main()) */
#include "intro.h"

struct hello {
    WEFT_FRAME;
};
static int hello(struct hello *f)
{
    (void)f;
    printf("hello\n");
    int rc = weft_sleep(WEFT_SEC(1));
    printf("world\n");
    return rc;
}
WEFT_CORO(hello);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, hello) < 0;
}

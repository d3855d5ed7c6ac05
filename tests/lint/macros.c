/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled only, by headers.sh: every macro of the public headers, as strict C17 and as C++20. */
#include <weft.h>

struct count {
    WEFT_FRAME;
    int from, result;
};

static int count(struct count *f)
{
    f->result = f->from + 1;
    return 0;
}
WEFT_CORO(count);

int every_macro(weft_runtime *rt);
int every_macro(weft_runtime *rt)
{
    weft_task *a = weft_create_task(count), *b = weft_create_task(count, .from = 1);
    weft_task *c = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "c", .stack_size = 65536), count, .from = 2);
    weft_task *d = weft_to_thread(count, .from = 3), *e = weft_submit(rt, count, .from = 4), *g = NULL;
    int rc = weft_gather(a, b);
    rc += weft_gather_settled(c, d, e);

    struct count frame = {{NULL}, 5, 0};
    weft_child child;
    weft_fork(&child, count, &frame);
    rc += weft_join(&child);

    weft_group group;
    rc += weft_group_begin(&group);
    rc += weft_group_start(&group, count, .from = 6);
    rc += weft_group_create_task(&group, &g, count, .from = 7);
    rc = weft_group_join(&group, rc);
    weft_release(g);

    weft_lock lock = WEFT_LOCK_INIT;
    weft_event event = WEFT_EVENT_INIT;
    weft_condition condition = WEFT_CONDITION_INIT(&lock);
    weft_semaphore semaphore = WEFT_SEMAPHORE_INIT(1), bounded = WEFT_BOUNDED_SEMAPHORE_INIT(1);
    rc += weft_lock_acquire(&lock) + weft_condition_wait(&condition) + weft_event_wait(&event);
    rc += weft_semaphore_acquire(&semaphore) + weft_semaphore_acquire(&bounded);

    weft_queue *queue = weft_queue_create(sizeof rc, 1);
    rc += weft_queue_put(queue, &rc) + weft_queue_get(queue, &rc);
    rc += weft_queue_put_nowait(queue, &rc) + weft_queue_get_nowait(queue, &rc);

    weft_listener *listener = NULL;
    weft_stream *stream = NULL;
    rc += weft_listen_with(WEFT_LISTEN_OPTIONS(.backlog = 8), &listener, "127.0.0.1:0");
    weft_close(stream);
    weft_close(listener);

    rc += weft_sleep(WEFT_NS(1) + WEFT_US(1) + WEFT_MS(1) + WEFT_SEC(1));
    rc += weft_run(count) + weft_run(count, .from = 8);
    rc += weft_run_with(WEFT_OPTIONS(.workers = 2, .pin = WEFT_PIN_NODE), count, .from = 9);
    return rc + weft_result(count, a)->result;
}

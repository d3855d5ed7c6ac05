/* SPDX-License-Identifier: Apache-2.0 */
/* io/buffers.c -- read buffers that no stream holds at the moment, kept warm.
 *
 * A stream has a buffer only while bytes are in it, so buffers change hands at every request. They are kept in a few
 * places, each with its own guard on its own cache lines, chosen by the CPU the caller happens to run on: a hint, not a
 * binding. A place that is taken, empty or full is passed over in favour of malloc and free. At most
 * WEFT__BUFFER_SHARDS * WEFT__BUFFERS_KEPT buffers are kept. Any thread; each buffer is malloc'd and may be freed so. */
#include <sched.h>
#include <stdlib.h>
#include <weft/io.h>

#include "executor/guard.h"
#include "io/reactor.h"

static struct weft__buffer_shard *near(struct weft__io *io)
{
    return &io->buffers[(unsigned)sched_getcpu() % WEFT__BUFFER_SHARDS];
}

struct weft__buffer *weft__buffer_new(size_t capacity)
{
    struct weft__buffer *buffer = malloc(sizeof *buffer + capacity);
    if (buffer != NULL) {
        buffer->start = buffer->end = 0;
        buffer->capacity = capacity;
    }
    return buffer;
}

struct weft__buffer *weft__buffer_get(struct weft__io *io)
{
    struct weft__buffer_shard *shard = near(io);
    struct weft__buffer *buffer = NULL;
    if (weft__guard_try_lock(&shard->guard)) {
        if (shard->count > 0)
            buffer = shard->kept[--shard->count];
        weft__guard_unlock(&shard->guard);
    }
    if (buffer == NULL)
        return weft__buffer_new(WEFT_STREAM_BUFFER);
    buffer->start = buffer->end = 0;
    return buffer;
}

void weft__buffer_put(struct weft__io *io, struct weft__buffer *buffer)
{
    struct weft__buffer_shard *shard = near(io);
    if (weft__guard_try_lock(&shard->guard)) {
        if (shard->count < WEFT__BUFFERS_KEPT) {
            shard->kept[shard->count++] = buffer;
            buffer = NULL;
        }
        weft__guard_unlock(&shard->guard);
    }
    free(buffer);
}

void weft__buffers_free(struct weft__io *io)
{
    for (unsigned i = 0; i < WEFT__BUFFER_SHARDS; i++) {
        struct weft__buffer_shard *shard = &io->buffers[i];
        while (shard->count > 0)
            free(shard->kept[--shard->count]);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* io/run.c -- where the executor and the reactor are put together: the only file that knows both. */
#include "io/reactor.h"

int weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size)
{
    return weft__run(options, frame, frame_size, &weft__epoll_driver);
}

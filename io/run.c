/* SPDX-License-Identifier: Apache-2.0 */
/* io/run.c -- where the executor and the reactor are put together: the only file that knows both. */
#include "io/reactor.h"

int weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size)
{
    return weft__run(options, frame, frame_size, &weft__epoll_driver);
}

int weft_runner_open(weft_runner **out, const weft_options *options)
{
    return weft__runner_open(out, options, &weft__epoll_driver);
}

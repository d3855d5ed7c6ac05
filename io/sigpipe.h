/* SPDX-License-Identifier: Apache-2.0 */
/* io/sigpipe.h -- sendfile and splice have no MSG_NOSIGNAL: a peer that is gone raises SIGPIPE in the calling thread.
 *
 * Workers have all signals blocked (runtime.c), so it only stays pending: it is taken away again, lest a program that opens its
 * mask in a task is ended by it. One that was sent to the process waits in another place and is not touched.
 *
 * Threads: the worker whose call said -EPIPE, before it suspends. */
#ifndef WEFT_IO_SIGPIPE_H
#define WEFT_IO_SIGPIPE_H

#include <errno.h>
#include <signal.h>
#include <time.h>

static inline void weft__sigpipe_forget(void)
{
    sigset_t one, blocked;
    sigemptyset(&one);
    sigaddset(&one, SIGPIPE);
    struct timespec at_once = {0, 0};
    if (pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 && sigismember(&blocked, SIGPIPE))
        while (sigtimedwait(&one, NULL, &at_once) < 0 && errno == EINTR)
            ;
}

#endif

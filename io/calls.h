/* SPDX-License-Identifier: Apache-2.0 */
/* io/calls.h -- see calls.c: recv and send of a stream's request. Private to io/. */
#ifndef WEFT_IO_CALLS_H
#define WEFT_IO_CALLS_H

#include <stddef.h>
#include <sys/types.h>

/* recv(fd, to, n, 0) and send(fd, from, n, MSG_NOSIGNAL): a count, or a negative errno. Any thread. */
ssize_t weft__recv(int fd, void *to, size_t n);
ssize_t weft__send(int fd, const void *from, size_t n);

/* Find out how they are to be called, before the workers start. */
void weft__calls_init(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* io/listener.h -- what a listener is made of. Private to io/. */
#ifndef WEFT_IO_LISTENER_H
#define WEFT_IO_LISTENER_H

#include "io/registration.h"
#include "io/stream.h"

struct weft_listener {
    struct weft__registration *reg; /* NULL: its runtime has ended */
    int fd;
    bool tcp;
    weft_ns most_delay;        /* of the queue: above it connections are left waiting */
    struct weft_stream *spare; /* for the next connection: memory is sought before the connection is taken */
    /* under io->guard: in the list of acceptors that ran out of descriptors or memory */
    struct weft_listener *next_starved;
    bool starved;
    /* unix: the socket file to remove, if it is still this one */
    char *path;
    unsigned long device, inode;
};

/* listen.c: close descriptor, socket file and memory; not the registration. */
void weft__listener_free(struct weft_listener *l);

#endif

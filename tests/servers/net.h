/* SPDX-License-Identifier: Apache-2.0 */
/* net.h -- what the test clients share: sockets to 127.0.0.1 and reading HTTP answers. Plain blocking C, no weft. */
#ifndef TESTS_SERVERS_NET_H
#define TESTS_SERVERS_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Print the message (and errno's text if `code` is not 0) and end with status 1. */
__attribute__((noreturn, format(printf, 2, 3))) void net_die(int code, const char *format, ...);

/* A connected socket without Nagle's delay, whose reads and writes end after ten seconds. Dies if that fails. */
int net_connect(int port);
/* Send all bytes: 0 or an errno. */
int net_send(int fd, const char *bytes, size_t n);

/* One answer as it comes. Start with all zero. */
struct net_answer {
    char head[1024];
    size_t have, head_n; /* head_n: 0 until the head is complete */
    size_t body, body_n; /* received of the body; its length */
    bool close;
    int status;
};
/* Take bytes: how many of the n belong to this answer. *done when it is complete. Dies on something that is no
 * answer. */
size_t net_take(struct net_answer *a, const char *bytes, size_t n, bool *done);
/* Read one whole answer from a blocking socket with nothing behind it. Dies if it does not come. */
void net_answer_read(int fd, struct net_answer *a);

/* Now, in milliseconds. */
int64_t net_ms(void);

#endif

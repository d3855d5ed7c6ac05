/* SPDX-License-Identifier: Apache-2.0 */
/* io/address.h -- texts that name a peer, and socket addresses. */
#ifndef WEFT_IO_ADDRESS_H
#define WEFT_IO_ADDRESS_H

#include <sys/socket.h>
#include <weft/io.h>

struct weft__address {
    struct sockaddr_storage storage;
    socklen_t size;
};

#define WEFT__ADDRESSES 8 /* of one name, at most */
struct weft__addresses {
    unsigned count;
    struct weft__address item[WEFT__ADDRESSES];
};

/* A text taken apart. Without a lookup: `numeric` holds the addresses already. */
struct weft__endpoint {
    bool numeric;
    char host[256]; /* empty: all interfaces, or the loopback for a client */
    char service[64];
};

/* Take a text apart, and translate it as far as that needs no lookup. `passive`: for listening. 0 and *endpoint (if numeric,
 * *out too), -EINVAL, -ENAMETOOLONG. Any thread, never blocks. */
int weft__address_parse(const char *text, bool passive, struct weft__endpoint *endpoint, struct weft__addresses *out);
/* "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@abstract": always terminated. Returns the length of the whole text, or
 * -EAFNOSUPPORT. */
int weft__address_format(const struct weft__address *a, char *buf, size_t size);

/* resolve.c: parse, and look up what has to be. Suspends for a lookup only. 0, -ENOENT, -EAGAIN, -EINVAL, -ECANCELED... */
int weft__address_resolve(const char *text, bool passive, struct weft__addresses *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* io/listen_group.c -- several listening sockets of one address: the first finds out which, the others follow it.
 *
 * The kernel lets a socket join only if all of the group have SO_REUSEPORT and the same user. While they are being opened the first
 * ones get connections already: those wait in their queues.
 *
 * Threads: tasks, on any worker. */
#include <errno.h>
#include <string.h>

#include "io/listener.h"

int weft_listen_group(const weft_listen_options *given, weft_listener *out[], unsigned n, const char *address)
{
    weft_listen_options options = {0};
    if (given != NULL) {
        if (given->size < sizeof given->size || given->size > sizeof options)
            return -EINVAL;
        memcpy(&options, given, given->size);
    }
    options.size = sizeof options;
    options.reuse_port = true;
    if (n == 0)
        return -EINVAL;
    char bound[128];
    unsigned opened = 0;
    int rc = weft_listen_with(&options, &out[0], address);
    if (rc < 0)
        return rc;
    opened = 1;
    rc = out[0]->tcp ? weft_listener_address(out[0], bound, sizeof bound) : -EOPNOTSUPP;
    while (rc == 0 && opened < n) {
        rc = weft_listen_with(&options, &out[opened], bound);
        opened += rc == 0;
    }
    while (rc < 0 && opened > 0)
        weft_listener_close(out[--opened]);
    return rc;
}

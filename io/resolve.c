/* SPDX-License-Identifier: Apache-2.0 */
/* io/resolve.c -- names to addresses. getaddrinfo blocks (files, DNS, whatever NSS has), so it runs on a helper thread, by
 * weft_to_thread. Its result is copied into the task's frame: when the asking task is cancelled the thread's work is dropped
 * with the frame, and nothing is left over. Numbers and unix addresses never leave the worker. */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <weft/thread.h>

#include "executor/wait.h"
#include "io/address.h"

struct weft_lookup {
    WEFT_FRAME;
    struct weft__endpoint endpoint;
    bool passive;
    struct weft__addresses found; /* result */
};

static int error_of(int gai, int saved_errno)
{
    switch (gai) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENOENT;
    case EAI_AGAIN:
    case EAI_FAIL:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return saved_errno != 0 ? -saved_errno : -EAGAIN;
    default:
        return -EINVAL;
    }
}

static int weft_lookup(struct weft_lookup *l)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    if (l->passive)
        hints.ai_flags = AI_PASSIVE;
    const char *host = l->endpoint.host[0] != '\0' ? l->endpoint.host : NULL;
    int gai = getaddrinfo(host, l->endpoint.service, &hints, &list);
    if (gai != 0)
        return error_of(gai, errno);
    l->found.count = 0;
    for (struct addrinfo *i = list; i != NULL && l->found.count < WEFT__ADDRESSES; i = i->ai_next) {
        struct weft__address *a = &l->found.item[l->found.count++];
        memset(a, 0, sizeof *a);
        memcpy(&a->storage, i->ai_addr, i->ai_addrlen);
        a->size = i->ai_addrlen;
    }
    freeaddrinfo(list);
    return l->found.count > 0 ? 0 : -ENOENT;
}
WEFT_CORO(weft_lookup);

int weft__address_resolve(const char *text, bool passive, struct weft__addresses *out)
{
    struct weft_lookup lookup = {.frame_ = {&weft_lookup_coro_}, .passive = passive};
    int rc = weft__address_parse(text, passive, &lookup.endpoint, out);
    if (rc < 0 || lookup.endpoint.numeric)
        return rc;
    weft_task *t = weft_to_thread_(&lookup.frame_);
    rc = weft_await(t);
    if (rc == 0)
        *out = weft_result(weft_lookup, t)->found;
    weft_release(t);
    return rc;
}

int weft_resolve(const char *address, char *buf, size_t size)
{
    (void)weft__fiber_require("weft_resolve");
    struct weft__addresses found;
    int rc = weft__address_resolve(address, false, &found);
    if (rc < 0)
        return rc;
    if (found.item[0].storage.ss_family == AF_UNIX)
        return -EINVAL;
    int fitted = 0;
    for (unsigned i = 0; i < found.count; i++) {
        int length = weft__address_format(&found.item[i], buf, size);
        if (length < 0 || (size_t)length >= size)
            break;
        buf += length + 1;
        size -= (size_t)length + 1;
        fitted++;
    }
    return fitted > 0 ? fitted : -ENOBUFS;
}

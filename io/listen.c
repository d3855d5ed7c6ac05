/* SPDX-License-Identifier: Apache-2.0 */
/* io/listen.c -- opening a listening socket, and its end.
 *
 * Of a name with several addresses the first that can be bound is taken. ":port" is one socket for both families where the
 * machine has IPv6. A unix socket leaves a file behind: one that nobody listens at any more (connecting to it is refused)
 * is removed before binding, one in use is -EADDRINUSE, anything that is not a socket is left alone. At close the file is
 * removed if it is still the one this listener made.
 *
 * Closing is final, also while a task accepts: when weft_close has returned, nobody can connect any more, and the path may be
 * another listener's.
 *
 * Threads: tasks, on any worker. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "executor/guard.h"
#include "io/address.h"
#include "io/listener.h"

#define DEFAULT_BACKLOG 1024
#define DEFAULT_MOST_DELAY WEFT_SEC(1)

static const char *path_of(const struct weft__address *a)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&a->storage;
    return a->storage.ss_family == AF_UNIX && un->sun_path[0] != '\0' ? un->sun_path : NULL;
}

/* Is there a socket file that nobody listens at? */
static bool stale(const struct weft__address *a)
{
    struct stat st;
    if (lstat(path_of(a), &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, (const struct sockaddr *)&a->storage, a->size) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_to(int fd, const struct weft__address *a, bool keep_path)
{
    if (bind(fd, (const struct sockaddr *)&a->storage, a->size) == 0)
        return 0;
    int error = errno;
    if (error != EADDRINUSE || path_of(a) == NULL || keep_path || !stale(a))
        return -error;
    if (unlink(path_of(a)) != 0 && errno != ENOENT)
        return -errno;
    return bind(fd, (const struct sockaddr *)&a->storage, a->size) == 0 ? 0 : -errno;
}

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

static int remember_path(struct weft_listener *l, const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return -errno;
    l->path = strdup(path);
    if (l->path == NULL) {
        unlink(path);
        return -ENOMEM;
    }
    l->device = st.st_dev;
    l->inode = st.st_ino;
    return 0;
}

static int open_socket(struct weft_listener *l, const struct weft__address *a, const weft_listen_options *options)
{
    int family = a->storage.ss_family;
    l->tcp = family != AF_UNIX;
    l->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return -errno;
    int rc = 0;
    if (l->tcp) {
        rc = set(l->fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (rc == 0)
            rc = set(l->fd, IPPROTO_TCP, TCP_NODELAY, 1); /* accepted sockets inherit it */
    }
    if (rc == 0 && family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &a->storage, sizeof in6);
        rc = set(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, !IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr));
    }
    if (rc == 0 && options->reuse_port)
        rc = set(l->fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0)
        rc = bind_to(l->fd, a, options->keep_path);
    if (rc == 0 && path_of(a) != NULL && !options->keep_path)
        rc = remember_path(l, path_of(a));
    if (rc == 0 && listen(l->fd, options->backlog > 0 ? options->backlog : DEFAULT_BACKLOG) != 0)
        rc = -errno;
    if (rc == 0)
        return 0;
    close(l->fd);
    l->fd = -1;
    return rc;
}

static void remove_path(struct weft_listener *l)
{
    struct stat st;
    if (l->path == NULL)
        return;
    if (lstat(l->path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        unlink(l->path);
    free(l->path);
    l->path = NULL;
}

void weft__listener_free(struct weft_listener *l)
{
    remove_path(l);
    if (l->fd >= 0)
        close(l->fd);
    if (l->spare != NULL)
        weft__stream_free(l->spare);
    free(l);
}

void weft__listener_dispose(struct weft__registration *reg)
{
    struct weft_listener *l = reg->listener;
    struct weft__io *io = reg->io;
    weft__registration_retire(reg);
    weft__listener_free(l);
    weft__listeners_retry(io);
}

int weft_listen_with(const weft_listen_options *given, weft_listener **out, const char *address)
{
    struct weft__fiber *f = weft__fiber_require("weft_listen");
    struct weft__io *io = weft__fiber_io(f, "weft_listen");
    weft_listen_options options = {0};
    if (given != NULL) {
        if (given->size < sizeof given->size || given->size > sizeof options)
            return -EINVAL;
        memcpy(&options, given, given->size);
    }
    struct weft__addresses list;
    int rc = weft__address_resolve(address, true, &list);
    if (rc < 0)
        return rc;
    struct weft_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    l->fd = -1;
    l->most_delay = options.most_delay > 0 ? options.most_delay : DEFAULT_MOST_DELAY;
    rc = -EADDRNOTAVAIL;
    for (unsigned i = 0; i < list.count && l->fd < 0; i++)
        rc = open_socket(l, &list.item[i], &options);
    if (l->fd >= 0)
        rc = weft__registration_open(io, l->fd, &l->reg);
    if (rc < 0 || l->reg == NULL) {
        weft__listener_free(l);
        return rc;
    }
    l->reg->listener = l;
    l->reg->kind = WEFT__OF_LISTENER;
    *out = l;
    return 0;
}

int weft_listen(weft_listener **out, const char *address)
{
    return weft_listen_with(NULL, out, address);
}

int weft_listener_address(const weft_listener *l, char *buf, size_t size)
{
    struct weft__address a = {.size = sizeof a.storage};
    if (getsockname(l->fd, (struct sockaddr *)&a.storage, &a.size) != 0)
        return -errno;
    int length = weft__address_format(&a, buf, size);
    if (length < 0)
        return length;
    return (size_t)length < size ? 0 : -ENOBUFS;
}

int weft_listener_fd(const weft_listener *l)
{
    return l->fd;
}

/* The task that accepts has been told, but is still inside: let go of the socket and of its file all the same. */
static void sever(struct weft_listener *l)
{
    struct weft__registration *reg = l->reg;
    /* It asks to be let in before each system call, and is refused from now on; one that it is in is short. */
    while (weft__load_acquire(&reg->users) / WEFT__GUEST != 1) /* pairs: USERS */
        sched_yield();
    struct epoll_event unused = {0};
    (void)epoll_ctl(reg->io->epoll, EPOLL_CTL_DEL, l->fd, &unused);
    remove_path(l);
    close(l->fd);
    l->fd = -1; /* the number may be somebody else's when the registration retires */
    weft__guard_hint((uint32_t *)&reg->fd, UINT32_MAX); /* a dump may look at it just now */
}

void weft_listener_close(weft_listener *l)
{
    if (l == NULL)
        return;
    struct weft__registration *reg = l->reg;
    if (weft__unlikely(reg == NULL)) {
        weft__listener_free(l);
        return;
    }
    (void)weft__registration_enter(reg, WEFT__GUEST); /* it must not be gone when the socket is let go of */
    weft__registration_close(reg, "weft_close");
    if ((weft__load_acquire(&reg->users) & WEFT__READER) != 0) /* pairs: USERS */
        sever(l);
    weft__registration_leave(reg, WEFT__GUEST);
}

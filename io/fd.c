/* SPDX-License-Identifier: Apache-2.0 */
/* io/fd.c -- weft_fd_wait: waiting for a descriptor that belongs to somebody else.
 *
 * poll first: what holds already is told without touching epoll. Only then the descriptor is registered, for this wait alone:
 * between waits its owner may close it and its number may come to mean another file, so nothing is kept. epoll knows a
 * descriptor once, so two tasks (one a direction) share a record, found in a table by number. Who joins registers it again
 * (EPOLL_CTL_MOD): that makes epoll report what holds at that moment, and tells if the number has changed hands meanwhile
 * (ENOENT), in which case it is added anew. The last to leave takes it out.
 *
 * A descriptor that a stream or listener owns is registered already: -EBUSY. To close a descriptor while a task waits for it
 * is the program's mistake, as with epoll itself: that task is not told.
 *
 * Threads: tasks, on any worker. The table has a guard; epoll_ctl is called under it. */
#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <weft/io.h>

#include "executor/guard.h"
#include "io/registration.h"

static const struct weft__wait_kind fd_wait = {"a descriptor (weft_fd_wait)", NULL, weft__registration_tell};

/* What holds now of `interest`: its bits, 0, or a negative errno. Never blocks. */
static int look(int fd, int interest)
{
    struct pollfd p = {.fd = fd};
    if ((interest & WEFT_READABLE) != 0)
        p.events |= POLLIN | POLLRDHUP;
    if ((interest & WEFT_WRITABLE) != 0)
        p.events |= POLLOUT;
    int n;
    while ((n = poll(&p, 1, 0)) < 0)
        if (errno != EINTR)
            return -errno;
    if (n == 0)
        return 0;
    if ((p.revents & POLLNVAL) != 0)
        return -EBADF;
    if ((p.revents & (POLLERR | POLLHUP)) != 0)
        return interest;
    return ((p.revents & (POLLIN | POLLRDHUP)) != 0 ? WEFT_READABLE : 0) |
           ((p.revents & POLLOUT) != 0 ? WEFT_WRITABLE : 0);
}

/* poll calls files and directories ready, epoll refuses them: say the same in both cases. */
static int refuse_files(int fd, int ready)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? -EPERM : ready;
}

static struct weft__registration **bucket(struct weft__io *io, int fd)
{
    struct weft__registration **place = &io->foreign[(unsigned)fd % WEFT__FD_BUCKETS];
    while (*place != NULL && (*place)->fd != fd)
        place = &(*place)->next;
    return place;
}

/* Of the bits of `users`, those of the interest. */
static uint32_t users_of(int interest)
{
    return ((interest & WEFT_READABLE) != 0 ? (uint32_t)WEFT__READER : 0) |
           ((interest & WEFT_WRITABLE) != 0 ? (uint32_t)WEFT__WRITER : 0);
}

int weft__fd_look(int fd, int interest)
{
    int ready = look(fd, interest);
    return ready <= 0 ? ready : refuse_files(fd, ready);
}

static int join_locked(struct weft__io *io, int fd, uint32_t users, struct weft__registration **out)
{
    struct weft__registration **place = bucket(io, fd);
    struct weft__registration *reg = *place;
    if (reg == NULL) {
        int rc = weft__registration_open(io, fd, &reg);
        if (rc < 0)
            return rc == -EEXIST ? -EBUSY : rc;
        *place = reg;
    } else {
        if ((weft__load_relaxed(&reg->users) & users) != 0) /* relaxed: under the guard */
            return -EBUSY;
        int rc = weft__registration_again(reg);
        if (rc < 0)
            return rc;
    }
    weft__fetch_or_acq_rel(&reg->users, users); /* pairs: USERS */
    *out = reg;
    return 0;
}

int weft__fd_join(struct weft__io *io, int fd, uint32_t users, struct weft__registration **out)
{
    weft__guard_lock(&io->foreign_guard);
    int rc = join_locked(io, fd, users, out);
    weft__guard_unlock(&io->foreign_guard);
    return rc;
}

void weft__fd_leave(struct weft__registration *reg, uint32_t users)
{
    struct weft__io *io = reg->io;
    weft__guard_lock(&io->foreign_guard);
    if (weft__fetch_sub_acq_rel(&reg->users, users) == users) { /* pairs: USERS */
        struct weft__registration **place = bucket(io, reg->fd);
        *place = reg->next;
        weft__registration_retire(reg);
    }
    weft__guard_unlock(&io->foreign_guard);
}

/* Consume before the look: what happens after the look sets READY again, and the wait returns at once. */
static int wait_until_ready(struct weft__registration *reg, struct weft__fiber *f, int interest, weft_ns deadline)
{
    unsigned directions = 0;
    if ((interest & WEFT_READABLE) != 0)
        directions |= 1u << WEFT__READ;
    if ((interest & WEFT_WRITABLE) != 0)
        directions |= 1u << WEFT__WRITE;
    for (;;) {
        for (unsigned d = 0; d < 2; d++)
            if ((directions & 1u << d) != 0)
                (void)weft__interest_consume(reg, d);
        int rc = look(reg->fd, interest);
        if (rc != 0)
            return rc;
        rc = weft__registration_wait(reg, f, directions, &fd_wait, deadline);
        if (rc != 0)
            return rc;
    }
}

int weft_fd_wait(int fd, int interest, weft_ns timeout)
{
    struct weft__fiber *f = weft__fiber_require("weft_fd_wait");
    struct weft__io *io = weft__fiber_io(f, "weft_fd_wait");
    if (interest == 0 || (interest & ~(WEFT_READABLE | WEFT_WRITABLE)) != 0)
        return -EINVAL;
    if (fd < 0)
        return -EBADF;
    if (weft__budget_spent(f)) {
        int rc = weft__yield(f);
        if (rc < 0)
            return rc;
    }
    int ready = weft__fd_look(fd, interest);
    if (ready != 0)
        return ready;
    if (timeout <= 0)
        return -ETIMEDOUT;
    weft_ns deadline = weft__deadline_after(io->rt, timeout);
    uint32_t users = users_of(interest);
    struct weft__registration *reg;
    int rc = weft__fd_join(io, fd, users, &reg);
    if (rc < 0)
        return rc;
    rc = wait_until_ready(reg, f, interest, deadline);
    weft__fd_leave(reg, users);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What tests/gdb/run.sh looks at with gdb: tasks that wait in known functions at known depths, some that are parked, one that has not begun, a forked child
 * that waits, and one task that runs. It stops in look_now(): by a breakpoint of gdb, or, with any argument, for good. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft.h>

static weft_event never = WEFT_EVENT_INIT;
static weft_lock lock = WEFT_LOCK_INIT;

static bool dies;

__attribute__((noinline)) void look_now(void);
void look_now(void)
{
    if (dies)
        abort();
}

__attribute__((noinline)) static int deep(int depth, volatile int *kept)
{
    volatile int mine = depth;
    int rc = depth == 0 ? weft_event_wait(&never) : deep(depth - 1, kept);
    *kept += mine;
    return rc;
}

struct digs {
    WEFT_FRAME;
    int depth;
};
static int digs(struct digs *f)
{
    volatile int kept = 0;
    int rc = deep(f->depth, &kept);
    return rc != 0 ? rc : kept;
}
WEFT_CORO(digs);

struct wants_the_lock {
    WEFT_FRAME;
};
static int wants_the_lock(struct wants_the_lock *f)
{
    (void)f;
    return weft_lock_acquire(&lock);
}
WEFT_CORO(wants_the_lock);

struct dozes {
    WEFT_FRAME;
    char room[64]; /* a larger descriptor */
};
static int dozes(struct dozes *f)
{
    (void)f;
    return weft_sleep(WEFT_SEC(1000));
}
WEFT_CORO(dozes);

struct parks {
    WEFT_FRAME;
    char room[128]; /* one of the largest */
};
static int parks(struct parks *f)
{
    (void)f;
    return weft_park_for(WEFT_SEC(1000));
}
WEFT_CORO(parks);

struct serves {
    WEFT_FRAME;
    weft_stream *stream;
    int requests;
};
static int serves(struct serves *f)
{
    const char *bytes;
    ssize_t n = weft_peek_or_park(f->stream, 0, &bytes, WEFT_SEC(1000));
    if (n == WEFT_PARK)
        return WEFT_PARK;
    weft_close(f->stream);
    return 0;
}
WEFT_CORO(serves);

struct watches {
    WEFT_FRAME;
    int fd;
    bool again;
};
static int watches(struct watches *f)
{
    if (f->again)
        return weft_parked();
    f->again = true;
    return weft_park_fd(f->fd, WEFT_READABLE, WEFT_FOREVER);
}
WEFT_CORO(watches);

struct reads {
    WEFT_FRAME;
    int fd;
};
static int reads(struct reads *f)
{
    int rc = weft_fd_wait(f->fd, WEFT_READABLE, WEFT_SEC(1000));
    return rc;
}
WEFT_CORO(reads);

struct forks {
    WEFT_FRAME;
};
static int forks(struct forks *f)
{
    (void)f;
    struct digs below = {.depth = 1};
    weft_child child;
    weft_fork(&child, digs, &below);
    return weft_join(&child);
}
WEFT_CORO(forks);

/* Its children begin on stacks of their own while it waits; one of them forks again. */
struct stays {
    WEFT_FRAME;
};
static int stays(struct stays *f)
{
    (void)f;
    return weft_event_wait(&never);
}
WEFT_CORO(stays);

struct forks_again {
    WEFT_FRAME;
};
static int forks_again(struct forks_again *f)
{
    (void)f;
    struct stays below = {.frame_ = {NULL}};
    weft_child child;
    weft_fork(&child, stays, &below);
    int rc = weft_event_wait(&never);
    int joined = weft_join(&child);
    return rc != 0 ? rc : joined;
}
WEFT_CORO(forks_again);

struct parent {
    WEFT_FRAME;
};
static int parent(struct parent *f)
{
    (void)f;
    struct forks_again below = {.frame_ = {NULL}};
    weft_child child;
    weft_fork(&child, forks_again, &below);
    int rc = weft_event_wait(&never);
    int joined = weft_join(&child);
    return rc != 0 ? rc : joined;
}
WEFT_CORO(parent);

struct ends {
    WEFT_FRAME;
};
static int ends(struct ends *f)
{
    (void)f;
    return 0;
}
WEFT_CORO(ends);

struct looks {
    WEFT_FRAME;
};
static int looks(struct looks *f)
{
    (void)f;
    weft_stream *client;
    int ends[2][2], fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0 || weft_stream_adopt(&client, fd[0]) != 0 || pipe(ends[0]) != 0 ||
        pipe(ends[1]) != 0)
        return 1;
    weft_task *t[10] = {
        weft_create_task(digs, .depth = 3),
        weft_create_task(wants_the_lock),
        weft_create_task(dozes),
        weft_create_task(parks),
        weft_create_task(forks),
        weft_create_task(parent),
        weft_create_task(serves, .stream = client, .requests = 7),
        weft_create_task(watches, .fd = ends[0][0]),
        weft_create_task(reads, .fd = ends[1][0]),
        NULL,
    };
    (void)weft_task_set_name(t[0], "digger");
    if (weft_lock_acquire(&lock) != 0)
        return 1;
    for (int i = 0; i < 10; i++) /* until all of them wait, however long that takes: there is one worker */
        if (weft_yield() != 0)
            return 1;
    t[9] = weft_create_task(dozes);
    (void)weft_task_set_name(t[9], "fresh");
    struct ends below = {.frame_ = {NULL}};
    weft_child child; /* nobody begins it before this one waits */
    weft_fork(&child, ends, &below);
    look_now();
    if (weft_join(&child) != 0)
        return 1;
    weft_event_set(&never);
    for (int i = 0; i < 10; i++) {
        (void)weft_cancel(t[i]);
        weft_release(t[i]);
    }
    return weft_lock_release(&lock);
}
WEFT_CORO(looks);

int main(int argc, char **argv)
{
    (void)argv;
    dies = argc > 1;
    return weft_run_with(WEFT_OPTIONS(.workers = 1), looks) == 0 ? 0 : 1;
}

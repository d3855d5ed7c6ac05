/* SPDX-License-Identifier: Apache-2.0 */
/* The connection handlers of weft-echo, weft-chat, weft-http and weft-kv with a cancellation at each of their awaits, and with a failure at each of their
 * calls that can fail (weft/testing.h).
 *
 * The servers' files are those of examples/, with another name for main. Their server_main (--wrap=server_main) is here: no
 * listener and no signals, but one connection, a socketpair with small buffers, so that answers have to wait for room. Its
 * other end is played by two tasks, which are not counted: one sends a script, with pauses; the other begins to read late,
 * and goes on to the end. All of it is in one runtime on the virtual clock, which does not move while a socket is ready: so it
 * takes no time, and with one worker goes the same way each time.
 *
 * At each suspension the handler is cancelled as the drain limit does it: for good. The client has to see the end of the
 * stream, the server has to have forgotten the client, and what the client got has to be the beginning of what it gets when
 * nobody is cancelled. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft.h>
#include <weft/testing.h>

#include "support/server.h"

#define READS_AFTER WEFT_SEC(2)
#define SMALL 4096 /* of the server's send buffer; the kernel doubles it */

/* What the client sends: a text, or `times` bytes of the text's first one; then it pauses. */
struct piece {
    const char *text;
    size_t times;
    int pause_ms;
};

static struct {
    const struct piece *script;
    char got[512 * 1024], whole[512 * 1024]; /* in this run; in the last undisturbed one */
    size_t got_n, whole_n;
    bool exact;  /* the answer is the same each time */
    bool faults; /* the client's own calls may fail */
} play;

/* ---- the client -------------------------------------------------------------------------------------------------- */

struct sender {
    WEFT_FRAME;
    weft_stream *stream;
};
static int sender(struct sender *f)
{
    weft_sweep_leave_out();
    int rc = 0;
    for (const struct piece *p = play.script; rc == 0 && p->text != NULL; p++) {
        for (size_t left = p->times; rc == 0 && left > 0;) {
            char block[1024];
            size_t n = left < sizeof block ? left : sizeof block;
            memset(block, p->text[0], n);
            rc = weft_write(f->stream, block, n);
            left -= n;
        }
        if (rc == 0 && p->times == 0)
            rc = weft_write(f->stream, p->text, strlen(p->text));
        if (rc == 0 && p->pause_ms != 0)
            rc = weft_sleep(WEFT_MS(p->pause_ms));
    }
    if (rc == 0 || play.faults)
        weft_shutdown(f->stream, WEFT_WRITABLE);
    if (rc < 0 && !weft_sweep_disturbed())
        weft_expect(false && "the client could not send its script");
    return 0; /* a handler that left is no failure of ours */
}
WEFT_CORO(sender);

struct reader {
    WEFT_FRAME;
    weft_stream *stream;
};
static int reader(struct reader *f)
{
    weft_sweep_leave_out();
    (void)weft_sleep(READS_AFTER);
    ssize_t n;
    while ((n = weft_read(f->stream, play.got + play.got_n, sizeof play.got - play.got_n)) > 0)
        play.got_n += (size_t)n;
    if (n < 0 && play.faults)
        weft_shutdown(f->stream, WEFT_READABLE); /* the server must not wait for us to read */
    if (n < 0 && !play.faults && (n != -ECONNRESET || !weft_sweep_disturbed()))
        weft_expect(false && "the client saw something else than an end");
    return 0;
}
WEFT_CORO(reader);

/* ---- the server -------------------------------------------------------------------------------------------------- */

static int connection(weft_stream **server, weft_stream **client)
{
    int fd[2], small = SMALL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return -errno;
    int rc = setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) != 0 ? -errno : 0;
    rc = rc < 0 ? rc : weft_stream_adopt(client, fd[1]);
    if (rc < 0) {
        close(fd[0]);
        close(fd[1]);
        return rc;
    }
    rc = weft_stream_adopt(server, fd[0]);
    if (rc < 0) {
        close(fd[0]);
        weft_close(*client);
    }
    return rc;
}

static int count_task(void *count, weft_task *t)
{
    (void)t;
    ++*(int *)count;
    return 0;
}

struct scene {
    WEFT_FRAME;
};
static int scene(struct scene *f)
{
    (void)f;
    struct server *s = &the_server;
    weft_sweep_leave_out();
    int rc = s->kind->prepare != NULL ? s->kind->prepare() : 0;
    int others = -1; /* this task is no other */
    bool counted = weft_all_tasks(count_task, &others) >= 0;
    weft_stream *stream, *peer;
    if (rc == 0)
        rc = connection(&stream, &peer);
    if (rc < 0)
        return rc;
    rc = server_admit(stream);
    weft_task *send = weft_create_task(sender, .stream = peer), *read = weft_create_task(reader, .stream = peer);
    if (send == NULL || read == NULL)
        weft_shutdown(peer, WEFT_READABLE | WEFT_WRITABLE); /* nobody plays the client */
    int waited = server_wait_clients();
    rc = rc < 0 ? rc : waited;
    int client_rc = send != NULL && read != NULL ? weft_gather(send, read) : -ENOMEM;
    if (client_rc < 0) { /* also when there was no memory to gather them */
        (void)weft_await(send);
        (void)weft_await(read);
    }
    weft_close(peer);
    int left = -1;
    counted = weft_all_tasks(count_task, &left) >= 0 && counted;
    weft_release(send);
    weft_release(read);
    if (counted && left > others)
        weft_expect(false && "the handler has ended and left a task");
    if (s->connected != 0 || s->clients != NULL)
        weft_expect(false && "the server still counts the client");
    return rc < 0 ? rc : client_rc;
}
WEFT_CORO(scene);

int __wrap_server_main(int argc, char **argv, const struct server_kind *kind);

int __wrap_server_main(int argc, char **argv, const struct server_kind *kind)
{
    struct scene frame = {.frame_ = {&scene_coro_}};
    (void)argc, (void)argv;
    the_server = (struct server)SERVER_INIT;
    the_server.kind = kind;
    play.got_n = 0;
    int rc = weft_run_(NULL, &frame.frame_, sizeof frame);
    pthread_mutex_destroy(&the_server.guard);
    if (!weft_sweep_disturbed()) {
        memcpy(play.whole, play.got, play.got_n);
        play.whole_n = play.got_n;
    } else if (play.exact && !play.faults &&
               (play.got_n > play.whole_n || memcmp(play.got, play.whole, play.got_n) != 0)) {
        weft_expect(false && "the client got something that an undisturbed one does not get");
    }
    return rc < 0;
}

/* ---- the scripts ------------------------------------------------------------------------------------------------- */

/* The undisturbed answer, checked when all is over: `text` is in it, and it has at least `least` bytes. */
static void check_answer(const char *text, size_t least)
{
    if (play.whole_n < least)
        fail_msg("the answers have %zu bytes, and should have at least %zu", play.whole_n, least);
    if (memmem(play.whole, play.whole_n, text, strlen(text)) == NULL)
        fail_msg("the answers lack \"%s\"", text);
}

static void everywhere(const char *name, void (*program)(void), const struct piece *script, bool exact)
{
    play.script = script;
    play.exact = exact;
    play.faults = false;
    long cancels = weft_sweep_cancel_program(WEFT_SWEEP(.victims = WEFT_VICTIM_SELF, .least = 5), name, program);
    assert_true(cancels > 30);
    play.faults = true;
    long faults = weft_sweep_faults_program(WEFT_SWEEP(.workers = 1, .least = 20), name, program);
    assert_true(faults > 20);
    fprintf(stderr, "%s: %ld cancelled runs, %ld failing calls\n", name, cancels, faults);
}

#define SERVER(name)                                                                                                   \
    int weft_##name##_main(int argc, char **argv);                                                                     \
    static void run_##name(void)                                                                                       \
    {                                                                                                                  \
        weft_##name##_main(1, (char *[]){(char[]){#name}, NULL});                                                      \
    }

SERVER(echo)
SERVER(chat)
SERVER(http)
SERVER(kv)

static void echo(void **state)
{
    static const struct piece script[] = {
        {.text = "hello ", .pause_ms = 10},
        {.text = "world\n", .pause_ms = 10},
        {.text = "x", .times = 60000, .pause_ms = 10},
        {.text = "the end\n"},
        {.text = NULL},
    };
    (void)state;
    everywhere("weft-echo", run_echo, script, true);
    check_answer("hello world\nxxx", 60000);
    check_answer("xxxthe end\n", 60000);
}

static void chat(void **state)
{
    /* Lines in pieces, and some that have to wait for room. */
    static const struct piece script[] = {
        {.text = "hel", .pause_ms = 10},
        {.text = "lo\nworld\n", .pause_ms = 10},
        {.text = "x", .times = 16000, .pause_ms = 10},
        {.text = "\n", .pause_ms = 10},
        {.text = "y", .times = 16000, .pause_ms = 10},
        {.text = "\nthe end\nnot heard", .pause_ms = 3000},
        {.text = NULL},
    };
    (void)state;
    everywhere("weft-chat", run_chat, script, true);
    check_answer("hello\nworld\nxxx", 32000);
    check_answer("yyy\nthe end\n", 32000);
}

static void http(void **state)
{
    /* A head in two pieces; a pipeline with a sleep in it; bodies in pieces, chunked and of known length; one that waits for
     * 100 Continue; an answer longer than the buffers; a last request, after which the server waits for our end. */
    static const struct piece script[] = {
        {.text = "GET /plaintext HTTP/1.1\r\nHo", .pause_ms = 10},
        {.text = "st: a\r\n\r\n", .pause_ms = 10},
        {.text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /sleep?ms=50 HTTP/1.1\r\nHost: a\r\n\r\n", .pause_ms = 100},
        {.text = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfi", .pause_ms = 10},
        {.text = "rst\r\n6\r\nsecond\r", .pause_ms = 10},
        {.text = "\n0\r\n\r\n", .pause_ms = 10},
        {.text = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", .pause_ms = 10},
        {.text = "more", .pause_ms = 10},
        {.text = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 40003\r\n\r\n", .pause_ms = 10},
        {.text = "b", .times = 40000, .pause_ms = 10},
        {.text = "end", .pause_ms = 10},
        {.text = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", .pause_ms = 10},
        {.text = "GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", .pause_ms = 3000},
        {.text = NULL},
    };
    (void)state;
    everywhere("weft-http", run_http, script, false); /* dates and figures differ */
    check_answer("Hello, World!", 40000);
    check_answer("slept\n", 40000);
    check_answer("bbbendHTTP/1.1 200 OK", 40000);
    check_answer("firstsecond", 40000);
    check_answer("100 Continue", 40000);
    check_answer("weft_tasks_created_total", 40000);
    check_answer("no such path\n", 40000);
}

static void kv(void **state)
{
    /* A command in pieces; one larger than the stream's buffer; replies that wait for room; keys that expire meanwhile. */
    static const struct piece script[] = {
        {.text = "*1\r\n$4\r\nPI", .pause_ms = 10},
        {.text = "NG\r\n", .pause_ms = 10},
        {.text = "SET brief x PX 100\r\nSET kept y\r\nINCR n\r\n", .pause_ms = 1000},
        {.text = "*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$50000\r\n", .pause_ms = 10},
        {.text = "v", .times = 50000, .pause_ms = 10},
        {.text = "\r\nGET large\r\nGET brief\r\nGET large\r\nMGET kept n\r\n", .pause_ms = 3000},
        {.text = "QUIT\r\n", .pause_ms = 3000},
        {.text = NULL},
    };
    (void)state;
    everywhere("weft-kv", run_kv, script, true);
    check_answer("+PONG\r\n+OK\r\n+OK\r\n:1\r\n+OK\r\n$50000\r\nvvv", 100000);
    check_answer("vvv\r\n$-1\r\n$50000\r\nvvv", 100000);
    check_answer("vvv\r\n*2\r\n$1\r\ny\r\n$1\r\n1\r\n+OK\r\n", 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(echo), cmocka_unit_test(chat), cmocka_unit_test(http),
                                       cmocka_unit_test(kv)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

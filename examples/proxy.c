/* SPDX-License-Identifier: Apache-2.0 */
/* weft-proxy: a TCP proxy. Each client is one task: connect to the upstream, relay until both sides have ended.
 *     weft-proxy --port 7000 --upstream-port 8080
 * `weft-proxy --help` tells its options. */
#include <errno.h>
#include <stdio.h>

#include "support/server.h"

static long upstream_port = 8080, connect_ms = 3000;

struct talk {
    WEFT_FRAME;
    weft_stream *client, *upstream;
};
static int talk(struct talk *t)
{
    return weft_relay(t->client, t->upstream);
}
WEFT_CORO(talk);

/* In a task of its own, which the server's word (that it drains) does not reach: what is under way may end in its own time, up
 * to the drain limit. */
static int talk_to_the_end(struct client *c, weft_stream *upstream)
{
    weft_task *t = weft_create_task(talk, .client = c->stream, .upstream = upstream);
    if (t == NULL)
        return -ENOMEM;
    int rc;
    while ((rc = weft_shield(t)) == -ECANCELED && !weft_done(t)) {
        if (!client_told(c)) {
            weft_cancel(t);
            rc = weft_await(t);
            break;
        }
    }
    weft_release(t);
    return rc;
}

struct proxy {
    WEFT_FRAME;
    struct client client;
};
static int proxy(struct proxy *f)
{
    struct client *c = client_enter(&f->client);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%ld", upstream_port);
    weft_stream *upstream = NULL;
    weft_timeout limit;
    weft_timeout_begin(&limit, WEFT_MS(connect_ms));
    int rc = weft_timeout_end(&limit, weft_connect(&upstream, address));
    if (rc == 0) {
        rc = talk_to_the_end(c, upstream);
        weft_close(upstream);
    }
    c->deaf =
        rc < 0; /* an upstream that is not there, or broke: the client sees a reset, not an end that looks whole */
    return client_leave(c, rc);
}

static void proxy_unstarted(struct proxy *f)
{
    client_unstarted(&f->client);
}
WEFT_CORO_OWNING(proxy, proxy_unstarted);

static weft_task *start(weft_stream *stream)
{
    return weft_create_task(proxy, .client = {.stream = stream});
}

int main(int argc, char **argv)
{
    const struct server_option options[] = {
        {"upstream-port", &upstream_port, "where to connect to, on this machine"},
        {"connect-ms", &connect_ms, "time for that"},
        {NULL, NULL, NULL},
    };
    return server_main(argc, argv,
                       &(struct server_kind){.name = "weft-proxy", .port = "7000", .start = start, .options = options});
}

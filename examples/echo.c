/* SPDX-License-Identifier: Apache-2.0 */
/* weft-echo: a TCP server that sends back what it gets. `weft-echo --help` tells its options. */
#include "support/server.h"

/* One client: a task of its own, written as if it were alone. While nothing comes it is parked (weft/park.h): called again from
 * here when there is something, it holds no stack meanwhile. */
struct echo {
    WEFT_FRAME;
    struct client client;
};
static int echo(struct echo *f)
{
    struct client *c = client_enter(&f->client);
    const char *bytes;
    ssize_t n;
    while ((n = client_next(c, &bytes)) > 0) {
        int rc = client_write(c, bytes, (size_t)n); /* waits while the client does not read: memory stays bounded */
        if (rc < 0)
            return client_leave(c, rc);
        weft_consume(c->stream, (size_t)n);
    }
    return n == WEFT_PARK ? WEFT_PARK : client_leave(c, n);
}

static void echo_unstarted(struct echo *f)
{
    client_unstarted(&f->client);
}
WEFT_CORO_OWNING(echo, echo_unstarted);

static weft_task *start(weft_stream *stream)
{
    return weft_create_task(echo, .client = {.stream = stream});
}

int main(int argc, char **argv)
{
    return server_main(argc, argv, &(struct server_kind){.name = "weft-echo", .port = "7007", .start = start});
}

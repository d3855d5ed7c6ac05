/* SPDX-License-Identifier: Apache-2.0 */
/* kv/commands.h -- commands and the replies to them. */
#ifndef EXAMPLES_KV_COMMANDS_H
#define EXAMPLES_KV_COMMANDS_H

#include <string.h>

#include "kv/resp.h"
#include "kv/store.h"
#include "support/server.h"

/* Replies gather here and leave with one write when no further command is at hand. After a failed write everything
 * more is dropped, and `rc` tells. */
struct reply {
    struct client *client;
    int rc; /* 0, or the errno of the connection's end */
    size_t n;
    char bytes[4096];
};

enum { NUMBER_LINE = 24 }; /* type, sign, 20 digits, line end */

/* All of these may suspend: not under a lock of the store, but for what reply_has_room. */
void reply_flush(struct reply *out);
void reply_bytes(struct reply *out, const char *bytes, size_t n); /* as they are, at most sizeof out->bytes */
static inline void reply_text(struct reply *out, const char *text)
{
    reply_bytes(out, text, strlen(text));
}
void reply_error(struct reply *out, const char *format, ...) WEFT_PRINTF(2, 3);
void reply_number(struct reply *out, char type, int64_t number); /* ":7", "*7" */
void reply_bulk(struct reply *out, const char *bytes, size_t n);
void reply_value(struct reply *out, const struct value *v); /* NULL: the null bulk string */
/* May a bulk string of n bytes be replied at once, without suspending? Then also under a lock. */
static inline bool reply_has_room(const struct reply *out, size_t n)
{
    return n + NUMBER_LINE + 2 <= sizeof out->bytes - out->n;
}

struct call {
    struct reply *out;
    weft_ns now;
    size_t argc; /* at least 1: the command's name */
    const struct resp_arg *argv;
    bool quit;     /* set by a command: close after the reply */
    unsigned *run; /* this connection's commands that have not been counted yet */
};

/* Do one command and reply. May suspend. */
void command_run(struct call *call);

/* Of INFO: so many commands were run; they are added up once for all that came together. */
void commands_count(unsigned *run);
unsigned long long commands_counted(void);

/* More commands, in files of their own. */
void command_set(struct call *c);
void command_info(struct call *c);
void command_config(struct call *c);

/* Small helpers for them. */
bool arg_is(struct resp_arg a, const char *upper);          /* in any case; `upper` is written in capitals */
bool arg_integer(struct resp_arg a, int64_t *out);          /* a 64-bit integer in its one canonical form */
weft_ns expiry_after(weft_ns now, int64_t n, weft_ns unit); /* 0: out of range */

#endif

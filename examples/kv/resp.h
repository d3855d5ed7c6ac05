/* SPDX-License-Identifier: Apache-2.0 */
/* kv/resp.h -- reading commands: RESP2 arrays of bulk strings, and inline commands (a line of words, as typed).
 *
 * A pure function over bytes that goes on where it stopped: a command that comes byte by byte costs no more than one
 * that comes whole. Memory grows with what came, not with what was announced. */
#ifndef EXAMPLES_KV_RESP_H
#define EXAMPLES_KV_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RESP_INLINE_MAX = 64 * 1024, /* bytes of an inline command, or of a length line */
    RESP_ARGS_MAX = 1024 * 1024, /* arguments of one command */
    RESP_ARGS_INLINE = 8,        /* of them, kept without allocation */
};

struct resp_arg {
    const char *at;
    size_t n;
};

/* Start with resp_init, end with resp_free. */
struct resp {
    size_t bulk_max; /* bytes of one argument */
    /* once a length was returned: argv[0..argc), valid as long as the data does not move; argc may be 0 */
    size_t argc;
    struct resp_arg *argv;
    /* once -1 was returned */
    const char *error;
    /* progress */
    size_t at_, scanned_; /* the next item starts at at_; no line end before scanned_ */
    size_t left_, bulk_;  /* arguments still to come; the length of the one that is coming + 1, or 0 */
    size_t room_;
    bool array_;
    char *words_; /* an inline command's arguments, without their quotes */
    struct resp_arg inline_[RESP_ARGS_INLINE];
    char text_[64]; /* of an error with a detail */
};

void resp_init(struct resp *r, size_t bulk_max);
void resp_free(struct resp *r);
/* Be ready for the next command. */
void resp_reset(struct resp *r);

/* Go on with the command that starts at data[0]. Returns its length; 0 when more bytes are needed; -1: the stream
 * cannot be understood any more (or memory is short): answer "-ERR Protocol error: <error>" and close. The data may
 * have moved since the last call. */
long resp_parse(struct resp *r, const char *data, size_t n);
/* The number of bytes, from the command's start, that are certainly part of it (0: not known). */
size_t resp_wanted(const struct resp *r);

#endif

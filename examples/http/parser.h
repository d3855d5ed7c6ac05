/* SPDX-License-Identifier: Apache-2.0 */
/* http/parser.h -- the head and the chunked body of an HTTP/1.1 request, strictly after RFC 9112.
 *
 * Pure functions over bytes: no I/O, no allocation, no copies. Whatever would let two parsers disagree about where a
 * request ends is refused: bare CR or LF, folded lines, white space before a colon, a repeated or odd
 * Content-Length, Transfer-Encoding beside Content-Length, codings other than `chunked`. After a refusal the
 * connection must be closed.
 *
 * Both parsers go on where they stopped, so that a request that comes byte by byte costs no more than one that comes
 * whole. */
#ifndef EXAMPLES_HTTP_PARSER_H
#define EXAMPLES_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_LINE_MAX = 8 * 1024,  /* request line: 414 */
    HTTP_HEAD_MAX = 16 * 1024, /* request line and header section: 431 */
    HTTP_FIELDS_MAX = 100,     /* header lines: 431 */
    HTTP_CHUNK_EXTRA = 4096,   /* extensions and trailers of one chunked body: 400, 431 */
};

enum http_method {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
    HTTP_KNOWN = 8,   /* PUT, DELETE, OPTIONS, PATCH, TRACE: understood and never allowed here (405) */
    HTTP_UNKNOWN = 16 /* 501 */
};

/* A part of the head, by its place: the bytes may move while the rest of the head is read. */
struct http_span {
    uint32_t at, n;
};

/* Start with all zero. */
struct http_head {
    /* once a length was returned */
    enum http_method method;
    struct http_span path;  /* empty: an absolute target without a path, the same as "/" */
    struct http_span query; /* without the '?' */
    unsigned minor;         /* HTTP/1.minor */
    bool keep_alive;        /* the client wants the connection to stay */
    bool chunked;           /* a chunked body follows; else `length` bytes */
    bool expect_continue;   /* the client waits for "100 Continue" before it sends the body */
    uint64_t length;
    /* once a refusal was returned: what was wrong */
    const char *why;
    /* progress */
    uint32_t line_, scanned_;
    uint16_t fields_, seen_;
};

/* Go on with the head that starts at data[0], of which n bytes are there. Returns its length, empty line included; 0
 * when more bytes are needed; or the negative status to refuse it with: -400, -414, -417, -431, -501, -505. */
int http_head_parse(struct http_head *h, const char *data, size_t n);

/* Start with all zero. */
struct http_chunked {
    uint64_t left_; /* of the chunk */
    uint32_t extra_;
    uint8_t state_, digits_;
    const char *why; /* once a refusal was returned */
};

enum http_chunk { HTTP_CHUNK_MORE = 0, HTTP_CHUNK_PIECE = 1, HTTP_CHUNK_END = 2 };

/* Take bytes of a chunked body from data[0..n), of which *used were taken. PIECE: *piece (of *length bytes, within
 * data) is the next part of the content; call again with the rest. MORE: all n were taken. END: the body has ended,
 * trailers included. Negative: the status to refuse it with, -400 or -431. The sizes of chunks are not limited here:
 * watch the sum of the pieces and http_chunked_announced. */
int http_chunked_next(struct http_chunked *c, const char *data, size_t n, size_t *used, const char **piece,
                      size_t *length);

/* The bytes of the current chunk that are still to come. */
static inline uint64_t http_chunked_announced(const struct http_chunked *c)
{
    return c->left_;
}

#endif

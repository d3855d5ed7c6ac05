/* SPDX-License-Identifier: Apache-2.0 */
/* http/chunked.c -- the chunked body (RFC 9112 section 7.1): a state machine over bytes. See parser.h. */
#include "http/chars.h"
#include "http/parser.h"

enum state {
    SIZE,      /* at the first digit of a chunk's size */
    SIZE_MORE, /* further digits */
    SPACE,     /* white space after the size: only an extension may follow */
    EXTENSION, /* after ';' */
    SIZE_LF,   /* the LF of the size line */
    DATA,
    DATA_CR, /* after the last byte of a chunk */
    DATA_LF,
    TRAILER, /* at the first character of a trailer line */
    NAME,    /* in a trailer's name */
    VALUE,   /* after its colon */
    VALUE_LF,
    END_LF, /* the LF of the empty line that ends all */
    ENDED,
};

static int refuse(struct http_chunked *c, int status, const char *why)
{
    c->why = why;
    return -status;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a size line. */
static int size_line(struct http_chunked *c, char ch)
{
    int digit = hex(ch);
    if (c->state_ <= SIZE_MORE && digit >= 0) {
        if (++c->digits_ > 15) {
            return refuse(c, 400, "a chunk size of too many digits");
        }
        c->left_ = c->left_ * 16 + (unsigned)digit;
        c->state_ = SIZE_MORE;
        return 0;
    }
    if (c->state_ == SIZE) {
        return refuse(c, 400, "a chunk without a size");
    }
    if (ch == '\r' && c->state_ != SPACE) {
        c->state_ = SIZE_LF;
        return 0;
    }
    if (++c->extra_ > HTTP_CHUNK_EXTRA) {
        return refuse(c, 400, "chunk extensions that are too long");
    }
    if (c->state_ == EXTENSION) {
        return HTTP_IS(ch, HTTP_TEXT) ? 0 : refuse(c, 400, "a control character in a chunk extension");
    }
    if (ch == ';') {
        c->state_ = EXTENSION;
    } else if (ch == ' ' || ch == '\t') {
        c->state_ = SPACE;
    } else {
        return refuse(c, 400, "a chunk size that is not a number");
    }
    return 0;
}

/* One character of the trailer section. Trailers are checked and dropped. */
static int trailer(struct http_chunked *c, char ch)
{
    if (++c->extra_ > HTTP_CHUNK_EXTRA) {
        return refuse(c, 431, "trailers that are too long");
    }
    switch ((enum state)c->state_) {
    case TRAILER:
        if (ch == '\r') {
            c->state_ = END_LF;
            return 0;
        }
        c->state_ = NAME;
        return HTTP_IS(ch, HTTP_TOKEN) ? 0 : refuse(c, 400, "a trailer line that is not `name: value`");
    case NAME:
        if (ch == ':') {
            c->state_ = VALUE;
            return 0;
        }
        return HTTP_IS(ch, HTTP_TOKEN) ? 0 : refuse(c, 400, "a trailer line that is not `name: value`");
    default: /* VALUE */
        if (ch == '\r') {
            c->state_ = VALUE_LF;
            return 0;
        }
        return HTTP_IS(ch, HTTP_TEXT) ? 0 : refuse(c, 400, "a control character in a trailer");
    }
}

/* The characters that have one place only: CR and LF around data, LF after a line. */
static int exactly(struct http_chunked *c, char ch, char wanted, enum state next)
{
    if (ch != wanted) {
        return refuse(c, 400, "a line of the chunked body that does not end in CR LF");
    }
    c->state_ = (uint8_t)next;
    return 0;
}

static int step(struct http_chunked *c, char ch)
{
    switch ((enum state)c->state_) {
    case SIZE_LF:
        c->digits_ = 0;
        return exactly(c, ch, '\n', c->left_ > 0 ? DATA : TRAILER);
    case DATA_CR:
        return exactly(c, ch, '\r', DATA_LF);
    case DATA_LF:
        return exactly(c, ch, '\n', SIZE);
    case VALUE_LF:
        return exactly(c, ch, '\n', TRAILER);
    case END_LF:
        return exactly(c, ch, '\n', ENDED);
    case TRAILER:
    case NAME:
    case VALUE:
        return trailer(c, ch);
    default:
        return size_line(c, ch);
    }
}

int http_chunked_next(struct http_chunked *c, const char *data, size_t n, size_t *used, const char **piece,
                      size_t *length)
{
    size_t i = 0;
    int rc = 0;
    while (i < n && c->state_ != ENDED && c->state_ != DATA && rc == 0) {
        rc = step(c, data[i++]);
    }
    if (rc == 0 && c->state_ == ENDED) {
        rc = HTTP_CHUNK_END;
    } else if (rc == 0 && c->state_ == DATA && i < n) {
        *piece = data + i;
        *length = n - i < c->left_ ? n - i : (size_t)c->left_;
        i += *length;
        c->left_ -= *length;
        c->state_ = c->left_ > 0 ? DATA : DATA_CR;
        rc = HTTP_CHUNK_PIECE;
    }
    *used = i;
    return rc;
}

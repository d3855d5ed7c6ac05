/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_http_chunked.c -- the chunked body of weft-http. */
#include "fuzz.h"
#include "http/parser.h"

struct decoded {
    int rc; /* END, MORE, or the refusal */
    size_t used, n;
    uint32_t sum; /* of the content, by place */
};

static void feed(struct http_chunked *c, struct decoded *d, const char *bytes, size_t n)
{
    while (d->rc == HTTP_CHUNK_MORE && n > 0) {
        const char *piece = NULL;
        size_t used = 0, length = 0;
        int rc = http_chunked_next(c, bytes, n, &used, &piece, &length);
        MUST(used <= n && (used > 0 || rc != HTTP_CHUNK_MORE));
        d->used += used;
        if (rc == HTTP_CHUNK_PIECE) {
            MUST(length > 0 && piece >= bytes && piece + length == bytes + used);
            for (size_t i = 0; i < length; i++) {
                d->sum = d->sum * 31 + (uint8_t)piece[i];
            }
            d->n += length;
        } else {
            MUST(rc != HTTP_CHUNK_MORE || used == n);
            MUST(rc >= 0 || (rc <= -400 && c->why != NULL));
            d->rc = rc;
        }
        bytes += used;
        n -= used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const char *data = (const char *)input + 1;
    size_t n = size - 1;

    char *copy = exact_copy(data, n);
    struct http_chunked one = {0};
    struct decoded whole = {0};
    feed(&one, &whole, copy, n);
    MUST(whole.n <= n);
    if (whole.rc == HTTP_CHUNK_END) {
        MUST(whole.used >= 5 && memcmp(copy + whole.used - 2, "\r\n", 2) == 0);
    }
    free(copy);

    struct cuts cuts = {input[0]};
    struct http_chunked other = {0};
    struct decoded pieces = {0};
    for (size_t at = 0; at < n && pieces.rc == HTTP_CHUNK_MORE;) {
        size_t piece = cut_next(&cuts, n - at);
        char *moved = exact_copy(data + at, piece);
        feed(&other, &pieces, moved, piece);
        at += piece;
        free(moved);
    }
    MUST(whole.rc == pieces.rc && whole.used == pieces.used && whole.n == pieces.n && whole.sum == pieces.sum);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_resp.c -- the command parser of weft-kv. */
#include "fuzz.h"
#include "kv/resp.h"

enum { BULK_MAX = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const char *data = (const char *)input + 1;
    size_t n = size - 1;
    char *copy = exact_copy(data, n);
    struct resp whole;
    struct cuts cuts = {input[0]};
    resp_init(&whole, BULK_MAX);
    /* One command after the other, as the server does. */
    for (size_t at = 0; at < n;) {
        long rc = resp_parse(&whole, copy + at, n - at);
        MUST(rc <= (long)(n - at));
        MUST(rc >= 0 || whole.error != NULL);
        size_t sum = 0;
        for (size_t i = 0; rc > 0 && i < whole.argc; i++) {
            MUST(whole.argv[i].n <= (copy[at] == '*' ? (size_t)BULK_MAX : n));
            sum += whole.argv[i].n;
        }
        MUST(rc <= 0 || sum <= (size_t)rc);

        struct resp pieces;
        resp_init(&pieces, BULK_MAX);
        long in_pieces = 0;
        char *moved = NULL;
        for (size_t have = 0; in_pieces == 0 && have < n - at;) {
            have += cut_next(&cuts, n - at - have);
            free(moved);
            moved = exact_copy(data + at, have);
            in_pieces = resp_parse(&pieces, moved, have);
            MUST(in_pieces != 0 || resp_wanted(&pieces) == 0 || resp_wanted(&pieces) > have);
        }
        MUST(in_pieces == rc && whole.argc == pieces.argc);
        for (size_t i = 0; rc > 0 && i < whole.argc; i++) {
            MUST(whole.argv[i].n == pieces.argv[i].n);
            MUST(memcmp(whole.argv[i].at, pieces.argv[i].at, whole.argv[i].n) == 0);
        }
        resp_free(&pieces);
        free(moved);
        if (rc <= 0) {
            break;
        }
        resp_reset(&whole);
        at += (size_t)rc;
    }
    resp_free(&whole);
    free(copy);
    return 0;
}

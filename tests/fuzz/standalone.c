/* SPDX-License-Identifier: Apache-2.0 */
/* standalone.c -- runs a fuzz target without libFuzzer (which only clang has): the files given, then variations of
 * them, the same ones each time. It finds less than libFuzzer does, but something, with every compiler.
 *     fuzz_NAME ROUNDS FILE... */
#include "fuzz.h"

enum { MOST = 64 * 1024, FILES = 64 };

static uint32_t state = 1;
static uint32_t random_below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % n;
}

static struct {
    uint8_t *bytes;
    size_t n;
} seeds[FILES];

/* Change some bytes, take some out, repeat some, put a few that matter in. */
static size_t vary(uint8_t *bytes, size_t n)
{
    static const char matter[] = "\r\n\r\n \t:;,0123456789abcdef*$\"'\\-+\0\x80#/";
    for (uint32_t i = random_below(6) + 1; i > 0 && n > 1; i--) {
        size_t at = random_below((uint32_t)n), length = random_below(20);
        length = at + length > n ? n - at : length;
        switch (random_below(5)) {
        case 0:
            bytes[at] = (uint8_t)random_below(256);
            break;
        case 1:
            bytes[at] = (uint8_t)matter[random_below(sizeof matter - 1)];
            break;
        case 2:
            memmove(bytes + at, bytes + at + length, n - at - length);
            n -= length;
            break;
        case 3:
            if (n + length < MOST) {
                memmove(bytes + at + length, bytes + at, n - at);
                n += length;
            }
            break;
        default:
            bytes[0] = (uint8_t)random_below(256);
            break;
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[2 * MOST];
    uint32_t count = 0;
    long rounds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    for (int i = 2; i < argc && count < FILES; i++) {
        FILE *f = fopen(argv[i], "rb");
        MUST(f != NULL);
        seeds[count].n = fread(bytes, 1, MOST / 2, f);
        seeds[count].bytes = (uint8_t *)exact_copy((const char *)bytes, seeds[count].n);
        fclose(f);
        LLVMFuzzerTestOneInput(seeds[count].bytes, seeds[count].n);
        count++;
    }
    MUST(count > 0 && rounds > 0);
    for (long r = 0; r < rounds; r++) {
        uint32_t one = random_below(count), two = random_below(count);
        size_t n = seeds[one].n;
        memcpy(bytes, seeds[one].bytes, n);
        if (random_below(4) == 0) { /* two in a row */
            memcpy(bytes + n, seeds[two].bytes, seeds[two].n);
            n += seeds[two].n;
        }
        LLVMFuzzerTestOneInput(bytes, vary(bytes, n));
    }
    for (uint32_t i = 0; i < count; i++) {
        free(seeds[i].bytes);
    }
    printf("%u files, %ld variations\n", count, rounds);
    return 0;
}

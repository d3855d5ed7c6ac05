/* SPDX-License-Identifier: Apache-2.0 */
/* Values of command line options, taken exactly: a measurement with other settings than those that were meant is worse than none. Main thread. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/run.h>

bool bench_whole(const char *option, const char *text, long least, long most, long *out)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < least || value > most) {
        fprintf(stderr, "weft-bench: --%s takes a whole number from %ld to %ld, not '%s'\n", option, least, most, text);
        return false;
    }
    *out = value;
    return true;
}

bool bench_seconds(const char *option, const char *text, double most, double *out)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value > 0 && value <= most)) {
        fprintf(stderr, "weft-bench: --%s takes seconds, at most %.0f, not '%s'\n", option, most, text);
        return false;
    }
    *out = value;
    return true;
}

bool bench_word(const char *option, const char *text, const char *const words[], unsigned *out)
{
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    fprintf(stderr, "weft-bench: --%s takes one of", option);
    for (unsigned i = 0; words[i] != NULL; i++)
        fprintf(stderr, " %s", words[i]);
    fprintf(stderr, ", not '%s'\n", text);
    return false;
}

bool bench_pin(const char *text, unsigned *out)
{
    static const char *const words[] = {"default", "none", "node", "core", NULL};
    static const unsigned pins[] = {WEFT_PIN_DEFAULT, WEFT_PIN_NONE, WEFT_PIN_NODE, WEFT_PIN_CORE};
    unsigned at;
    if (!bench_word("pin", text, words, &at))
        return false;
    *out = pins[at];
    return true;
}

int bench_printed(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "weft-bench: the output could not be written: %s\n", strerror(errno));
    return status != 0 ? status : 1;
}

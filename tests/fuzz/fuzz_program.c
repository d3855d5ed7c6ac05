/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_program.c -- what the conformance interpreter reads: JSON that may be a program. It is looked through before it runs (check.c), and whatever it
 * is, that says so. Programs that run, and what comes of them, are scripts/conformance's, which asks asyncio. */
#include <jansson.h>

#include "fuzz.h"
#include "tests/conformance/interp.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    json_error_t error;
    json_t *program = json_loadb((const char *)input, size, 0, &error);
    if (program == NULL)
        return 0;
    struct memory m;
    memory_begin(&m);
    const char *unknown = program_check(&m, program);
    MUST(unknown == NULL || strlen(unknown) < size + 200);
    memory_end(&m, false);
    json_decref(program);
    return 0;
}

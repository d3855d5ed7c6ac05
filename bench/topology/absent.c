/* SPDX-License-Identifier: Apache-2.0 */
/* weft-bench topology and compare where jansson was not there when this was built. */
#include <stdio.h>

#include "commands.h"

static int absent(void)
{
    fprintf(stderr, "weft-bench: built without topology and compare: jansson (Debian: libjansson-dev) was missing\n");
    return 1;
}

int topology_command(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return absent();
}

int compare_command(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return absent();
}

void topology_usage(FILE *to)
{
    (void)to;
}

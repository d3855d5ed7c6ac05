/* SPDX-License-Identifier: Apache-2.0 */
/* load/zipf.c -- ranks by Zipf's law, one draw and one look into a table each (Walker's aliases): n columns of equal
 * height, each filled by one rank or by two. A rank that is too small for its column leaves the rest to one that is too large. */
#include <math.h>
#include <stdlib.h>

#include "zipf.h"

bool zipf_make(struct zipf *z, uint32_t n, double s)
{
    double *height = malloc(n * sizeof *height), sum = 0;
    uint32_t *pending = malloc(n * sizeof *pending), small = 0,
             large = n; /* small ones from the front, large from the end */
    *z = (struct zipf){.n = n, .column = malloc(n * sizeof *z->column)};
    if (height == NULL || pending == NULL || z->column == NULL) {
        free(height);
        free(pending);
        zipf_free(z);
        return false;
    }
    for (uint32_t k = n; k-- > 0;) { /* the small ones first: nothing is lost in the sum */
        sum += height[k] = pow(k + 1.0, -s);
    }
    for (uint32_t k = 0; k < n; k++) {
        height[k] *= n / sum;
        pending[height[k] < 1 ? small++ : --large] = k;
    }
    while (small > 0 && large < n) {
        uint32_t k = pending[--small], giver = pending[large];
        z->column[k] = (struct zipf_column){.keep = (uint32_t)(height[k] * 0x1p32), .other = giver};
        height[giver] -= 1 - height[k];
        if (height[giver] < 1) {
            pending[small++] = giver;
            large++;
        }
    }
    /* Whoever is left is 1 but for rounding. */
    while (small > 0 || large < n) {
        uint32_t k = small > 0 ? pending[--small] : pending[large++];
        z->column[k] = (struct zipf_column){.keep = UINT32_MAX, .other = k};
    }
    free(height);
    free(pending);
    return true;
}

void zipf_free(struct zipf *z)
{
    free(z->column);
    z->column = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_address.c -- texts that name a peer (io/address.c). What is understood is written as it is read: the text of an address gives the same
 * address, and that the same text. */
#include <errno.h>

#include "fuzz.h"
#include "io/address.h"

static void check_again(const struct weft__address *a)
{
    char text[256], again[256], shortened[256];
    int n = weft__address_format(a, text, sizeof text);
    MUST(n > 0 && (size_t)n < sizeof text && strlen(text) == (size_t)n);
    for (size_t size = 1; size <= (size_t)n; size++) {
        memset(shortened, 'x', sizeof shortened);
        MUST(weft__address_format(a, shortened, size) == n && strnlen(shortened, size) < size &&
             shortened[size] == 'x');
    }
    struct weft__endpoint endpoint;
    struct weft__addresses out;
    if (strncmp(text, "unix:", 5) != 0 || strlen(text) > 5) {
        MUST(weft__address_parse(text, false, &endpoint, &out) == 0 && endpoint.numeric && out.count == 1);
        MUST(weft__address_format(&out.item[0], again, sizeof again) == n && strcmp(text, again) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size == 0 || memchr(input + 1, '\0', size - 1) != NULL)
        return 0;
    char *text = malloc(size);
    MUST(text != NULL);
    memcpy(text, input + 1, size - 1);
    text[size - 1] = '\0';
    struct weft__endpoint endpoint;
    struct weft__addresses out;
    int rc = weft__address_parse(text, input[0] & 1, &endpoint, &out);
    MUST(rc == 0 || rc == -EINVAL || rc == -ENAMETOOLONG);
    if (rc == 0 && endpoint.numeric) {
        MUST(out.count >= 1 && out.count <= WEFT__ADDRESSES);
        for (unsigned i = 0; i < out.count; i++)
            check_again(&out.item[i]);
    } else if (rc == 0) {
        MUST(strnlen(endpoint.host, sizeof endpoint.host) < sizeof endpoint.host);
        MUST(strnlen(endpoint.service, sizeof endpoint.service) < sizeof endpoint.service);
    }
    free(text);
    return 0;
}

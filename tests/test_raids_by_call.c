/* SPDX-License-Identifier: Apache-2.0 */
/* test_raids.c once more, with forks and joins that call the library, as C++ and other machines do: the same results. */
#define WEFT_NO_INLINE 1
#include "tests/test_raids.c"

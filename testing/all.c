/* SPDX-License-Identifier: Apache-2.0 */
/* testing/all.c -- asks for every part of the library: a program is linked with --undefined=weft__testing_all, and then what --wrap asks for
 * later is there already, whatever the order of the libraries. */
#include "testing/schedule.h"
#include "testing/testing.h"

void *__wrap_malloc(size_t size);
int __wrap_epoll_create1(int flags);

typedef void any_function(void);
extern any_function *const weft__testing_all[];
any_function *const weft__testing_all[] = {
    (any_function *)__wrap_malloc,      (any_function *)__wrap_epoll_create1, (any_function *)weft__schedule_use,
    (any_function *)weft_sweep_cancel_, (any_function *)weft_explore_,        (any_function *)weft_faults_begin,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* weft.h -- asyncio's semantics on all cores: everything. Each topic's header is its manual. */
#ifndef WEFT_H
#define WEFT_H

#include <weft/attr.h>
#include <weft/base.h>
#include <weft/callback.h>
#include <weft/context.h>
#include <weft/coroutine.h>
#include <weft/future.h>
#include <weft/gather.h>
#include <weft/io.h>
#include <weft/join.h>
#include <weft/metrics.h>
#include <weft/park.h>
#include <weft/queue.h>
#include <weft/run.h>
#include <weft/scope.h>
#include <weft/strand.h>
#include <weft/sync.h>
#include <weft/task.h>
#include <weft/thread.h>
#include <weft/topology.h>

#endif

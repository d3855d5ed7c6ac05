/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_queue_words.c -- test_queue.c with items as large as a word, which go the queue's short way. */
#define QUEUE_ITEM int64_t
#include "tests/test_queue.c"

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/cancel_everywhere/harness.h -- run a program once for each of its suspensions, with a cancellation landing there.
 *
 * The tests are linked with --wrap=weft__fiber_switch_away, through which every suspension of every task goes, whatever it
 * waits for, and with --wrap=weft__parked_leave, through which it goes when it is parked; that, and the count of handles left when a runtime has ended, is all that is private here. Suspensions are counted there, over all tasks of the program under test (not
 * the runtime's root task, and none that called harness_leave_out). At the k-th the victim is cancelled, in one of two ways:
 *   LAND_ARMED   just before the switch: the wait is announced, but the task not asleep yet
 *   LAND_PARKED  just after it, on the next context: the task is asleep
 * With one worker and the virtual clock a program suspends in the same order each time, so k = 1, 2, ... up to the number that
 * an undisturbed run counts are all its awaits, each exactly once; that is checked. With several workers the order may
 * differ from run to run: then k goes on until a run ends without a k-th suspension.
 *
 * After each run: the program ended cancelled or with its own outcome, every task has ended, every stack is back, every
 * handle is released, no descriptor is open, no memory is leaked (with address sanitizer), the library had nothing to report. A run that hangs ends
 * the test by SIGALRM, with a dump of its tasks.
 *
 * Threads: harness_leave_out inside tasks, all else by the main thread. */
#ifndef WEFT_TESTS_CANCEL_EVERYWHERE_HARNESS_H
#define WEFT_TESTS_CANCEL_EVERYWHERE_HARNESS_H

#include <weft.h>

enum landing { LAND_ARMED, LAND_PARKED };

enum victim {
    VICTIM_SELF, /* the task that suspends */
    VICTIM_MAIN, /* the main task of the run */
};

/* Runs the program under test once; it must come to one harness_run. */
typedef void harness_program(void);

/* Everything above for one program, with 1, 2 and 8 workers. `name` is for messages. At least `least` suspensions must be
 * found, else the harness is blind. */
void harness_everywhere(const char *name, harness_program *program, const enum victim *victims, size_t count,
                        unsigned least);

/* weft_run on the virtual clock, as the present run wants it. The frame is used in place, by the main task. */
int harness_run(weft_frame *frame);

/* The calling task belongs to the test, not to the program: do not count it. It must live until the run ends, or somebody
 * must hold its handle so long. */
void harness_leave_out(void);

/* Is this the run that is not disturbed? (Then a script has to get all its answers.) Any thread. */
bool harness_undisturbed(void);

/* Something is wrong with this run. Any thread; the first one is reported. `what` is static. */
void harness_complain(const char *what);

#endif

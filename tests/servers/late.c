/* SPDX-License-Identifier: Apache-2.0 */
/* To be loaded into a program beforehand (late.sh): SIGTERM comes when its main has returned. */
#include <signal.h>
#include <unistd.h>

__attribute__((destructor)) static void late(void)
{
    kill(getpid(), SIGTERM);
}

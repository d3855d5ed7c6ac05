/* SPDX-License-Identifier: Apache-2.0 */
/* stress/planted -- ten races that people really write, each found by weft_explore within the number of schedules beside it; and each one's cure, in
 * which nothing is found. So that exploration does not grow blind: when a change of the scheduler or of the strategies makes one of them hard to find, this
 * fails. `planted` runs all; `planted NAME` one; `planted --table` prints how many schedules each strategy needs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planted.h"

#define SOUND_RUNS 150

struct race {
    WEFT_FRAME;
    const struct planted *planted;
    bool cured;
};
static int race(struct race *f)
{
    return f->planted->body(f->cured);
}
WEFT_CORO(race);

static int actor(struct actor *f)
{
    return f->play(f->scene, f->number);
}
WEFT_CORO_DEFINE(actor);

int play_all(int (*play)(void *scene, int number), void *scene, int n)
{
    weft_task *t[8];
    int rc = 0;
    for (int i = 0; i < n; i++)
        t[i] = weft_create_task(actor, .play = play, .scene = scene, .number = i);
    for (int i = 0; i < n; i++) {
        int one = weft_await_release(t[i]);
        rc = rc < 0 ? rc : one;
    }
    return rc < 0 ? rc : 0;
}

static void hush(void *user, const char *line)
{
    (void)user, (void)line;
}

/* The schedules until it is found; 0: it is not. */
static unsigned look(const struct planted *p, bool cured, unsigned runs, unsigned strategy, uint64_t seed, bool loud)
{
    weft_explored found;
    const weft_explore_options *o = WEFT_EXPLORE(.runs = runs, .strategy = strategy, .seed = seed, .found = &found,
                                                 .as_found = !loud, .report = loud ? NULL : hush);
    int rc = weft_explore(o, race, .planted = p, .cured = cured);
    free(found.schedule);
    return rc == 1 ? found.runs : 0;
}

static int worst_of_ten(const struct planted *p, unsigned strategy)
{
    unsigned worst = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        unsigned n = look(p, false, 3000, strategy, seed * 100000, false);
        worst = n == 0 ? 3001 : n > worst ? n : worst;
    }
    return (int)worst;
}

int main(int argc, char **argv)
{
    bool table = argc == 2 && strcmp(argv[1], "--table") == 0, help = argc == 2 && strcmp(argv[1], "--help") == 0;
    unsigned passed = 0, failed = 0;
    if (help || argc > 2 || (argc == 2 && !table && argv[1][0] == '-')) {
        fprintf(help ? stdout : stderr,
                "usage: weft-planted [NAME | --table]\n"
                "  finds the planted races by exploration; --table: how many schedules it takes\n");
        return help ? 0 : 2;
    }
    for (const struct planted *p = planted_races; p->name != NULL; p++) {
        if (argc == 2 && !table && strcmp(argv[1], p->name) != 0)
            continue;
        if (table) {
            printf("%-22s random %5d  pct %5d  (allowed %u)\n", p->name, worst_of_ten(p, WEFT_EXPLORE_RANDOM),
                   worst_of_ten(p, WEFT_EXPLORE_PCT), p->within);
            fflush(stdout);
            continue;
        }
        unsigned at = look(p, false, p->within, WEFT_EXPLORE_BOTH, 1, true);
        unsigned false_alarm = look(p, true, SOUND_RUNS, WEFT_EXPLORE_BOTH, 1, true);
        bool good = at != 0 && false_alarm == 0;
        printf("%-22s %s: schedule %u of %u allowed%s\n", p->name, good ? "passed" : "FAILED", at, p->within,
               false_alarm != 0 ? "; the cured one fails too" : "");
        passed += good;
        failed += !good;
    }
    if (passed + failed == 0 && !table)
        fprintf(stderr, "weft-planted: no race '%s'\n", argv[1]);
    if (!table)
        printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && (table || passed != 0) ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* park.pml -- a model of how workers sleep and are woken (executor/idle.c, executor/tick.c), for spin.
 *
 * One or two workers, the reactor thread, foreign threads that submit tasks, and the kernel with one epoll instance. Each
 * access to shared memory is a step of its own; memory is sequentially consistent, as the seq_cst operations of idle.c
 * are among themselves. Left out: stopping, helper threads, distances, workers that look around before they sleep, pinned tasks and workers that
 * stand aside (the explorer's park-aside has these, tests/model/explore), and
 *
 *   queues    A worker's queue is a number. That a thief gets only what the owner has opened or what it raids (ready.c,
 *             raid.pml) is left out: here it takes at once, but not the lone item of an owner that is not stuck. Forked children are
 *             not there; their `limit` is asked for, raised and lowered as `hunger` is here (joins.c).
 *   plain     A worker that pushes to its own queue does so by plain stores, which its processor may hold back while it
 *   pushes    already reads hunger and a sleeper already looks. Here every store is seen at once. What the code does about
 *             the difference (a moment between asking and looking, the next push, the tick) has nothing to be checked: it is
 *             a matter of time. That hunger and parked are in the right order on both sides is checked. (That the owner asks
 *             again for those who sleep on matters with three workers or more: with two, nobody else sleeps on.)
 *
 *   IO        is waited for: then only work that its owner has opened counts for who is about to sleep. What is closed is left to its owner, who has
 *             been asked, and opens half of it at its next push or pop. Who saw closed work on the way to sleep notes it, and comes back once, whenever
 *             it likes (a time limit); if its owner is stuck then, it takes an item (a raid); if not, it notes it anew and does not come back
 *             by itself. From then on it is the tick's to wake somebody: so a worker gets stuck here only with REACTOR.
 *
 *   FORKS     what is in a queue are forked children, and so many bursts of them are left to their worker (burst.c): it takes back the question, wakes
 *             nobody, and asks again for the sleepers when it has run dry. Then only the tick may find what lies there, so a worker does not get
 *             stuck in such a burst without REACTOR. And who is woken may give the CPU away before it looks (BESIDE in idle.c).
 *
 *   tasks     START lie in the injector at the beginning. A task may spawn others on its worker's queue (SPAWNS in all),
 *             arm its worker's timer (TIMERS), collect events (LOOKS), get stuck (STUCK) until everything else has been
 *             done, and end. Each of FOREIGNS threads submits SUBMITS; EVENTS arrive at descriptors, at any time. A
 *             timer is due whenever it likes.
 *   checked   when nothing can go on any more (monitor): every task was run, all workers sleep, one of them in
 *             epoll_wait, nobody is counted as searching, and the reactor thread sleeps without ticks. A stuck task ends
 *             only when all others have been run: one that nobody rescues shows, too.
 *   ticks     a tick that would find nothing to do is left out, so that a system at rest is at rest in the model. Without
 *             REACTOR the workers must do all alone: no wake is left to the tick but the documented ones (a lone item of
 *             a stuck worker, events while a worker is stuck and nobody leads).
 *   progress  with LIVE (without REACTOR): every run ends with all work done, if each thread gets its turn. With the
 *             reactor thread this cannot be said in a model without time: a tick that comes each time just when a worker
 *             parks would keep it awake for ever; ticks are 10 ms apart, parking takes a microsecond.
 *   VIRTUAL   timers are due when the clock is moved, which the last worker to park does (executor/clock.c); tasks write
 *             to descriptors that others wait for (WRITES). Checked: the clock moves while a timer is left, and (without
 *             EVENTS, which come whenever they like) never past something that has arrived, nor while anybody runs. WAITS
 *             tasks wait for a descriptor for ever.
 *   COARSE    what follows each other inside one thread is one step, but for the foreign thread's: the reactor's
 *             configurations would be too large otherwise.
 *
 * tests/model/run.sh runs configurations that must pass, and mutations each of which must be found.
 *
 * What the model found, and what the code does about it:
 *   PHANTOM       A waker that counts the sleeper as searching before it has taken its bit, and takes that back when the
 *                 bit was gone, shows a searcher where there is none. If the sleeper, which left by itself (an event),
 *                 parks again meanwhile, and then somebody submits, the wake is left to that searcher: the task lies
 *                 there with everybody asleep. So: first the bit, then the count; it may then be below 0 for a moment
 *                 (the woken worker was quicker), and only > 0 means that somebody searches.
 *   COUNT_PARKED  The count of parked workers is lowered after the bit was taken. A worker that left by itself in
 *                 between has looked at `asleep` already, and the reactor thread still counts it as parked: it goes to
 *                 sleep for good beside a running worker. So: "all are parked" is read from the bits. The count is only
 *                 good for "nobody is".
 *   COUNT_ASKS    The same count again, where a parking worker asks whether it is the last and has to move the virtual
 *                 clock. A waker takes the bit of a worker that is just looking at the queues; that one finds the task,
 *                 or that another took it, and parks again before the waker has lowered the count: it now stands one too
 *                 high, no worker finds itself the last, and nobody moves the clock, ever. The waker's post comes too
 *                 late for a leader (the ticket is not what it sleeps on), its kick too early. The bits are right.
 *   LOOK_IF_WAITS The clock's mover looks at all queues; a leader then puts an event's task into its own, which was looked
 *                 at already; the task goes on running, and no longer counts as one that waits for a descriptor. If the
 *                 mover asks for these only now, finds none, and leaves out the second look, it moves the clock beside
 *                 a running task (or calls it a deadlock). So: always the second look. */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef START
#define START 1
#endif
#ifndef FOREIGNS
#define FOREIGNS 1
#endif
#ifndef SPAWNS
#define SPAWNS 1
#endif
#ifndef SUBMITS
#define SUBMITS 1
#endif
#ifndef EVENTS
#define EVENTS 1
#endif
#ifndef TIMERS
#define TIMERS 0
#endif
#ifndef STUCK
#define STUCK 0
#endif

#ifndef WRITES
#define WRITES 0
#endif
#ifndef WAITS
#define WAITS 0
#endif

#define REACTOR_ID 2
#define FREE 3
#define FOREIGN 4

#ifdef LOOK_AT_COUNT
#define LEADER_MAY_SLEEP (!posted[_pid])
#else
#define LEADER_MAY_SLEEP (idle[_pid])
#endif

#ifdef COUNT_PARKED
#define ALL_PARKED (parked == WORKERS)
#else
#define ALL_PARKED (idle[0] && idle[WORKERS - 1])
#endif

#define ALL_BITS (idle[0] && idle[WORKERS - 1])
#ifdef COUNT_ASKS
#define ASKS (parked == WORKERS)
#else
#define ASKS ALL_BITS
#endif

#ifdef VIRTUAL
#define DUE(i) false
#define DELIVER delivered = delivered + events
#else
#define DUE(i) timer[i]
#define DELIVER skip
#endif

#ifdef COARSE
#define KICK atomic
#define TOGETHER atomic
#define NOTIFY(self) atomic { notify(self) }
#else
#define KICK
#define TOGETHER
#define NOTIFY(self) notify(self)
#endif
#ifdef IO
#define OPEN(i) (open[i] > 0)
#define CLOSED(i, least) (least == 1 && queue[i] > 0)
#define COMES_BACK (fresh[_pid])
#define COME fresh[_pid] = 0
#define OPENED (open[0] + open[WORKERS - 1])
#else
#define OPEN(i) (queue[i] > 1000)
#define CLOSED(i, least) (queue[i] >= least)
#define COMES_BACK false
#define COME skip
#define OPENED 0
#endif
#define SEEN(least) (injector > 0 || OPEN(0) || OPEN(WORKERS - 1) || CLOSED(0, least) || CLOSED(WORKERS - 1, least))

/* idle.h */
byte collector = FREE;
bit idle[WORKERS];      /* bits */
bit hunger[WORKERS];    /* ready.h: the owner is to share, and to look for sleepers */
short parked, searching;
bit asleep;
bit posted[WORKERS];    /* the event count moved since the ticket was taken */
bit reactor_posted;

#ifdef FORKS
bit alone[WORKERS];     /* burst.h: this one is left to its worker */
byte bursts = FORKS;    /* so many may be */
#endif

/* Without ticks nobody takes the lone item of a stuck worker: documented, and not looked at then. For two or more somebody must have
 * been woken. */
#ifdef REACTOR
#define STUCK_ALLOWED (stuck_left > 0)
#elif defined(FORKS)
#define STUCK_ALLOWED (stuck_left > 0 && queue[_pid] != 1 && !alone[_pid] && !timer[_pid])
#else
#define STUCK_ALLOWED (stuck_left > 0 && queue[_pid] != 1)
#endif

/* the world */
byte queue[WORKERS], injector = START;
#ifdef IO
byte open[WORKERS];     /* the part of a queue that thieves may take */
bit noted[WORKERS];     /* search.c: closed work was seen */
bit fresh[WORKERS];     /* and nobody has come back for it */
#endif
byte events;            /* ready, not collected */
bit kicked;             /* the eventfd's edge, not collected */
bit timer[WORKERS];
bit stuck[WORKERS];
byte spawns = SPAWNS, timers = TIMERS, stuck_left = STUCK;
byte coming = FOREIGNS * SUBMITS + EVENTS; /* not submitted, not arrived */
byte left = START; /* created or arrived, not done */
#ifdef VIRTUAL
bit guard;                          /* virtual_guard */
byte turns, writes = WRITES;        /* steps; what tasks write to descriptors that tasks wait for */
byte waits = WRITES + EVENTS + WAITS, delivered; /* tasks that wait for descriptors; of these, woken and not yet running */
#endif

/* ---- idle.c ---- */

/* fetch_and of the bit; then the count. ok: it was set. */
inline take_bit(i)
{
    atomic { ok = idle[i]; idle[i] = 0 }
    if
    :: ok ->
        parked--
    :: else
    fi
}

/* A load and an exchange: of several only one posts. */
inline tell_reactor()
{
    if
    :: atomic { asleep -> asleep = 0 }; reactor_posted = 1
    :: else
    fi
}

inline wake(i)
{
    posted[i] = 1;
#ifndef NO_KICK
    if
    :: KICK { collector == i -> kicked = 1 }
    :: else
    fi
#endif
}

inline wake_searcher(i)
{
#ifdef PHANTOM
    if
    :: idle[i] ->
        searching++;
        take_bit(i);
        if
        :: ok -> wake(i)
        :: else -> searching--
        fi
    :: else
    fi
#else
    take_bit(i);
    if
    :: ok -> searching++; wake(i)
    :: else
    fi
#endif
}

/* self: the calling worker, or FOREIGN */
inline notify(self)
{
    if
    :: parked == 0
    :: else ->
        if
        :: searching > 0
        :: else ->
            leader = collector;
            if
            :: self != 0 && leader != 0 -> wake_searcher(0)
            :: else
            fi;
#if WORKERS > 1
            if
            :: !ok && self != 1 && leader != 1 -> wake_searcher(1)
            :: else
            fi;
#endif
            if
            :: !ok && leader < WORKERS && leader != self -> wake_searcher(leader)
            :: else
            fi;
            atomic { ok = 0; leader = 0 }
        fi
    fi
}

/* Several items in a queue, or anything in the injector; with least == 1 a lone item counts, too. */
inline look(least)
{
#ifdef COARSE
    seen = SEEN(least)
#else
    seen = injector > 0;
    seen = seen || OPEN(0) || CLOSED(0, least)
#if WORKERS > 1
    ;
    seen = seen || OPEN(1) || CLOSED(1, least)
#endif
#endif
}

/* ---- the workers ---- */

inline search_ended()
{
    if
    :: atomic { searches -> searches = 0; searching-- };
#ifndef NO_LAST_LOOK
        if
        :: parked != 0 ->
            look(2);
            if
            :: seen -> seen = 0; NOTIFY(_pid)
            :: else
            fi
        :: else
        fi
#endif
    :: else
    fi
}

/* After a push to the own queue, or a pop (make_ready.c: weft__worker_share). */
inline shares()
{
    if
    :: hunger[_pid] && queue[_pid] >= 2 ->
#ifndef SATISFIED_LATE
        hunger[_pid] = 0;
#endif
#ifdef IO
        atomic { open[_pid] = open[_pid] + queue[_pid] / 2; queue[_pid] = queue[_pid] - queue[_pid] / 2 };
#endif
        if
#ifdef FORKS
        :: atomic { parked != 0 && bursts > 0 && !alone[_pid] -> bursts--; alone[_pid] = 1 }
#endif
        :: parked != 0 -> NOTIFY(_pid); hunger[_pid] = 1 /* who sleeps does not ask again */
        :: else ->
#ifdef SATISFIED_LATE
            hunger[_pid] = 0
#else
            skip
#endif
        fi
    :: else
    fi
}

inline ask_all()
{
    TOGETHER {
        hunger[0] = 1;
        hunger[WORKERS - 1] = 1
    }
}

/* epoll_wait that returns at once, and what it does with the batch */
inline collect()
{
    if
    :: atomic { events > 0 -> queue[_pid] = queue[_pid] + events; DELIVER; events = 0; kicked = 0 }; shares()
    :: atomic { events == 0 -> kicked = 0 }
    fi
}

#ifdef VIRTUAL
/* clock.c */
inline nothing_runs()
{
    quiet = ALL_BITS;
    if
    :: quiet ->
        look(1);
        atomic { quiet = !seen; seen = 0 };
        quiet = quiet && ALL_BITS
    :: else
    fi
}

inline advance()
{
    before = turns;
    nothing_runs();
    if
    :: quiet ->
        second = 1;
        if
        :: waits > 0 ->
            if
            :: atomic { collector == FREE -> collector = REACTOR_ID };
                if
                :: atomic { events > 0 -> queue[_pid] = queue[_pid] + events; DELIVER; events = 0; kicked = 0; moved = 1 };
                    shares()
                :: atomic { events == 0 -> kicked = 0 }
                fi;
                collector = FREE
#ifndef NO_LEADER_CARE
            :: collector < WORKERS -> kicked = 1; quiet = 0
#else
            :: collector < WORKERS /* whatever it may have in its hands */
#endif
            fi
        :: else
#ifdef LOOK_IF_WAITS
            -> second = 0
#endif
        fi;
#ifdef NO_SECOND_LOOK
        second = 0;
#endif
        if
        :: quiet && !moved ->
            if
            :: second -> nothing_runs(); quiet = quiet && turns == before
            :: else
            fi;
            if
            :: quiet && (timer[0] || timer[WORKERS - 1]) ->
                /* The clock stands still while something has arrived, and while anybody runs. */
                assert(EVENTS > 0 || events == 0);
                assert(EVENTS + SUBMITS > 0 || left == timer[0] + (WORKERS - 1) * timer[WORKERS - 1]);
                queue[_pid] = queue[_pid] + timer[0];
                timer[0] = 0;
#if WORKERS > 1
                queue[_pid] = queue[_pid] + timer[1];
                timer[1] = 0;
#endif
                moved = 1;
                shares()
            :: else
            fi
        :: else
        fi;
        second = 0
    :: else
    fi;
    quiet = 0
}
#endif

active [WORKERS] proctype worker()
{
    bit ok, seen, searches;
    byte leader;
#ifdef VIRTUAL
    bit quiet, moved, second;
    byte before;
#endif

pick:
#ifdef IO
    if
    :: atomic { open[_pid] > 0 -> open[_pid]-- }; shares(); goto turn
    :: else
    fi;
#endif
    if
    :: atomic { queue[_pid] > 0 -> queue[_pid]-- }; shares(); goto turn
    :: else
    fi;
    if
    :: atomic { injector > 0 -> queue[_pid] = queue[_pid] + injector; injector = 0 }; goto pick
    :: else
    fi;
#ifdef FORKS
    if
    :: atomic { alone[_pid] -> alone[_pid] = 0 };
#ifndef NO_ASK_AGAIN
        if
        :: parked != 0 -> hunger[_pid] = 1 /* who sleeps does not ask again */
        :: else
        fi
#endif
    :: else
    fi;
#endif
    if
    :: atomic { DUE(_pid) -> timer[_pid] = 0; queue[_pid]++ }; goto pick
    :: true /* none, or not due */
    fi;
#if defined(IO) && WORKERS > 1
    if
    :: atomic { open[1 - _pid] > 0 -> open[1 - _pid]-- }; goto turn
    :: else
    fi;
    if
    :: atomic { queue[1 - _pid] > 0 && noted[_pid] && stuck[1 - _pid] -> queue[1 - _pid]--; noted[_pid] = 0; fresh[_pid] = 0 }; goto turn
    :: atomic { queue[1 - _pid] > 0 && !(noted[_pid] && stuck[1 - _pid]) -> fresh[_pid] = !noted[_pid]; noted[_pid] = 1 }
    :: noted[_pid] && fresh[_pid] /* the note is young */
    :: atomic { queue[1 - _pid] == 0 -> noted[_pid] = 0; fresh[_pid] = 0 }
    fi;
#elif WORKERS > 1
    if
    :: atomic { queue[1 - _pid] > 0 -> queue[1 - _pid]-- }; goto turn
    :: atomic { queue[1 - _pid] == 1 && !stuck[1 - _pid] -> skip } /* a fresh one: its owner's next turn */
    :: else
    fi;
#endif
    goto park;

turn:
    search_ended();
#ifdef VIRTUAL
    turns++;
    if
    :: atomic { delivered > 0 -> delivered--; waits-- }
    :: true
    fi;
#endif
    do
#ifdef VIRTUAL
    :: atomic { writes > 0 -> writes--; left++; events++ }
#endif
    :: atomic { spawns > 0 -> spawns--; left++; queue[_pid]++ }; shares()
    :: atomic { timers > 0 && !timer[_pid] -> timers--; left++; timer[_pid] = 1 }
#ifdef LOOKS
    :: atomic { coming + events > 0 && collector == FREE -> collector = _pid }; /* looks around */
        collect();
        collector = FREE;
        break
#endif
    :: atomic { STUCK_ALLOWED && !stuck[WORKERS - 1 - _pid] -> stuck_left--; stuck[_pid] = 1 };
        atomic { left == 1 && coming == 0 -> stuck[_pid] = 0 };
        break
    :: break
    od;
    left--;
    goto pick;

park:
    if
    :: atomic { searches -> searches = 0; searching-- }
    :: else
    fi;
    posted[_pid] = 0; /* the ticket */
#ifdef LOOK_FIRST
    look(2); /* too early */
#endif
#ifdef ASK_FIRST
    ask_all(); /* too early */
#endif
    TOGETHER { idle[_pid] = 1; parked++ };
#if !defined(ASK_FIRST) && !defined(NO_ASK)
    ask_all();
#endif
#ifndef LOOK_FIRST
#ifndef NO_RESCAN
    look(2);
#else
    seen = 0;
#endif
#endif
    if
    :: seen -> seen = 0; goto leave
    :: else
    fi;
#ifdef VIRTUAL
    if
    :: ASKS ->
        atomic { !guard -> guard = 1 };
        advance();
        guard = 0;
        if
        :: moved -> moved = 0; goto leave
        :: else
        fi
    :: else
    fi;
#endif
#ifdef CHECK_BEFORE_TOKEN
    seen = LEADER_MAY_SLEEP;
#endif
    if
    :: atomic { collector == FREE -> collector = _pid };
#ifdef CHECK_BEFORE_TOKEN
        if
        :: seen -> seen = 0;
#else
        if
        :: LEADER_MAY_SLEEP ->
#endif
            if
            :: events > 0 || kicked -> collect()
            :: DUE(_pid)
            :: atomic { COMES_BACK -> COME }
            fi
        :: else
        fi;
        collector = FREE
    :: else ->
        if
        :: posted[_pid]
        :: DUE(_pid)
        :: atomic { COMES_BACK -> COME }
        fi
    fi;

leave:
    TOGETHER {
        take_bit(_pid);
#ifdef UNPAID
        searches = ok;
#else
        searches = 1;
#endif
        if
        :: ok -> searching++
        :: else /* a waker took it and counts this worker */
        fi
    };
#if defined(REACTOR) && !defined(NO_ASLEEP_LOOK)
    tell_reactor();
#endif
#ifdef FORKS
    if
    :: searches -> searching--; searching++ /* it gives way */
    :: true
    fi;
#endif
    ok = 0;
    goto pick
}

/* ---- the others ---- */

active [FOREIGNS] proctype foreign()
{
    bit ok;
    byte leader, n = SUBMITS;
    do
    :: n > 0 ->
        n--;
        atomic { left++; injector++; coming-- };
        notify(FOREIGN)
    :: else -> break
    od
}

active proctype kernel()
{
    byte n = EVENTS;
    do
    :: n > 0 -> atomic { n--; left++; events++; coming-- }
    :: else -> break
    od
}

#ifdef REACTOR
#ifdef TICK_OPEN_ONLY
#define TICK_LEAST 2
#define TICK_CLOSED 0
#else
#define TICK_LEAST 1
#define TICK_CLOSED (queue[0] + queue[WORKERS - 1])
#endif
/* Has a tick anything to do? Or may the thread go to sleep? */
#define WORK_FOR_TICK                                                                                                  \
    ((events > 0 && collector == FREE) || (parked != 0 && injector + OPENED + TICK_CLOSED > 0) ||               \
     STUCK_TIMER(0) || STUCK_TIMER(WORKERS - 1) || ALL_PARKED)
#define STUCK_TIMER(i) (stuck[i] && timer[i])

active proctype reactor()
{
    bit ok, seen, led;
    byte leader;

again:
    reactor_posted = 0; /* the ticket */
    if
    :: ALL_PARKED ->
        led = collector != FREE;
#ifndef NO_LEADER_CARE
        if
        :: !led -> NOTIFY(FOREIGN); goto ticking
        :: else
        fi;
#endif
        if
        :: true ->
            asleep = 1;
#ifndef NO_ASLEEP_RECHECK
#ifndef NO_LEADER_CARE
            led = collector < WORKERS;
#else
            led = 1;
#endif
            if
            :: led && ALL_PARKED -> reactor_posted
            :: else
            fi;
#else
            reactor_posted;
#endif
            asleep = 0;
            led = 0;
            goto again
        :: WORK_FOR_TICK && injector + OPENED + queue[0] + queue[WORKERS - 1] + events > 0 /* something ran a moment ago: one more tick */
        fi
    :: else
    fi;

ticking:
    led = 0;
    WORK_FOR_TICK || reactor_posted;
    if
    :: atomic { events > 0 && collector == FREE -> collector = REACTOR_ID };
        if
        :: atomic { events > 0 -> injector = injector + events; events = 0; kicked = 0 }; NOTIFY(FOREIGN)
        :: else
        fi;
        collector = FREE
#ifdef LIVE
    :: else
#else
    :: true /* somebody collected since the last tick */
#endif
    fi;
    if
    :: atomic { stuck[0] && timer[0] -> timer[0] = 0; injector++ }; NOTIFY(FOREIGN)
#if WORKERS > 1
    :: atomic { stuck[1] && timer[1] -> timer[1] = 0; injector++ }; NOTIFY(FOREIGN)
#endif
    :: else
    fi;
    if
    :: parked != 0 ->
        look(TICK_LEAST);
        if
        :: seen -> seen = 0; NOTIFY(FOREIGN)
        :: else
        fi
    :: else
    fi;
    goto again
}
#endif

#ifdef LIVE
ltl progress { <>(left == 0 && coming == 0) }
#else
active proctype monitor()
{
    timeout;
    assert(left == 0 && coming == 0);
    assert(parked == WORKERS && searching == 0);
    assert(collector < WORKERS);
#ifdef REACTOR
    assert(asleep)
#endif
}
#endif

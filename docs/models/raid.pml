/* SPDX-License-Identifier: Apache-2.0 */
/* raid.pml -- a model of how a worker's closed part is reached by thieves (executor/joins.c, executor/ready.c), for spin.
 *
 * The owner's plain stores go through a store buffer, first in first out as on x86; what other threads and the single order of seq_cst operations
 * see is memory. membarrier empties the owner's buffer at one instant, at any point between two of its steps. Thieves' operations are all
 * seq_cst, and steps of their own.
 *
 *   JOINS     one owner that pushes and pops (PUSHES in all), RAIDERS that raid and steal. Checked: each child is taken exactly once, a thief
 *             opens nothing at or above bottom, and the indices meet at the end.
 *   READY     (with -DREADY) the biased lock: an owner that goes in and out, RAIDERS. Checked: never two inside.
 *
 * tests/model/run.sh runs configurations that must pass, and mutations each of which must be found:
 *   NO_BARRIER        the raid goes on without membarrier
 *   NO_GUARD          the owner's slow way does not wait for the raid
 *   END_EARLY         thieves are shown the new end before bottom was looked at again
 *   OLD_BOTTOM        bottom is not read again after the barrier
 *   NO_RETRY          (READY) who found a raider does not look again
 *   READ_FIRST        the owner reads the other's side before it writes its own
 *   BACK_UNCHECKED    the owner takes the newer half back without a look at top */
#ifndef PUSHES
#define PUSHES 4
#endif
#ifndef RAIDERS
#define RAIDERS 1
#endif
#ifndef DEEP
#define DEEP 3
#endif

/* A variable of the owner: what memory says, what its buffer holds (the newest value), and whether that is not in memory yet. */
#ifndef READY

short bottom_mem, bottom_own;
bool pending; /* the buffer holds bottom_own; items' slots go before it and are not modelled */
short floor_, end_, top_;
bit guard;
byte taken[PUSHES + 1];
byte slot[DEEP + PUSHES + 2];
byte pushed;
bool over;

/* The processor may write the buffer back whenever it likes. */
active proctype buffer()
{
    do
    :: atomic { pending -> bottom_mem = bottom_own; pending = 0 }
    :: atomic { over && !pending -> break }
    od
}

/* A store to bottom: the older one has to leave first. */
inline store_bottom(v) { atomic { if :: pending -> bottom_mem = bottom_own :: else fi; bottom_own = v; pending = 1 } }
#define FLUSH atomic { if :: pending -> bottom_mem = bottom_own; pending = 0 :: else fi }

#ifdef NO_GUARD
#define LOCK skip
#define UNLOCK skip
#else
#define LOCK atomic { !guard -> guard = 1 }
#define UNLOCK guard = 0
#endif

inline take(i) { taken[slot[i]] = taken[slot[i]] + 1; assert(taken[slot[i]] == 1) }

active proctype owner()
{
    short b, t, half, f;
    byte mine;
    do
    :: pushed < PUSHES && bottom_own - top_ < DEEP ->
        pushed++;
        slot[bottom_own] = pushed;
        store_bottom(bottom_own + 1)
    :: bottom_own > 0 && slot[bottom_own - 1] != 0 -> /* the inline join: it knows of nothing else */
        b = bottom_own - 1;
        mine = slot[b];
#ifdef READ_FIRST
        f = floor_;
        store_bottom(b);
#else
        store_bottom(b);
        f = floor_;
#endif
        if
        :: f <= b -> atomic { take(b); slot[b] = 0 }
        :: else ->
            LOCK;
            FLUSH; /* the guard is taken by a locked instruction */
            if
            :: floor_ <= b -> atomic { take(b); slot[b] = 0 }; UNLOCK
            :: else ->
                t = top_;
                half = b - (b - t) / 2;
                if
                :: half < b ->
                    end_ = half;
#ifdef BACK_UNCHECKED
                    if
                    :: true -> floor_ = half; atomic { take(b); slot[b] = 0 }; UNLOCK; goto next
                    fi
#else
                    if
                    :: top_ < half -> floor_ = half; atomic { take(b); slot[b] = 0 }; UNLOCK; goto next
                    :: else
                    fi
#endif
                :: else
                fi;
                floor_ = b;
                end_ = b;
                t = top_;
                if
                :: t < b -> atomic { take(b); slot[b] = 0 }
                :: t == b ->
                    atomic {
                        if
                        :: top_ == b -> top_ = b + 1; take(b)
                        :: else
                        fi
                    };
                    t = b
                :: else
                fi;
                if
                :: t >= b -> floor_ = b + 1; store_bottom(b + 1); end_ = b + 1; slot[b] = 0
                :: else
                fi;
                FLUSH;
                UNLOCK
            fi
        fi;
next:
        atomic { b = 0; t = 0; half = 0; f = 0; mine = 0 }
    :: pushed == PUSHES -> break
    od;
    FLUSH;
    over = 1
}

active [RAIDERS] proctype thief()
{
    short f, b, wanted, t, e;
    byte item;
    do
    :: /* raid */
        atomic { !guard -> guard = 1 };
        f = floor_;
        b = bottom_mem;
        wanted = f + (b - f + 1) / 2;
        if
        :: b > f && wanted > f ->
            floor_ = wanted;
#ifdef END_EARLY
            end_ = wanted;
#endif
#ifndef NO_BARRIER
            FLUSH;
#endif
#ifndef OLD_BOTTOM
            b = bottom_mem;
#endif
            if
            :: b < f -> b = f
            :: else
            fi;
            if
            :: b < wanted -> wanted = b
            :: else
            fi;
            floor_ = wanted;
            end_ = wanted
        :: else
        fi;
        guard = 0;
        atomic { f = 0; b = 0; wanted = 0 }
    :: /* steal */
        t = top_;
        e = end_;
        if
        :: t < e ->
            item = slot[t];
            atomic {
                if
                :: top_ == t -> top_ = t + 1; taken[item] = taken[item] + 1; assert(item != 0 && taken[item] == 1)
                :: else
                fi
            }
        :: else
        fi;
        atomic { t = 0; e = 0; item = 0 }
    :: over && !guard -> break
    od
}

active proctype monitor()
{
    byte i, all;
    over && !guard;
    /* Whatever is left lies between top and bottom; nobody has it, and nothing else is missing. */
    atomic {
        if
        :: !guard ->
            assert(top_ <= end_ && end_ == floor_ && floor_ <= bottom_own);
            i = 1;
            do
            :: i <= PUSHES -> all = all + taken[i]; i++
            :: else -> break
            od;
            assert(all + bottom_own - top_ == PUSHES)
        :: else
        fi
    }
}

#else

bool inside_mem, inside_own, pending, raided, over;
byte in;

active proctype buffer()
{
    do
    :: atomic { pending -> inside_mem = inside_own; pending = 0 }
    :: atomic { over && !pending -> break }
    od
}

inline store_inside(v) { atomic { if :: pending -> inside_mem = inside_own :: else fi; inside_own = v; pending = 1 } }
#define FLUSH atomic { if :: pending -> inside_mem = inside_own; pending = 0 :: else fi }

active proctype owner()
{
    byte n = PUSHES;
    bool seen;
    do
    :: n > 0 ->
        n--;
#ifdef READ_FIRST
        seen = raided;
        store_inside(1);
#else
        store_inside(1);
        seen = raided;
#endif
again:
        if
        :: seen ->
            store_inside(0);
            !raided;
            store_inside(1);
#ifdef NO_RETRY
            seen = 0;
#else
            FLUSH; /* a seq_cst store */
            seen = raided;
#endif
            goto again
        :: else
        fi;
        in++;
        assert(in == 1);
        in--;
        store_inside(0)
    :: else -> break
    od;
    over = 1
}

active [RAIDERS] proctype thief()
{
    byte n = 2;
    do
    :: n > 0 ->
        n--;
        if
        :: atomic { !raided -> raided = 1 };
#ifndef NO_BARRIER
            FLUSH;
#endif
            if
            :: !inside_mem -> in++; assert(in == 1); in--
            :: else
            fi;
            raided = 0
        :: atomic { raided -> skip }
        fi
    :: else -> break
    od
}
#endif

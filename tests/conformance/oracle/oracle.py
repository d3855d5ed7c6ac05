#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The judge: runs conformance programs (FORMAT.md) on CPython's asyncio under a virtual clock.

    oracle.py program.json       trace as JSON lines, then one line with the outcomes
    oracle.py -                  JSON-lines stream of programs on stdin, one result line each
Options: --native     use the running Python's asyncio untouched (default: only on 3.13)
         --shuffle N  run under a random ready order with random preemption, seed N
Options of weft-conform (--workers, --order, ...) are accepted and ignored: asyncio has one worker.
"""
import asyncio
import functools
import gc
import heapq
import json
import random
import sys
import threading
import warnings

import interp
import prims
from interp import Deadlock, Limit

VERSION = sys.version_info[:2]
NORM = (3, 13)       # SEMANTICS.md: its asyncio is used as it is; elsewhere prims.py replaces what differs
MAX_ROUNDS = 20000
EPS = 2.0 ** -24


class _Selector:
    def __init__(self, loop):
        self.loop = loop

    def select(self, timeout):
        return self.loop.idle(timeout)


class VLoop(asyncio.base_events.BaseEventLoop):
    """asyncio's own loop; one time unit is one virtual millisecond and the clock jumps.
    Timers with the same deadline fire in the order in which they were set (asyncio leaves it open)."""

    def __init__(self, run=None, rng=None, task_class=None):
        super().__init__()
        self._selector = _Selector(self)
        self._clock_resolution = 0.5
        self.vnow = 0
        self.seq = 0
        self.rounds = 0
        self.threads_out = 0
        self.wake = threading.Event()
        self.run_state = run
        self.rng = rng
        self.held = []
        self.birth = {}
        cls = task_class or asyncio.Task

        def factory(loop, coro, **kw):
            t = cls(coro, loop=loop, **kw)
            self.birth[t] = len(self.birth)
            return t
        self.set_task_factory(factory)

    def time(self):
        return self.vnow

    def call_at(self, when, cb, *args, context=None):
        self.seq += 1
        return super().call_at(when + self.seq * EPS, cb, *args, context=context)

    def idle(self, timeout):
        self.rounds += 1
        if self.rounds > MAX_ROUNDS * (1 if self.rng is None else 10):
            raise Limit
        if self.rng is not None:
            return self.idle_shuffled(timeout)
        if timeout is None or timeout > 0:
            if self.threads_out > 0 or self.run_state.dead:     # a thread, or the executor's shutdown
                self.wake.wait(5)
                self.wake.clear()
            elif timeout is None:
                raise Deadlock
            else:
                self.vnow = int(self._scheduled[0]._when)
        return []

    def idle_shuffled(self, timeout):
        """any ready entry may be next, one at a time: what some set of workers could do"""
        self.held += self._ready
        self._ready.clear()
        if not self.held and not self._stopping:
            if timeout is None:
                if self.threads_out > 0 or self.run_state.dead:
                    self.wake.wait(5)
                    self.wake.clear()
                    return []
                raise Deadlock
            self.vnow = max(self.vnow, int(self._scheduled[0]._when)) if self._scheduled else self.vnow
        while self._scheduled and self._scheduled[0]._when < self.vnow + 0.5:
            h = heapq.heappop(self._scheduled)
            h._scheduled = False
            self.held.append(h)
        if self.held:
            self._ready.append(self.held.pop(self.rng.randrange(len(self.held))))
        return []

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        self.wake.set()

    def shutdown_asyncgens(self):       # called once the remaining tasks have ended
        self.run_state.dead = True
        return super().shutdown_asyncgens()


_real_all_tasks = asyncio.tasks.all_tasks


def _ordered_all_tasks(loop=None):
    """in creation order, so that run()'s final cancellation is deterministic"""
    loop = loop or asyncio.get_running_loop()
    if isinstance(loop, VLoop):
        return [t for t in loop.birth if not t.done()]
    return _real_all_tasks(loop)


asyncio.tasks.all_tasks = _ordered_all_tasks


class OldTask(asyncio.tasks._PyTask):
    """3.13's uncancel(): when the count falls to zero, a cancellation not yet delivered is dropped"""
    def uncancel(self):
        n = super().uncancel()
        if n == 0:
            self._must_cancel = False
        return n


class E:
    """asyncio as the environment of prims.py"""
    Future = asyncio.Future
    isfuture = staticmethod(asyncio.isfuture)
    current_task = staticmethod(asyncio.current_task)

    @staticmethod
    def spawn(coro):
        return asyncio.get_running_loop().create_task(coro)

    @staticmethod
    def call_soon(cb):
        return asyncio.get_running_loop().call_soon(cb)

    @staticmethod
    def call_later(ms, cb):
        return asyncio.get_running_loop().call_later(ms, cb)

    @staticmethod
    def call_at(ms, cb):
        return asyncio.get_running_loop().call_at(ms, cb)

    @staticmethod
    def now():
        return asyncio.get_running_loop().time()


@functools.cache
def replacements():
    return prims.make(E)


class Backend:
    """the names interp.py uses, served by asyncio"""
    def __init__(self, native):
        self.preempt = None
        for n in ('Lock', 'Event', 'Barrier', 'timeout', 'timeout_at', 'shield', 'sleep'):
            setattr(self, n, getattr(asyncio, n))
        if native:
            for n in ('Condition', 'Semaphore', 'BoundedSemaphore', 'Queue', 'LifoQueue', 'PriorityQueue'):
                setattr(self, n, getattr(asyncio, n))
            self.gather = lambda kids, re: asyncio.gather(*kids, return_exceptions=re)
            self.wait_for = asyncio.wait_for

            def tg():
                g = asyncio.TaskGroup()
                g._tasks = prims.OrderedSet()
                return g
            self.TaskGroup = tg
        else:
            P = replacements()
            if sys.version_info >= (3, 11, 7):      # earlier 3.11 (Debian 12 has 3.11.2): older bugs here too
                P.Lock, P.Event, P.timeout = asyncio.Lock, asyncio.Event, asyncio.timeout
            else:
                self.Lock, self.Event, self.timeout, self.timeout_at = P.Lock, P.Event, P.timeout, P.timeout_at
            for n in ('Condition', 'Semaphore', 'BoundedSemaphore', 'Queue', 'LifoQueue', 'PriorityQueue', 'gather',
                      'wait_for', 'TaskGroup', 'Barrier'):
                setattr(self, n, getattr(P, n))
        if native and VERSION >= NORM:
            def as_completed(fs, t):
                if sum(f.done() for f in set(fs)) > 1:      # asyncio: any order; here: argument order
                    return replacements().as_completed(fs, t)
                return asyncio.as_completed(fs, timeout=t)
            self.as_completed = as_completed
        else:
            self.as_completed = replacements().as_completed

    create_future = staticmethod(lambda: asyncio.get_running_loop().create_future())
    current_task = staticmethod(lambda: asyncio.current_task())
    now = staticmethod(lambda: asyncio.get_running_loop().time())
    call_soon = staticmethod(E.call_soon)
    call_later = staticmethod(E.call_later)
    call_at = staticmethod(E.call_at)
    all_tasks = staticmethod(lambda: asyncio.tasks.all_tasks(asyncio.get_running_loop()))

    @staticmethod
    def create_task(coro, **kw):
        if kw.pop('eager', False):               # needs Python 3.12
            loop = asyncio.get_running_loop()
            t = asyncio.Task(coro, loop=loop, eager_start=True, **kw)
            loop.birth[t] = len(loop.birth)
            return t
        return asyncio.create_task(coro, **kw)

    @staticmethod
    async def wait(fs, timeout, when):
        return await asyncio.wait(fs, timeout=timeout, return_when=when)

    @staticmethod
    async def to_thread(job):
        loop = asyncio.get_running_loop()
        loop.threads_out += 1
        try:
            return await asyncio.to_thread(job)
        finally:
            loop.threads_out -= 1

    @staticmethod
    async def run_threadsafe(make):
        loop = asyncio.get_running_loop()
        loop.threads_out += 1
        try:
            return await asyncio.to_thread(
                lambda: asyncio.run_coroutine_threadsafe(make(), loop).result())
        finally:
            loop.threads_out -= 1


def run_program(prog, native=None, shuffle=None):
    if native is None:
        native = VERSION == NORM
    if VERSION < tuple(int(x) for x in prog.get('python', '3.0').split('.')):
        return {'name': prog.get('name', ''), 'unsupported': 'needs Python ' + prog['python']}
    B = Backend(native)
    run = interp.Run(prog, B)
    rng = random.Random(shuffle) if shuffle is not None else None
    cls = None if native else OldTask
    if rng is not None:
        cls = OldTask

        async def preempt():
            while rng.random() < 0.3:
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError as e:     # not a cancellation point: hand it on
                    t = asyncio.current_task()
                    t._must_cancel = True
                    t._cancel_message = e.args[0] if e.args else None
        B.preempt = preempt
    loop = VLoop(run, rng, cls)
    handler = []

    def on_error(_loop, ctx):
        msg, e = ctx.get('message', ''), ctx.get('exception')
        if run.dead or 'never retrieved' in msg or 'destroyed' in msg:
            return
        if 'shutdown' in msg:
            handler.append(['shutdown', run.ident.get(ctx.get('task'), '?'), *interp.outcome_of(e)])
        else:
            handler.append(['callback', *interp.outcome_of(e)])
    loop.set_exception_handler(on_error)

    async def boot():
        run.start_objects()
        run.register(asyncio.current_task(), prog.get('main', 'main'))
        return await run.call(prog.get('main', 'main'))

    runner = asyncio.Runner(loop_factory=lambda: loop)
    res = {'name': prog.get('name', '')}
    try:
        try:
            main = ['ok', interp.enc(runner.run(boot()))]
        except (Deadlock, Limit):
            raise
        except BaseException as e:
            main = interp.outcome_of(e)
        end, born = loop.vnow, len(run.order)
        runner.close()
        if len(run.order) > born:      # tasks born during shutdown: their fate is not defined
            res['late'] = True
    except Deadlock:
        main, end = ['deadlock'], loop.vnow
    except Limit:
        main, end = ['limit'], loop.vnow
    run.dead = True
    res['main'] = main
    res['time'] = end
    res['unretrieved'] = [run.ident[t] for t in run.order if t.done() and t._log_traceback]
    res['tasks'] = {run.ident[t]: interp.task_outcome(t) for t in run.order}
    res['trace'] = run.trace
    res['handler'] = handler
    if main[0] in ('deadlock', 'limit'):
        asyncio.events._set_running_loop(None)
        for t in loop.birth:
            t._log_destroy_pending = False
        asyncio.set_event_loop(None)
    run.order.clear()
    run.ident.clear()
    run.vars.clear()
    loop.birth.clear()
    return res


def cli(run_program):
    warnings.simplefilter('ignore')
    sys.unraisablehook = lambda *_: None
    gc.disable()
    kw, files = {}, []
    a = iter(sys.argv[1:])
    for x in a:
        if x == '--native':
            kw['native'] = True
        elif x == '--shuffle':
            kw['shuffle'] = int(next(a))
        elif x == '--bug':
            kw['bugs'] = frozenset(next(a).split(','))
        elif x in ('--workers', '--order', '--inline', '--joins', '--sched', '--seed'):
            next(a)
        else:
            files.append(x)
    if files == ['-']:
        for i, line in enumerate(sys.stdin):
            if line.strip():
                r = run_program(json.loads(line), **kw)
                print(json.dumps(r, separators=(',', ':')), flush=True)
                if i % 50 == 49:
                    gc.collect()
        return
    for f in files:
        with open(f) as fh:
            r = run_program(json.load(fh), **kw)
        for ev in r.pop('trace'):
            print(json.dumps(ev))
        print(json.dumps(r))


if __name__ == '__main__':
    cli(run_program)

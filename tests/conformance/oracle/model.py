#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A second, independent implementation: futures, tasks, ready queue, timers and shutdown in 250 lines,
no asyncio loop, Task or Future. It shows (a) that FORMAT.md's round rules are complete, (b) with
--bug NAME, that the programs catch planted bugs. Same command line as oracle.py, so it also is an
example of a RUNNER. Coroutines are Python's; a step of a task is coro.send()/coro.throw().
"""
import asyncio
import collections
import contextvars
import heapq
import itertools
import random
import threading

import interp
import oracle
import prims
from interp import CancelledError, Deadlock, Limit

L = None          # the running loop
INTERNAL = ('one_done', 'inner_done', 'outer_done')


class Handle:
    __slots__ = ('cb', 'args', 'ctx', 'dead')

    def __init__(self, cb, args, ctx):
        self.cb, self.args, self.ctx, self.dead = cb, args, ctx, False

    def cancel(self):
        self.dead = True


class Loop:
    def __init__(self, bugs, rng=None):
        self.bugs = bugs
        self.rng = rng
        self.ready = collections.deque()
        self.timers = []
        self.seq = itertools.count()
        self.now = 0
        self.rounds = 0
        self.current = None
        self.tasks = []
        self.stopping = False
        self.errors = []
        self.out = 0
        self.inbox = collections.deque()
        self.bell = threading.Event()

    def call_soon(self, cb, *args, ctx=None):
        h = Handle(cb, args, contextvars.copy_context() if ctx is None else ctx)
        if 'ready-queue-lifo' in self.bugs:
            self.ready.appendleft(h)
        else:
            self.ready.append(h)
        return h

    def call_at(self, when, cb, *args, ctx=None):
        h = Handle(cb, args, contextvars.copy_context() if ctx is None else ctx)
        tie = next(self.seq)
        heapq.heappush(self.timers, (when, -tie if 'timer-ties-lifo' in self.bugs else tie, h))
        return h

    def threadsafe(self, cb, *args):
        self.inbox.append((cb, args))
        self.bell.set()

    def round(self):
        self.rounds += 1
        if self.rounds > oracle.MAX_ROUNDS * (1 if self.rng is None else 10):
            raise Limit
        while self.timers and self.timers[0][2].dead:
            heapq.heappop(self.timers)
        while self.inbox:
            cb, args = self.inbox.popleft()
            self.call_soon(cb, *args)
        if not self.ready and not self.stopping:
            if self.out:
                self.bell.wait(5)
                self.bell.clear()
                while self.inbox:
                    cb, args = self.inbox.popleft()
                    self.call_soon(cb, *args)
            elif self.timers:
                self.now = max(self.now, self.timers[0][0])
            else:
                raise Deadlock
        while self.timers and self.timers[0][0] <= self.now:
            h = heapq.heappop(self.timers)[2]
            if not h.dead:
                self.ready.append(h)
        n = len(self.ready)
        if self.rng is not None and n:           # --shuffle: any one entry next
            self.ready.rotate(-self.rng.randrange(n))
            n = 1
        for _ in range(n):
            h = self.ready.popleft()
            if not h.dead:
                try:
                    h.ctx.run(h.cb, *h.args)
                except (Deadlock, Limit):
                    raise
                except BaseException as e:
                    self.errors.append(['callback', *interp.outcome_of(e)])

    def run_until(self, f):
        def stop(_f):
            self.stopping = True
        f.add_done_callback(stop)
        self.stopping = False
        while True:
            self.round()
            if self.stopping:
                break


class Future:
    _cancel_message = None
    log = False

    def __init__(self):
        self.state, self.value, self.error, self.cbs = 'pending', None, None, []
        self.blocking = False
        self.cancel_exc = None

    def done(self):
        return self.state != 'pending'

    def cancelled(self):
        return self.state == 'cancelled'

    def _make_cancelled_error(self):
        e, self.cancel_exc = self.cancel_exc, None
        if e is None:
            e = CancelledError() if self._cancel_message is None else CancelledError(self._cancel_message)
        return e

    def finish(self, state):
        self.state = state
        cbs, self.cbs = self.cbs, []
        if 'callbacks-in-reverse-order' in L.bugs:
            cbs.reverse()
        for cb, ctx in cbs:
            if 'direct-hops' in L.bugs and cb.__name__ in INTERNAL:
                cb(self)                 # no bug: a runtime that saves the hop through the queue
            else:
                L.call_soon(cb, self, ctx=ctx)

    def cancel(self, msg=None):
        self.log = False
        if self.done():
            return False
        self._cancel_message = msg
        self.finish('cancelled')
        return True

    def set_result(self, v):
        if self.done():
            raise asyncio.InvalidStateError
        self.value = v
        self.finish('ok')

    def set_exception(self, e):
        if self.done():
            raise asyncio.InvalidStateError
        self.error, self.log = e, True
        self.finish('err')

    def exception(self):
        if self.cancelled():
            raise self._make_cancelled_error()
        if not self.done():
            raise asyncio.InvalidStateError
        self.log = False
        return self.error

    def result(self):
        e = self.exception()
        if e is not None:
            raise e
        return self.value

    def add_done_callback(self, cb, ctx=None):
        ctx = contextvars.copy_context() if ctx is None else ctx
        if self.done():
            L.call_soon(cb, self, ctx=ctx)
        else:
            self.cbs.append((cb, ctx))

    def remove_done_callback(self, cb):
        n = len(self.cbs)
        self.cbs = [x for x in self.cbs if x[0] != cb]
        return n - len(self.cbs)

    def __await__(self):
        if not self.done():
            self.blocking = True
            yield self
        return self.result()


class Task(Future):
    ids = itertools.count(1)

    def __init__(self, coro, name=None, context=None, eager=False):
        super().__init__()
        self.coro, self.requests, self.must_cancel, self.waiting_on = coro, 0, False, None
        self.name = name or 'Task-%d' % next(Task.ids)
        if 'context-not-inherited' in L.bugs and context is None:
            context = contextvars.Context()
        self.ctx = context if context is not None else contextvars.copy_context()
        L.tasks.append(self)
        if eager or 'create_task-runs-eagerly' in L.bugs:
            prev = L.current
            (self.ctx if eager else contextvars.copy_context()).run(self.step, None)
            L.current = prev
        else:
            L.call_soon(self.step, None, ctx=self.ctx)

    def get_name(self):
        return self.name

    def set_name(self, n):
        self.name = str(n)

    def cancelling(self):
        return self.requests

    def set_result(self, _v):
        raise RuntimeError('a task sets its own result')

    def set_exception(self, _e):
        raise RuntimeError('a task sets its own result')

    def uncancel(self):
        if self.requests:
            self.requests -= 1
            if not self.requests:
                self.must_cancel = False
        return self.requests

    def cancel(self, msg=None):
        self.log = False
        if self.done():
            return False
        self.requests += 1
        if 'second-cancel-ignored' in L.bugs and self.requests > 1:
            return False
        if self.waiting_on is not None and not ('cancel-does-not-reach-awaited-task' in L.bugs and
                                                isinstance(self.waiting_on, Task)):
            if self.waiting_on.cancel(msg):
                return True
        elif self.waiting_on is not None:
            w = self.waiting_on
            w.remove_done_callback(self.wake)
            self.waiting_on = None
            L.call_soon(self.step, None, ctx=self.ctx)
        if 'cancel-before-start-runs-body' in L.bugs and self.coro.cr_frame.f_lasti <= 0:
            return True
        self.must_cancel, self._cancel_message = True, msg
        return True

    def step(self, exc):
        if self.must_cancel:
            if not isinstance(exc, CancelledError):
                exc = self._make_cancelled_error()
            self.must_cancel = False
        self.waiting_on = None
        L.current = self
        try:
            w = self.coro.send(None) if exc is None else self.coro.throw(exc)
        except StopIteration as s:
            if self.must_cancel and 'cancel-lost-when-returning' not in L.bugs:
                self.must_cancel = False
                super().cancel(self._cancel_message)
            else:
                super().set_result(s.value)
        except CancelledError as e:
            self.cancel_exc = e
            if 'cancelled-becomes-error' in L.bugs:
                super().set_exception(e)
            else:
                super().cancel()
        except (Deadlock, Limit):
            raise
        except BaseException as e:
            super().set_exception(e)
        else:
            if w is None:
                L.call_soon(self.step, None, ctx=self.ctx)
            elif w is self:
                L.call_soon(self.step, RuntimeError('a task awaits itself'), ctx=self.ctx)
            else:
                w.blocking = False
                w.add_done_callback(self.wake, self.ctx)
                self.waiting_on = w
                if self.must_cancel and w.cancel(self._cancel_message):
                    self.must_cancel = False
        finally:
            L.current = None

    def wake(self, f):
        try:
            f.result()
        except BaseException as e:
            self.step(e)
        else:
            self.step(None)


class Env:
    Future = Future
    isfuture = staticmethod(lambda x: isinstance(x, Future))
    spawn = staticmethod(Task)
    current_task = staticmethod(lambda: L.current)
    call_soon = staticmethod(lambda cb: L.call_soon(cb))
    call_later = staticmethod(lambda ms, cb: L.call_at(L.now + ms, cb))
    call_at = staticmethod(lambda ms, cb: L.call_at(ms, cb))
    now = staticmethod(lambda: L.now)


def make_backend(bugs):
    B = prims.make(Env, bugs)
    B.preempt = None
    B.create_future = Future
    B.create_task = Task
    B.current_task, B.now, B.call_soon = Env.current_task, Env.now, Env.call_soon
    B.call_later, B.call_at = Env.call_later, Env.call_at
    B.all_tasks = lambda: [t for t in L.tasks if not t.done()]

    async def thread(job, loop):
        f = Future()
        ctx = contextvars.copy_context()
        loop.out += 1

        def body():
            try:
                v, e = ctx.run(job), None
            except BaseException as x:
                v, e = None, x
            loop.threadsafe(lambda: f.done() or (f.set_result(v) if e is None else f.set_exception(e)))
        threading.Thread(target=body).start()
        try:
            return await f
        finally:
            loop.out -= 1

    async def to_thread(job):
        return await thread(job, L)

    async def run_threadsafe(mk):
        loop = L
        box = []
        ev = threading.Event()

        def start():
            t = Task(mk())

            def fin(_t):
                box.append(t)
                ev.set()
            t.add_done_callback(fin)

        def job():
            loop.threadsafe(start)
            ev.wait(5)
            return box[0].result()
        return await thread(job, loop)
    B.to_thread, B.run_threadsafe = to_thread, run_threadsafe
    return B


def run_program(prog, bugs=frozenset(), native=None, shuffle=None):
    global L
    L = Loop(bugs, None if shuffle is None else random.Random('%s/%s' % (shuffle, prog.get('name'))))
    B = make_backend(bugs)
    run = interp.Run(prog, B)
    end = None

    async def boot():
        run.start_objects()
        run.register(L.current, prog.get('main', 'main'))
        return await run.call(prog.get('main', 'main'))
    try:
        t = Task(boot())
        L.run_until(t)
        try:
            main = ['ok', interp.enc(t.result())]
        except BaseException as e:
            main = interp.outcome_of(e)
        end = L.now
        rest = [x for x in L.tasks if not x.done()]
        if rest and 'shutdown-forgets-tasks' not in bugs:
            for x in rest:
                x.cancel()
            L.run_until(B.gather(rest, True))
            for x in rest:
                if not x.cancelled() and x.exception() is not None:
                    L.errors.append(['shutdown', run.ident.get(x, '?'), *interp.outcome_of(x.exception())])
    except Deadlock:
        main, end = ['deadlock'], L.now
    except Limit:
        main, end = ['limit'], L.now
    run.dead = True
    return {'name': prog.get('name', ''), 'main': main, 'time': end,
            'unretrieved': [run.ident[t] for t in run.order if t.done() and t.log],
            'tasks': {run.ident[t]: interp.task_outcome(t) for t in run.order},
            'trace': run.trace, 'handler': L.errors}


if __name__ == '__main__':
    oracle.cli(run_program)

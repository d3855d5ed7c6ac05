# SPDX-License-Identifier: Apache-2.0
"""Async primitives with the semantics of CPython 3.13, written against a tiny environment E:
    E.Future() E.spawn(coro) E.isfuture(x) E.current_task() E.call_soon(cb) E.call_later(ms, cb)
    E.call_at(ms, cb) E.now()
Two users: oracle.py replaces the asyncio pieces of a Python other than 3.13 by these (each one is
was checked against a real 3.13, see README.md), and model.py builds its whole library from them.
`bugs` is a set of names of deliberately planted semantic bugs, for checking the generator.
"""
import asyncio
import collections
import heapq
import types

from interp import QueueShutDown

CancelledError = asyncio.CancelledError


class OrderedSet(dict):
    """insertion-ordered set, so that "cancel every task of the group" has a defined order"""
    def add(self, x):
        self[x] = None

    def discard(self, x):
        self.pop(x, None)

    def __iter__(self):
        return iter(list(self.keys()))


def make(E, bugs=frozenset()):
    N = types.SimpleNamespace()
    bug = bugs.__contains__

    # ------------------------------------------------------------------ gather
    class GatherFuture(E.Future):
        kids = ()
        cancel_requested = False

        def cancel(self, msg=None):
            if self.done():
                return False
            if bug('gather-cancel-not-propagated'):
                return super().cancel(msg)
            hit, asked = False, self.cancel_requested
            if not bug('gather-cancel-swallowed-by-return-exceptions'):
                self.cancel_requested = True       # before: a child may complete this gather at once (direct-hops)
            for k in self.kids:
                hit = k.cancel(msg) or hit
                if hit and bug('gather-cancels-first-child-only'):
                    break
            if not hit:
                self.cancel_requested = asked
            return hit

    def gather(args, return_exceptions=False):
        if not args:
            f = E.Future()
            f.set_result([])
            return f
        kids = [a if E.isfuture(a) else E.spawn(a) for a in args]
        distinct = list(dict.fromkeys(kids))
        outer = GatherFuture()
        outer.kids = kids
        left = len(distinct)
        arrived = []

        def one_done(f):
            nonlocal left
            left -= 1
            arrived.append(f)
            if outer.done():
                if not f.cancelled():
                    f.exception()          # an error after the gather ended counts as retrieved
                return
            if not return_exceptions:
                if f.cancelled():
                    if bug('gather-child-cancel-cancels-siblings'):
                        for k in kids:
                            k.cancel()
                    outer.set_exception(f._make_cancelled_error())
                    return
                e = f.exception()
                if e is not None:
                    if bug('gather-error-cancels-siblings'):
                        for k in kids:
                            k.cancel()
                    if bug('gather-waits-for-all-before-error') and left:
                        left += 0
                        return
                    outer.set_exception(e)
                    return
            if left:
                return
            res = []
            for k in (arrived if bug('gather-results-in-completion-order') else kids):
                if k.cancelled():
                    m = getattr(k, '_cancel_message', None)
                    res.append(CancelledError('' if m is None else m))
                else:
                    e = k.exception()
                    res.append(k.result() if e is None else e)
            if outer.cancel_requested:
                outer.set_exception(f._make_cancelled_error())
            else:
                outer.set_result(res)

        for k in distinct:
            if not k.done():
                k.add_done_callback(one_done)
        for k in distinct:
            if k.done():
                one_done(k)
        return outer
    N.gather = gather

    # ------------------------------------------------------------------ shield
    def shield(arg):
        inner = arg if E.isfuture(arg) else E.spawn(arg)
        if inner.done() or bug('shield-does-not-shield'):
            return inner
        outer = E.Future()

        def inner_done(f):
            if outer.cancelled():
                if not f.cancelled():
                    f.exception()
                return
            if f.cancelled():
                outer.cancel()
            elif f.exception() is not None:
                outer.set_exception(f.exception())
            else:
                outer.set_result(f.result())

        def outer_done(_f):
            if not inner.done():
                inner.remove_done_callback(inner_done)
        inner.add_done_callback(inner_done)
        outer.add_done_callback(outer_done)
        return outer
    N.shield = shield

    # ------------------------------------------------------------------ sleep
    class _Bare:
        def __await__(self):
            yield

    async def sleep(ms, value=None):
        if ms <= 0:
            if not bug('sleep0-does-not-yield'):
                await _Bare()
            return value
        f = E.Future()
        h = E.call_later(ms, lambda: f.done() or f.set_result(value))
        try:
            return await f
        finally:
            h.cancel()
    N.sleep = sleep

    # ------------------------------------------------------------------ wait
    async def wait(fs, timeout=None, when='ALL_COMPLETED'):
        fs = list(dict.fromkeys(fs))
        waiter = E.Future()
        left = len(fs)

        def release():
            if not waiter.done():
                waiter.set_result(None)

        handle = None if timeout is None else E.call_later(timeout, release)

        def one_done(f):
            nonlocal left
            left -= 1

            def bad():                     # looks at the error only under FIRST_EXCEPTION
                if f.cancelled():
                    return bug('wait-first-exception-counts-cancelled')
                return f.exception() is not None
            if left <= 0 or when == 'FIRST_COMPLETED' or (when == 'FIRST_EXCEPTION' and bad()):
                if handle is not None:
                    handle.cancel()
                release()
        for f in fs:
            f.add_done_callback(one_done)
        try:
            await waiter
        except CancelledError:
            if bug('wait-cancels-its-futures'):
                for f in fs:
                    f.cancel()
            raise
        finally:
            if handle is not None:
                handle.cancel()
            for f in fs:
                f.remove_done_callback(one_done)
        if bug('wait-timeout-cancels-pending'):
            for f in fs:
                f.cancel()
        return {f for f in fs if f.done()}, {f for f in fs if not f.done()}
    N.wait = wait

    # ------------------------------------------------------------------ timeout
    class Timeout:
        def __init__(self, when):
            self.state, self.deadline, self.handle = 'created', when, None

        def when(self):
            return self.deadline

        def expired(self):
            return self.state in ('expiring', 'expired')

        def reschedule(self, when):
            if self.state != 'active':
                raise RuntimeError('timeout scope is ' + self.state)
            self.deadline = when
            if self.handle is not None:
                self.handle.cancel()
                self.handle = None
            if when is not None:
                self.handle = (E.call_soon(self.fire) if when <= E.now() else E.call_at(when, self.fire))

        async def __aenter__(self):
            if self.state != 'created':
                raise RuntimeError('timeout scope entered twice')
            self.state = 'active'
            self.task = E.current_task()
            self.before = self.task.cancelling()
            self.reschedule(self.deadline)
            return self

        def fire(self):
            self.task.cancel()
            self.state = 'expiring'
            self.handle = None

        async def __aexit__(self, et, e, tb):
            if self.handle is not None:
                self.handle.cancel()
                self.handle = None
            if self.state == 'expiring':
                self.state = 'expired'
                if bug('timeout-forgets-uncancel'):
                    if et is not None and issubclass(et, CancelledError):
                        raise TimeoutError from e
                    return None
                n = self.task.uncancel()
                if bug('timeout-swallows-outer-cancel'):
                    n = self.before
                if n <= self.before and et is not None and issubclass(et, CancelledError):
                    raise TimeoutError from e
            elif self.state == 'active':
                self.state = 'exited'
            return None
    N.Timeout = Timeout
    N.timeout = lambda ms: Timeout(None if ms is None else E.now() + ms)
    N.timeout_at = Timeout

    async def cancel_and_wait(f):
        waiter = E.Future()

        def cb(_f):
            if not waiter.done():
                waiter.set_result(None)
        f.add_done_callback(cb)
        try:
            f.cancel()
            await waiter
        finally:
            f.remove_done_callback(cb)

    async def wait_for(aw, ms):
        if ms is not None and ms <= 0:
            f = aw if E.isfuture(aw) else E.spawn(aw)
            if f.done():
                return f.result()
            await cancel_and_wait(f)
            try:
                return f.result()
            except CancelledError as e:
                raise TimeoutError from e
        if bug('wait_for-abandons-its-child') and E.isfuture(aw):
            aw = shield(aw)
        async with N.timeout(ms):
            return await aw
    N.wait_for = wait_for

    # ------------------------------------------------------------------ as_completed
    class AsCompleted:
        def __init__(self, fs, timeout=None):
            self.todo = OrderedSet.fromkeys(fs)
            self.left = len(self.todo)
            self.q = Queue()
            self.handle = None
            for f in self.todo:
                f.add_done_callback(self.one_done)
            if self.todo and timeout is not None:
                self.handle = E.call_later(timeout, self.expired)

        def one_done(self, f):
            if len(self.todo) == 0:
                return
            self.todo.discard(f)
            self.q.put_nowait(f)
            if len(self.todo) == 0 and self.handle is not None:
                self.handle.cancel()

        def expired(self):
            for f in self.todo:
                f.remove_done_callback(self.one_done)
                self.q.put_nowait(None)
            self.todo.clear()

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            f = await self.q.get()
            if f is None:
                raise TimeoutError
            return f
    N.as_completed = AsCompleted

    # ------------------------------------------------------------------ task group
    class TaskGroup:
        def __init__(self):
            self.entered = self.exiting = self.aborting = self.parent_cancelled = False
            self.tasks = OrderedSet()
            self.errors = []
            self.idle = None

        async def __aenter__(self):
            if self.entered:
                raise RuntimeError('task group entered twice')
            self.entered = True
            self.parent = E.current_task()
            return self

        def create_task(self, coro):
            if not self.entered or (self.exiting and not len(self.tasks)) or self.aborting:
                raise RuntimeError('task group does not take tasks now')
            t = E.spawn(coro)
            self.tasks.add(t)
            t.add_done_callback(self.one_done)
            return t

        def abort(self):
            self.aborting = True
            for t in self.tasks:
                if not t.done():
                    t.cancel()

        def one_done(self, t):
            self.tasks.discard(t)
            if self.idle is not None and not len(self.tasks) and not self.idle.done():
                self.idle.set_result(True)
            if t.cancelled() or t.exception() is None:
                return
            self.errors.append(t.exception())
            if bug('taskgroup-error-does-not-cancel-siblings'):
                return
            if not self.aborting and not self.parent_cancelled:
                self.abort()
                self.parent_cancelled = True
                self.parent.cancel()

        async def __aexit__(self, et, e, tb):
            self.exiting = True
            pending_cancel = e if et is not None and issubclass(et, CancelledError) else None
            if et is not None and not self.aborting:
                self.abort()
            while len(self.tasks):
                if self.idle is None:
                    self.idle = E.Future()
                try:
                    await self.idle
                except CancelledError as c:
                    if not self.aborting:
                        pending_cancel = c
                        self.abort()
                self.idle = None
            if self.parent_cancelled:
                n = self.parent.uncancel()
                if n == 0:
                    pending_cancel = None
            if pending_cancel is not None and not self.errors:
                raise pending_cancel
            if et is not None and not issubclass(et, CancelledError):
                self.errors.append(e)
            if self.errors:
                if self.parent.cancelling() and not bug('taskgroup-swallows-outer-cancel'):
                    self.parent.uncancel()
                    self.parent.cancel()
                raise BaseExceptionGroup('unhandled errors in a TaskGroup', self.errors) from None
    N.TaskGroup = TaskGroup

    # ------------------------------------------------------------------ locks
    class Ctx:
        async def __aenter__(self):
            await self.acquire()

        async def __aexit__(self, *a):
            self.release()

    class Lock(Ctx):
        def __init__(self):
            self.held = False
            self.waiters = collections.deque()

        def locked(self):
            return self.held

        async def acquire(self):
            if not self.held and (bug('lock-barging') or all(w.cancelled() for w in self.waiters)):
                self.held = True
                return True
            if bug('lock-lets-two-in') and not self.waiters:
                return True
            f = E.Future()
            if bug('lock-lifo'):
                self.waiters.appendleft(f)
            else:
                self.waiters.append(f)
            try:
                try:
                    await f
                finally:
                    self.waiters.remove(f)
            except CancelledError:
                if not self.held and not bug('lock-lost-wakeup-on-cancel'):
                    self.wake()
                raise
            self.held = True
            return True

        def release(self):
            if not self.held:
                if bug('lock-lets-two-in'):
                    return
                raise RuntimeError('lock is not held')
            self.held = False
            self.wake()

        def wake(self):
            for f in self.waiters:
                if not f.done():
                    f.set_result(True)
                break
    N.Lock = Lock

    class Event:
        def __init__(self):
            self.flag = False
            self.waiters = collections.deque()

        def is_set(self):
            return self.flag

        def set(self):
            if not self.flag:
                self.flag = True
                for f in self.waiters:
                    if not f.done():
                        f.set_result(True)
                        if bug('event-wakes-one'):
                            break

        def clear(self):
            self.flag = False

        async def wait(self):
            if self.flag:
                return True
            f = E.Future()
            self.waiters.append(f)
            try:
                await f
            finally:
                self.waiters.remove(f)
            return True
    N.Event = Event

    class Condition(Ctx):
        def __init__(self, lock=None):
            self.lock = lock if lock is not None else N.Lock()
            self.locked, self.acquire, self.release = self.lock.locked, self.lock.acquire, self.lock.release
            self.waiters = collections.deque()

        async def wait(self):
            if not self.locked():
                raise RuntimeError('wait needs the lock')
            f = E.Future()
            self.release()
            try:
                try:
                    self.waiters.append(f)
                    try:
                        await f
                    finally:
                        self.waiters.remove(f)
                finally:
                    late = None
                    while True:
                        try:
                            await self.acquire()
                            break
                        except CancelledError as c:
                            if bug('condition-cancel-returns-without-lock'):
                                raise
                            late = c
                    if late is not None:
                        raise late
            except BaseException:
                if not bug('condition-lost-notify-on-cancel'):
                    self.wake(1)
                raise
            return True

        async def wait_for(self, pred):
            v = pred()
            while not v:
                await self.wait()
                v = pred()
            return v

        def wake(self, n):
            for f in self.waiters:
                if n <= 0:
                    break
                if not f.done():
                    n -= 1
                    f.set_result(False)

        def notify(self, n=1):
            if not self.locked():
                raise RuntimeError('notify needs the lock')
            self.wake(n)

        def notify_all(self):
            self.notify(len(self.waiters))
    N.Condition = Condition

    class Semaphore(Ctx):
        def __init__(self, value=1):
            if value < 0:
                raise ValueError('semaphore value')
            self.value = value
            self.waiters = collections.deque()

        def locked(self):
            return self.value == 0 or any(not w.cancelled() for w in self.waiters)

        async def acquire(self):
            if not self.locked():
                self.value -= 1
                return True
            f = E.Future()
            self.waiters.append(f)
            try:
                try:
                    await f
                finally:
                    self.waiters.remove(f)
            except CancelledError:
                if f.done() and not f.cancelled() and not bug('semaphore-lost-permit-on-cancel'):
                    self.value += 1
                raise
            finally:
                while self.value > 0 and self.wake():
                    pass
            return True

        def release(self):
            self.value += 1
            self.wake()

        def wake(self):
            for f in self.waiters:
                if not f.done():
                    self.value -= 1
                    f.set_result(True)
                    return True
            return False
    N.Semaphore = Semaphore

    class BoundedSemaphore(Semaphore):
        def __init__(self, value=1):
            self.bound = value
            super().__init__(value)

        def release(self):
            if self.value >= self.bound:
                raise ValueError('released too often')
            super().release()
    N.BoundedSemaphore = BoundedSemaphore

    class Barrier:
        def __init__(self, parties):
            if parties < 1:
                raise ValueError('parties')
            self.cond = N.Condition()
            self.parties = parties
            self.state = 'filling'
            self.count = 0

        n_waiting = property(lambda s: s.count if s.state == 'filling' else 0)
        broken = property(lambda s: s.state == 'broken')

        async def wait(self):
            async with self.cond:
                await self.cond.wait_for(lambda: self.state not in ('draining', 'resetting'))
                if self.state == 'broken':
                    raise asyncio.BrokenBarrierError('aborted')
                try:
                    index = self.count
                    self.count += 1
                    if index + 1 == self.parties:
                        self.state = 'draining'
                        self.cond.notify_all()
                    else:
                        await self.cond.wait_for(lambda: self.state != 'filling')
                        if self.state in ('broken', 'resetting'):
                            raise asyncio.BrokenBarrierError('aborted or reset')
                    return index
                finally:
                    self.count -= 1
                    if self.count == 0:
                        if self.state in ('resetting', 'draining'):
                            self.state = 'filling'
                        self.cond.notify_all()

        async def reset(self):
            async with self.cond:
                self.state = 'resetting' if self.count > 0 else 'filling'
                self.cond.notify_all()

        async def abort(self):
            async with self.cond:
                self.state = 'broken'
                self.cond.notify_all()
    N.Barrier = Barrier

    # ------------------------------------------------------------------ queues
    class Queue:
        def __init__(self, maxsize=0):
            self.maxsize = maxsize
            self.getters, self.putters = collections.deque(), collections.deque()
            self.unfinished = 0
            self.finished = N.Event()
            self.finished.set()
            self.closed = False
            self.items = []

        def _get(self):
            return self.items.pop(0)

        def _put(self, v):
            self.items.append(v)

        def qsize(self):
            return len(self.items)

        def empty(self):
            return not self.items

        def full(self):
            return 0 < self.maxsize <= len(self.items)

        @staticmethod
        def wake(ws):
            while ws:
                f = ws.popleft()
                if not f.done():
                    f.set_result(None)
                    break

        async def put(self, v):
            while self.full():
                if self.closed:
                    raise QueueShutDown
                await self.park(self.putters, lambda: not self.full())
            return self.put_nowait(v)

        async def get(self):
            while self.empty():
                if self.closed:
                    raise QueueShutDown
                await self.park(self.getters, lambda: not self.empty())
            return self.get_nowait()

        async def park(self, ws, usable):
            f = E.Future()
            ws.append(f)
            try:
                await f
            except BaseException:
                f.cancel()
                try:
                    ws.remove(f)
                except ValueError:
                    pass
                if usable() and not f.cancelled() and not bug('queue-lost-wakeup-on-cancel'):
                    self.wake(ws)
                raise

        def put_nowait(self, v):
            if self.closed:
                raise QueueShutDown
            if self.full():
                raise asyncio.QueueFull
            self._put(v)
            self.unfinished += 1
            self.finished.clear()
            self.wake(self.getters)

        def get_nowait(self):
            if self.empty():
                raise QueueShutDown if self.closed else asyncio.QueueEmpty
            v = self._get()
            self.wake(self.putters)
            return v

        def task_done(self):
            if self.unfinished <= 0:
                raise ValueError('task_done called too often')
            self.unfinished -= 1
            if not self.unfinished:
                self.finished.set()

        async def join(self):
            if self.unfinished:
                await self.finished.wait()

        def shutdown(self, immediate=False):
            self.closed = True
            if immediate:
                while not self.empty():
                    self._get()
                    if self.unfinished > 0:
                        self.unfinished -= 1
                if not self.unfinished:
                    self.finished.set()
            for ws in (self.getters, self.putters):
                while ws:
                    self.wake(ws)
    N.Queue = Queue

    class LifoQueue(Queue):
        def _get(self):
            return self.items.pop()
    N.LifoQueue = LifoQueue

    class PriorityQueue(Queue):
        def _put(self, v):
            heapq.heappush(self.items, v)

        def _get(self):
            return heapq.heappop(self.items)
    N.PriorityQueue = PriorityQueue
    return N

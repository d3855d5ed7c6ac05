# SPDX-License-Identifier: Apache-2.0
"""Interpreter of the conformance language (see FORMAT.md), independent of the backend.

A backend object B supplies the async primitives: the oracle's backend is CPython's
asyncio, the model's backend is the small scheduler of model.py.
"""
import asyncio
import contextvars

CancelledError = asyncio.CancelledError
try:
    QueueShutDown = asyncio.QueueShutDown
except AttributeError:
    class QueueShutDown(Exception):
        pass


class UserError(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Deadlock(BaseException):
    pass


class Limit(BaseException):
    pass


def code_of(e):
    if isinstance(e, UserError):
        return e.code
    for cls, code in ((asyncio.InvalidStateError, 'InvalidState'), (asyncio.QueueEmpty, 'QueueEmpty'),
                      (asyncio.QueueFull, 'QueueFull'), (QueueShutDown, 'QueueShutDown'),
                      (asyncio.BrokenBarrierError, 'BrokenBarrier'), (asyncio.TimeoutError, 'Timeout'),
                      (RuntimeError, 'Runtime'), (ValueError, 'Value')):
        if isinstance(e, cls):
            return code
    return 'Py:' + type(e).__name__ + ':' + str(e)


def outcome_of(e):
    if isinstance(e, CancelledError):
        return ['cancelled', e.args[0]] if e.args and e.args[0] else ['cancelled']
    if isinstance(e, BaseExceptionGroup):
        return ['group', [outcome_of(x) for x in e.exceptions]]
    return ['err', code_of(e)]


def task_outcome(t):
    if not t.done():
        return ['pending']
    if t.cancelled():
        return ['cancelled']
    e = t.exception()
    return outcome_of(e) if e is not None else ['ok', enc(t.result())]


def enc(v):
    """a value as JSON: errors inside gather lists become outcomes"""
    if isinstance(v, BaseException):
        return outcome_of(v)
    if isinstance(v, (list, tuple)):
        return [enc(x) for x in v]
    if v is None or isinstance(v, (bool, int, str)):
        return v
    return '<obj>'


def matches(kinds, e):
    c = isinstance(e, CancelledError)
    for k in kinds:
        if k == 'All' or (k == 'Cancelled' and c) or (k == 'Any' and not c):
            return True
        if c:
            continue
        if isinstance(e, BaseExceptionGroup):
            if k == 'Group':
                return True
        elif k == code_of(e):
            return True
    return False


BREAK = ('break',)
SYNC = {}
ASYNC = {}


def sync(f):
    SYNC[f.__name__[3:]] = f
    return f


def async_(f):
    ASYNC[f.__name__[3:]] = f
    return f


class Run:
    def __init__(self, prog, B):
        self.p, self.B = prog, B
        self.coros = prog['coros']
        self.vars = {}
        self.trace = []
        self.ident = {}          # task -> identity
        self.count = {}          # identity base -> how many
        self.order = []          # tasks in creation order
        self.dead = False
        self.cb_depth = 0
        self.eager = None
        self.objs = {n: self.make(o) for n, o in prog.get('objects', {}).items() if o['type'] == 'contextvar'}

    def start_objects(self):     # inside the loop
        for n, o in self.p.get('objects', {}).items():
            if o['type'] != 'contextvar':
                self.objs[n] = self.make(o)
                if o['type'] == 'future':
                    self.vars[n] = self.objs[n]

    def make(self, o):
        B, t = self.B, o['type']
        if t == 'lock':
            return B.Lock()
        if t == 'event':
            return B.Event()
        if t == 'condition':
            return B.Condition(self.objs[o['lock']] if 'lock' in o else None)
        if t == 'semaphore':
            return B.Semaphore(o.get('value', 1))
        if t == 'bounded_semaphore':
            return B.BoundedSemaphore(o.get('value', 1))
        if t == 'barrier':
            return B.Barrier(o['parties'])
        if t == 'queue':
            return B.Queue(o.get('maxsize', 0))
        if t == 'lifo':
            return B.LifoQueue(o.get('maxsize', 0))
        if t == 'priority':
            return B.PriorityQueue(o.get('maxsize', 0))
        if t == 'future':
            return B.create_future()
        if t == 'contextvar':
            return contextvars.ContextVar('v', default=o.get('default'))
        raise AssertionError(t)

    # ---- small helpers
    def get(self, n, fr):
        if n == 'self':
            return self.B.current_task()
        d = fr if n[0] == '_' else self.vars
        if n not in d:
            raise UserError('Unset')
        return d[n]

    def put(self, n, v, fr):
        if n is None:
            return
        (fr if n[0] == '_' else self.vars)[n] = v

    def fut(self, n, fr):
        v = self.get(n, fr)
        if not hasattr(v, 'add_done_callback'):
            raise UserError('Unset')
        return v

    def me(self):
        if self.cb_depth:
            return 'callback'
        t = self.B.current_task()
        if t is not None and self.eager is not None and t not in self.ident:
            base, self.eager = self.eager, None
            self.register(t, base)
        return self.ident.get(t, '?') if t is not None else 'callback'

    def event(self, label, *val):
        if not self.dead:
            self.trace.append([self.B.now(), self.me(), label, *[enc(v) for v in val]])

    def register(self, t, base):
        n = self.count.get(base, 0) + 1
        self.count[base] = n
        self.ident[t] = base if n == 1 else '%s#%d' % (base, n)
        self.order.append(t)
        return t

    def spawn(self, coro, base, **kw):
        if kw.get('eager'):                      # the body runs inside create_task
            self.eager = base
            t = self.B.create_task(coro, **kw)
            self.eager = None
            return t if t in self.ident else self.register(t, base)
        return self.register(self.B.create_task(coro, **kw), base)

    # ---- awaitable expressions
    def aw(self, e, fr, as_future=False):
        B = self.B
        if isinstance(e, str):
            if e[0] == '@':
                c = self.call(e[1:])
                return self.spawn(c, e[1:]) if as_future else c
            return self.fut(e, fr)
        k = e[0]
        if k == 'gather':
            kids = [self.aw(x, fr, True) for x in e[1]]
            return B.gather(kids, bool(len(e) > 2 and e[2]))
        if k == 'shield':
            return B.shield(self.aw(e[1], fr, True))
        o = self.objs
        if k == 'wait_for':
            c = B.wait_for(self.aw(e[1], fr), e[2])
        elif k == 'sleep':
            c = B.sleep(e[1], e[2] if len(e) > 2 else None)
        elif k == 'event_wait':
            c = o[e[1]].wait()
        elif k == 'acquire':
            c = o[e[1]].acquire()
        elif k == 'cond_wait':
            c = o[e[1]].wait()
        elif k == 'barrier_wait':
            c = o[e[1]].wait()
        elif k == 'get':
            c = o[e[1]].get()
        elif k == 'put':
            c = o[e[1]].put(e[2])
        elif k == 'join':
            c = o[e[1]].join()
        else:
            raise AssertionError('awaitable ' + repr(e))
        return self.spawn(c, k) if as_future else c

    # ---- coroutines
    async def call(self, name):
        sig = await self.block(self.coros[name], {})
        return sig[1] if sig is not None and sig[0] == 'ret' else None

    async def block(self, steps, fr):
        pre = self.B.preempt
        for st in steps:
            if pre is not None:
                await pre()
            op = st[0]
            f = SYNC.get(op)
            if f is not None:
                f(self, st, fr)
                continue
            sig = await ASYNC[op](self, st, fr)
            if sig is not None:
                return sig
        if pre is not None and steps and steps[-1][0] in SYNC:
            await pre()         # what the last step has set going may come before the end
        return None

    def sync_block(self, steps, fr):
        self.cb_depth += 1
        try:
            for st in steps:
                SYNC[st[0]](self, st, fr)
        finally:
            self.cb_depth -= 1


def arg(st, i, d=None):
    return st[i] if len(st) > i else d


# ------------------------------------------------------------------ synchronous steps
@sync
def op_trace(r, st, fr):
    r.event(st[1])


@sync
def op_tracev(r, st, fr):
    r.event(st[1], r.get(st[2], fr))


@sync
def op_let(r, st, fr):
    r.put(st[1], st[2], fr)


@sync
def op_copy(r, st, fr):
    r.put(st[1], r.get(st[2], fr), fr)


@sync
def op_add(r, st, fr):
    r.put(st[1], r.get(st[1], fr) + st[2], fr)


@sync
def op_create(r, st, fr):
    kw = {}
    o = arg(st, 3, {})
    if 'name' in o:
        kw['name'] = o['name']
    if o.get('eager'):
        kw['eager'] = True
    if 'context' in o:
        kw['context'] = r.get(o['context'], fr)
    r.put(st[1], r.spawn(r.call(st[2].lstrip('@')), st[1].lstrip('_'), **kw), fr)


@sync
def op_future(r, st, fr):        # let a slot hold a gather / shield future, or a fresh one
    if len(st) > 2:
        r.put(st[1], r.aw(st[2], fr, True), fr)
    else:
        r.put(st[1], r.B.create_future(), fr)


@sync
def op_cancel(r, st, fr):
    t = r.fut(st[1], fr)
    m = arg(st, 2)
    r.put(arg(st, 3), t.cancel(m) if m is not None else t.cancel(), fr)


@sync
def op_uncancel(r, st, fr):
    r.put(arg(st, 2), r.fut(st[1], fr).uncancel(), fr)


@sync
def op_query(r, st, fr):
    what, n, dst = st[1], st[2], st[3]
    if what in ('done', 'cancelled', 'cancelling', 'get_name'):
        v = getattr(r.fut(n, fr), what)()
    elif what == 'expired':
        v = r.get(n, fr).expired()
    elif what == 'ident':
        v = r.ident.get(r.fut(n, fr), '?')
    elif what in ('locked', 'is_set', 'qsize', 'empty', 'full'):
        v = getattr(r.objs[n], what)()
    elif what in ('n_waiting', 'broken', 'parties', 'maxsize'):
        v = getattr(r.objs[n], what)
    else:
        raise AssertionError(what)
    r.put(dst, v, fr)


@sync
def op_set_name(r, st, fr):
    r.fut(st[1], fr).set_name(st[2])


@sync
def op_result(r, st, fr):
    r.put(arg(st, 2), enc(r.fut(st[1], fr).result()), fr)


@sync
def op_exception(r, st, fr):
    e = r.fut(st[1], fr).exception()
    r.put(arg(st, 2), None if e is None else outcome_of(e), fr)


@sync
def op_set_result(r, st, fr):
    r.fut(st[1], fr).set_result(st[2])


@sync
def op_set_error(r, st, fr):
    r.fut(st[1], fr).set_exception(UserError(st[2]))


@sync
def op_on_done(r, st, fr):       # ["on_done", fut, [sync steps], handle?]
    f = r.fut(st[1], fr)
    steps = st[2]

    def cb(_f):
        r.sync_block(steps, fr)
    f.add_done_callback(cb)
    r.put(arg(st, 3), cb, fr)


@sync
def op_off_done(r, st, fr):
    r.put(arg(st, 3), r.fut(st[1], fr).remove_done_callback(r.get(st[2], fr)), fr)


@sync
def op_call_soon(r, st, fr):
    steps = st[1]
    r.put(arg(st, 2), r.B.call_soon(lambda: r.sync_block(steps, fr)), fr)


@sync
def op_call_later(r, st, fr):
    steps = st[2]
    r.put(arg(st, 3), r.B.call_later(st[1], lambda: r.sync_block(steps, fr)), fr)


@sync
def op_call_at(r, st, fr):
    steps = st[2]
    r.put(arg(st, 3), r.B.call_at(st[1], lambda: r.sync_block(steps, fr)), fr)


@sync
def op_cancel_handle(r, st, fr):
    r.get(st[1], fr).cancel()


@sync
def op_raise(r, st, fr):
    raise UserError(st[1])


@sync
def op_raise_cancelled(r, st, fr):
    raise CancelledError(*st[1:])


@sync
def op_release(r, st, fr):
    r.objs[st[1]].release()


@sync
def op_set(r, st, fr):
    r.objs[st[1]].set()


@sync
def op_clear(r, st, fr):
    r.objs[st[1]].clear()


@sync
def op_notify(r, st, fr):
    r.objs[st[1]].notify(arg(st, 2, 1))


@sync
def op_notify_all(r, st, fr):
    r.objs[st[1]].notify_all()


@sync
def op_put_nowait(r, st, fr):
    r.objs[st[1]].put_nowait(st[2])


@sync
def op_get_nowait(r, st, fr):
    r.put(arg(st, 2), r.objs[st[1]].get_nowait(), fr)


@sync
def op_task_done(r, st, fr):
    r.objs[st[1]].task_done()


@sync
def op_shutdown(r, st, fr):
    r.objs[st[1]].shutdown(bool(arg(st, 2, False)))


@sync
def op_ctx_set(r, st, fr):
    r.put(arg(st, 3), r.objs[st[1]].set(st[2]), fr)


@sync
def op_ctx_get(r, st, fr):
    r.put(st[2], r.objs[st[1]].get(), fr)


@sync
def op_ctx_reset(r, st, fr):
    r.objs[st[1]].reset(r.get(st[2], fr))


@sync
def op_ctx_copy(r, st, fr):
    r.put(st[1], contextvars.copy_context(), fr)


@sync
def op_now(r, st, fr):
    r.put(st[1], r.B.now(), fr)


@sync
def op_current(r, st, fr):
    r.put(st[1], r.me(), fr)


@sync
def op_all_tasks(r, st, fr):
    r.put(st[1], sorted(i for t, i in r.ident.items() if t in r.B.all_tasks()), fr)


@sync
def op_tg_create(r, st, fr):     # ["tg_create", group, var, coro]
    tg = r.get(st[1], fr)
    c = r.call(st[3].lstrip('@'))
    try:
        t = tg.create_task(c)
    except BaseException:
        c.close()
        raise
    r.put(st[2], r.register(t, st[2].lstrip('_')), fr)


@sync
def op_reschedule(r, st, fr):    # relative to now, or null
    r.get(st[1], fr).reschedule(None if st[2] is None else r.B.now() + st[2])


# ------------------------------------------------------------------ awaiting steps
@async_
async def op_sleep(r, st, fr):
    v = await r.B.sleep(st[1], arg(st, 2))
    r.put(arg(st, 3), v, fr)


@async_
async def op_yield(r, st, fr):
    await r.B.sleep(0)


@async_
async def op_await(r, st, fr):
    v = await r.aw(st[1], fr)
    r.put(arg(st, 2), enc(v), fr)


@async_
async def op_gather(r, st, fr):   # ["gather", [AW], re, slot]
    v = await r.aw(['gather', st[1], arg(st, 2, False)], fr)
    r.put(arg(st, 3), enc(v), fr)


@async_
async def op_wait_for(r, st, fr):
    v = await r.aw(['wait_for', st[1], st[2]], fr)
    r.put(arg(st, 3), enc(v), fr)


@async_
async def op_wait(r, st, fr):     # ["wait", [names], when, ms|null, slot]
    fs = [r.fut(n, fr) for n in st[1]]
    done, _ = await r.B.wait(fs, arg(st, 3), st[2])
    r.put(arg(st, 4), [[n for n, f in zip(st[1], fs) if f in done],
                       [n for n, f in zip(st[1], fs) if f not in done]], fr)


@async_
async def op_as_completed(r, st, fr):  # ["as_completed", [AW], ms|null, slot, [body]]
    fs = [r.aw(x, fr, True) for x in st[1]]
    it = r.B.as_completed(fs, st[2])
    async for f in it:
        r.put(st[3], [fs.index(f), task_outcome(f)], fr)
        sig = await r.block(arg(st, 4, []), fr)
        if sig is not None:
            return None if sig is BREAK else sig


@async_
async def op_try(r, st, fr):
    # ["try", [body], {"except": [[[kinds], [handler], slot?], ...], "else": [...], "finally": [...]}]
    o = st[2]
    sig = None
    try:
        try:
            sig = await r.block(st[1], fr)
        except BaseException as e:
            if isinstance(e, (GeneratorExit, Deadlock, Limit)):
                raise
            for h in o.get('except', ()):
                if matches(h[0], e):
                    if len(h) > 2:
                        r.put(h[2], outcome_of(e), fr)
                    saved = fr.get('\0exc')
                    fr['\0exc'] = e
                    try:
                        sig = await r.block(h[1], fr)
                    finally:
                        fr['\0exc'] = saved
                    break
            else:
                raise
        else:
            if sig is None and 'else' in o:
                sig = await r.block(o['else'], fr)
    finally:
        if 'finally' in o and not r.dead:
            s2 = await r.block(o['finally'], fr)
            if s2 is not None:
                sig = s2   # a "return" in finally takes effect only on normal completion
    return sig


@sync
def op_reraise(r, st, fr):
    raise fr['\0exc']


@async_
async def op_return(r, st, fr):
    if len(st) > 2 and st[1] == '$':
        return ('ret', enc(r.get(st[2], fr)))
    return ('ret', arg(st, 1))


@async_
async def op_break(r, st, fr):
    return BREAK


@async_
async def op_loop(r, st, fr):
    for _ in range(st[1]):
        sig = await r.block(st[2], fr)
        if sig is BREAK:
            return None
        if sig is not None:
            return sig


@async_
async def op_if(r, st, fr):       # ["if", slot, value, [then], [else]]
    if enc(r.get(st[1], fr)) == st[2]:
        return await r.block(st[3], fr)
    if len(st) > 4:
        return await r.block(st[4], fr)


@async_
async def op_with(r, st, fr):     # lock, semaphore, condition
    async with r.objs[st[1]]:
        return await r.block(st[2], fr)


@async_
async def op_acquire(r, st, fr):
    r.put(arg(st, 2), await r.objs[st[1]].acquire(), fr)


@async_
async def op_event_wait(r, st, fr):
    r.put(arg(st, 2), await r.objs[st[1]].wait(), fr)


@async_
async def op_cond_wait(r, st, fr):
    r.put(arg(st, 2), await r.objs[st[1]].wait(), fr)


@async_
async def op_cond_wait_for(r, st, fr):   # ["cond_wait_for", c, slot, value]
    await r.objs[st[1]].wait_for(lambda: r.get(st[2], fr) == st[3])


@async_
async def op_barrier_wait(r, st, fr):
    r.put(arg(st, 2), await r.objs[st[1]].wait(), fr)


@async_
async def op_barrier_reset(r, st, fr):
    await r.objs[st[1]].reset()


@async_
async def op_barrier_abort(r, st, fr):
    await r.objs[st[1]].abort()


@async_
async def op_put(r, st, fr):
    await r.objs[st[1]].put(st[2])


@async_
async def op_get(r, st, fr):
    r.put(arg(st, 2), await r.objs[st[1]].get(), fr)


@async_
async def op_join(r, st, fr):
    await r.objs[st[1]].join()


@async_
async def op_timeout(r, st, fr):   # ["timeout", ms|null, [body], handle?]
    tm = r.B.timeout(st[1])
    r.put(arg(st, 3), tm, fr)
    async with tm:
        return await r.block(st[2], fr)


@async_
async def op_timeout_at(r, st, fr):
    tm = r.B.timeout_at(st[1])
    r.put(arg(st, 3), tm, fr)
    async with tm:
        return await r.block(st[2], fr)


@async_
async def op_taskgroup(r, st, fr):  # ["taskgroup", name, [body]]
    tg = r.B.TaskGroup()
    r.put(st[1], tg, fr)
    async with tg:
        return await r.block(st[2], fr)


@async_
async def op_to_thread(r, st, fr):  # ["to_thread", value, slot] ; ["to_thread", {"raise": code}]
    v = st[1]

    def job():
        if isinstance(v, dict) and 'raise' in v:
            raise UserError(v['raise'])
        if isinstance(v, dict) and 'ctx' in v:
            return r.objs[v['ctx']].get()
        return v
    r.put(arg(st, 2), await r.B.to_thread(job), fr)


@async_
async def op_run_threadsafe(r, st, fr):
    r.put(arg(st, 2), enc(await r.B.run_threadsafe(lambda: r.call(st[1].lstrip('@')))), fr)

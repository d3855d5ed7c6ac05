#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random conformance programs (FORMAT.md), one JSON object a line.

    generate.py --seed S --count N --mode exact|outcome|race [--size K] [--expect] [--only OP,OP]

Every program ends, needs no outside input and is accepted by the oracle (no deadlock, no runaway).
exact:   ties are common (times 0..6 ms), the whole trace is defined by the FIFO round rules.
outcome: every timer has its own instant, and each program has been run under SHUFFLES random ready orders
         with random preemption: only programs whose outcome never changed are kept.
race:    (mode outcome) everything happens at the same few instants around one object, with cancellations; many
         outcomes are legal, and only main's own report is compared: nobody hangs, no permit or item is lost.
--expect adds the oracle's result as "expect".
"""
import argparse
import json
import random
import sys
import warnings

import oracle
import races
import verdict

SHUFFLES = 24
CODES = ['E1', 'E2', 'E3']


class Gen:
    def __init__(self, seed, mode, size):
        self.r = random.Random(seed)
        self.exact = mode == 'exact'
        self.mode = mode
        self.budget = self.r.randint(max(6, size // 2), size)
        self.coros, self.objects = {}, {}
        self.n = {'l': 0, 't': 0, 'c': 0, 's': 0, 'o': 0}
        self.done_vars = []        # vars whose coroutine is completely generated: safe to await
        self.all_vars = []         # also those of the enclosing coroutines: only cancelled or queried
        self.fut_vars = []
        self.hb, self.excl = [], []
        self.times = set()
        self.loop_depth = 0
        self.nocreate = 0

    # ---- atoms
    def new(self, k):
        self.n[k] += 1
        return k + str(self.n[k])

    def ms(self):
        if self.exact:
            return self.r.choice([1, 1, 2, 2, 3, 3, 4, 5, 6])
        while True:
            v = int(10 ** self.r.uniform(1, 5.5))
            if v not in self.times:
                self.times.add(v)
                return v

    def nap(self):
        if self.exact and self.r.random() < 0.3:
            return ['yield']
        return ['sleep', self.ms()]

    def tr(self):
        return ['trace', self.new('l')]

    def obj(self, kind, **kw):
        same = [n for n, o in self.objects.items() if o['type'] == kind]
        if same and self.r.random() < 0.7:
            return self.r.choice(same)
        n = kind[0].upper() + self.new('o')[1:]
        self.objects[n] = dict(type=kind, **kw)
        return n

    # ---- coroutines
    def coro(self, depth, var=None):
        if self.exact and self.coros and self.r.random() < 0.15:
            return self.r.choice(list(self.coros))
        name = self.new('c')
        if var:
            self.all_vars.append(var)
        saved, self.loop_depth = self.loop_depth, 0
        body = self.block(self.r.randint(1, 4), depth + 1)
        self.loop_depth = saved
        if not self.exact or self.r.random() < 0.8:
            body.insert(0, self.tr())
        if not self.exact:
            body.insert(1, ['sleep', self.ms()])
        x = self.r.random()
        if x < 0.55:
            body += [['return', self.r.randint(0, 99)]]
        elif x < 0.75:
            body += [['raise', self.r.choice(CODES)]]
        self.coros[name] = body
        return name

    def var(self, own):
        if own and self.r.random() < 0.85:
            return self.r.choice(own)
        pool = self.done_vars if self.r.random() < 0.7 else self.all_vars
        return self.r.choice(pool or own or ['self'])

    def awaitable(self, own, depth, fut=False):
        x = self.r.random()
        if own and x < 0.35:
            return self.r.choice(own)
        if depth > 3 or self.budget <= 0 or x < 0.5:
            return ['sleep', self.ms(), self.r.randint(0, 9)]
        if x < 0.72:
            return '@' + self.coro(depth)
        if x < 0.86:
            return ['gather', [self.awaitable(own, depth + 1, True) for _ in range(self.r.randint(1, 3))],
                    self.r.random() < 0.4]
        if x < 0.93:
            return ['shield', self.awaitable(own, depth + 1, True)]
        return ['wait_for', self.awaitable(own, depth + 1), self.ms()]

    # ---- blocks
    def block(self, n, depth, own=None):
        own = [] if own is None else own
        out = []
        for _ in range(n):
            if self.budget <= 0:
                break
            self.budget -= 1
            s = self.step(depth, own)
            if s and self.risky(s) and self.r.random() < (0.85 if depth == 0 else 0.45):
                s = [self.guard(s, depth, own)]
            out += s
            if self.r.random() < 0.35:
                out.append(self.tr())
        return out or [self.tr()]

    @staticmethod
    def risky(s):
        return any(x[0] not in ('trace', 'create', 'yield', 'let', 'query', 'on_done') for x in s)

    def guard(self, body, depth, own):
        """try/except/finally, with swallowed cancellation common"""
        o = {}
        x = self.r.random()
        if depth == 0 and self.r.random() < 0.8:      # keep the main coroutine going
            o['except'] = [[[self.r.choice(['All', 'All', 'Any'])], [['tracev', self.new('l'), '_e']], '_e']]
            if x > 0.85:
                o['finally'] = [self.tr()]
        elif x < 0.75:
            kinds = self.r.choice([['Cancelled'], ['Cancelled'], ['All'], ['Any'], ['Timeout'], ['E1', 'E2'],
                                   ['Any'], ['Cancelled', 'Timeout'], ['Group']])
            h = [['tracev', self.new('l'), '_e']]
            y = self.r.random()
            if y < 0.25:
                h.append(self.nap())
            elif y < 0.4:
                h.append(['reraise'])
            elif y < 0.5:
                h.append(['raise', self.r.choice(CODES)])
            elif y < 0.6 and 'Cancelled' in kinds:
                h.append(['uncancel', 'self', '_n'])
            elif y < 0.68:
                h.append(['return', self.r.randint(100, 199)])
            o['except'] = [[kinds, h, '_e']]
            if self.r.random() < 0.15:
                o['else'] = [self.tr()]
        if x > 0.6 and 'finally' not in o and (x >= 0.75 or depth):
            o['finally'] = [self.tr()] + ([self.nap()] if self.r.random() < 0.4 else [])
        if not o:
            o['finally'] = [self.tr()]
        return ['try', body, o]

    def step(self, depth, own):
        r = self.r
        table = [
            (8, self.s_nap), (9, self.s_create), (9, self.s_cancel), (8, self.s_await), (8, self.s_gather),
            (5, self.s_wait_for), (5, self.s_timeout), (4, self.s_wait), (4, self.s_shield), (5, self.s_lock),
            (3, self.s_event), (3, self.s_semaphore), (4, self.s_queue), (3, self.s_taskgroup), (2, self.s_as_completed),
            (2, self.s_condition), (1, self.s_barrier), (2, self.s_loop), (2, self.s_query), (2, self.s_callback),
            (2, self.s_ctx), (3, self.s_future), (2, self.s_self_cancel), (4, self.s_race), (1, self.s_call), (7, self.s_contend), (2, self.s_group_race),
        ]
        if depth > 4:
            table = table[:1] + table[2:4] + table[9:13]
        f = r.choices([x[1] for x in table], [x[0] for x in table])[0]
        return f(depth, own)

    def s_nap(self, d, own):
        return [self.nap()]

    def s_create(self, d, own):
        v = self.new('t')
        c = self.coro(d, v)
        own.append(v)
        self.done_vars.append(v)
        out = []
        if not self.exact and self.coros[c][0][0] == 'trace' and self.loop_depth == 0:
            t = self.tr()
            out.append(t)
            self.hb.append([t[1], self.coros[c][0][1]])
        out.append(['create', v, c])
        if not self.exact or self.r.random() < 0.3:
            out.append(self.nap())
        return out

    def s_cancel(self, d, own):
        if not self.all_vars:
            return self.s_create(d, own)
        s = self.slot()
        out = ([] if self.exact else [self.nap()]) + [['cancel', self.var(own), None, s]]
        if self.exact and self.r.random() < 0.3:
            out.append(['tracev', self.new('l'), s])
        if self.r.random() < 0.3:
            out.append(self.nap())
        return out

    def slot(self):
        return '_' + self.new('s')

    def s_self_cancel(self, d, own):
        out = [['cancel', 'self']]
        if self.r.random() < 0.7:
            out.append(self.nap())
        elif self.r.random() < 0.5:
            out += [['uncancel', 'self', '_n'], self.nap()]
        return out

    def s_await(self, d, own):
        if not own:
            own_new = []
            out = self.s_create(d, own_new)
            own += own_new
        else:
            out = []
        v = self.r.choice(own)
        s = self.slot()
        return out + [['await', v, s], ['tracev', self.new('l'), s]]

    def s_call(self, d, own):
        s = self.slot()
        return [['await', '@' + self.coro(d), s], ['tracev', self.new('l'), s]]

    def s_gather(self, d, own):
        kids = [self.awaitable(own, d, True) for _ in range(self.r.randint(2, 4))]
        s = self.slot()
        re = self.r.random() < 0.45
        if self.r.random() < 0.25:
            g = self.new('t').replace('t', 'g')
            self.fut_vars.append(g)
            out = [['future', g, ['gather', kids, re]], self.nap()]
            if self.r.random() < 0.6:
                out.append(['cancel', g, None, '_n'])
            return out + [['await', g, s], ['tracev', self.new('l'), s]]
        return [['gather', kids, re, s], ['tracev', self.new('l'), s]]

    def s_wait_for(self, d, own):
        s = self.slot()
        ms = self.ms() if self.r.random() < 0.93 else self.r.choice([0, None])
        return [['wait_for', self.awaitable(own, d), ms, s], ['tracev', self.new('l'), s]]

    def s_timeout(self, d, own):
        h = self.slot()
        body = self.block(self.r.randint(1, 3), d + 1, own)
        if self.r.random() < 0.15:
            body.insert(self.r.randint(0, len(body)), ['reschedule', h, self.r.choice([self.ms(), None])])
        return [['timeout', self.ms(), body, h]]

    def s_wait(self, d, own):
        out = []
        while len(own) < 2 and self.budget > 0:
            out += self.s_create(d, own)
            self.budget -= 1
        if not own:
            return out
        vs = self.r.sample(own, min(len(own), self.r.randint(1, 3)))
        s = self.slot()
        when = self.r.choice(['ALL_COMPLETED', 'FIRST_COMPLETED', 'FIRST_EXCEPTION'])
        return out + [['wait', vs, when, self.ms() if self.r.random() < 0.5 else None, s],
                      ['tracev', self.new('l'), s]]

    def s_shield(self, d, own):
        s = self.slot()
        return [['await', ['shield', self.awaitable(own, d, True)], s], ['tracev', self.new('l'), s]]

    def s_lock(self, d, own):
        n = self.obj('lock')
        i, o = self.new('l'), self.new('l')
        if not self.exact and self.loop_depth == 0:
            self.excl.append([n, i, o])
        body = self.block(self.r.randint(1, 2), d + 2, own)
        if not any(x[0] == 'sleep' for x in body):
            body.append(self.nap())
        if self.r.random() < 0.3:
            return [['acquire', n], ['try', [['trace', i]] + body, {'finally': [['trace', o], ['release', n]]}]]
        return [['with', n, [['try', [['trace', i]] + body, {'finally': [['trace', o]]}]]]]

    def s_semaphore(self, d, own):
        n = self.obj('semaphore', value=self.r.randint(1, 2))
        return [['with', n, [self.tr()] + self.block(1, d + 2, own) + [self.nap()]]]

    def s_event(self, d, own):
        n = self.obj('event')
        x = self.r.random()
        if x < 0.4:
            return [['set', n]]
        if x < 0.5:
            return [['set', n], ['clear', n]]
        if x < 0.75:
            return [['wait_for', ['event_wait', n], self.ms(), '_n'], self.tr()]
        return [['call_later', self.ms(), [['set', n]]], ['event_wait', n], self.tr()]

    def s_queue(self, d, own):
        n = self.obj(self.r.choice(['queue', 'queue', 'lifo', 'priority']), maxsize=self.r.randint(0, 2))
        s = self.slot()
        x = self.r.random()
        v = self.r.randint(0, 9)
        if x < 0.35:
            return [['wait_for', ['get', n], self.ms(), s], ['tracev', self.new('l'), s]]
        if x < 0.6:
            return [['wait_for', ['put', n, v], self.ms()]]
        if x < 0.75:
            return [['try', [['put_nowait', n, v]], {'except': [[['QueueFull'], [self.tr()]]]}]]
        if x < 0.9:
            return [['try', [['get_nowait', n, s], ['tracev', self.new('l'), s]],
                     {'except': [[['QueueEmpty'], [self.tr()]]]}]]
        return [['put_nowait', n, v], ['task_done', n], ['wait_for', ['join', n], self.ms(), '_n']]

    def s_condition(self, d, own):
        n = self.obj('condition')
        if self.r.random() < 0.5:
            return [['with', n, [['notify', n, self.r.randint(1, 2)], self.tr()]]]
        return [['with', n, [['try', [['timeout', self.ms(), [['cond_wait', n], self.tr()]]],
                              {'except': [[['Timeout'], [self.tr()]]]}]]]]

    def s_barrier(self, d, own):
        n = self.obj('barrier', parties=2)
        s = self.slot()
        if self.r.random() < 0.12:
            return [[self.r.choice(['barrier_reset', 'barrier_abort']), n]]
        return [['wait_for', ['barrier_wait', n], self.ms(), s], ['tracev', self.new('l'), s]]

    def s_taskgroup(self, d, own):
        g = '_' + self.new('t').replace('t', 'g')
        body = []
        vs = []
        for _ in range(self.r.randint(1, 3)):
            v = self.new('t')
            c = self.coro(d, v)
            self.done_vars.append(v)
            vs.append(v)
            body.append(['tg_create', g, v, c])
            if self.r.random() < 0.25:
                body.append(self.nap())
        if self.r.random() < 0.3:
            body += self.block(1, d + 2, vs)
        if self.r.random() < 0.12:
            body.append(['raise', self.r.choice(CODES)])
        return [['taskgroup', g, body]]

    def s_as_completed(self, d, own):
        s = self.slot()
        kids = ['@' + self.coro(d) for _ in range(self.r.randint(1, 3))]
        return [['as_completed', kids, self.ms() if self.r.random() < 0.4 else None, s, [['tracev', self.new('l'), s]]]]

    def s_loop(self, d, own):
        self.loop_depth += 1
        b = self.block(self.r.randint(1, 2), d + 2, own)
        self.loop_depth -= 1
        if not self.exact and any(x[0] == 'create' for x in b):
            return b
        return [['loop', 2, b + [self.nap()]]]

    def s_query(self, d, own):
        s = self.slot()
        v = self.var(own) if self.all_vars else 'self'
        return [['query', self.r.choice(['done', 'cancelled', 'cancelling']), v, s], ['tracev', self.new('l'), s]] \
            if v != 'self' else [['query', 'cancelling', 'self', s], ['tracev', self.new('l'), s]]

    def s_callback(self, d, own):
        x = self.r.random()
        if own and x < 0.5:
            return [['on_done', self.r.choice(own), [self.tr()]]]
        if x < 0.7:
            return [['call_soon', [self.tr()]]]
        act = [self.tr()]
        if own:
            act.append(['cancel', self.r.choice(own)])
        return [['call_later', self.ms(), act]]

    def s_ctx(self, d, own):
        n = self.obj('contextvar', default=0)
        s = self.slot()
        if self.r.random() < 0.6:
            name, v = self.new('c'), self.new('t')
            self.all_vars.append(v)
            self.coros[name] = [['ctx_get', n, s], ['tracev', self.new('l'), s], ['ctx_set', n, 77], ['return', 1]]
            self.done_vars.append(v)
            own.append(v)
            return [['ctx_set', n, self.r.randint(1, 9)], ['create', v, name], ['ctx_set', n, 11], ['await', v],
                    ['ctx_get', n, s], ['tracev', self.new('l'), s]]
        if self.r.random() < 0.5:
            return [['ctx_set', n, self.r.randint(1, 9)]]
        return [['ctx_get', n, s], ['tracev', self.new('l'), s]]

    def s_future(self, d, own):
        f = self.new('t').replace('t', 'f')
        s = self.slot()
        act = self.r.choice([['set_result', f, 5], ['set_error', f, 'E2'], ['cancel', f], ['set_result', f, 6]])
        out = [['future', f]]
        x = self.r.random()
        if x < 0.7:
            out.append(['call_later', self.ms(), [act]])
        else:
            out.append(['call_soon', [act]])
        if self.r.random() < 0.3:
            return out + [['wait_for', f, self.ms(), s], ['tracev', self.new('l'), s]]
        if self.r.random() < 0.3:
            return out + [['await', ['shield', f], s], ['tracev', self.new('l'), s]]
        return out + [['await', f, s], ['tracev', self.new('l'), s]]

    def s_race(self, d, own):
        """completion and cancellation at (nearly) the same moment"""
        v = self.new('t')
        name = self.new('c')
        ms = self.ms()
        kind = self.r.random()
        inner = [['sleep', ms]] if kind < 0.5 else [['await', ['shield', ['sleep', ms, 1]], '_n']] if kind < 0.6 else \
            [['gather', [['sleep', ms, 1], ['sleep', self.ms(), 2]], self.r.random() < 0.5, '_n']] if kind < 0.8 else \
            [['wait_for', ['sleep', ms, 1], self.ms(), '_n']]
        if self.r.random() < 0.4:
            inner = [self.guard(inner, d, own)]
        self.all_vars.append(v)
        self.coros[name] = inner + [self.tr(), ['return', self.r.randint(0, 9)]]
        self.done_vars.append(v)
        own.append(v)
        s = self.slot()
        wait = ['sleep', ms if self.exact and self.r.random() < 0.7 else self.ms()]
        out = [['create', v, name]]
        if self.exact and self.r.random() < 0.4:
            out = [['create', v, name], ['call_later', ms, [['cancel', v]]]]
            wait = self.nap()
        out += [wait]
        for _ in range(1 if self.r.random() < 0.8 else 2):
            out.append(['cancel', v, None, '_n'])
        out.append(['try', [['await', v, s], ['tracev', self.new('l'), s]],
                    {'except': [[['All'], [['tracev', self.new('l'), '_e']], '_e']]}])
        return out

    def s_contend(self, d, own):
        """several tasks queue up on one object while they are released and cancelled in the same step"""
        r = self.r
        if self.budget <= 0:
            return [self.nap()]
        self.budget -= 4
        kind = r.choice(['lock', 'lock', 'semaphore', 'condition', 'condition', 'queue', 'put', 'event'])
        n = kind[0].upper() + 'x' + self.new('o')[1:]
        self.objects[n] = {'lock': {'type': 'lock'}, 'semaphore': {'type': 'semaphore', 'value': r.randint(1, 2)},
                           'condition': {'type': 'condition'}, 'queue': {'type': 'queue'},
                           'put': {'type': 'queue', 'maxsize': 1}, 'event': {'type': 'event'}}[kind]
        vs, out = [], []
        hold = [['sleep', self.ms()]] if r.random() < 0.6 else [['yield']] if self.exact else []
        for _ in range(r.randint(2, 4)):
            v, name = self.new('t'), self.new('c')
            self.all_vars.append(v)
            i, o, s = self.new('l'), self.new('l'), self.slot()
            inner = [['trace', i]] + hold + [['trace', o]]
            if not self.exact and kind == 'lock' and self.loop_depth == 0:
                self.excl.append([n, i, o])
                inner = [['trace', i], ['try', [['sleep', self.ms()]], {'finally': [['trace', o]]}]]
            body = {'lock': [['with', n, inner]], 'semaphore': [['with', n, inner]],
                    'condition': [['with', n, [['cond_wait', n]] + inner]],
                    'queue': [['get', n, s], ['tracev', i, s]] + hold,
                    'put': [['put', n, r.randint(1, 9)], ['trace', i]],
                    'event': [['event_wait', n], ['trace', i]]}[kind]
            if r.random() < 0.3:
                # Among several workers another one that was cancelled in the same step may hold it for its clean-up just then.
                body = [['try', body, {'except': [[['Cancelled'], [['trace', self.new('l')], ['query', 'locked', n, s],
                                                                  ['tracev', self.new('l'), s]]
                                                   if self.exact and kind in ('lock', 'condition', 'semaphore') else
                                                   [['trace', self.new('l')]]]]}]]
            if not self.exact or r.random() < 0.2:
                body.insert(0, ['sleep', self.ms()])
            self.coros[name] = body
            self.done_vars.append(v)
            own.append(v)
            vs.append(v)
            out.append(['create', v, name])
        own_lock = kind == 'lock' and r.random() < 0.7 or kind == 'semaphore' and r.random() < 0.5
        act = {'lock': [['release', n]], 'semaphore': [['release', n]], 'queue': [['put_nowait', n, r.randint(1, 9)]],
               'put': [['get_nowait', n, '_n']], 'event': [['set', n]],
               'condition': [['with', n, [['notify', n, r.randint(1, 2)]]]]}[kind]
        kick = []
        for _ in range(r.randint(1, 3)):
            k = list(act) if kind not in ('lock', 'semaphore') or own_lock else []
            for _ in range(r.choice([0, 1, 1, 2])):
                k.insert(r.randint(0, len(k)), ['cancel', r.choice(vs)])
            kick += k + ([self.nap()] if r.random() < 0.7 else [])
            if own_lock:
                kick = kick + [['acquire', n]] if r.random() < 0.4 else kick
                if kick[-1][0] != 'acquire':
                    break
        if own_lock:
            if kick[-1][0] == 'acquire':
                kick.append(['release', n])
            out = [['acquire', n]] + out + [self.nap()] + kick
        else:
            out += [self.nap()] + kick
        if kind == 'queue' and r.random() < 0.5:
            out.append(['put_nowait', n, 8])
        s, l = self.slot(), self.new('l')
        out.append(['wait', vs, 'ALL_COMPLETED', self.ms() + (4 if self.exact else 400000), s])
        out.append(['tracev', l, s])
        if kind == 'event':
            out.append(['set', n])
        return [['try', out, {'except': [[['QueueFull', 'QueueEmpty', 'Runtime'], [self.tr()]]]}]]

    def s_group_race(self, d, own):
        """a task group whose child fails while its owner is cancelled or times out"""
        r = self.r
        v, name, g = self.new('t'), self.new('c'), '_' + self.new('t').replace('t', 'g')
        a, b = self.new('c'), self.new('c')
        ms = self.ms()
        self.coros[a] = [['sleep', ms], ['raise', r.choice(CODES)]]
        self.coros[b] = [['try', [['sleep', self.ms() + 3]], {'finally': [self.tr()] + ([self.nap()] if r.random() < .5
                                                                                       else [])}]]
        ta, tb = self.new('t'), self.new('t')
        body = [['taskgroup', g, [['tg_create', g, ta, a], ['tg_create', g, tb, b]] +
                 ([['sleep', self.ms()]] if r.random() < 0.6 else [])]]
        if r.random() < 0.4:
            body = [['timeout', ms if self.exact else self.ms(), body]]
        self.coros[name] = [['try', body, {'except': [[['All'], [['tracev', self.new('l'), '_e'],
                                                                ['query', 'cancelling', 'self', '_n'],
                                                                ['tracev', self.new('l'), '_n'], self.nap(),
                                                                self.tr()], '_e']]}], self.nap(), self.tr()]
        self.all_vars.append(v)
        self.done_vars += [ta, tb, v]
        own.append(v)
        out = [['create', v, name], ['sleep', ms if self.exact else self.ms()]]
        if r.random() < 0.7:
            out.append(['cancel', v])
        s = self.slot()
        return out + [['try', [['await', v, s], ['tracev', self.new('l'), s]],
                       {'except': [[['All'], [['tracev', self.new('l'), '_e']], '_e']]}]]

    def program(self, name):
        own = []
        body = [self.tr()]
        while self.budget > 0:
            body += self.block(3, 0, own)
        body += [['sleep', self.ms() + (0 if self.exact else 400000)]] if not self.exact or self.r.random() < 0.5 else []
        body += [['return', 0]]
        self.coros['main'] = body
        p = {'name': name, 'mode': self.mode}
        if self.objects:
            p['objects'] = self.objects
        p['coros'] = self.prune(self.coros)
        if not self.exact:
            p['hb'], p['excl'] = self.hb, self.excl
        return p

    @staticmethod
    def prune(coros):
        used, todo = set(), ['main']
        while todo:
            n = todo.pop()
            if n in used or n not in coros:
                continue
            used.add(n)
            todo += refs(coros[n], set(coros))
        return {n: b for n, b in coros.items() if n in used}


def refs(x, names):
    if isinstance(x, str):
        return [x.lstrip('@')] if x.lstrip('@') in names else []
    if isinstance(x, list):
        return [n for y in x for n in refs(y, names)]
    if isinstance(x, dict):
        return [n for y in x.values() for n in refs(y, names)]
    return []


def make(seed, mode, i, size):
    name = '%s-%d-%d' % (mode, seed, i)
    if mode == 'race':
        return races.race(Gen('%d/race/%d' % (seed, i), 'exact', size).r, name)
    return Gen('%d/%s/%d' % (seed, mode, i), mode, size).program(name)


def bad_code(r):
    return '"Py:' in json.dumps(r) or '<obj>' in json.dumps(r)


def accept(p, shuffles=SHUFFLES):
    """the oracle's result if the program is usable, else None"""
    try:
        r = oracle.run_program(p)
    except RecursionError:
        return None
    if r['main'][0] in ('deadlock', 'limit') or r.get('late') or bad_code(r) or len(r['trace']) > 400:
        return None
    if p['mode'] == 'outcome':
        labels = {}
        for ev in r['trace']:
            labels[ev[2]] = labels.get(ev[2], 0) + 1
        p['hb'] = [h for h in p.get('hb', []) if all(labels.get(x) == 1 for x in h)]
        p['excl'] = [x for x in p.get('excl', []) if labels.get(x[1]) == 1 and labels.get(x[2]) == 1]
        for s in range(shuffles):
            q = oracle.run_program(p, shuffle=s)
            if q['main'][0] in ('deadlock', 'limit') or verdict.diff(p, r, q):
                return None
    return r


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--seed', type=int, default=1)
    a.add_argument('--count', type=int, default=100)
    a.add_argument('--mode', choices=['exact', 'outcome', 'race'], default='exact')
    a.add_argument('--size', type=int, default=24)
    a.add_argument('--expect', action='store_true')
    a.add_argument('--only', default='')
    a.add_argument('--shuffles', type=int, default=SHUFFLES)
    o = a.parse_args()
    warnings.simplefilter('ignore')
    sys.unraisablehook = lambda *_: None
    n = tried = 0
    only = [x for x in o.only.split(',') if x]
    while n < o.count:
        p = make(o.seed, o.mode, tried, o.size)
        tried += 1
        if only and not all('"%s"' % x in json.dumps(p) for x in only):
            continue
        r = accept(p, o.shuffles)
        if r is None:
            continue
        if o.expect:
            r.pop('name')
            p['expect'] = r
        print(json.dumps(p, separators=(',', ':')))
        n += 1
    print('%d programs out of %d tried' % (n, tried), file=sys.stderr)


if __name__ == '__main__':
    main()

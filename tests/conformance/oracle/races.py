# SPDX-License-Identifier: Apache-2.0
"""Race programs: release, cancel, timeout and completion at the same few instants around one object.

Many outcomes are legal. What main reports at the end must hold in all of them: every task ended, the lock is free and
was never held twice, no permit or item was lost or doubled, a group left no child behind. generate.py calls race().
"""


def race(r, name):
    """many outcomes are legal; main only reports what must hold in all of them"""
    kind = r.choice(['lock', 'lock', 'semaphore', 'semaphore', 'queue', 'queue', 'condition', 'condition', 'event',
                     'future', 'group', 'scopes', 'scopes'])
    n = r.randint(2, 5)
    vs = ['w%d' % i for i in range(n)]
    nap = lambda: r.choice([['yield'], ['sleep', 1], ['sleep', 1], ['sleep', 2], ['sleep', 3]])
    X, post, pre, coros = 'X', [], [], {}
    handoff = kind == 'queue' and r.random() < .5      # only getters; items come with cancellations
    permits = r.randint(1, 2)
    objects = {'lock': {'X': {'type': 'lock'}}, 'semaphore': {'X': {'type': 'semaphore', 'value': permits}},
               'queue': {'X': {'type': r.choice(['queue', 'lifo', 'priority']), 'maxsize': r.choice([0, 1, 1, 2])}},
               'condition': {'X': {'type': 'condition'}}, 'event': {'X': {'type': 'event'}}}.get(kind, {})
    if kind == 'future':
        objects = {'F%d' % i: {'type': 'future'} for i in range(2)}

    def worker(i):
        if kind == 'lock':
            cs = [['add', 'n', 1], ['if', 'n', 1, [], [['let', 'broken', True]]],
                  ['try', [nap()], {'finally': [['add', 'n', -1]]}]]
            one = [['with', X, cs]] if r.random() < .7 else [['wait_for', ['acquire', X], r.randint(1, 3)],
                                                            ['try', cs, {'finally': [['release', X]]}]]
        elif kind == 'semaphore':
            one = [['with', X, [nap()]]] if r.random() < .6 else [
                ['timeout', r.randint(1, 4), [['acquire', X], ['try', [nap()], {'finally': [['release', X]]}]]]]
        elif handoff:
            one = [['get', X, '_v'], ['add', 'bal', -1]]
        elif kind == 'queue':
            get = [['get', X, '_v']] if r.random() < .6 else [['wait_for', ['get', X], r.randint(1, 3), '_v']]
            one = (get[:-1] + [get[-1], ['add', 'bal', -1]]) if i % 2 else [['put', X, r.randint(0, 9)],
                                                                           ['add', 'bal', 1]]
            if get[0][0] == 'wait_for' and i % 2:      # may lose the value to the timeout: count inside
                one = [['timeout', r.randint(1, 3), [['get', X, '_v'], ['add', 'bal', -1]]]]
        elif kind == 'condition':
            one = [['with', X, [['cond_wait_for', X, 'flag', 1], ['notify', X, 1]]]]
        elif kind == 'event':
            one = [['event_wait', X]]
        elif kind == 'future':
            f = r.choice(['F0', 'F1'])
            one = r.choice([[['await', f]], [['await', ['shield', f]]], [['wait_for', f, 3]],
                            [['gather', [f, ['sleep', 1]], r.random() < .5, '_g']],
                            [['try', [['set_result', f, 1]], {'except': [[['InvalidState'], []]]}]]])
        elif kind == 'group':
            g = '_g%d' % i
            ks = ['k%d%d' % (i, j) for j in range(r.randint(1, 3))]
            for k in ks:
                coros['c' + k] = [r.choice([['sleep', 1], ['sleep', 2], ['yield']])] + r.choice(
                    [[], [['raise', 'E1']], [['sleep', 2]], [['cancel', r.choice(vs)], ['sleep', 1]]])
            one = [['try', [['taskgroup', g, [['tg_create', g, k, 'c' + k] for k in ks] + r.choice([[], [nap()]])]],
                    {'finally': [['try', [x for k in ks for x in (['query', 'done', k, '_d'],
                                                                  ['if', '_d', False, [['let', 'broken', True]]])],
                                  {'except': [[['Unset'], []]]}]]}]]
        else:
            inner = r.choice([[['sleep', 2]], [['gather', [['sleep', 1], ['sleep', 2]], True, '_g']],
                              [['await', ['shield', ['sleep', 2]]]], [['wait_for', ['sleep', 2], 2]],
                              [['wait', [r.choice(vs[:i])], 'ALL_COMPLETED', 2, '_g']] if i else [['yield']]])
            one = [['timeout', r.randint(1, 3), inner]]
        rep = 1 if kind == 'condition' or handoff else r.randint(1, 3)
        if kind in ('condition', 'event'):
            body = [nap()] + one
            if r.random() < .3:
                body = [['try', body, {'except': [[['Cancelled'], [['trace', 'x%d' % i]] + one]]}]]
            return body
        kinds = ['Any'] if r.random() < .6 else ['All']
        return [['loop', rep, [['try', r.choice([[nap()], []]) + one, {'except': [[kinds, []]]}]]]]

    for i in range(n):
        coros['b%d' % i] = worker(i)
    for j in range(r.randint(1, 3)):
        coros['z%d' % j] = [x for _ in range(r.randint(1, 4)) for x in
                                 ([nap()] if r.random() < .8 else []) + [['cancel', r.choice(vs)]]]
        pre.append(['create', 'y%d' % j, 'z%d' % j])
    if kind == 'condition':
        coros['setter'] = [nap(), ['with', X, [['let', 'flag', 1], ['notify', X, 1]] + r.choice(
            [[], [['cancel', r.choice(vs)]], [nap()]])]]
        pre.append(['create', 'setter', 'setter'])
    if handoff:
        objects[X]['maxsize'] = 0
        coros['setter'] = [x for _ in range(r.randint(1, 3)) for x in (
            nap(), *r.sample([['put_nowait', X, 1], ['cancel', r.choice(vs)], ['cancel', r.choice(vs)]],
                             r.randint(1, 3)))] + [nap(), ['put_nowait', X, 1], ['cancel', r.choice(vs)]]
        coros['setter'] = [y for x in coros['setter'] for y in (
            [x, ['add', 'bal', 1]] if x[0] == 'put_nowait' else [x])]
        pre.append(['create', 'setter', 'setter'])
    if kind == 'event':
        coros['setter'] = [nap(), ['set', X], ['clear', X], nap(), ['cancel', r.choice(vs)], ['set', X]]
        pre.append(['create', 'setter', 'setter'])
    if kind == 'future':
        coros['setter'] = [nap()] + [['try', [r.choice([['set_result', f, 1], ['set_error', f, 'E1'],
                                                             ['cancel', f]])], {'except': [[['InvalidState'], []]]}]
                                          for f in ('F0', 'F1')]
        pre.append(['create', 'setter', 'setter'])
    end = [['wait', vs, 'ALL_COMPLETED', 50, '_w']]
    if kind in ('lock', 'semaphore', 'scopes', 'group', 'condition', 'event', 'future'):
        post += end + [['tracev', 'all ended', '_w']]
    else:
        stuck = [x for i, v in enumerate(vs) for x in (      # nobody sleeps beside an item or a free place
            ['query', 'done', v, '_d'], ['if', '_d', False, [
                ['query', 'empty' if i % 2 or handoff else 'full', X, '_q'],
                ['if', '_q', False, [['let', 'broken', True]]]]])]
        post += [['sleep', 50]] + stuck + [['cancel', v] for v in vs for _ in range(1)] + [['sleep', 1]] + \
            [['cancel', v] for v in vs] + [['sleep', 1]] + [['cancel', v] for v in vs] + \
            end + [['tracev', 'all ended', '_w']]
    if kind == 'lock':
        post += [['wait_for', ['acquire', X], 5], ['trace', 'lock free'], ['tracev', 'n', 'n']]
    if kind == 'semaphore':
        post += [['wait_for', ['acquire', X], 5], ['trace', 'permit']] * permits + [
            ['try', [['wait_for', ['acquire', X], 5], ['trace', 'one too many']],
             {'except': [[['Timeout'], [['trace', 'no more permits']]]]}]]
    if kind == 'queue':
        post += [['loop', 40, [['try', [['get_nowait', X], ['add', 'bal', -1]], {'except': [[['QueueEmpty'], [
            ['break']]]]}]]], ['tracev', 'items lost or doubled', 'bal']]
    post += [['tracev', 'broken', 'broken'], ['query', 'cancelling', 'self', '_c'], ['tracev', 'mine', '_c']]
    creates = [['create', v, 'b%d' % i] for i, v in enumerate(vs)]
    coros['main'] = [['let', 'n', 0], ['let', 'broken', False], ['let', 'bal', 0], ['let', 'flag', 0]] + \
        creates + pre + post
    return {'name': name, 'mode': 'outcome', 'race': kind, 'check': ['main', 'main_trace', 'handler'],
            **({'objects': objects} if objects else {}), 'coros': coros}

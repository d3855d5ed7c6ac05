# SPDX-License-Identifier: Apache-2.0
"""What counts as right: one result of a runner against the result that was wanted.

    diff(prog, want, got)    '' or one line saying how they differ
    judge(prog, want, got)   (verdict, line): PASSED, HOPS, UNSUPPORTED or FAILED
"""
import collections
import json

import model

PASSED, FAILED, UNSUPPORTED = 'passed', 'failed', 'unsupported'
HOPS = 'hops'       # differs, but only by the rounds that internal callbacks take: see judge()


def canon(v):
    """errors of a group in a fixed order"""
    if isinstance(v, list):
        if len(v) == 2 and v[0] == 'group' and isinstance(v[1], list):
            return ['group', sorted((canon(x) for x in v[1]), key=json.dumps)]
        return [canon(x) for x in v]
    if isinstance(v, dict):
        return {k: canon(x) for k, x in v.items()}
    return v


def per_task(trace):
    d = collections.defaultdict(list)
    for e in trace:
        d[e[1]].append(e)
    return d


def diff(prog, want, got):
    """'' when they agree, else one line saying how they differ"""
    if not isinstance(got, dict):
        return 'runner: %s' % (got,)
    if 'unsupported' in got:
        return 'unsupported: %s' % got['unsupported']
    mode = prog.get('mode', 'exact')
    check = prog.get('check', ['main', 'time', 'tasks', 'trace', 'handler'])
    out = mode == 'outcome'
    for k in check:
        if k == 'trace':
            continue
        if k == 'main_trace':
            a, b = ([x[2:] for x in per_task(y.get('trace', []))['main']] for y in (want, got))
            if a != b:
                return 'main reports %s instead of %s' % (json.dumps([x for x in b if x not in a]),
                                                          json.dumps([x for x in a if x not in b]))
            continue
        a, b = want.get(k), got.get(k)
        if k == 'handler' or k == 'unretrieved':
            a, b = a or [], b or []
            if out:
                a, b = sorted(map(json.dumps, a)), sorted(map(json.dumps, b))
        if out:
            a, b = canon(a), canon(b)
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):
                ks = [x for x in sorted(set(a) | set(b)) if a.get(x) != b.get(x)]
                return '%s: ' % k + ', '.join('%s wanted %s got %s' % (
                    x, json.dumps(a.get(x)), json.dumps(b.get(x))) for x in ks[:4])
            return '%s: wanted %s got %s' % (k, json.dumps(a), json.dumps(b))
    if 'trace' not in check:
        return ''
    a, b = want['trace'], got.get('trace', [])
    if not out:
        for i in range(max(len(a), len(b))):
            x, y = (a[i] if i < len(a) else None), (b[i] if i < len(b) else None)
            if x != y:
                same = per_task(a) == per_task(b)
                return 'trace[%d]: wanted %s got %s%s' % (
                    i, json.dumps(x), json.dumps(y), ' (%s)' % ORDER_ONLY if same else '')
        return ''
    pa, pb = per_task(canon(a)), per_task(canon(b))
    for t in sorted(set(pa) | set(pb)):
        x, y = pa.get(t, []), pb.get(t, [])
        if t == 'callback':
            x, y = sorted(x, key=json.dumps), sorted(y, key=json.dumps)
        if x != y:
            i = next((i for i in range(min(len(x), len(y))) if x[i] != y[i]), min(len(x), len(y)))
            return 'task %s, event %d: wanted %s got %s' % (t, i, json.dumps(x[i:i + 1]), json.dumps(y[i:i + 1]))
    pos = {}
    for i, e in enumerate(b):
        pos.setdefault(e[2], i)
    for x, y in prog.get('hb', []):
        if x in pos and y in pos and pos[x] > pos[y]:
            return 'happens-before broken: %s must precede %s' % (x, y)
    by = collections.defaultdict(list)
    for n, i, o in prog.get('excl', []):
        if i in pos and o in pos:
            by[n].append((pos[i], pos[o], i, o))
    for n, xs in by.items():
        xs.sort()
        for p, q in zip(xs, xs[1:]):
            if q[0] < p[1]:
                return 'mutual exclusion of %s broken: %s..%s overlaps %s..%s' % (n, p[2], p[3], q[2], q[3])
    return ''


ORDER_ONLY = 'order only: per-task sequences agree'


def judge(prog, want, got):
    """(verdict, how it differs). `want` is a result of asyncio, `got` one of the runner, or a string: crash, hang.

    asyncio spends a round of its queue on each internal callback of gather, shield, wait, as_completed and groups. No
    program may rely on that (FORMAT.md, "Hops"). So an exact program which notices the rounds (not hop_free) and differs
    only in the order among things ready at the same instant, or is as the model without those rounds has it, is neither
    right nor wrong: HOPS.
    """
    d = diff(prog, want, got)
    if not d:
        return PASSED, ''
    if isinstance(got, dict) and 'unsupported' in got:
        return UNSUPPORTED, d
    if prog.get('mode', 'exact') == 'exact' and isinstance(got, dict) and 'python' not in prog:
        direct = model.run_program(prog, bugs=frozenset(['direct-hops']))
        hop_free = prog['hop_free'] if 'hop_free' in prog else not diff(prog, want, direct)
        if not hop_free and (ORDER_ONLY in d or not diff(prog, direct, got)):
            return HOPS, d
    return FAILED, d

# SPDX-License-Identifier: Apache-2.0
"""Cuts a failing program down: takes any smaller program that still fails, until none does.

    shrink(prog, fails)             fails(program) is true for a program that is legal and still differs
    by_runner(prog, runner, tries)  the same for a program that a runner gets wrong
"""
import time

import generate
import orders
import verdict


SECOND_OPINION = 50      # orders: else it ends at a program that has several legal outcomes


def variants(x):
    """smaller programs, one change each"""
    cs = x['coros']
    for n in cs:
        if n != 'main' and not any(_mentions(b, n) for m, b in cs.items() if m != n):
            yield {**x, 'coros': {m: b for m, b in cs.items() if m != n}}
    for n in x.get('objects', {}):
        if not any(_mentions(b, n) for b in [*cs.values(), *x['objects'].values()]):
            yield {**x, 'objects': {m: o for m, o in x['objects'].items() if m != n}}
    for n in cs:
        for b in _blocks(cs[n]):
            yield {**x, 'coros': {**cs, n: b}}


def _mentions(x, n):
    if isinstance(x, str):
        return x.lstrip('@') == n
    if isinstance(x, dict):
        x = list(x.values())
    return isinstance(x, list) and any(_mentions(y, n) for y in x)


def _is_block(x):
    return isinstance(x, list) and len(x) > 0 and all(isinstance(s, list) and s and isinstance(s[0], str) for s in x)


def _blocks(b):
    n = len(b)
    k = n // 2
    while k >= 1:                                   # drop runs of steps
        for i in range(0, n, k):
            if n - min(k, n - i) >= 0:
                yield b[:i] + b[i + k:]
        k //= 2
    for i, st in enumerate(b):
        for inner in [a for a in st[1:] if _is_block(a)]:      # unwrap a scope
            yield b[:i] + inner + b[i + 1:]
        for j, a in enumerate(st):
            for y in _smaller(a):
                yield b[:i] + [st[:j] + [y] + st[j + 1:]] + b[i + 1:]


def _smaller(a):
    if isinstance(a, dict):
        for k in a:
            if k in ('else', 'finally', 'except') and len(a) > 1:
                yield {m: v for m, v in a.items() if m != k}
            for y in _smaller(a[k]):
                yield {**a, k: y}
    elif isinstance(a, list):
        if _is_block(a):
            yield from (y for y in _blocks(a) if y)
        else:
            for i in range(len(a)):
                if len(a) > 1:
                    yield a[:i] + a[i + 1:]
                for y in _smaller(a[i]):
                    yield a[:i] + [y] + a[i + 1:]
    elif isinstance(a, bool):
        return
    elif isinstance(a, int) and a > 1:
        yield 1
        yield a // 2


def shrink(prog, fails, seconds=20):
    """greedy: take any smaller program that still fails"""
    prog = {k: v for k, v in prog.items() if k not in ('expect', 'hop_free')}      # what was recorded of the large one
    end = time.time() + seconds
    again = True
    while again and time.time() < end:
        again = False
        for v in variants(prog):
            if time.time() > end:
                break
            try:
                bad = fails(v)
            except Exception:
                bad = ''
            if bad:
                prog, again = v, True
                break
    return prog


def by_runner(prog, runner, tries):
    """(smaller program, asyncio's result of it, how the runner differs); '' for how: it does not differ again. The runner may differ
    now and then only, so each program has `tries` runs"""
    def differs(p):
        runner.hangs = 0
        want = generate.accept(p, 16)
        if want is None:
            return None, ''
        for got in runner.run([p] * tries):
            how, text = verdict.judge(p, want, got)
            if how == verdict.FAILED and orders.order_of(p, got, SECOND_OPINION) is None:
                return want, text
        return want, ''
    patience, runner.patience = runner.patience, min(runner.patience, 2.0)
    small = shrink(prog, lambda p: differs(p)[1])
    want, text = differs(small)
    runner.patience = patience
    return small, want, text

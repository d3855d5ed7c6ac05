#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs stored programs (cases/, or what generate.py and scripts/conformance have written) against their recorded results.

    compare.py [options] RUNNER cases | cases/G*.json | programs.jsonl[.gz] ...

RUNNER is a command line: "build/release/bin/weft-conform", "python3 model.py --bug lock-lifo". It is started once as
`RUNNER --workers N -`. With one worker every program runs. With more, those run whose result is then still defined:
mode outcome, and cases marked also_outcome. Prints each difference, shrunk, then `N passed, M failed`; exit status 1 if
something failed. A program without a recorded result is judged by oracle.py. Beside passed and failed there are
  hops         the program is not hop_free and differs by nothing else (verdict.judge); --strict-hops: a failure
  unsupported  the runner says that it lacks something; a failure, unless the file --unsupported names the program
"""
import argparse
import collections
import os
import shlex
import sys
import time
import warnings

import oracle
import programs
import shrink
import verdict
from runner import Runner


def options():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('runner', metavar='RUNNER')
    a.add_argument('files', nargs='+', metavar='FILE')
    a.add_argument('--workers', type=int, default=1)
    a.add_argument('--repeat', type=int, default=1, help='run each program so many times')
    a.add_argument('--unsupported', metavar='FILE', help='lines "NAME reason": what the runner is known to lack')
    a.add_argument('--strict-hops', action='store_true')
    a.add_argument('--live', action='store_true', help='ask oracle.py also where a result is recorded')
    a.add_argument('--show', type=int, default=5, help='print so many failures (default 5)')
    a.add_argument('--no-shrink', action='store_true', help='print them as they are')
    a.add_argument('--failures', metavar='FILE', help='write the failing programs there, as JSON lines')
    a.add_argument('--patience', type=float, default=20.0, help='seconds to wait for one result (default 20)')
    return a.parse_args()


def known_gaps(path):
    """name -> reason"""
    if path is None:
        return {}
    with open(path, encoding='utf-8') as f:
        lines = [x.strip() for x in f]
    return dict(x.split(maxsplit=1) for x in lines if x and not x.startswith('#'))


def wanted(prog, live):
    if 'expect' in prog and (not live or 'unsupported' in oracle.run_program(prog)):
        return prog['expect']
    return oracle.run_program(prog)


def main():
    o = options()
    warnings.simplefilter('ignore')
    sys.unraisablehook = lambda *_: None
    progs = list(programs.load(o.files))
    if o.workers > 1:
        progs = [q for q in (programs.for_many(p, o.workers) for p in progs) if q is not None]
    if not progs:
        sys.exit('compare.py: no program to run')
    gaps = known_gaps(o.unsupported)
    count, shown = collections.Counter(), 0
    failing = []
    began = time.monotonic()
    with Runner([*shlex.split(o.runner), '--workers', str(o.workers)], o.patience) as runner:
        results = runner.run([p for p in progs for _ in range(o.repeat)])
        seconds = time.monotonic() - began
        for i, p in enumerate(progs):
            want = wanted(p, o.live)
            name = p.get('name', '?')
            how, text = verdict.PASSED, ''
            for got in results[i * o.repeat:(i + 1) * o.repeat]:
                h, t = verdict.judge(p, want, got)
                if h != verdict.PASSED and how != verdict.FAILED:
                    how, text = h, t
            if how == verdict.HOPS:
                print('hops: %s: %s' % (name, text))
                how = verdict.FAILED if o.strict_hops else how
            if how == verdict.UNSUPPORTED:
                known = gaps.get(name.split('@')[0])
                print('unsupported: %s: %s' % (name, known or text))
                how = how if known else verdict.FAILED
            count[how] += 1
            if how != verdict.FAILED:
                continue
            failing.append(p)
            if shown == o.show:
                continue
            shown += 1
            print('FAIL %s %s\n   %s' % (name, ' '.join(p.get('covers', [])), text))
            if 'title' in p:
                print('   ' + p['title'])
            if not o.no_shrink and 'python' not in p and 'unsupported' not in text:
                small, _, text = shrink.by_runner(p, runner, o.repeat)
                print('   shrunk to: %s\n%s' % (text or '(it no longer differs)', programs.show(small)))
    if o.failures and failing:
        os.makedirs(os.path.dirname(os.path.abspath(o.failures)), exist_ok=True)
        with open(o.failures, 'w', encoding='utf-8') as f:
            f.writelines(programs.line(p) + '\n' for p in failing)
    print('%d programs, %d worker%s, %.1f s%s' % (len(progs), o.workers, 's' * (o.workers > 1), seconds, ''.join(
        ', %d %s' % (count[k], k) for k in (verdict.HOPS, verdict.UNSUPPORTED) if count[k])))
    print('%d passed, %d failed' % (count[verdict.PASSED], count[verdict.FAILED]))
    sys.exit(1 if count[verdict.FAILED] else 0)


if __name__ == '__main__':
    main()

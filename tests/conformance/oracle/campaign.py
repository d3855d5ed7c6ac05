#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random programs against a runner, by the ten thousands: what scripts/conformance runs.

    scripts/conformance --count 2000                      each mode, release build, every number of workers
    scripts/conformance --mode race --count 50000 --workers 2,8 --repeat 5
    scripts/conformance --mode race --sched seeded --seeds 20     20 seeded schedules of each program
    scripts/conformance --program race-1-4017 --repeat 1000       one program again
    scripts/conformance --runner 'python3 tests/conformance/oracle/model.py --bug lock-lifo'

Modes: exact programs define asyncio's order and run with one worker in FIFO order. outcome and race programs run with each
number of --workers, in the runtime's default order; --order, --inline, --joins and --sched go to the runner. An
exact program gets --inline, --joins and --sched only with --mode exact. FORMAT.md tells what each mode compares.

A program has the name MODE-SEED-NUMBER and is made from these three alone. asyncio's results are kept in --cache (default
build/conformance/judged; may be removed at any time), so that the next configuration need not wait for them.

Failing programs are saved in --keep-failures as cases, the first --show of them also shrunk; `compare.py` replays them. A crash
or a hang of the runner is a failure of the program it was at. The last line is `N passed, M failed`, counted in runs (a
program in one configuration); counted apart, as neither: exact programs that differ by queue hops only (verdict.judge), programs
for many workers that turn out to have several legal outcomes (orders.py), and what the runner calls unsupported. Exit status 1
when a run failed, 2 when nothing could be run.
"""
import argparse
import collections
import gc
import gzip
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import shlex
import signal
import sys
import time
import warnings

if sys.version_info < (3, 11):
    sys.exit('scripts/conformance: needs Python 3.11 or newer (Debian 12: python3)')

import generate
import orders
import programs
import shrink
import verdict
from runner import Runner

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
MODES = ('exact', 'outcome', 'race')
BATCH = 50          # programs judged and run at a time by one process
STRIDE = 1000       # numbers a batch may try until it has BATCH usable programs
SIZE = 24           # of a program: part of what its name stands for
KEPT = 20           # failing programs that one batch hands back

Batch = collections.namedtuple('Batch', 'mode number count')
Failure = collections.namedtuple('Failure', 'program flags text position')


class Result:
    """of one batch"""
    def __init__(self):
        self.programs = 0
        self.count = collections.Counter()
        self.failures = []
        self.neither = collections.Counter()        # what is unsupported or allowed
        self.judging = self.running = 0.0


# ------------------------------------------------------------------ what runs
def options(argv):
    a = argparse.ArgumentParser(prog='scripts/conformance', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--seed', type=int, default=1, help='of the programs (default 1)')
    a.add_argument('--count', type=int, default=1000, help='programs of each mode (default 1000)')
    a.add_argument('--mode', choices=[*MODES, 'all'], default='all')
    a.add_argument('--workers', default='1,2,3,8', metavar='LIST', help='for outcome and race (default 1,2,3,8)')
    a.add_argument('--repeat', type=int, default=1, metavar='K', help='run outcome and race programs K times each')
    a.add_argument('--program', metavar='NAME', help='only this one')
    g = a.add_argument_group('the runner')
    g.add_argument('--build', default='release', metavar='PRESET', help='build/PRESET/bin/weft-conform (default release)')
    g.add_argument('--runner', metavar='COMMAND', help='another runner')
    g.add_argument('--order', choices=['fifo', 'default'], default='default')
    g.add_argument('--inline', choices=['auto', 'never', 'always'])
    g.add_argument('--joins', choices=['auto', 'structured'])
    g.add_argument('--sched', choices=['seeded'], help='schedules drawn from a seed')
    g.add_argument('--seeds', type=int, default=1, metavar='K', help='so many of them for each program')
    g.add_argument('--patience', type=float, default=20.0, help='seconds to wait for one result (default 20)')
    g = a.add_argument_group('the run')
    g.add_argument('--jobs', type=int, default=2, help='processes (default 2)')
    g.add_argument('--until-failure', action='store_true', help='stop at the first difference')
    g.add_argument('--show', type=int, default=5, help='failures printed and shrunk (default 5)')
    g.add_argument('--no-shrink', action='store_true')
    g.add_argument('--keep-failures', metavar='DIR', default=os.path.join(ROOT, 'build/conformance/failures'))
    g.add_argument('--cache', metavar='DIR', default=os.path.join(ROOT, 'build/conformance/judged'))
    g.add_argument('--no-cache', action='store_true')
    o = a.parse_args(argv)
    o.command = shlex.split(o.runner) if o.runner else [os.path.join(ROOT, 'build', o.build, 'bin/weft-conform')]
    try:
        o.worker_counts = [int(x) for x in o.workers.split(',')]
    except ValueError:
        a.error('--workers: a list of numbers, as 1,2,8')
    if min(o.worker_counts) < 1 or min(o.count, o.repeat, o.seeds, o.jobs) < 1:
        a.error('numbers are at least 1')
    return o


def configurations(o, mode, batch):
    """the runner's flags for each run of a batch; with --sched, each batch has schedules of its own"""
    if mode == 'exact':
        base = [['--workers', '1', '--order', 'fifo']]
    else:
        base = [['--workers', str(w), '--order', o.order] for w in o.worker_counts]
    if mode == 'exact' and o.mode != 'exact':
        return base
    more = [x for name in ('inline', 'joins') if getattr(o, name) for x in ('--' + name, getattr(o, name))]
    seeds = [['--sched', o.sched, '--seed', str(batch * o.seeds + k + 1)] for k in range(o.seeds)] if o.sched else [[]]
    return [b + more + s for b in base for s in seeds]


# ------------------------------------------------------------------ judged programs
def judge_version():
    """of everything that decides about a program and its result"""
    h = hashlib.sha256(repr((sys.version_info[:3], SIZE, STRIDE, BATCH)).encode())
    for name in ('generate', 'races', 'verdict', 'oracle', 'prims', 'interp'):
        with open(os.path.join(HERE, name + '.py'), 'rb') as f:
            h.update(f.read())
    return h.hexdigest()[:16]


def make(seed, mode, number):
    """a judged program, or None if that number gives no usable one"""
    p = generate.make(seed, mode, number, SIZE)
    expect = generate.accept(p)
    if expect is not None:
        expect.pop('name', None)
        expect.pop('unretrieved', None)     # asyncio's sets decide; no random program is compared by it
        p['expect'] = expect
    return p if expect is not None else None


def judged(o, batch):
    """the batch's programs, each with asyncio's result"""
    path = None
    if not o.no_cache:
        path = os.path.join(o.cache, o.version, '%s-%d-%d.jsonl.gz' % (batch.mode, o.seed, batch.number))
        try:
            with gzip.open(path, 'rt') as f:
                progs = [json.loads(x) for x in f]
            if len(progs) >= batch.count:
                return progs[:batch.count]
        except (OSError, EOFError, ValueError):
            pass                                    # not there yet, or torn: made anew
    progs, number = [], batch.number * STRIDE
    while len(progs) < batch.count:
        p = make(o.seed, batch.mode, number)
        number += 1
        if p is not None:
            progs.append(p)
        if number == (batch.number + 1) * STRIDE:
            raise RuntimeError('%s-%d: too few usable programs' % (batch.mode, o.seed))
    if path is not None:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            new = '%s.%d' % (path, os.getpid())
            with gzip.open(new, 'wt', compresslevel=1) as f:
                f.writelines(json.dumps(p, separators=(',', ':')) + '\n' for p in progs)
            os.replace(new, path)
        except OSError:
            pass                                    # a full disk costs speed only
    return progs


# ------------------------------------------------------------------ one batch, in a process of its own
def serve(o, pipe, inherited):
    """the life of a process: batches in, results out"""
    global opt
    opt = o
    for other in inherited:                         # else nobody would notice that the first process has gone
        other.close()
    warnings.simplefilter('ignore')
    sys.unraisablehook = lambda *_: None            # coroutines that a program never awaits
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # unwinds, which ends the runner
    gc.disable()                                    # run_batch collects
    try:
        while True:
            pipe.send(run_batch(pipe.recv()))
    except (EOFError, BrokenPipeError):
        pass


class Processes:
    """o.jobs processes, each with a pipe of its own: nothing is shared that one of them could leave locked"""
    def __init__(self, o):
        self.jobs = []
        fork = multiprocessing.get_context('fork')
        for _ in range(o.jobs):
            mine, its = fork.Pipe()
            p = fork.Process(target=serve, args=(o, its, [mine, *(pipe for _, pipe in self.jobs)]), daemon=True)
            p.start()
            its.close()
            self.jobs.append((p, mine))

    def results(self, batches):
        """of each batch, in the order of the batches"""
        todo = iter(enumerate(batches))
        busy, waiting, following = {}, {}, 0

        def next_batch(pipe):
            n, batch = next(todo, (None, None))
            if batch is not None:
                pipe.send(batch)
                busy[pipe] = n
        for _, pipe in self.jobs:
            next_batch(pipe)
        while busy:
            for pipe in multiprocessing.connection.wait(list(busy)):
                waiting[busy.pop(pipe)] = pipe.recv()       # EOFError: it died, and has said why
                next_batch(pipe)
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    def stop(self):
        for p, _ in self.jobs:
            p.terminate()
        for p, _ in self.jobs:
            p.join(5)
            if p.is_alive():
                p.kill()


def opinion(prog, got):
    """(verdict, how it differs)"""
    how, text = verdict.judge(prog, prog['expect'], got)
    if how == verdict.FAILED and orders.allowed(prog, got):
        return orders.ALLOWED, text
    return how, text


def run_batch(batch):
    r = Result()
    began = time.monotonic()
    progs = judged(opt, batch)
    r.programs = len(progs)
    r.judging = time.monotonic() - began
    times = 1 if batch.mode == 'exact' else opt.repeat
    for flags in configurations(opt, batch.mode, batch.number):
        began = time.monotonic()
        with Runner(opt.command + flags, opt.patience) as runner:
            results = runner.run([p for p in progs for _ in range(times)])
        r.running += time.monotonic() - began
        for i, p in enumerate(progs):
            for got in results[i * times:(i + 1) * times]:
                how, text = opinion(p, got)
                r.count[how] += 1
                if how == verdict.UNSUPPORTED:
                    r.neither[text] += 1
                if how == orders.ALLOWED:
                    r.neither['%s: %s: %s' % (how, p['name'], text)] += 1
                if how == verdict.FAILED and len(r.failures) < KEPT:
                    r.failures.append(Failure(p, flags, text, i + 1))
    gc.collect()
    return r


# ------------------------------------------------------------------ failures
def shrunk(o, failure):
    """(smaller program with its result, how it differs), or None: it does not fail again, or cannot be made smaller"""
    tries = 1 if failure.program['mode'] == 'exact' else max(20, o.repeat)
    with Runner(o.command + failure.flags, o.patience) as runner:
        small, want, text = shrink.by_runner(failure.program, runner, tries)
    if not text:
        return None
    want.pop('name', None)
    return {**small, 'expect': want}, text


def report(o, failures):
    """prints and saves them"""
    os.makedirs(o.keep_failures, exist_ok=True)
    seen = set()
    for f in failures:
        name = f.program['name']
        if name in seen:
            continue
        seen.add(name)
        path = os.path.join(o.keep_failures, name + '.json')
        with open(path, 'w', encoding='utf-8') as out:
            out.write(programs.pretty({**f.program, 'found': {'flags': f.flags, 'difference': f.text}}))
        if len(seen) > o.show:
            continue
        print('FAIL %s (%s)\n   %s\n   saved: %s' % (name, ' '.join(f.flags), f.text, os.path.relpath(path)))
        small = None if o.no_shrink else shrunk(o, f)
        if small is not None:
            with open(path[:-5] + '.shrunk.json', 'w', encoding='utf-8') as out:
                out.write(programs.pretty({**small[0], 'found': {'flags': f.flags, 'difference': small[1]}}))
            print('   shrunk to: %s\n%s' % (small[1], programs.show(small[0])))
        elif not o.no_shrink:
            print('   did not differ again')
        sys.stdout.flush()


class Progress:
    """one line on standard error: rewritten on a terminal, else one every half minute"""
    def __init__(self):
        self.terminal = sys.stderr.isatty()
        self.began = self.last = time.monotonic()

    def tell(self, mode, done, of, count):
        now = time.monotonic()
        if now - self.last < (0.5 if self.terminal else 30):
            return
        self.last = now
        text = '%s: %d of %d programs, %d runs, %d failed, %.0f s' % (
            mode, done, of, sum(count.values()), count[verdict.FAILED], now - self.began)
        sys.stderr.write('\r\033[K' + text if self.terminal else text + '\n')
        sys.stderr.flush()

    def clear(self):
        if self.terminal:
            sys.stderr.write('\r\033[K')
            sys.stderr.flush()


def run_one(o):
    """--program NAME"""
    global opt
    opt = o
    try:
        mode, seed, number = o.program.split('-')
        o.seed, number = int(seed), int(number)
        p = make(o.seed, mode, number) if mode in MODES else None
    except ValueError:
        p = None
    if p is None:
        sys.exit('scripts/conformance: --program: %s is not the name of a usable program' % o.program)
    r, neither = Result(), set()
    for flags in configurations(o, mode, number // STRIDE):
        with Runner(o.command + flags, o.patience) as runner:
            for got in runner.run([p] * o.repeat):
                how, text = opinion(p, got)
                r.count[how] += 1
                if how == verdict.FAILED:
                    r.failures.append(Failure(p, flags, text, 1))
                elif how != verdict.PASSED:
                    neither.add('%s: %s' % (how, text))
    for text in sorted(neither):
        print(text)
    report(o, r.failures)
    return r.count


def run_all(o):
    progress, count, failures, neither = Progress(), collections.Counter(), [], collections.Counter()
    judging = running = 0.0
    total = 0
    processes, interrupted = Processes(o), False
    try:
        for mode in MODES if o.mode == 'all' else [o.mode]:
            batches = [Batch(mode, b, min(BATCH, o.count - b * BATCH)) for b in range(-(-o.count // BATCH))]
            done = 0
            for r in processes.results(batches):
                first = min((f.position for f in r.failures), default=0)
                if o.until_failure and first:
                    progress.clear()
                    print('first difference: %s program %d' % (mode, done + first), flush=True)
                done += r.programs
                total += r.programs
                count += r.count
                neither += r.neither
                failures += r.failures[:max(0, 1000 - len(failures))]
                judging, running = judging + r.judging, running + r.running
                progress.tell(mode, done, o.count, count)
                if o.until_failure and first:
                    break
            if o.until_failure and failures:
                break
    except KeyboardInterrupt:
        interrupted = True
    finally:
        processes.stop()
        progress.clear()
    report(o, failures)
    for text, n in neither.most_common(5):
        print('%s (%d runs)' % (text, n))
    seconds = time.monotonic() - progress.began
    print('%d programs, seed %d, %d runs in %.0f s; judged in %.0f s, run in %.0f s of %d processes' % (
        total, o.seed, sum(count.values()), seconds, judging, running, o.jobs))
    if interrupted:
        print('interrupted')
        sys.exit(130)
    return count


def main(argv=None):
    o = options(argv)
    if not o.runner and not os.access(o.command[0], os.X_OK):
        sys.stderr.write('scripts/conformance: %s is not there; build it: cmake --preset %s && '
                         'cmake --build --preset %s --target weft-conform\n' % (o.command[0], o.build, o.build))
        sys.exit(2)
    # What the sanitizers' presets need; the others ignore it.
    os.environ.setdefault('TSAN_OPTIONS', 'suppressions=%s/tests/tsan.supp:halt_on_error=1:second_deadlock_stack=1' % ROOT)
    os.environ.setdefault('ASAN_OPTIONS', 'detect_leaks=1:detect_stack_use_after_return=0')
    o.version = judge_version()
    warnings.simplefilter('ignore')
    sys.unraisablehook = lambda *_: None
    count = run_one(o) if o.program else run_all(o)
    apart = ', '.join('%d %s' % (count[k], text) for k, text in (
        (verdict.HOPS, 'differ by queue hops only, in programs that are not hop_free'),
        (orders.ALLOWED, 'differ as asyncio itself does in another order'), (verdict.UNSUPPORTED, 'unsupported')) if count[k])
    if apart:
        print('neither: ' + apart)
    print('%d passed, %d failed' % (count[verdict.PASSED], count[verdict.FAILED]))
    if count[verdict.FAILED]:
        sys.exit(1)
    sys.exit(0 if count[verdict.PASSED] else 2)


if __name__ == '__main__':
    main()

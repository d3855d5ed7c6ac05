#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of behaviours: each number of SEMANTICS.md and what proves it. What scripts/conformance-table runs.

    scripts/conformance-table            writes docs/conformance.md
    scripts/conformance-table --check    is it complete and up to date? exit status 1 if not

Proofs are the cases that name a number in "covers", and the lines of behaviours.txt. For people there is also a count of random
programs in which the constructs that a number speaks of occur together (TABLE: a static test, so it says "could
matter", not "did matter").
"""
import argparse
import collections
import json
import os
import re
import sys
import warnings

import generate
import programs

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE = os.path.dirname(HERE)
ROOT = os.path.dirname(os.path.dirname(SUITE))
DOC = os.path.join(ROOT, 'docs/conformance.md')
SAMPLE = 1000       # random programs that are counted: mode exact, seed 1

# number(s) | regular expressions that must all match the program's JSON; "res:" ones match its result
TABLE = r"""
A1 | res:"main":\["ok"
A2 | res:"main":\["(err|cancelled|group)
A3 A4 A8 A9 A14 | "create" & res:"cancelled"
A5 | "finally":\[\["trace","l\d+"\],\["(sleep|yield)
A6 N4 | \[\["(Cancelled|All)"\],
A7 | res:"shutdown"
B1 C1 C2 C10 | "create"
B2 B3 B4 | "await","@
B5 N14 | "finally" & "cancel"
B7 | .
C3 | "create"
C4 C13 C18 | "(await|gather)".*"t1".*"(await|gather)".*"t1"
C5 | "query","(done|cancelled)"
C9 N2 | "cancel","t\d+",null,"_
C12 | "contend|"await","t
C16 | "create","(t\d+)","c\d+"\],\["cancel","\1"
C19 D1 D2 | "await","t
D3 D8 | "cancel","t & "await","t
D4 D5 D6 D7 | "await","t & "cancel"
E1 E4 | "sleep",\d
E2 E3 | "yield"
E5 | "sleep",(\d+).*"sleep",\1\b
E6 | "cancel" & "sleep"
E7 | .
F1 F4 F7 | "future","f\d+"\]
F2 F3 | "set_result" & "cancel"
F5 | "future","f & "cancel","t
F8 F9 | "future","f & "cancel"
G1 G2 G15 | "gather",\["@|"gather",\[\["sleep
G4 G16 | "gather",\[.*false & "raise"
G5 | "gather",.*true & "raise"
G6 | "gather",.*false & "cancel","t
G7 | "gather",.*true & "cancel","t
G8 G9 G9a G13 | "gather" & "cancel"
G10 | "cancel","g
G11 | "gather",\[[^\]]*"(t\d+)",[^\]]*"\1"
G12 | "gather",\[[^\]]*\["gather"
G14 | "gather" & "raise"
G17 | "gather",\["t
H1 H2 | "ALL_COMPLETED"
H3 | "FIRST_COMPLETED"
H4 | "FIRST_EXCEPTION"
H5 | "(ALL_COMPLETED|FIRST_COMPLETED|FIRST_EXCEPTION)",\d
H6 N18 | "wait",\[ & "cancel"
H7 H11 | "wait",\[
I1 I2 I9 | "wait_for"
I3 I4 I5 | "wait_for","t & "finally"|"wait_for","t & "except"
I6 | "wait_for",[^,]*,(0|null)
I7 I8 | "wait_for" & "cancel"
I10 | "wait_for",\["shield"
I11 | "wait_for",\["wait_for"|"wait_for","@
I12 | "wait_for",\["sleep",(\d+),\d+\],\1
I13 | "wait_for",\["gather"
J1 J2 J8 | "timeout",\d
J3 J4 J5 J13 | "timeout",\d+,\[\["try"
J6 | "timeout" & "cancel"
J7 | "timeout",\d+,\[.*"timeout",\d
J10 | "reschedule"
J14 | "timeout",\d+,\[\["taskgroup"
J15 | "timeout",\d & "await"
K1 K2 K3 K5 K7 | "shield"
K4 | "shield","t
K6 | "gather",\[[^\]]*\["shield"|"shield",\["gather"
K8 | "shield","(t\d+)".*"shield","\1"
L1 L2 | "as_completed"
L3 | "as_completed",\[[^\]]*\],\d
L4 | "as_completed" & "cancel"
M1 M18 | "taskgroup"
M2 M3 M13 M14 | "taskgroup" & "raise" & res:"group"
M4 | "tg_create","[^"]*","(t\d+)".*"cancel","\1"
M5 | "taskgroup" & res:"group",\[\[[^\]]*\],\[
M6 | "taskgroup","_g\d+",\[.*\["raise","E\d"\]\]\]
M7 M12 | "taskgroup" & "cancel"
M8 | "taskgroup" & "cancel" & res:"group"
M11 | res:\["group",\[.*\["group"
M16 | "taskgroup" & "await","t
M17 | "taskgroup" & "raise"
N1 N3 N5 N6 N7 | "cancel","t
N8 | "cancel","self"
N10 | "uncancel"|"cancelling"
N11 | "cancel","self"\],\["uncancel","self"
N12 | "except":\[\[\["(Cancelled|All)[^\]]*\],\[\["tracev"[^\]]*\],\["raise"
N15 | "cancel","t
N16 | "(with|event_wait|get|put|cond_wait)" & "cancel"
O1 O2 O3 O10 | "on_done"
O5 O8 | "call_soon"
O6 | "call_later"
P1 | .
P4 P6 | "ctx_set"
P5 | "ctx_get"
Q1 Q3 Q6 | "with","L
Q2 | "(with|acquire)","L
Q5 Q9 Q10 | "with","Lx & "cancel"
Q8 | "query","locked","L
R1 R2 R6 | "event_wait"
R3 | "clear"
R4 | "set","E
R5 | "event_wait" & "cancel"
S2 S3 S4 S10 | "cond_wait"
S5 S6 S7 | "cond_wait" & "cancel"
T1 T2 T3 T4 T9 | "semaphore"
T5 | "semaphore" & "cancel"
T8 | "query","locked","S
U1 U2 | "barrier_wait"
U3 | "barrier_reset"
U4 | "barrier_abort"
U5 | "barrier_wait" & "(wait_for|cancel)"
V1 | "lifo"|"priority"
V2 | "put"
V3 | "QueueFull"|"QueueEmpty"
V4 V11 | "get"
V5 V12 | "get" & "(cancel|wait_for)"
V6 V8 | "join"
V7 | "task_done"
"""


def constructs():
    """TABLE, parsed: ({numbers}, [(looks at the result, regular expression)])"""
    rules = []
    for line in TABLE.strip().splitlines():
        ids, tests = line.split(' | ', 1)
        rules.append((set(ids.split()), [
            (x.startswith('res:'), re.compile(x.removeprefix('res:'))) for x in tests.split(' & ')]))
    return rules


def exercised(p, rules):
    """the numbers whose constructs occur together in the program"""
    js = json.dumps(p['coros'], separators=(',', ':')) + json.dumps(p.get('objects', {}), separators=(',', ':'))
    rs = json.dumps(p.get('expect', {}), separators=(',', ':'))
    got = set()
    for ids, tests in rules:
        if all(t.search(rs if r else js) for r, t in tests):
            got |= ids
    return got


# ------------------------------------------------------------------ SEMANTICS.md
Behaviour = collections.namedtuple('Behaviour', 'mark text')


def behaviours():
    """number -> mark (D, 1, N, Z), and the first words of the text"""
    found = {}
    with open(os.path.join(SUITE, 'SEMANTICS.md'), encoding='utf-8') as f:
        for line in f:
            if not line.startswith('- '):
                continue
            starts = list(re.finditer(r'(?:^- |[.;)] )([A-Z]\d+a?) (?:([D1N])\b ?)?', line))
            for m, following in zip(starts, [*starts[1:], None]):
                number = m.group(1)
                if number in found:
                    continue
                text = line[m.end():following.start() + 1 if following else len(line)].strip()
                text = re.split(r'(?<=[a-z0-9)])[.;] | \*MW', text + ' ')[0].strip().rstrip('.')
                mark = m.group(2) or {'Y': 'N', 'Z': 'Z'}.get(number[0], 'D')
                found[number] = Behaviour(mark, text)
    return found


# ------------------------------------------------------------------ proofs
def mentions(path, name):
    with open(path, encoding='utf-8') as f:
        return re.search(r'\b%s\b' % re.escape(name), f.read()) is not None


def claims():
    """behaviours.txt: number -> [proof for the table], and what is wrong with the file"""
    proofs, wrong, still_open = collections.defaultdict(list), [], []
    path = os.path.join(SUITE, 'behaviours.txt')
    with open(path, encoding='utf-8') as f:
        for n, line in enumerate(f, 1):
            line = line.split('#', 1)[0].strip()
            if not line:
                continue
            number, _, proof = line.partition(' ')
            kind, _, rest = (x.strip() for x in proof.partition(':'))
            if kind == 'programs' and set(rest.split()) <= {'exact', 'outcome', 'race'} and rest:
                proofs[number].append('random programs (%s)' % ', '.join(rest.split()))
            elif kind in ('not applicable', 'open') and rest:
                proofs[number].append('%s: %s' % (kind, rest))
                still_open += [number] * (kind == 'open')
            elif '/' in kind and rest:
                proofs[number].append('`%s`: %s' % (kind, ', '.join('`%s`' % x for x in rest.split())))
                if not os.path.isfile(os.path.join(ROOT, kind)):
                    wrong.append('behaviours.txt:%d: there is no %s' % (n, kind))
                else:
                    wrong += ['behaviours.txt:%d: %s has no %s' % (n, kind, x) for x in rest.split()
                              if not mentions(os.path.join(ROOT, kind), x)]
            else:
                wrong.append('behaviours.txt:%d: not understood' % n)
    return proofs, wrong, still_open


def table():
    """(text of docs/conformance.md, [what is wrong], [numbers still open])"""
    numbers = behaviours()
    cases, covered = list(programs.load([os.path.join(SUITE, 'cases')])), collections.defaultdict(list)
    for p in cases:
        for c in p['covers']:
            covered[c].append(p['name'])
    proofs, wrong, still_open = claims()
    wrong += ['%s: not a number of SEMANTICS.md (cases: %s)' % (c, ' '.join(covered[c]) or 'none')
              for c in sorted({*covered, *proofs} - set(numbers))]
    wrong += ['%s: neither a case, nor a test or a reason in behaviours.txt' % n
              for n in numbers if n not in covered and n not in proofs]
    rules, sample, made, i = constructs(), collections.Counter(), 0, 0
    while made < SAMPLE:
        p = generate.make(1, 'exact', i, 24)
        i += 1
        expect = generate.accept(p)
        if expect is not None:
            made += 1
            sample.update(exercised({**p, 'expect': expect}, rules))
    in_cases = sum(n in covered for n in numbers)
    text = '''<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by scripts/conformance-table from tests/conformance; change those, not this. -->
# What is proven of asyncio's behaviour

The numbers are those of [SEMANTICS.md](../tests/conformance/SEMANTICS.md), which tells each in full. Marks: **D** holds for any number of
workers, **1** as stated for one worker in FIFO order (SEMANTICS.md tells what holds for many), **N** cannot be written as a
program of the test language, **Z** is a rule about many workers. Of %d behaviours, %d have cases in `tests/conformance/cases`
(%d programs). The last column counts, of %d random programs, those that use what the number speaks of.

| | mark | behaviour | proven by | random |
|---|---|---|---|---|
''' % (len(numbers), in_cases, len(cases), SAMPLE)
    for n, b in numbers.items():
        shown = proofs[n] + (['%s%s' % (', '.join(covered[n][:6]), ', and %d more' % (len(covered[n]) - 6)
                                       if len(covered[n]) > 6 else '')] if covered[n] else [])
        text += '| %s | %s | %s | %s | %s |\n' % (n, b.mark, b.text.replace('|', '\\|'), '; '.join(shown), sample[n] or '')
    return text, wrong, still_open


def main():
    a = argparse.ArgumentParser(prog='scripts/conformance-table', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--check', action='store_true', help='write nothing, only say what is wrong')
    o = a.parse_args()
    warnings.simplefilter('ignore')
    sys.unraisablehook = lambda *_: None
    text, wrong, still_open = table()
    if o.check:
        try:
            with open(DOC, encoding='utf-8') as f:
                old = f.read()
        except FileNotFoundError:
            old = ''
        if old != text:
            wrong.append('docs/conformance.md is not what the suite says now: run scripts/conformance-table')
    else:
        with open(DOC, 'w', encoding='utf-8') as f:
            f.write(text)
    for w in wrong:
        print(w)
    if still_open:
        print('still open: ' + ' '.join(still_open))
    print('conformance-table: %s' % ('%d finding(s)' % len(wrong) if wrong else 'every behaviour has a proof or a reason'
                                     if not still_open else 'complete but for what is open'))
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()

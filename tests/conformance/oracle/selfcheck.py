#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do the cases find faults? The second implementation must pass all of them, and fail with each planted fault. And does the
second opinion on programs for many workers tell a legal outcome from a wrong one?

    selfcheck.py              one line for each fault with the number of cases that found it; exit status 1 if one went unseen
"""
import json
import os
import re
import sys
import warnings

import generate
import model
import oracle
import orders
import programs
import verdict

HERE = os.path.dirname(os.path.abspath(__file__))
NO_FAULT = 'direct-hops'        # a variant that is allowed: see verdict.judge


def planted():
    """names of the faults that model.py and prims.py know"""
    names = set()
    for file in ('model.py', 'prims.py'):
        with open(os.path.join(HERE, file), encoding='utf-8') as f:
            names |= set(re.findall(r"'([A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)+)' (?:not )?in (?:L|self)?\.?bugs|bug\('([^']+)'\)",
                                    f.read()))
    return sorted({a or b for a, b in names} - {NO_FAULT})


# Whether the notification reaches the first waiter or the cancellation meets it before, the order decides: it is t2 that ends
# then. That neither ends is a notification lost.
NOTIFIED_AND_CANCELLED = {
    'name': 'notified and cancelled', 'mode': 'outcome', 'objects': {'C': {'type': 'condition'}},
    'coros': {'waiter': [['with', 'C', [['cond_wait', 'C']]]],
              'main': [['create', 't1', 'waiter'], ['sleep', 1], ['create', 't2', 'waiter'], ['sleep', 1],
                       ['with', 'C', [['notify', 'C', 1]]], ['cancel', 't1'], ['sleep', 1]]}}


# t2 has its parent cancelled, whose group cancels t2: on another worker perhaps before t2, which has nothing left to do, has ended.
CANCELLED_IN_ITS_LAST_STEP = {
    'name': 'cancelled in its last step', 'mode': 'outcome', 'objects': {},
    'coros': {'child': [['sleep', 1], ['cancel', 't1']],
              'parent': [['taskgroup', 'g', [['tg_create', 'g', 't2', 'child'], ['sleep', 5]]]],
              'main': [['create', 't1', 'parent'], ['sleep', 9]]}}


def wrong_opinions():
    """of orders.py, as text"""
    p, found = CANCELLED_IN_ITS_LAST_STEP, []
    ends = {json.dumps(oracle.run_program(p, shuffle=n)['tasks'].get('t2')) for n in range(200)}
    if len(ends) != 2:
        found.append('%s are the ends of a task that has two' % ends)
    p = NOTIFIED_AND_CANCELLED
    ends = {json.dumps(r['tasks'], sort_keys=True): r for r in (oracle.run_program(p, shuffle=n) for n in range(200))}
    if len(ends) != 2:
        found.append('%d outcomes of a program that has two' % len(ends))
    found += ['a legal outcome is refused: ' + text for text, r in ends.items() if orders.order_of(p, r) is None]
    lost = model.run_program(p, bugs=frozenset(['condition-lost-notify-on-cancel']))
    if json.dumps(lost['tasks'], sort_keys=True) in ends:
        found.append('the planted fault does not show')
    if orders.order_of(p, lost) is not None or orders.order_of(p, {**lost, 'main': ['limit']}) is not None:
        found.append('a lost notification is allowed')
    return found


def undecided():
    """questions of generated programs for many workers whose answer no order of theirs decides"""
    made = (json.dumps(generate.make(seed, 'outcome', seed, 40)) for seed in range(400))
    return ['generate.py: an outcome program of seed %d asks for the holder of a lock' % seed
            for seed, text in enumerate(made) if '["query", "locked"' in text]


def main():
    warnings.simplefilter('ignore')
    sys.unraisablehook = lambda *_: None
    cases = list(programs.load([os.path.join(os.path.dirname(HERE), 'cases')]))

    def failing(bugs):
        return [p['name'] for p in cases
                if verdict.judge(p, p['expect'], model.run_program(p, bugs=frozenset(bugs)))[0] == verdict.FAILED]
    wrong = failing([])
    for name in wrong:
        print('model.py fails ' + name)
    unseen = 0
    faults = planted()
    for bug in faults:
        found = failing([bug])
        unseen += not found
        print('%-55s %3d cases' % (bug, len(found)))
    print('selfcheck: %d faults, %d unseen; %d cases, %d wrong in the model' % (len(faults), unseen, len(cases), len(wrong)))
    opinions = ['orders.py: ' + text for text in wrong_opinions()] + undecided()
    for text in opinions:
        print(text)
    sys.exit(1 if unseen or wrong or opinions or not faults else 0)


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do the cases find faults? The second implementation must pass all of them, and fail with each planted fault.

    selfcheck.py              one line for each fault with the number of cases that found it; exit status 1 if one went unseen
"""
import os
import re
import sys
import warnings

import model
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
    sys.exit(1 if unseen or wrong or not faults else 0)


if __name__ == '__main__':
    main()

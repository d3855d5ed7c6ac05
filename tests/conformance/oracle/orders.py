# SPDX-License-Identifier: Apache-2.0
"""A second opinion on a program for many workers that a runner ends differently: does asyncio ever end it so?

A random program of mode outcome is one whose result was the same under generate.SHUFFLES random orders (FORMAT.md, 7). An outcome
that one order in ten leads to is missed by 24 of them every twelfth time, so among ten thousands of programs there are some with
more than one legal outcome. When a runner differs, many more orders are tried. If asyncio itself ends in one of them exactly as
the runner did, the runner has done nothing wrong, and neither has it passed: ALLOWED.

    allowed(prog, got)      True if such an order was found
    order_of(prog, got)     its number N, for `oracle.py --shuffle N`; None if there was none
"""
import gc

import generate
import oracle
import verdict

ALLOWED = 'allowed'     # beside the verdicts of verdict.py
ORDERS = 1000           # some five milliseconds each
IN_VAIN = 3             # then the runner is simply wrong, and nobody waits for further opinions

_refused = 0            # in a row


def order_of(prog, got, orders=ORDERS):
    if prog.get('mode') != 'outcome' or not isinstance(got, dict) or got.get('main') in (None, ['limit']):
        return None
    for order in range(generate.SHUFFLES, generate.SHUFFLES + orders):
        if not verdict.diff(prog, oracle.run_program(prog, shuffle=order), got):
            return order
        if order % 100 == 0:
            gc.collect()        # a campaign's processes have switched off the automatic one
    return None


def allowed(prog, got):
    global _refused
    if _refused == IN_VAIN:
        return False
    found = order_of(prog, got) is not None
    _refused = 0 if found else _refused + 1
    return found

# SPDX-License-Identifier: Apache-2.0
"""Prints tests/lint/asyncio-names.txt: every public name of asyncio and contextvars, one a line.

    python3.13 tests/lint/asyncio-names.py >tests/lint/asyncio-names.txt

A method is listed with the class that brings it, not again with each class that inherits it. The event loop's methods are
listed as loop.NAME."""
import asyncio
import asyncio.subprocess
import contextvars
import inspect
import sys

# A Task is also used by itself: all it can do is listed. The others say the same as what they inherit from.
WHOLE = {asyncio.Task}
# The loops that implement AbstractEventLoop.
LOOPS = {asyncio.AbstractEventLoop, asyncio.BaseEventLoop, asyncio.SelectorEventLoop, asyncio.EventLoop}
# Made in __init__, or behind a property of an instance: not found in the class.
OF_INSTANCES = [
    "CancelledError.args", "Condition.acquire", "Condition.locked", "Condition.release", "IncompleteReadError.expected",
    "IncompleteReadError.partial", "LimitOverrunError.consumed", "Process.pid", "Process.stderr", "Process.stdin",
    "Process.stdout", "loop.slow_callback_duration",
]


def public(cls):
    ours = [base for base in cls.__mro__ if base.__module__.partition(".")[0] in ("asyncio", "_asyncio")]
    return {name for base in ours for name in vars(base) if not name.startswith("_")}


def members(label, cls, known):
    inherited = set() if cls in WHOLE else {name for base in cls.__mro__[1:] if base in known for name in public(base)}
    return {f"{label}.{name}" for name in public(cls) - inherited}


def main():
    classes = {getattr(asyncio, name) for name in asyncio.__all__ if inspect.isclass(getattr(asyncio, name))}
    names = set(asyncio.__all__) | set(contextvars.__all__) | set(OF_INSTANCES)
    for cls in classes:
        names |= members("loop" if cls in LOOPS else cls.__name__, cls, classes)
    names |= members("Process", asyncio.subprocess.Process, set())
    names |= {f"subprocess.{name}" for name in ("DEVNULL", "PIPE", "STDOUT", "Process")}
    for cls in (contextvars.Context, contextvars.ContextVar, contextvars.Token):
        names |= {f"{cls.__name__}.{member}" for member in vars(cls) if not member.startswith("_")}
    print(f"# The public names of asyncio and contextvars in Python {sys.version.split()[0]}. Made by asyncio-names.py.")
    print("\n".join(sorted(names)))


main()

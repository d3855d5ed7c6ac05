# SPDX-License-Identifier: Apache-2.0
"""The tasks of a weft program in gdb: of a live process and of a core file.

    (gdb) source PREFIX/share/weft/weft-gdb.py
    (gdb) weft tasks            each task that has not ended: name, function, what it waits for and how long still, where it runs; below it its children
    (gdb) weft workers          each worker: its thread, and the task it runs
    (gdb) weft bt Task-7        the stack of a task that waits, or runs: by number (7), name, or address (0x..., also a forked child's)
    (gdb) weft bt all           of all tasks that have a stack
    (gdb) print *$weft_frame("Task-7")  its frame, of its own type: what a parked task keeps is there
    (gdb) weft select Task-7    bt, up, frame 3, info locals and so on show that task; until the process goes on, or: weft select

A core file should be one that the kernel wrote: gdb's generate-core-file (gcore) stops reading a mapping at the first guard page, so the stacks
are lost, and with them what each task waits for and who its children are: weft tasks says so of each. What is left are the tasks, and who runs.

Forked children (weft_fork) live in their parents' frames and are in no list. They are found where they lie in a worker's join stack, not begun,
and on the stacks of tasks, begun; one that waits in a ready queue for its turn (where the join stack could not grow, or with order=fifo), and one that
a worker has just taken out and not begun, are not seen.
It needs the debug information of libweft (built as it is by default, and not stripped). Nothing is written into the process and nothing is called
in it. A task that waits is shown from its saved stack pointer: from there on the unwinding rules of the switch (executor/context_*.S) know
where each register lies, on x86-64 and aarch64 alike; so all that this file tells gdb is sp and pc, as the frame after the newest.
"""

import time

import gdb
import gdb.unwinder

NEW, STARTED, STATE = 1, 2, 3           # executor/task.h
KIND_TASK, KIND_CHILD, KIND_THREAD, KIND_FIBER = 1, 2, 3, 4
HIDDEN = 1
FIBER_PARKED, FIBER_STATE = 2, 7        # executor/fiber.h
PARK_STATE, PARK_WOKEN = 6, 6           # executor/parked.h
READ, WRITE, WAITING, OF_LISTENER, OF_FD = 1, 2, 2, 4, 5 # io/registration.h
TIMER_BITS, TIMER_RUNS, TIMER_FIRING = 28, 8, 0xfffffffe # executor/timers.h, timers_store.h
STACK_CHUNK, STACK_SLOT = 64 << 20, 64 << 10 # executor/stack.h, stack_space.h
STACK_OWNER, COLOURS, COLOUR_SIZE = 320, 16, 64
SLOT_TAKEN = 0xfffffffe                 # executor/stack.c


class Weft:
    """Where things lie, from the debug information; and reading them. One of these lives for one command."""

    def __init__(self):
        self.inferior = gdb.selected_inferior()
        self.offsets, self.functions = {}, {}
        if self.inferior.pid == 0 and not gdb.selected_thread():
            raise gdb.GdbError("weft: there is no process and no core file")
        symbol = gdb.lookup_static_symbol("all_runtimes")
        if symbol is None:
            raise gdb.GdbError("weft: no debug information of libweft is loaded (the program does not use it, or it is stripped)")
        self.pointer = gdb.lookup_type("void").pointer().sizeof
        self.first = int(symbol.value())

    def field(self, struct, path):
        """Offset and size of a field; fields of nested structs by dots, through anonymous ones without a name."""
        key = (struct, path)
        if key not in self.offsets:
            try:
                at, kind = 0, gdb.lookup_type("struct " + struct)
                for name in path.split("."):
                    found = self.find(kind, name)
                    if found is None:
                        raise gdb.GdbError("weft: struct %s has no %s: another version of weft than this script's" % (struct, path))
                    at, kind = at + found[0], found[1]
            except gdb.error as e:
                raise gdb.GdbError("weft: %s" % e)
            self.offsets[key] = (at, kind.sizeof)
        return self.offsets[key]

    def find(self, kind, name):
        kind = kind.strip_typedefs()
        for f in kind.fields():
            if f.name == name:
                return f.bitpos // 8, f.type
            if not f.name and f.type.strip_typedefs().code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
                inner = self.find(f.type, name)
                if inner is not None:
                    return f.bitpos // 8 + inner[0], inner[1]
        return None

    def size(self, struct):
        return gdb.lookup_type("struct " + struct).sizeof

    def bytes(self, address, size):
        return bytes(self.inferior.read_memory(address, size))

    def read(self, address, struct, path):
        at, size = self.field(struct, path)
        return int.from_bytes(self.bytes(address + at, size), "little")

    def word(self, data, base, struct, path):
        at, size = self.field(struct, path)
        return int.from_bytes(data[base + at:base + at + size], "little")

    def text(self, address):
        if address == 0:
            return "?"
        try:
            data = b""
            while b"\0" not in data and len(data) < 256:
                data += self.bytes(address + len(data), 16)
            return data.split(b"\0")[0].decode("utf-8", "replace")
        except (gdb.MemoryError, gdb.error):
            return "?"

    def runtimes(self):
        at = self.first
        while at != 0:
            yield at
            at = self.read(at, "weft_runtime", "next")

    def workers(self, rt):
        first, stride = self.read(rt, "weft_runtime", "workers"), self.size("weft__worker")
        return [first + i * stride for i in range(self.read(rt, "weft_runtime", "worker_count"))]

    def task_addresses(self, rt):
        """All counted tasks that have not ended. Whole chunks of the slab are read at once: there may be a million tasks."""
        at, size = self.field("weft_runtime", "tasks") # an array: tasks of several sizes
        for slab in range(rt + at, rt + at + size, self.size("weft__slab")):
            yield from self.slab_tasks(slab)

    def slab_tasks(self, slab):
        stride = self.read(slab, "weft__slab", "object_size")
        for i in range(self.read(slab, "weft__slab", "parts")):
            part = self.read(slab, "weft__slab", "part") + i * self.size("weft__slab_part")
            chunk = self.read(part, "weft__slab_part", "chunks")
            while chunk != 0:
                used = self.read(chunk, "weft__slab_chunk", "used")
                base = chunk + self.field("weft__slab_chunk", "objects")[0]
                data = self.bytes(base, used * stride) if used else b""
                for at in range(0, used * stride, stride):
                    if (self.word(data, at, "weft_task", "word") & STATE in (NEW, STARTED)
                            and self.word(data, at, "weft_task", "refs") != 0
                            and self.word(data, at, "weft_task", "kind") in (KIND_TASK, KIND_THREAD)
                            and not self.word(data, at, "weft_task", "flags") & HIDDEN):
                        yield base + at
                chunk = self.read(chunk, "weft__slab_chunk", "next")

    def fibers(self, rt):
        """Each one that there is, with or without a task."""
        chunk = self.read(rt, "weft_runtime", "arena.chunks")
        while chunk != 0:
            base, used = self.read(chunk, "weft__stack_chunk", "base"), self.read(chunk, "weft__stack_chunk", "virgin")
            whole = STACK_CHUNK // self.read(chunk, "weft__stack_chunk", "slots")
            plain = whole >> self.read(chunk, "weft__stack_chunk", "size_class") == STACK_SLOT # else a build for tools, with more of all
            at = chunk + self.field("weft__stack_chunk", "slot")[0]
            slots = self.bytes(at, 4 * used) if used and base else b""
            for i in range(len(slots) // 4):
                if int.from_bytes(slots[4 * i:4 * i + 4], "little") == SLOT_TAKEN:
                    fiber = base + (i + 1) * whole - i % COLOURS * COLOUR_SIZE - STACK_OWNER * (1 if plain else 2)
                    if self.is_fiber(fiber):
                        yield fiber
            chunk = self.read(chunk, "weft__stack_chunk", "next")

    def is_fiber(self, at):
        """False: its memory is not in the core file, or it has never been used."""
        try:
            return self.read(at, "weft__fiber", "kind") == KIND_FIBER
        except gdb.error: # a gdb.MemoryError, too
            return False

    def children(self, rt):
        """The forked ones that have begun, on whatever stack, and those that nobody has begun."""
        for fiber in self.fibers(rt):
            t = self.read(fiber, "weft__fiber", "task")
            while t != 0:
                if self.read(t, "weft_task", "kind") == KIND_CHILD:
                    yield Task(self, rt, t, fiber)
                t = self.read(t, "weft_task", "below")
        for w in self.workers(rt):
            mask, slots = self.read(w, "weft__worker", "joins.mask"), self.read(w, "weft__worker", "joins.slots")
            for i in range(self.read(w, "weft__worker", "joins.top"), self.read(w, "weft__worker", "joins.bottom")):
                t = int.from_bytes(self.bytes(slots + (i & mask) * self.pointer, self.pointer), "little")
                try: # the worker may have been stopped in the middle of a push or a pop
                    if self.read(t, "weft_task", "kind") == KIND_CHILD and self.read(t, "weft_task", "word") & STATE == NEW:
                        yield Task(self, rt, t)
                except gdb.error:
                    pass

    def tasks(self):
        for rt in self.runtimes():
            found = [Task(self, rt, a) for a in self.task_addresses(rt)]
            yield from sorted(found, key=lambda t: t.id)

    def families(self):
        """All tasks, each followed by its children and theirs."""
        for rt in self.runtimes():
            children = {}
            for t in self.children(rt):
                children.setdefault(t.root(), []).append(t)
            for t in sorted((Task(self, rt, a) for a in self.task_addresses(rt)), key=lambda t: t.id):
                yield t
                yield from sorted(children.pop(t.at, []), key=lambda t: (t.depth, t.at))
            for rest in children.values(): # of what is no task like others: the library's own, a callback
                yield from rest

    def deadline(self, timer):
        """None: it is not set."""
        index, home = self.read(timer, "weft__timer", "index"), self.read(timer, "weft__timer", "home")
        if index >= TIMER_FIRING:
            return None
        kind, at, size = index >> TIMER_BITS, index & (1 << TIMER_BITS) - 1, self.size("weft__timer_entry")
        if kind < TIMER_RUNS:
            run = home + self.field("weft__timers", "runs")[0] + kind * self.size("weft__timer_run")
            entry = self.read(run, "weft__timer_run", "ring") + (at & self.read(run, "weft__timer_run", "capacity") - 1) * size
        elif kind == TIMER_RUNS:
            entry = self.read(home, "weft__timers", "heap") + at * size
        else: # memory was short
            entry = self.read(home, "weft__timers", "spare")
            while entry != 0 and self.read(entry, "weft__timer_entry", "timer") != timer:
                entry = self.read(entry, "weft__timer_spare", "next")
        # While a worker moves it, the entry is another's.
        return self.read(entry, "weft__timer_entry", "deadline") if entry and self.read(entry, "weft__timer_entry", "timer") == timer else None

    def still(self, rt, timer, begin, end):
        """How long still, between these words; of a core file until when, for there is no now."""
        deadline = self.deadline(timer)
        if deadline is None:
            return ""
        if self.read(rt, "weft_runtime", "is_virtual"):
            now = self.read(rt, "weft_runtime", "virtual_now")
        elif getattr(getattr(self.inferior, "connection", None), "type", "") == "native":
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        else:
            return ", until %.3f s of CLOCK_MONOTONIC" % (deadline / 1e9)
        return "%s%.3f s%s" % (begin, max(deadline - now, 0) / 1e9, end)

    def place(self, reg, name, directions):
        """A descriptor that is waited for."""
        fd = self.read(reg, "weft__registration", "fd")
        if self.read(reg, "weft__registration", "kind") != OF_FD:
            return "waits for %s, descriptor %d" % (name, fd)
        words = [word for bit, word in ((READ, "readable"), (WRITE, "writable")) if directions & bit]
        return "waits for descriptor %d%s" % (fd, " to be " + " or ".join(words) if words else "")

    def directions(self, reg, who):
        """Those that somebody is known to wait for there."""
        first, size, found = reg + self.field("weft__registration", "interest")[0], self.size("weft__interest"), 0
        for bit, at in ((READ, first), (WRITE, first + size)):
            if self.read(at, "weft__interest", "word") & WAITING and self.read(at, "weft__interest", "who") == who:
                found |= bit
        return found

    def is_function(self, address, name):
        if name not in self.functions:
            try:
                self.functions[name] = int(gdb.parse_and_eval("(unsigned long)&" + name))
            except gdb.error:
                self.functions[name] = 0
        return address != 0 and address == self.functions[name]

    def worker_of(self, rt, fiber):
        for number, w in enumerate(self.workers(rt)):
            if fiber != 0 and self.read(w, "weft__worker", "current") == fiber:
                return number, w
        return None

    def named(self, text):
        if text.startswith("0x"):
            at = int(text, 16)
            for rt in self.runtimes():
                return Task(self, rt, at)
        found = [t for t in self.tasks() if text in (str(t.id), t.name, "Task-%d" % t.id, "%s#%d" % (t.name, t.id))]
        if not found:
            raise gdb.GdbError("weft: no task %s (see: weft tasks)" % text)
        if len(found) > 1:
            raise gdb.GdbError("weft: %d tasks are %s; say the address: %s" % (len(found), text, ", ".join("0x%x" % t.at for t in found[:4])))
        return found[0]


class Task:
    def __init__(self, weft, rt, at, fiber=None):
        self.weft, self.rt, self.at = weft, rt, at
        kind = self.get("kind")
        self.counted = kind in (KIND_TASK, KIND_THREAD)
        self.thread = kind == KIND_THREAD
        self.id = self.get("id") if self.counted else 0
        side = self.get("side") if self.counted else 0 # odd: one more than its extra's address
        extra = side - 1 if side & 1 else 0
        own = weft.read(extra, "weft__task_extra", "name") if extra else 0
        self.name = weft.text(own) if own else "Task-%d" % self.id if self.counted else "child 0x%x" % at
        self.state = self.get("word") & STATE
        fiber = self.get("fiber") if fiber is None else fiber
        self.parked = bool(fiber & 1)
        self.fiber = 0 if fiber & 3 else fiber # 2: not begun, its home's mark
        self.depth = 0 # of a child

    def get(self, path):
        return self.weft.read(self.at, "weft_task", path)

    def function(self):
        return self.weft.text(self.weft.read(self.weft.read(self.get("frame"), "weft_frame", "coro"), "weft_coro", "name"))

    def frame(self):
        """Its frame as an expression of gdb."""
        return "(struct %s *)0x%x" % (self.function(), self.get("frame"))

    def root(self):
        """The counted task that it, or its parents, were forked by."""
        t = self.at
        while self.depth < 1000 and self.weft.read(t, "weft_task", "kind") == KIND_CHILD:
            t = self.weft.read(t, "weft_task", "parent")
            self.depth += 1
        return t

    def line(self):
        if self.counted:
            return "%-24s %s() %s [0x%x]%s" % (self.label(), self.function(), self.says(), self.at,
                                               " *" + self.frame() if self.parked else "")
        return "%s%s %s() %s; forked by %s" % ("  " * min(self.depth, 8), self.label(), self.function(), self.says(),
                                               Task(self.weft, self.rt, self.get("parent")).label())

    def lost(self):
        """It has a stack that is not in the core file."""
        return self.fiber != 0 and not self.weft.is_fiber(self.fiber)

    def label(self):
        return self.name if not self.counted or self.name == "Task-%d" % self.id else "%s#%d" % (self.name, self.id)

    def suspended(self):
        return self.fiber != 0 and self.weft.read(self.fiber, "weft__fiber", "word") & FIBER_STATE == FIBER_PARKED

    def awaited(self):
        """The task that this one awaits on the same stack; 0: it is the innermost."""
        above, t = 0, self.weft.read(self.fiber, "weft__fiber", "task")
        while t not in (0, self.at):
            above, t = t, self.weft.read(t, "weft_task", "below")
        return above if t == self.at else 0

    def says_parked(self):
        """As weft_dump_tasks."""
        try:
            if self.get("parked") & PARK_STATE == PARK_WOKEN:
                return "ready, was parked"
            timer = self.get("park") + self.weft.field("weft__park", "timer")[0]
            if not self.weft.is_function(self.weft.read(timer, "weft__timer", "fire"), "weft__park_timer_fires"):
                return "parked, sleeps" + self.weft.still(self.rt, timer, " ", " more")
            reg = self.get("park") - self.weft.field("weft__registration", "park")[0]
            directions = self.weft.read(reg, "weft__registration", "parked")
            listens = self.weft.read(reg, "weft__registration", "kind") == OF_LISTENER
            name = "a connection (accept)" if listens else "a stream" + {READ: " (read)", WRITE: " (write)"}.get(directions, "")
            return "parked, " + self.weft.place(reg, name, directions) + self.weft.still(self.rt, timer, ", at most ", " more")
        except gdb.error: # a gdb.MemoryError, too
            return "parked (at what, this core file does not have)"

    def says(self):
        if self.state == NEW:
            return "ready, not begun"
        if self.thread:
            return "in a helper thread"
        if self.parked:
            return self.says_parked()
        if self.fiber == 0:
            return "about to begin"
        on = self.weft.worker_of(self.rt, self.fiber)
        if self.lost():
            return "%s (its stack is not in this core file)" % ("runs on worker %d" % on[0] if on else "has begun")
        above = self.awaited()
        if above:
            return "awaits " + Task(self.weft, self.rt, above).label() + (", which runs on worker %d" % on[0] if on else "")
        if on:
            return "runs on worker %d" % on[0]
        if not self.suspended():
            return "ready"
        kind = self.weft.read(self.fiber, "weft__fiber", "wait_kind")
        name = self.weft.text(self.weft.read(kind, "weft__wait_kind", "name")) if kind else "?"
        timer = self.fiber + self.weft.field("weft__fiber", "timer")[0]
        if name == "sleep":
            return "sleeps" + self.weft.still(self.rt, timer, " ", " more")
        at = self.weft.read(self.fiber, "weft__fiber", "wait_object")
        on_descriptor = kind and self.weft.is_function(self.weft.read(kind, "weft__wait_kind", "tell"), "weft__registration_tell")
        return (self.weft.place(at, name, self.weft.directions(at, self.fiber)) if on_descriptor else "waits for %s 0x%x" % (name, at)) + \
            self.weft.still(self.rt, timer, ", at most ", " more")


# ---- a suspended stack as frames of the selected thread ----


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Suspended(gdb.unwinder.Unwinder):
    """While sp is set: what comes after the newest frame of the selected thread is the suspended context."""

    def __init__(self):
        super().__init__("weft")
        self.sp = None

    def __call__(self, pending):
        if self.sp is None or pending.level() != 0:
            return None
        architecture = pending.architecture().name()
        names = ("sp", "pc") if architecture.startswith("aarch64") else ("rsp", "rip")
        word = gdb.lookup_type("unsigned long")
        # Of the newest frame only an identity is made: below the context's, so that gdb finds the stack in order.
        info = pending.create_unwind_info(FrameId(gdb.Value(self.sp - 64).cast(word), gdb.Value(self.pc).cast(word)))
        info.add_saved_register(names[0], gdb.Value(self.sp).cast(word))
        info.add_saved_register(names[1], gdb.Value(self.pc).cast(word))
        return info

    def show(self, sp):
        self.pc = int(gdb.parse_and_eval("(unsigned long)&weft__switch_saved"))
        self.sp = sp
        gdb.invalidate_cached_frames()

    def hide(self):
        if self.sp is not None:
            self.sp = None
            gdb.invalidate_cached_frames()


suspended = Suspended()
gdb.unwinder.register_unwinder(None, suspended, replace=True)
gdb.events.cont.connect(lambda event: suspended.hide())


def thread_of(weft, worker):
    tid = weft.read(worker, "weft__worker", "tid")
    for thread in weft.inferior.threads():
        if tid in thread.ptid[1:]:
            return thread
    return None


def go_to(task):
    """Show its stack as the selected thread's. Returns what to say in place of a stack; None: it is shown."""
    suspended.hide()
    on = task.weft.worker_of(task.rt, task.fiber) if task.fiber else None
    if on:
        thread = thread_of(task.weft, on[1])
        if thread is None:
            return "it runs on worker %d, whose thread is not there" % on[0]
        thread.switch()
        return None
    if task.fiber == 0 or task.state != STARTED or task.lost():
        return "%s: %s; its frame: *%s" % ("its stack is not here" if task.lost() else "it has no stack", task.says(), task.frame())
    suspended.show(task.weft.read(task.fiber, "weft__fiber", "context.sp"))
    return None


def backtrace(task):
    print("%s  %s() %s" % (task.label(), task.function(), task.says()))
    thread, frame = gdb.selected_thread(), gdb.selected_frame()
    try:
        none = go_to(task)
        if none is not None:
            print("    " + none)
            return
        text = gdb.execute("backtrace", to_string=True)
        if suspended.sp is not None: # but for the frame that the context was hung on
            text = text[text.find("\n#1 ") + 1:]
        print(text, end="")
    finally:
        suspended.hide()
        thread.switch()
        if frame.is_valid():
            frame.select()


class WeftCommand(gdb.Command):
    """Tasks of a weft program: weft tasks, weft workers, weft bt TASK|all, weft select [TASK]."""

    def __init__(self):
        super().__init__("weft", gdb.COMMAND_STACK, prefix=True)


class Tasks(gdb.Command):
    """weft tasks: each task that has not ended, by number: name, function, what it waits for, address; below it the children that it has forked.

Not seen are children that wait in a ready queue (order=fifo). Of a core file by gdb's generate-core-file (gcore), which has no stacks, no children
are seen, and nothing of what tasks wait for."""

    def __init__(self):
        super().__init__("weft tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for t in Weft().families():
            print(t.line())


class Workers(gdb.Command):
    """weft workers: each worker, its thread, and what it runs."""

    def __init__(self):
        super().__init__("weft workers", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        weft = Weft()
        for rt in weft.runtimes():
            for number, w in enumerate(weft.workers(rt)):
                thread = thread_of(weft, w)
                fiber = weft.read(w, "weft__worker", "current")
                lost = fiber != 0 and not weft.is_fiber(fiber)
                task = weft.read(fiber, "weft__fiber", "task") if fiber and not lost else 0
                t = Task(weft, rt, task) if task else None
                coro = weft.read(w, "weft__worker", "running") # all that there is where stacks are missing
                print("worker %-4d thread %s  %s" % (number, thread.num if thread else "?",
                      "runs %s() in %s" % (t.function(), t.label()) if t else
                      "runs %s()" % weft.text(weft.read(coro, "weft_coro", "name")) if lost and coro else "runs no task"))


class Backtrace(gdb.Command):
    """weft bt TASK: its stack; by number, name or address. weft bt all: of all that have one."""

    def __init__(self):
        super().__init__("weft bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        weft = Weft()
        if argument.strip() == "all":
            for t in list(weft.families()):
                if t.fiber != 0 and (t.counted or t.get("below") == 0): # a child on its parent's stack is shown with that
                    backtrace(t)
        elif argument.strip():
            backtrace(weft.named(argument.strip()))
        else:
            raise gdb.GdbError("weft bt TASK: which? (see: weft tasks)")


class Select(gdb.Command):
    """weft select TASK: frame commands show that task's stack (frame 0 is the thread's own), until the process goes on or: weft select."""

    def __init__(self):
        super().__init__("weft select", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        suspended.hide()
        if not argument.strip():
            return
        none = go_to(Weft().named(argument.strip()))
        if none is not None:
            raise gdb.GdbError("weft: " + none)
        if suspended.sp is not None:
            gdb.execute("frame 1")


class Frame(gdb.Function):
    """$weft_frame(TASK): a pointer to its frame, of the frame's own type: print $weft_frame("Task-7")->stream."""

    def __init__(self):
        super().__init__("weft_frame")

    def invoke(self, task):
        text = task.string() if task.type.strip_typedefs().code in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_PTR) else str(int(task))
        return gdb.parse_and_eval(Weft().named(text).frame())


WeftCommand()
Tasks()
Workers()
Backtrace()
Select()
Frame()

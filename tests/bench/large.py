#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""large.py PAGE.html OUT.html [CPUS]: the same page with the report of a machine that is not here: two packages, four nodes, a cache for each eight
cores, two threads for each core, 128 CPUs. Nothing in it is measured; it shows whether the page can be read."""
import json
import random
import re
import sys

random.seed(1)
page = open(sys.argv[1], encoding="utf-8").read()
mark = re.compile(r'(<script type="application/json" id="data">)(.*?)(</script>)', re.S)
data = json.loads(mark.search(page).group(2))
CPUS = int(sys.argv[3]) if len(sys.argv) > 3 else 128


def cpu(i):
    return {"cpu": i, "core": i // 2, "cache": i // 16, "node": i * 4 // CPUS, "package": i * 2 // CPUS, "smt": i % 2}


def latency(i, j):
    a, b = cpu(i), cpu(j)
    near = next((ns for of, ns in (("core", 12), ("cache", 38), ("node", 95), ("package", 110)) if a[of] == b[of]), 210)
    return near * random.uniform(1, 1.06)


def figure(id, section, title, kind, unit, rows, columns, value, better="lower", row_axis="from", column_axis="to"):
    values = [[value(r, c) for c in range(len(columns))] for r in range(len(rows))]
    return {"id": id, "section": section, "title": title, "what": "A made-up figure.", "kind": kind, "unit": unit, "better": better,
            "row_axis": row_axis, "column_axis": column_axis, "rows": rows, "columns": columns, "values": values,
            "low": [[v and v * 0.95 for v in r] for r in values], "high": [[v and v * 1.05 for v in r] for r in values],
            "count": [[9 if v else 0 for v in r] for r in values]}


def names(n):
    return [str(i) for i in range(n)]


machine = data["machine"]
machine.update(cpus=[cpu(i) for i in range(CPUS)], cores=CPUS // 2, last_caches=CPUS // 16, packages=2, cpu_model="A made-up processor with a long name, 64 cores",
               caches={"L1": 32768, "L2": 1 << 20, "L3": 32 << 20}, governor="performance", frequency_driver="acpi-cpufreq", memory=512 << 30,
               nodes=[{"node": n, "cpus": CPUS // 4, "memory": 128 << 30, "distance": [10 if n == m else 12 if n // 2 == m // 2 else 32 for m in range(4)]}
                      for n in range(4)] + [{"node": 4, "cpus": 0, "memory": 256 << 30, "distance": [17, 17, 28, 28, 10]}])
for n in machine["nodes"][:4]:
    n["distance"].append(17)
workers = [str(n) for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024) if n <= CPUS]
some = list(range(0, CPUS, max(1, CPUS // 128)))  # as many as a matrix has at most
far = list(range(0, CPUS, CPUS // 21))[:24]
data.update(workers=CPUS, label="a large machine", notes=[
    {"kind": "domains", "what": "as hwloc tells it", "text": "64 groups (cores): at most 12 ns within, 38 ns or more to others; CPUs 0 1; 2 3 ..."},
    {"kind": "domains", "what": "hwloc does not know", "text": "16 groups (found by measurement only): at most 24 ns within, 38 ns or more to others"},
    {"kind": "noise", "what": "governor", "text": "CPU frequency is governed by \"powersave\": for steady figures use \"performance\""},
    {"kind": "missing", "what": "some workers", "text": "waking and stealing are measured between 24 of the 128 CPUs, evenly chosen"}])
nodes = [f"node {n}" for n in range(5)]
data["figures"] = [
    figure("core_to_core", "cores", "Core to core", "matrix", "ns", [str(i) for i in some], [str(i) for i in some],
           lambda r, c: None if r == c else latency(some[r], some[c])),
    figure("wake", "workers", "Waking a worker", "matrix", "us", [str(i) for i in far], [str(i) for i in far],
           lambda r, c: None if r == c else 3 + latency(far[r], far[c]) / 40),
    figure("tier_latency", "workers", "By distance", "bars", "us", ["same core", "shared cache", "same node", "same package", "other package"],
           ["wake", "steal", "hand-over round trip"], lambda r, c: (r + 2) * (3, 0.4, 0.9)[c]),
    figure("memory_latency", "memory", "Memory latency", "matrix", "ns", [str(i) for i in range(0, CPUS, CPUS // 16)], nodes,
           lambda r, c: (90 if r // 4 == c else 120 if r // 8 == c // 2 else 210) if c < 4 else 330.0, row_axis="CPU", column_axis="memory of"),
    figure("memory_read_together", "memory", "Reading, all CPUs of a node", "matrix", "B/s", ["CPUs of " + n for n in nodes], nodes,
           lambda r, c: None if r == 4 else 9.1e10 if r == c else 3.5e10, "higher", "CPUs", "memory of"),
    figure("timer_lateness", "lateness", "Timer lateness", "latency", "us", ["tasks, idle", "tasks, loaded", "a thread, idle", "a thread, loaded"],
           ["p50", "p90", "p99", "p99.9", "max"], lambda r, c: None if r == 3 or (r == 1 and c == 3) else (3, 40, 2.2)[r] * (1, 1.4, 3, 12, 80)[c], column_axis="percentile"),
    figure("tasks_workers", "tasks", "tasks: scaling", "curves", "/s", ["one thread of each core first", "siblings together"], workers,
           lambda r, c: 3e7 * int(workers[c]) ** (0.93 - 0.03 * r) * (0.7 if r else 1), "higher", "", "workers"),
    figure("tasks_stealing", "tasks", "tasks: order of stealing", "bars", "/s", ["near first", "random"], ["rate"],
           lambda r, c: (1.9e9, 1.4e9)[r], "higher", "", ""),
]
text = json.dumps(data).replace("<", "\\u003c")
open(sys.argv[2], "w", encoding="utf-8").write(mark.sub(lambda m: m.group(1) + text + m.group(3), page, count=1))

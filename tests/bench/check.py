#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check.py PREFIX: the report's files agree. check.py PREFIX OUT.json: writes the report of a machine of half the speed, with a little noise."""
import csv
import json
import random
import sys

prefix = sys.argv[1]
with open(prefix + ".json", encoding="utf-8") as f:
    report = json.load(f)
if len(sys.argv) > 2:
    random.seed(2)
    for figure in report["figures"]:
        factor = 2 if figure["better"] == "lower" else 0.5
        for row in figure["samples"]:
            row[:] = [[[x * factor * random.uniform(0.999, 1.001) for x in r] for r in cell] for cell in row]
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        json.dump(report, f)
    sys.exit(0)

assert report["format"] == "weft-bench report" and report["format_version"] == 1
machine, cpus = report["machine"], len(report["machine"]["cpus"])
assert cpus >= 1 and machine["kernel"].startswith("Linux") and machine["weft"] and machine["memory"] > 0
figures = {f["id"]: f for f in report["figures"]}
assert len(figures) == len(report["figures"])
missing = [n for n in report["notes"] if n["kind"] == "missing"]
expected = ["timer_lateness", "ready_lateness", "tasks_workers", "forks_workers", "compute_workers", "tasks_pins"]
expected += ["memory_latency", "memory_read"] if not any("memory" in n["what"] for n in missing) else []
expected += ["core_to_core", "wake", "steal", "tier_latency"] if cpus > 1 else []
cells = 0
for name in expected:
    assert name in figures, name
for name, figure in figures.items():
    assert figure["unit"] in ("ns", "us", "/s", "B/s"), name
    assert len(figure["values"]) == len(figure["rows"]), name
    any_value = False
    for r in range(len(figure["rows"])):
        for c in range(len(figure["columns"])):
            value, samples = figure["values"][r][c], [x for part in figure["samples"][r][c] for x in part]
            assert (value is None) == (samples == []) and len(samples) == figure["count"][r][c], (name, r, c)
            if value is not None:
                assert 0 < figure["low"][r][c] <= value * 1.00001 and value <= figure["high"][r][c] * 1.00001, (name, r, c)
                assert min(samples) * 0.99999 <= value <= max(samples) * 1.00001, (name, r, c)
                cells, any_value = cells + 1, True
    assert any_value or name in ("wake", "steal"), name + " is empty"
# What cannot be shown here is told, not made up.
if len(machine["nodes"]) <= 1:
    assert any(n["what"] == "one node" for n in report["notes"])
if cpus > 1:
    for i in range(len(figures["core_to_core"]["rows"])):
        assert figures["core_to_core"]["values"][i][i] is None
with open(prefix + ".csv", encoding="utf-8", newline="") as f:
    lines = list(csv.reader(line for line in f if not line.startswith("#")))
assert lines[0] == ["figure", "row", "column", "unit", "median", "low95", "high95", "samples"]
assert len(lines) == cells + 1 and all(len(line) == 8 for line in lines)
print(f"{prefix}: {len(figures)} figures, {cells} cells")

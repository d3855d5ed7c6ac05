#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""maim.py REPORT.json PREFIX: reports that are none any more, PREFIX.N.json, and such that are strange but whole, PREFIX.strangeN.json."""
import copy
import json
import sys

whole = json.load(open(sys.argv[1], encoding="utf-8"))
number = 0


def save(report, name):
    with open(f"{sys.argv[2]}.{name}.json", "w", encoding="utf-8") as f:
        json.dump(report, f)


def maimed(change):
    global number
    report = copy.deepcopy(whole)
    change(report)
    save(report, number)
    number += 1


for key in ("format", "format_version", "label", "date", "machine", "notes", "figures"):
    maimed(lambda r: r.pop(key))
    maimed(lambda r: r.update({key: None}))
    maimed(lambda r: r.update({key: 7.5}))
for key in ("cpus", "nodes"):
    maimed(lambda r: r["machine"].pop(key))
for key in ("id", "title", "what", "unit", "better", "rows", "columns", "samples"):
    maimed(lambda r: r["figures"][0].pop(key))
    maimed(lambda r: r["figures"][-1].update({key: 3}))
maimed(lambda r: r["figures"].append(5))
maimed(lambda r: r["figures"][0]["rows"].append(5))


def strange(number, change):
    report = copy.deepcopy(whole)
    for figure in report["figures"]:
        change(figure)
    save(report, f"strange{number}")


strange(1, lambda f: f.update(samples=[]))
strange(2, lambda f: f.update(samples=[[[[1e-300, 1e300, 1e-300, 5e-324]]] * len(f["columns"])] * len(f["rows"])))
strange(3, lambda f: f.update(samples=[[[[-1, 0, None, "x", [], {}]]] * len(f["columns"])] * len(f["rows"])))
strange(4, lambda f: f.update(samples=[[7, "x", None] * len(f["columns"])] * len(f["rows"])))
strange(5, lambda f: f.update(rows=f["rows"] + f["rows"], columns=[], values=3))
strange(6, lambda f: f.update(title="</script>\u202e<b>\x1b[31m" + "x" * 5000, unit="", better="neither"))

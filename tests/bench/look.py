#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""look.py BROWSER PAGE.html [KEEP-FOLDER]: opens the page in a real browser, as wide as a desk and as a phone, in light and dark, and on paper. It has drawn
itself to the end, the console stays silent, nothing is wider than a phone, and the pictures are not blank. Exit 77: this browser does not run here."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

browser, page = sys.argv[1], os.path.abspath(sys.argv[2])
scratch = tempfile.mkdtemp()
keep = sys.argv[3] if len(sys.argv) > 3 else None
failures = []


def run(*arguments):
    return subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
                           "--enable-logging=stderr", f"--user-data-dir={scratch}/profile", "--virtual-time-budget=4000", *arguments],
                          capture_output=True, text=True, timeout=100, check=False)


def colours(png):
    """How many different rows of pixels there are: a blank page has one."""
    data, at, packed = open(png, "rb").read(), 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += 12 + length
    raw, line = zlib.decompress(packed), 1 + width * {2: 3, 6: 4}[colour] * depth // 8
    return len({raw[y * line + 1:(y + 1) * line] for y in range(height)})


def shoot(name, width, height, *flags):
    """In a frame of that width: a browser's own window has a least width."""
    frame, png = f"{scratch}/{name}.html", f"{scratch}/{name}.png"
    with open(frame, "w", encoding="utf-8") as f:
        f.write(f'<body style="margin:0"><iframe src="file://{page}" style="border:0;width:{width}px;height:{height}px"></iframe>')
    done = run(f"--window-size={max(width, 500)},{height}", f"--screenshot={png}", *flags, "file://" + frame)
    if not os.path.exists(png):
        failures.append(f"{name}: no picture: {done.stderr[-300:]}")
    elif colours(png) < 100:
        failures.append(f"{name}: a blank picture")
    elif keep:
        shutil.copy(png, keep)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    failures.extend(f"{name}: the console says: {line}" for line in said)


blank = run("--dump-dom", "about:blank")
if blank.returncode != 0 or "<html" not in blank.stdout:
    print("the browser does not run here:", blank.stderr[-200:])
    sys.exit(77)
dom = run("--window-size=1280,900", "--dump-dom", "file://" + page).stdout
if 'data-drawn="yes"' not in dom:
    failures.append("the page has not drawn itself to the end")
drawn = dom.split('<script type="application/json"')[0]
print(f"{len(re.findall('<svg', drawn))} drawings, {len(re.findall('<rect', drawn))} cells")
if "<svg" not in drawn:
    failures.append("no drawings")
if "undefined" in drawn or "NaN" in drawn or "Infinity" in drawn:
    failures.append("undefined, NaN or Infinity is on the page")
narrow = f"{scratch}/narrow.html"
with open(narrow, "w", encoding="utf-8") as f:
    f.write(f'<iframe id="f" src="file://{page}" style="border:0;width:390px;height:800px"></iframe><p id="wide">?</p><script>'
            'window.onload = () => { const d = document.getElementById("f").contentDocument.documentElement;'
            'document.getElementById("wide").textContent = "width " + d.scrollWidth; };</script>')
found = re.search(r"width (\d+)", run("--dump-dom", "file://" + narrow).stdout)
if not found or int(found.group(1)) > 390:
    failures.append("on a phone: " + (found.group(0) if found else "not drawn") + ", more than 390")
shoot("desk", 1280, 4000)
shoot("phone", 390, 6000)
shoot("dark", 1280, 3000, "--force-dark-mode", "--blink-settings=preferredColorScheme=0")
pdf = f"{scratch}/paper.pdf"
run(f"--print-to-pdf={pdf}", "--no-pdf-header-footer", "file://" + page)
if not os.path.exists(pdf) or os.path.getsize(pdf) < 10000:
    failures.append("on paper: nothing")
elif keep:
    shutil.copy(pdf, keep)
shutil.rmtree(scratch, ignore_errors=True)
for failure in failures:
    print("wrong:", failure)
sys.exit(1 if failures else 0)

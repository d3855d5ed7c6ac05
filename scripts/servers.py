# SPDX-License-Identifier: Apache-2.0
"""What bench-io, bench-kv, bench-calls and bench-memory share: starting servers of any make, weft-load, paired ratios, arguments."""
import argparse
import contextlib
import math
import os
import pwd
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAME = os.path.basename(sys.argv[0])

# Kinds: what a server is asked for. "full" is HTTP by a whole server; it is filled in as http.
OWN = {"http": "weft-raw http {port} {threads}", "echo": "weft-raw echo {port} {threads}",
       "resp": "weft-kv --port {port} --workers {threads}", "full": "weft-http --port {port} --workers {threads} --idle-ms 600000"}
PROTOCOL = {"http": "http", "full": "http", "echo": "echo", "resp": "ping"}

NGINX = """worker_processes {threads}; worker_rlimit_nofile {files}; daemon off; pid nginx.pid; error_log nginx.err crit;
events {{ worker_connections 15000; }}
http {{
  access_log off; keepalive_timeout 600s; keepalive_requests 1000000000; server_tokens off; default_type text/plain;
  client_body_temp_path nb; proxy_temp_path np; fastcgi_temp_path nf; uwsgi_temp_path nu; scgi_temp_path ns;
  server {{ listen {port} backlog=4096 reuseport; location = / {{ return 200 "Hello, World!"; }}
            location = /plaintext {{ return 200 "Hello, World!"; }} location / {{ return 404; }} }}
}}
"""
H2O = """num-threads: {threads}
max-connections: 15000
http1-request-timeout: 600
user: {user}
hosts:
  default:
    listen:
      port: {port}
    paths:
      /:
        file.dir: {folder}
        file.index: [plaintext]
        file.mime.setdefaulttype: text/plain
"""
# Peers that need no command: name: (kinds, command, configuration); {folder} is one of its own, with the configuration.
KNOWN = {
    "nginx": (["full"], "nginx -p {folder} -c {folder}/configuration", NGINX),
    "h2o": (["full"], "h2o -m worker -c {folder}/configuration", H2O),
    "epoll": (["http", "echo"], os.path.join(TREE, "build/peers/peer-epoll") + " {kind} {port} {threads}", ""),
    "libuv": (["full"], os.path.join(TREE, "build/peers/peer-libuv-http") + " {port} {threads}", ""),
    "redis": (["resp"], "redis-server --port {port} --save '' --appendonly no --bind 127.0.0.1 --maxclients 15000 --tcp-backlog 4096 --loglevel warning", ""),
}


LEAST = 3  # pairs of which an interval says something


def stop(text):
    sys.exit(f"{NAME}: {text}")


# ---- arguments ----

def above_zero(kind):
    def convert(text):
        value = kind(text)
        if not 0 < value < 1e9:
            raise ValueError
        return value
    convert.__name__ = "number above 0" if kind is float else "whole number above 0"
    return convert


def arguments(doc, rounds, seconds):
    """A parser with what all have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(TREE, "build/release/bin"), help="where weft's programs are (build/release/bin)")
    parser.add_argument("--rounds", type=above_zero(int), default=rounds, help=f"of how many runs each figure is the median ({rounds}); below {LEAST} there are no intervals")
    parser.add_argument("--seconds", type=above_zero(float), default=seconds, help=f"measured each time ({seconds})")
    parser.add_argument("--warmup", type=above_zero(float), default=0.15, help="before that (0.15)")
    return parser


def add_peers(parser):
    parser.add_argument("--peer", action="append", default=[], help="NAME=COMMAND, NAME:KINDS=COMMAND, or one of: " + " ".join(KNOWN))


def parse(parser, programs):
    options = parser.parse_args()
    for program in programs:
        if not os.access(os.path.join(options.bin, program), os.X_OK):
            parser.error(f"--bin: no {program} in {options.bin}")
    options.peers = []
    for text in getattr(options, "peer", []):
        head, equals, command = text.partition("=")
        name, colon, kinds = head.partition(":")
        if not equals and name in KNOWN and not colon:
            kinds, command, _ = KNOWN[name]
            if not shutil.which(command.split()[0]):
                parser.error(f"--peer {name}: there is no {command.split()[0]} (scripts/install-packages servers, bench/peers/build.sh)")
            options.peers.append((name, kinds, command))
            continue
        kinds = kinds.split(",") if colon else ["http", "echo", "resp"]
        if not equals or not name or not command.strip():
            parser.error(f"--peer {text}: neither NAME=COMMAND nor one of: {' '.join(KNOWN)}")
        if "{port}" not in command:
            parser.error(f"--peer {name}: its command has no {{port}}")
        for kind in kinds:
            if kind not in OWN:
                parser.error(f"--peer {name}: no kind '{kind}' (of: {' '.join(OWN)})")
        options.peers.append((name, kinds, command))
    names = ["weft"] + [name for name, _, _ in options.peers]
    for name in names:
        if names.count(name) > 1:
            parser.error(f"--peer {name}: twice")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name, _, command in options.peers:
        program = next((word for word in command.split() if "=" not in word), "")
        if name not in KNOWN and not shutil.which(program):
            parser.error(f"--peer {name}: there is no program '{program}'")
    return options


def servers_for(options, kind):
    """[(name, command)]: weft's own first."""
    return [("weft", os.path.join(options.bin, OWN[kind]))] + [(n, c) for n, kinds, c in options.peers if kind in kinds]


def tell_of_missing(parser, options, cell, kind):
    """A cell was asked for by name: the peers that have no server of its kind are told, and it is an error where none has."""
    lacking = [(name, kinds) for name, kinds, _ in options.peers if kind not in kinds]
    if lacking and len(lacking) == len(options.peers):
        parser.error(f"{cell}: no --peer has a server of the kind '{kind}': " + "; ".join(f"{n} has {', '.join(k)}" for n, k in lacking))
    for name, kinds in lacking:
        print(f"{NAME}: {cell}: {name} is left out: it has no server of the kind '{kind}', only {', '.join(kinds)}", file=sys.stderr)


# ---- servers ----

def family(pid):
    """The process and its descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    children.setdefault(int(file.read().rsplit(") ", 1)[1].split()[1]), []).append(int(name))
    out, todo = [], [pid]
    while todo:
        out.append(todo.pop())
        todo += children.get(out[-1], [])
    return out


class Server:
    port = 20000

    def __init__(self, name, command, kind, threads=2, pinned=False):
        Server.port = self.port = self.free_port(Server.port + 1)
        self.name, self.folder = name, None
        configuration = KNOWN[name][2] if name in KNOWN and command == KNOWN[name][1] else ""
        if configuration:
            self.folder = tempfile.mkdtemp(prefix="weft-peer-")
            os.chmod(self.folder, 0o755)
            fill = {"port": self.port, "threads": threads, "folder": self.folder, "user": pwd.getpwuid(os.getuid()).pw_name,
                    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1]}
            for file, text in (("configuration", configuration.format(**fill)), ("plaintext", "Hello, World!")):
                with open(os.path.join(self.folder, file), "w", encoding="ascii") as f:
                    f.write(text)
        for mark, value in (("{kind}", "http" if kind == "full" else kind), ("{port}", self.port), ("{threads}", threads), ("{folder}", self.folder)):
            command = command.replace(mark, str(value))
        self.process = subprocess.Popen(["sh", "-c", "exec " + ("taskset -c 0 " if pinned else "") + command], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        for _ in range(500):
            if self.process.poll() is not None:
                stop(f"{name}: ended with {self.process.returncode}: {command}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                self.pids = ",".join(map(str, family(self.process.pid)))
                return
            time.sleep(0.01)
        self.stop()
        stop(f"{name}: does not listen: {command}")

    @staticmethod
    def free_port(start):
        for port in range(start, 65000):
            with socket.socket() as s:
                with contextlib.suppress(OSError):
                    s.bind(("0.0.0.0", port))
                    return port
        return stop("no free port")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def number(text):
    """A column's value; a figure that weft-load had nothing to make of (an empty window of an overloaded machine) is no number."""
    try:
        return float(text)
    except ValueError:
        return text or math.nan


def load(options, server, mode, *args, pinned=False):
    """weft-load's figures by their names, or None (which is told)."""
    command = (["taskset", "-c", "1"] if pinned else []) + [os.path.join(options.bin, "weft-load"), mode, "--port", str(server.port), "--pid", server.pids,
                                                            "--path", "/plaintext"]
    done = subprocess.run(command + [str(a) for a in args], check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or len(lines) != 2:
        print(f"{NAME}: {server.name}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    values = {k: number(v) for k, v in zip(lines[0].split(","), lines[1].split(","))}
    if (values["ok"] == 0 and mode != "stalled") or values["refused"] > 0:
        print(f"{NAME}: {server.name}: {values['ok']:.0f} answers, {values['refused']:.0f} refusals, {values['lost']:.0f} lost", file=sys.stderr)
        return None
    return values


# ---- figures ----

def turns(rounds, servers):
    """Each round all of them, forwards and backwards in turn: what drifts meets all alike."""
    for turn in range(rounds):
        for name, command in servers if turn % 2 == 0 else servers[::-1]:
            yield turn, name, command


def bootstrap(pairs, draws=4000):
    """Median of the paired ratios, and its 95 % interval."""
    ratios = [a / b for a, b in pairs if b]
    if not ratios:
        return math.nan, math.nan, math.nan
    chance = random.Random(1)
    means = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(draws))
    return statistics.median(ratios), means[int(0.025 * draws)], means[int(0.975 * draws)]


def ratio_text(pairs):
    """The median of the ratios, with its interval where there are enough of them."""
    pairs = [(a, b) for a, b in pairs if b and a == a and b == b]
    if not pairs:
        return "failed"
    m, low, high = bootstrap(pairs)
    return f"{m:.2f} ({low:.2f}-{high:.2f})" if len(pairs) >= LEAST else f"{m:.2f}"


def spread(values, form):
    """" (least-most)", if there is more than one."""
    return f" ({min(values):{form}}-{max(values):{form}})" if len(values) > 1 else ""


def ratio(rows, name, key, own="weft"):
    """Of rows[name][round][key]: weft's to that server's, as text."""
    if name == own:
        return ""
    return ratio_text([(a[key], b[key]) for a, b in zip(rows[own], rows[name]) if a and b])


def quarter(values):
    """What a quarter of them is not above."""
    return sorted(values)[(len(values) - 1) // 4]


def quarters(own, other, draws=4000):
    """The ratio of two such, and its 95 % interval, as text; not paired."""
    if min(len(own), len(other)) < 2 * LEAST:
        return f"{quarter(own) / quarter(other):.2f}"
    chance = random.Random(1)
    ratios = sorted(quarter(chance.choices(own, k=len(own))) / quarter(chance.choices(other, k=len(other))) for _ in range(draws))
    return f"{quarter(own) / quarter(other):.2f} ({ratios[int(0.025 * draws)]:.2f}-{ratios[int(0.975 * draws)]:.2f})"


def median(rows, key):
    good = [row[key] for row in rows if row and row[key] == row[key]]
    return statistics.median(good) if good else math.nan


def table(*header):
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header), flush=True)


def line(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)

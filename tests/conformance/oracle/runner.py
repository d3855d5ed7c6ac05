# SPDX-License-Identifier: Apache-2.0
"""A runner process in stream mode: programs go in as JSON lines, results come back as JSON lines (FORMAT.md, Output).

A crash or a hang costs the program it was at: the process is started again and goes on with the next one.
"""
import json
import queue
import subprocess
import tempfile
import threading

import programs

CHUNK = 200         # programs written before the first result is read
MAX_HANGS = 10      # after so many, the rest is not run


class Runner:
    def __init__(self, command, patience=20.0):
        """command: list of arguments, without the final "-"; patience: seconds to wait for one result"""
        self.command = [*command, '-']
        self.patience = patience
        self.process = None
        self.hangs = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.lines = queue.Queue()

        def pump(stdout, lines):
            for line in stdout:
                lines.put(line)
            lines.put(None)
        threading.Thread(target=pump, args=(self.process.stdout, self.lines), daemon=True).start()

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def last_words(self):
        """what the runner said before it died"""
        self.errors.seek(0)
        text = self.errors.read().decode(errors='replace').strip()
        return ': ' + ' | '.join(text.splitlines()[:3])[:300] if text else ''

    def run(self, progs):
        """results in order; a string instead of a result when there is none"""
        results = []
        while len(results) < len(progs):
            if self.hangs >= MAX_HANGS:
                results += ['not run (too many hangs)'] * (len(progs) - len(results))
                break
            if self.process is None:
                self.start()
            chunk = progs[len(results):len(results) + CHUNK]
            data = ''.join(programs.line(p) + '\n' for p in chunk).encode()

            def feed(stdin=self.process.stdin, data=data):
                try:
                    stdin.write(data)
                    stdin.flush()
                except (OSError, ValueError):       # it died; whoever reads will notice
                    pass
            threading.Thread(target=feed, daemon=True).start()
            for _ in chunk:
                result, lost = self.one()
                results.append(result)
                if lost:
                    self.stop()
                    break
        return results

    def one(self):
        """(result, whether the process is lost)"""
        try:
            line = self.lines.get(timeout=self.patience)
        except queue.Empty:
            self.hangs += 1
            return 'hang (no result within %g s)' % self.patience, True
        if line is None:
            return 'crash (exit status %s)%s' % (self.process.wait(), self.last_words()), True
        try:
            result = json.loads(line)
            return result, result.get('main') == ['limit']      # it ends itself after that: not the next one's crash
        except ValueError:
            return 'bad output %r' % line[:80], True

# SPDX-License-Identifier: Apache-2.0
"""Programs in files: JSON (one program, or a list), JSON lines, both also with .gz, and folders of these."""
import glob
import gzip
import json
import os

FOR_THE_JUDGE = ('expect', 'found')     # fields that a runner never sees


def load(paths):
    for path in paths:
        if os.path.isdir(path):
            yield from load(sorted(glob.glob(os.path.join(path, '*.json'))))
            continue
        op = gzip.open if path.endswith('.gz') else open
        with op(path, 'rt', encoding='utf-8') as f:
            if '.jsonl' in path:
                for line in f:
                    if line.strip():
                        yield json.loads(line)
            else:
                v = json.load(f)
                yield from (v if isinstance(v, list) else [v])


def line(prog):
    """what a runner reads"""
    return json.dumps({k: v for k, v in prog.items() if k not in FOR_THE_JUDGE}, separators=(',', ':'))


def for_many(prog, workers):
    """the program as one for many workers, or None when its result is defined for one worker only"""
    if prog.get('mode') == 'outcome':
        return prog
    if prog.get('also_outcome'):
        return {**prog, 'mode': 'outcome', 'name': '%s@%d' % (prog['name'], workers)}
    return None


def pretty(prog):
    """a program as the files in cases/ have it: one line a step, one line an event"""
    def block(items, indent):
        return '[]' if not items else '[\n%s\n%s]' % (
            ',\n'.join(' ' * (indent + 1) + json.dumps(x) for x in items), ' ' * indent)
    out = []
    for k, v in prog.items():
        if k == 'coros':
            s = '{\n%s\n }' % ',\n'.join('  %s: %s' % (json.dumps(n), block(b, 2)) for n, b in v.items())
        elif k == 'expect':
            s = '{\n%s\n }' % ',\n'.join('  %s: %s' % (json.dumps(n), block(r, 2) if n == 'trace' else json.dumps(r))
                                        for n, r in v.items())
        else:
            s = json.dumps(v)
        out.append(' %s: %s' % (json.dumps(k), s))
    return '{\n%s\n}\n' % ',\n'.join(out)


def show(prog):
    """for people"""
    text = ['objects: ' + json.dumps(prog.get('objects', {}))]
    for n, b in prog['coros'].items():
        text.append(n + ':')
        text += ['   ' + json.dumps(st) for st in b]
    return '\n'.join('   ' + x for x in text)

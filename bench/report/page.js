// SPDX-License-Identifier: Apache-2.0
// Draws a report (weft-bench topology, weft/bench.h) or a comparison (weft-bench compare) from the JSON in the page. No network, no library.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const page = document.getElementById('page');
const tip = document.getElementById('tip');
const COLORS = ['var(--c0)', 'var(--c1)', 'var(--c2)', 'var(--c3)', 'var(--c4)', 'var(--c5)'];

const ROOM = Math.min(460, Math.max(300, document.documentElement.clientWidth - 30)); // for a drawing: on a phone it keeps the size of its letters

// ---- making things ----
function el(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const k in attributes || {}) e.setAttribute(k, attributes[k]);
  for (const c of children) if (c !== null && c !== undefined) e.append(c);
  return e;
}
function svg(name, attributes, text) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const k in attributes || {}) e.setAttribute(k, attributes[k]);
  if (text !== undefined) e.textContent = text;
  return e;
}
function canvas(w, h, label) {
  return svg('svg', { viewBox: `0 0 ${w} ${h}`, width: w, height: h, role: 'img', 'aria-label': label });
}
function told(e, text) { // shown under the pointer, or after a touch
  e.append(svg('title', {}, text));
  e.addEventListener('pointerenter', (event) => {
    tip.textContent = text;
    tip.hidden = false;
    const x = Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 6);
    tip.style.left = Math.max(4, x) + 'px';
    tip.style.top = Math.max(4, event.clientY - tip.offsetHeight - 10) + 'px';
  });
  e.addEventListener('pointerleave', () => { tip.hidden = true; });
  return e;
}

// ---- numbers ----
function digits(x) { return x >= 99.5 || x === 0 ? x.toFixed(0) : x >= 9.95 ? x.toFixed(1) : x >= 0.995 ? x.toFixed(2) : x.toPrecision(2); }
function round(x) { return x >= 9.95 ? x.toFixed(0) : x >= 0.995 ? String(+x.toFixed(1)) : String(+x.toPrecision(1)); }
function scaled(x, unit) { // [factor, unit as written]
  const a = Math.abs(x);
  if (unit === 'ns' && a >= 1e3) return scaled(x / 1e3, 'us').map((v, i) => i ? v : v / 1e3);
  if (unit === 'us' && a < 1 && a > 0) return [1e3, 'ns'];
  if (unit === 'us' && a >= 1e4) return [1e-3, 'ms'];
  if (unit === 'us') return [1, '\u00b5s'];
  if (unit === 'B/s' || unit === '/s') {
    for (const [f, s] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']])
      if (a >= f) return [1 / f, unit === 'B/s' ? s + 'B/s' : s + '/s'];
  }
  return [1, unit];
}
function show(x, unit, short) {
  if (x === null || x === undefined) return 'not measured';
  const [f, u] = scaled(x, unit);
  return short ? (short === 2 ? round(x * f) : digits(x * f)) : digits(x * f) + '\u202f' + u;
}
function bytes(n) {
  for (const [f, s] of [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']])
    if (n >= f) return +(n / f).toPrecision(3) + ' ' + s;
  return n + ' B';
}
const flat = (m) => m.flat().filter((x) => x !== null);
function median(v) {
  const s = [...v].sort((a, b) => a - b);
  return s.length ? (s[(s.length - 1) >> 1] + s[s.length >> 1]) / 2 : null;
}
function between(f, r, c) {
  return f.count[r][c] > 1 ? `, 95 % between ${show(f.low[r][c], f.unit)} and ${show(f.high[r][c], f.unit)} (${f.count[r][c]} samples)` : '';
}

// ---- colour: cividis, which those who cannot tell red from green see the same; dark is low ----
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]];
function colour(share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (CIVIDIS.length - 1), i = Math.floor(at), f = at - i;
  return CIVIDIS[i].map((v, k) => Math.round(v + (CIVIDIS[i + 1][k] - v) * f));
}
const css = (rgb) => `rgb(${rgb.join(',')})`;
const inkOn = (rgb) => (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 135 ? '#000' : '#fff');

// ---- heat map ----
function matrix(f) {
  const R = f.rows.length, C = f.columns.length, known = flat(f.values);
  if (!known.length) return null;
  const low = Math.min(...known), high = Math.max(...known), wide = high / low > 1.02;
  const unitOf = scaled(median(known), f.unit);
  const longest = Math.max(...f.rows.map((s) => s.length));
  const left = 30 + Math.min(longest, 16) * 6.6, top = 46;
  const reach = C > 40 ? Math.min(760, document.documentElement.clientWidth - 36) : Math.min(420, ROOM);
  const cell = Math.max(2, Math.min(C <= 4 ? 62 : 46, (reach - left - 6) / C)), high_ = Math.min(cell, R <= 4 ? 40 : R > 8 && C <= 8 ? 26 : 46);
  const W = left + Math.max(C * cell + 6, Math.min(190, Math.max(C * cell, 150)) + 76), H = top + R * high_ + 44;
  const s = canvas(W, H, f.title);
  const step = Math.ceil((4 + 6.6 * Math.max(...f.columns.map((n) => n.length))) / cell), rstep = Math.ceil(13 / high_), text = cell >= 33;
  s.append(svg('text', { x: left, y: 14, class: 'soft' }, f.column_axis));
  s.append(svg('text', { x: 12, y: top + (R * high_) / 2, class: 'soft', transform: `rotate(-90 12 ${top + (R * high_) / 2})`, 'text-anchor': 'middle' }, f.row_axis));
  f.columns.forEach((n, c) => { if (c % step === 0) s.append(svg('text', { x: left + (c + 0.5) * cell, y: top - 6, 'text-anchor': 'middle' }, n)); });
  f.rows.forEach((n, r) => {
    if (r % rstep === 0) s.append(svg('text', { x: left - 6, y: top + (r + 0.5) * high_ + 4, 'text-anchor': 'end' }, n));
    f.columns.forEach((m, c) => {
      const v = f.values[r][c], at = { x: left + c * cell, y: top + r * high_, width: cell - (cell > 8 ? 1 : 0), height: high_ - (high_ > 8 ? 1 : 0) };
      if (v === null) { s.append(svg('rect', { ...at, class: 'none' })); return; }
      const rgb = colour(wide ? (Math.log(v) - Math.log(low)) / (Math.log(high) - Math.log(low)) : 0.35);
      s.append(told(svg('rect', { ...at, fill: css(rgb) }), `${f.row_axis} ${n} ${f.column_axis} ${m}: ${show(v, f.unit)}${between(f, r, c)}`));
      if (text) s.append(svg('text', { x: at.x + cell / 2 - 0.5, y: at.y + high_ / 2 + 4, 'text-anchor': 'middle', fill: inkOn(rgb), 'pointer-events': 'none', style: `fill:${inkOn(rgb)}` }, digits(v * unitOf[0])));
    });
  });
  const y = top + R * high_ + 14; // the scale
  if (wide) {
    const w = Math.min(190, Math.max(C * cell, 150));
    for (let i = 0; i < 40; i++) s.append(svg('rect', { x: left + (i * w) / 40, y, width: w / 40 + 0.5, height: 10, fill: css(colour(i / 39)) }));
    s.append(svg('text', { x: left, y: y + 24 }, digits(low * unitOf[0])));
    s.append(svg('text', { x: left + w, y: y + 24, 'text-anchor': 'end' }, digits(high * unitOf[0])));
    s.append(svg('text', { x: left + w / 2, y: y + 24, 'text-anchor': 'middle', class: 'soft' }, unitOf[1]));
    s.append(svg('text', { x: left + w + 8, y: y + 9, class: 'soft' }, f.better === 'lower' ? 'dark: quick' : 'light: fast'));
  } else {
    s.append(svg('text', { x: left, y: y + 10, class: 'soft' }, `${unitOf[1]}: all the same`));
  }
  return s;
}

// ---- curves: rates over workers ----
function ticks(low, high, n) {
  const raw = (high - low) / n, p = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((k) => k * p).find((k) => k >= raw);
  const out = [];
  for (let t = Math.ceil(low / step) * step; t <= high * 1.0001; t += step) out.push(t);
  return out;
}
function key(names, dash) {
  return el('div', { class: 'key' }, ...names.map((n, i) => {
    const k = el('span', {}, el('i', { style: `border-color:${COLORS[i % COLORS.length]}`, class: dash && i % 2 ? 'dash' : '' }), n);
    return k;
  }));
}
function curves(f) {
  const xs = f.columns.map(Number), W = ROOM, H = 270, L = 52, R = 14, T = 12, B = 40;
  const known = flat(f.high);
  if (!known.length) return null;
  const most = Math.max(...known), xm = Math.max(...xs), [scale, unit] = scaled(most, f.unit);
  const X = (x) => L + ((x - 1) / Math.max(1, xm - 1)) * (W - L - R), Y = (v) => H - B - (v / (most * 1.06)) * (H - T - B);
  const s = canvas(W, H, f.title);
  for (const t of ticks(0, most * scale * 1.06, 5)) {
    s.append(svg('line', { x1: L, x2: W - R, y1: Y(t / scale), y2: Y(t / scale), class: 'axis' }));
    s.append(svg('text', { x: L - 6, y: Y(t / scale) + 4, 'text-anchor': 'end' }, +t.toPrecision(6)));
  }
  let last = -99;
  xs.forEach((x) => {
    if (X(x) - last < 22) return;
    last = X(x);
    s.append(svg('text', { x: X(x), y: H - B + 17, 'text-anchor': 'middle' }, x));
  });
  s.append(svg('text', { x: (L + W - R) / 2, y: H - 4, 'text-anchor': 'middle', class: 'soft' }, f.column_axis));
  s.append(svg('text', { x: 4, y: T + 2, class: 'soft halo' }, unit));
  const one = f.values[0][xs.indexOf(1)];
  if (one && xm > 1) { // what twice the workers would give
    const end = Math.min(xm, (most * 1.06) / one);
    s.append(svg('path', { d: `M${X(1)} ${Y(one)}L${X(end)} ${Y(one * end)}`, stroke: 'var(--soft)', 'stroke-dasharray': '3 4', fill: 'none' }));
    s.append(svg('text', { x: X(end) - 6, y: Y(one * end) + 4, 'text-anchor': 'end', class: 'soft halo' }, 'linear'));
  }
  f.rows.forEach((n, r) => {
    const c = COLORS[r % COLORS.length], points = xs.map((x, i) => [x, i]).filter(([, i]) => f.values[r][i] !== null);
    if (!points.length) return;
    const band = points.map(([x, i]) => `${X(x)} ${Y(f.high[r][i])}`).concat(points.slice().reverse().map(([x, i]) => `${X(x)} ${Y(f.low[r][i])}`));
    s.append(svg('path', { d: 'M' + band.join('L') + 'Z', fill: c, opacity: 0.18 }));
    s.append(svg('path', { d: 'M' + points.map(([x, i]) => `${X(x)} ${Y(f.values[r][i])}`).join('L'), stroke: c, 'stroke-width': 2, fill: 'none', 'stroke-dasharray': r % 2 ? '6 3' : 'none' }));
    for (const [x, i] of points)
      s.append(told(svg('circle', { cx: X(x), cy: Y(f.values[r][i]), r: 4, fill: c }), `${n}, ${x} ${f.column_axis}: ${show(f.values[r][i], f.unit)}${between(f, r, i)}` + (one ? `; ${(f.values[r][i] / one).toFixed(2)} times one` : '')));
  });
  return el('div', {}, f.rows.length > 1 ? key(f.rows, true) : null, s);
}

// ---- latencies: percentiles on a logarithmic scale ----
function latency(f) {
  const W = ROOM, H = 290, L = 56, R = 12, T = 14, B = 40, known = [f.values, f.low, f.high].flatMap(flat).filter((v) => v > 0);
  if (!known.length) return null;
  const low = 10 ** Math.floor(Math.log10(Math.min(...known))), high = 10 ** Math.ceil(Math.log10(Math.max(...known) * 1.01));
  const X = (c) => L + 16 + (c / Math.max(1, f.columns.length - 1)) * (W - L - R - 32);
  const Y = (v) => H - B - ((Math.log10(Math.max(v, low)) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))) * (H - T - B);
  const s = canvas(W, H, f.title);
  for (let t = low; t <= high * 1.01; t *= 10) {
    s.append(svg('line', { x1: L, x2: W - R, y1: Y(t), y2: Y(t), class: 'axis' }));
    s.append(svg('text', { x: L - 6, y: Y(t) + 4, 'text-anchor': 'end' }, t >= 1e3 && f.unit === 'us' ? +(t / 1e3).toPrecision(3) + ' ms' : t < 1 && f.unit === 'us' ? +(t * 1e3).toPrecision(3) + ' ns' : show(t, f.unit, 2) + (f.unit === 'us' ? ' \u00b5s' : ' ' + f.unit)));
  }
  f.columns.forEach((n, c) => s.append(svg('text', { x: X(c), y: H - B + 17, 'text-anchor': 'middle' }, n)));
  s.append(svg('text', { x: (L + W - R) / 2, y: H - 4, 'text-anchor': 'middle', class: 'soft' }, f.column_axis));
  f.rows.forEach((n, r) => {
    const c = COLORS[r % COLORS.length], points = f.columns.map((_, i) => i).filter((i) => f.values[r][i] !== null);
    if (!points.length) return;
    s.append(svg('path', { d: 'M' + points.map((i) => `${X(i)} ${Y(f.values[r][i])}`).join('L'), stroke: c, 'stroke-width': 2, fill: 'none', 'stroke-dasharray': r % 2 ? '6 3' : 'none' }));
    for (const i of points) {
      if (f.count[r][i] > 1) s.append(svg('line', { x1: X(i), x2: X(i), y1: Y(f.low[r][i]), y2: Y(f.high[r][i]), stroke: c, 'stroke-width': 5, opacity: 0.3 }));
      s.append(told(svg('circle', { cx: X(i), cy: Y(f.values[r][i]), r: 4, fill: c }), `${n}, ${f.columns[i]}: ${show(f.values[r][i], f.unit)}${between(f, r, i)}`));
    }
  });
  return el('div', {}, key(f.rows, true), s);
}

// ---- bars, with their intervals ----
function bars(f) { // with several columns: a heading for each row, and its columns below
  const several = f.columns.length > 1, lines = [];
  f.rows.forEach((n, r) => {
    const there = f.columns.map((_, c) => c).filter((c) => f.values[r][c] !== null);
    if (several && there.length) lines.push([n]);
    for (const c of there) lines.push([several ? f.columns[c] : n, r, c]);
  });
  if (!lines.length) return null;
  const W = ROOM, H = 24 * lines.length + 26, most = Math.max(...flat(f.high)), R = 84;
  const L = Math.min(200, 16 + 6.7 * Math.max(...lines.filter((i) => i.length > 1).map((i) => i[0].length)));
  const X = (v) => L + (v / most) * (W - L - R), s = canvas(W, H, f.title);
  lines.forEach(([n, r, c], i) => {
    const y = 4 + i * 24;
    if (r === undefined) { s.append(svg('text', { x: 0, y: y + 15, style: 'font-weight:600' }, n)); return; }
    const v = f.values[r][c];
    s.append(svg('text', { x: L - 7, y: y + 14, 'text-anchor': 'end' }, n));
    s.append(told(svg('rect', { x: L, y: y + 2, width: Math.max(1, X(v) - L), height: 16, fill: COLORS[c % COLORS.length], rx: 2 }), `${several ? f.rows[r] + ', ' : ''}${n}: ${show(v, f.unit)}${between(f, r, c)}`));
    if (f.count[r][c] > 1) s.append(svg('path', { d: `M${X(f.low[r][c])} ${y + 10}H${X(f.high[r][c])}M${X(f.low[r][c])} ${y + 5.5}v9M${X(f.high[r][c])} ${y + 5.5}v9`, stroke: 'var(--ink)', 'stroke-width': 1.3, fill: 'none' }));
    s.append(svg('text', { x: X(Math.max(v, f.high[r][c])) + 6, y: y + 14 }, show(v, f.unit)));
  });
  s.append(svg('text', { x: L, y: H - 5, class: 'soft' }, f.better === 'lower' ? 'shorter is better' : 'longer is better'));
  return s;
}

// ---- figures and their table ----
const DRAW = { matrix, curves, latency, bars };
function table(f) {
  const head = el('tr', {}, el('th', {}, ''), ...f.columns.map((c) => el('th', { class: 'n' }, c)));
  const t = el('table', {}, el('thead', {}, head), el('tbody', {}, ...f.rows.map((n, r) => el('tr', {}, el('th', {}, n), ...f.columns.map((_, c) => el('td', { class: 'n' }, f.values[r][c] === null ? '' : show(f.values[r][c], f.unit)))))));
  return el('details', {}, el('summary', {}, 'as a table'), el('div', { class: 'scroll' }, t));
}
function figure(f) {
  const drawn = DRAW[f.kind] ? DRAW[f.kind](f) : null;
  const out = el('figure', { class: 'figure' + (f.kind === 'matrix' && f.columns.length > 40 ? ' wide' : ''), 'data-id': f.id }, el('h3', {}, f.title), el('p', { class: 'what' }, f.what));
  if (!drawn) out.append(el('p', { class: 'soft' }, 'Not measured here; see the notes.'));
  else out.append(el('div', { class: 'scroll' }, drawn));
  if (drawn && f.rows.length * f.columns.length <= 1200) out.append(table(f));
  return out;
}

// ---- the machine, drawn ----
function group(list, by) {
  const m = new Map();
  for (const x of list) { if (!m.has(x[by])) m.set(x[by], []); m.get(x[by]).push(x); }
  return [...m];
}
function topology(machine) {
  const nodes = new Map(machine.nodes.map((n) => [n.node, n])), caches = machine.caches || {};
  const last = Object.keys(caches).pop();
  const core = (cpus) => el('div', { class: 'core', title: cpus.length > 1 ? 'a core with ' + cpus.length + ' hardware threads' : 'a core' }, ...cpus.map((c) => el('div', { class: 'pu' }, String(c.cpu))));
  const ranges = (cpus) => { // "0-7,64-71"
    const out = [];
    for (const c of cpus.map((x) => x.cpu).sort((a, b) => a - b)) {
      const last = out[out.length - 1];
      if (last && c === last[1] + 1) last[1] = c;
      else out.push([c, c]);
    }
    return out.map(([a, b]) => (a === b ? a : a + '-' + b)).join(', ');
  };
  const many = machine.cpus.length > 256; // else each is drawn
  const cores = (cpus) => many ? el('div', {}, `${new Set(cpus.map((c) => c.core)).size} cores, CPUs ${ranges(cpus)}`) : el('div', { class: 'boxes' }, ...group(cpus, 'core').flatMap(([id, c]) => (id < 0 ? c.map((x) => core([x])) : [core(c)])));
  const box = (kind, name, ...inside) => el('div', { class: 'box ' + kind }, el('div', { class: 'name' }, name), ...inside);
  const out = el('div', { class: 'boxes' });
  for (const [p, inPackage] of group(machine.cpus, 'package')) {
    const inside = el('div', { class: 'boxes' });
    for (const [n, inNode] of group(inPackage, 'node')) {
      const grouped = group(inNode, 'cache'), memory = nodes.get(n) ? (nodes.get(n).memory ? ', ' + bytes(nodes.get(n).memory) : ', no memory') : '';
      const all = el('div', { class: 'boxes' }, ...grouped.map(([c, cpus]) => (c < 0 ? cores(cpus) : box('cache', last + ' ' + bytes(caches[last]), cores(cpus)))));
      inside.append(box('node', (n < 0 ? 'node unknown' : 'node ' + n) + memory, all));
    }
    out.append(box('package', p < 0 ? 'package unknown' : 'package ' + p, inside));
  }
  for (const n of machine.nodes.filter((x) => x.cpus === 0)) out.append(box('node', `node ${n.node}, ${bytes(n.memory)}, no CPUs of this process`));
  return out;
}
function distances(machine) {
  const N = machine.nodes;
  if (N.length < 2 || !N[0].distance.length) return null;
  const values = N.map((n) => n.distance);
  return figure({ id: 'firmware', kind: 'matrix', title: 'Distances, as the firmware tells them', what: '10 is a node to itself. Told, not measured.', unit: '', better: 'lower', row_axis: 'from', column_axis: 'to node',
    rows: N.map((n) => 'node ' + n.node), columns: N.map((n) => String(n.node)), values, low: values, high: values, count: values.map((r) => r.map(() => 1)) });
}

// ---- parts of the page ----
function facts(machine, seconds) {
  const m = machine, caches = Object.entries(m.caches || {}).map(([k, v]) => `${k} ${bytes(v)}`).join(', ');
  const rows = [['CPU', m.cpu_model], ['CPUs of this process', `${m.cpus.length} (${m.cores} cores, ${m.last_caches} last-level caches, ${m.nodes.length} nodes, ${m.packages} packages)`],
    ['caches', caches], ['memory', bytes(m.memory)], ['kernel', `${m.kernel}, ${m.architecture}`], ['CPU quota', m.cpu_quota ? m.cpu_quota.toFixed(2) + ' CPUs' : null],
    ['governor', m.governor ? `${m.governor} (${m.frequency_driver || 'driver not told'})` : 'not visible'], ['idle', m.idle_governor ? `${m.idle_governor} (${m.idle_driver})` : null],
    ['clock', m.clock_source], ['huge pages', m.huge_pages], ['weft', `${m.weft}, ${m.compiler}`], ['measured in', seconds ? seconds.toFixed(0) + ' s' : null]];
  return el('table', {}, el('tbody', {}, ...rows.filter((r) => r[1]).map(([k, v]) => el('tr', {}, el('th', {}, k), el('td', {}, v)))));
}
function notes(list, kinds) {
  const wanted = list.filter((n) => kinds.includes(n.kind));
  return wanted.length ? el('ul', { class: 'notes' }, ...wanted.map((n) => el('li', { class: n.kind }, el('b', {}, n.what + ': '), n.text))) : null;
}
function tiles(figures) {
  const by = new Map(figures.map((f) => [f.id, f])), out = [];
  const tile = (value, text) => out.push(el('div', { class: 'tile' }, el('b', {}, value), el('span', {}, text)));
  const span = (id, text) => {
    const v = by.has(id) ? flat(by.get(id).values) : [];
    if (!v.length) return;
    const low = show(Math.min(...v), by.get(id).unit), high = show(Math.max(...v), by.get(id).unit);
    tile(low === high ? low : `${low} \u2013 ${high}`, text);
  };
  span('core_to_core', 'a cache line from core to core');
  span('memory_latency', 'one load from memory');
  const wake = by.get('tier_latency');
  if (wake && flat(wake.values).length) {
    const v = (c) => wake.values.map((r) => r[c]).filter((x) => x !== null);
    if (v(0).length) tile(show(Math.min(...v(0)), 'us'), 'to wake the nearest worker and run there');
    if (v(1).length) tile(show(Math.min(...v(1)), 'us'), 'until the nearest awake worker has stolen');
  }
  for (const [id, text] of [['timer_lateness', 'timer lateness, p99: idle, loaded'], ['ready_lateness', 'descriptor to task, p99: idle, loaded']]) {
    const f = by.get(id);
    if (f && f.values[0][2] !== null) tile(f.values.slice(0, 2).map((r) => (r[2] === null ? '\u2013' : show(r[2], f.unit))).join(', '), text);
  }
  for (const f of figures.filter((x) => x.id.endsWith('_workers'))) {
    const row = f.values[0].map((v, i) => [v, i]).filter(([v]) => v !== null);
    if (!row.length) continue;
    const best = row.reduce((a, b) => (b[0] > a[0] ? b : a)), one = row[0][0];
    tile(show(best[0], f.unit), `${f.section}: most, with ${f.columns[best[1]]} worker${best[1] ? 's' : ''}` + (best[1] > 0 ? `; ${(best[0] / one).toFixed(1)} times one` : ''));
  }
  return el('div', { class: 'tiles' }, ...out);
}
const SECTIONS = { cores: ['Between cores', 'What the machine itself takes to bring a cache line from one CPU to another. Nothing of weft is in it.'],
  workers: ['Between workers', 'What weft takes to bring work from one worker to another, each bound to a CPU.'],
  memory: ['Memory', 'Dependent loads and streams, from CPUs to memory of each node.'],
  lateness: ['Lateness', 'How long after its time a task runs. The lines marked "a thread" are the kernel alone: what lies above them is weft\u2019s share.'] };

function report() {
  const m = data.machine;
  page.append(el('h1', {}, data.title), el('p', { class: 'soft' }, `${data.label} \u00b7 ${data.date.replace('T', ' ').replace('Z', ' UTC')} \u00b7 ${data.rounds} rounds \u00b7 up to ${data.workers} workers`));
  page.append(tiles(data.figures));
  const noise = notes(data.notes, ['noise']);
  page.append(el('h2', {}, 'What disturbed'), noise || el('p', { class: 'soft' }, 'Nothing was seen: no other load, no time stolen or throttled, no change of speed.'));
  page.append(el('h2', {}, 'The machine'), el('div', { class: 'scroll' }, topology(m)), el('p', { class: 'what', style: 'margin-top:8px' }, 'Boxes: packages, NUMA nodes, last-level caches (dashed), cores with the numbers of their CPUs.'));
  const told_ = distances(m);
  page.append(el('div', { class: 'grid' }, el('div', {}, el('div', { class: 'scroll' }, facts(m, data.seconds))), told_));
  const domains = notes(data.notes, ['domains']), limits = notes(data.notes, ['limit']);
  if (domains) page.append(el('h3', { style: 'margin-top:14px' }, 'Groups of CPUs that show in the latencies'), domains);
  if (limits) page.append(el('h3', { style: 'margin-top:14px' }, 'To be kept in mind'), limits);
  for (const [name, figures] of group(data.figures, 'section')) {
    const [title, text] = SECTIONS[name] || [name, ''];
    page.append(el('h2', {}, title), text ? el('p', { class: 'soft' }, text) : '', el('div', { class: 'grid' }, ...figures.map(figure)));
  }
  const missing = notes(data.notes, ['missing']);
  if (missing) page.append(el('h2', {}, 'Not measured'), missing);
  page.append(el('p', { class: 'what', style: 'margin-top:24px' }, 'Each figure is the median of its samples; shades, thin bars and "95 %" are intervals by resampling rounds and samples. All samples are in the .json beside this page; weft-bench compare sets two of them side by side.'));
}

// ---- comparison ----
function comparison() {
  const { a, b, cells } = data, count = { real: 0, perhaps: 0, none: 0, few: 0 };
  for (const c of cells) count[c.verdict]++;
  page.append(el('h1', {}, `${a.label} and ${b.label}`), el('p', { class: 'soft' }, 'A is the first, B the second; a ratio is B / A.'));
  page.append(el('div', { class: 'tiles' }, ...[[cells.length, 'figures in both'], [count.real, count.real === 1 ? 'difference is real' : 'differences are real'], [count.perhaps, 'perhaps'], [count.none, 'no difference seen'], [count.few, 'too few samples']].map(([n, t]) => el('div', { class: 'tile' }, el('b', {}, String(n)), el('span', {}, t)))));
  page.append(el('p', { class: 'what' }, 'Real: the interval leaves out 1 even when all comparisons together may be wrong with 5 % only, and the difference is 1 % or more. Perhaps: at 95 % for this one alone. The bars are the 95 % intervals of the ratio.'));
  page.append(el('div', { class: 'grid' }, ...[['A', a], ['B', b]].map(([n, s]) => el('div', {}, el('h3', {}, `${n}: ${s.label}, ${s.date.slice(0, 16).replace('T', ' ')}`), el('div', { class: 'scroll' }, facts(s.machine, s.seconds)), notes(s.notes, ['noise'])))));
  for (const [, list] of group(cells, 'id')) {
    const shown = list.length > 40 ? list.filter((c) => c.says.startsWith('B')).slice(0, 40) : list;
    page.append(el('h2', {}, list[0].title), el('p', { class: 'what' }, `${list[0].what.replace(/\.$/, '')}. ${list[0].better === 'lower' ? 'Lower' : 'Higher'} is better.` + (shown.length < list.length ? ` ${shown.length} of ${list.length} shown, those that differ.` : '')));
    const reach = Math.max(0.05, ...shown.flatMap((c) => [Math.abs(Math.log(c.low)), Math.abs(Math.log(c.high))]).filter(Number.isFinite)), W = 190;
    const X = (r) => W / 2 + (Math.max(-reach, Math.min(reach, Math.log(r))) / reach) * (W / 2 - 6);
    const rows = shown.map((c) => {
      const s = canvas(W, 20, c.says), kind = !c.says.startsWith('B') ? '' : c.says.includes('better') ? 'better' : 'worse';
      const ink = kind ? `var(--${kind === 'better' ? 'good' : 'bad'})` : 'var(--soft)';
      s.append(svg('line', { x1: W / 2, x2: W / 2, y1: 0, y2: 20, class: 'axis' }));
      if (c.ratio !== null && c.low !== null && c.high !== null) {
        s.append(svg('line', { x1: X(c.low), x2: X(c.high), y1: 10, y2: 10, stroke: ink, 'stroke-width': 5, opacity: 0.45 }));
        s.append(told(svg('circle', { cx: X(c.ratio), cy: 10, r: 4.5, fill: ink }), `${c.ratio.toFixed(3)}, 95 % between ${c.low.toFixed(3)} and ${c.high.toFixed(3)}`));
      }
      return el('tr', {}, el('td', {}, `${c.row}, ${c.column}`), el('td', { class: 'n hide-small' }, show(c.a, c.unit)), el('td', { class: 'n hide-small' }, show(c.b, c.unit)),
        el('td', { class: 'n' }, c.ratio === null ? '\u2013' : '\u00d7\u2009' + c.ratio.toFixed(2)), el('td', {}, s), el('td', { class: (c.verdict === 'real' ? 'real ' : '') + kind }, c.says));
    });
    page.append(shown.length ? el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, el('th', {}, ''), el('th', { class: 'n hide-small' }, 'A'), el('th', { class: 'n hide-small' }, 'B'), el('th', { class: 'n' }, 'B / A'), el('th', {}, `\u00d7\u2009${digits(Math.exp(-reach))} to \u00d7\u2009${digits(Math.exp(reach))}`), el('th', {}, ''))), el('tbody', {}, ...rows))) : el('p', { class: 'soft' }, 'No differences seen.'));
  }
}

if (data.format === 'weft-bench comparison') comparison();
else report();
window.addEventListener('beforeprint', () => { for (const d of document.querySelectorAll('details')) if (d.querySelectorAll('tr').length <= 14) d.open = true; });
document.documentElement.dataset.drawn = 'yes'; // for tests: nothing above has failed

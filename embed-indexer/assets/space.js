// The map of an index: points on a canvas, drawn pixel by pixel, which keeps up with a million of them and needs no
// graphics card. The points are in the page, or come from the server that shows it.

const $ = (id) => document.getElementById(id);
const NONE = 65535;
const SQUARE = 65536;
const COLOURS = ['#3b7dd8', '#e5484d', '#30a46c', '#f5a623', '#8e4ec6', '#12a5b8', '#d6409f', '#8d6e3f', '#7c9a1e', '#5b5bd6', '#f76b15', '#0f766e'];
const OTHERS = '#8b8d98';
// Points that are drawn while the map moves.
const WHILE_MOVING = 250000;

const points = $('points'), marks = $('marks');
const served = !$('points-data');
const dark = matchMedia('(prefers-color-scheme: dark)');
const view = { scale: 1, x: 0, y: 0 };
let map, order, drawn, grid, selected, chosen = 0, pixels, image, pen, ratio = 1;
let hovered = -1, pinned = -1, lassoing = false, path = null, moving = 0, thumbnails = null;

// --- Reading

function bytes(text) {
  const binary = atob(text.trim());
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}

async function read() {
  const packed = served ? (await ask()).body : new Blob([bytes($('points-data').textContent)]).stream();
  const plain = await new Response(packed.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
  const length = new DataView(plain).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(plain, 4, length)));
  if (head.version !== 1) throw new Error(`this page reads version 1 of points, not ${head.version}`);
  const column = (name) => {
    const found = head.columns[name];
    if (!found) return null;
    const start = 4 + length + found.start;
    if (found.type === 'u16') return new Uint16Array(plain, start, found.length / 2);
    if (found.type === 'u32') return new Uint32Array(plain, start, found.length / 4);
    return new Uint8Array(plain, start, found.length);
  };
  const read = { ...head, n: head.points };
  for (const name of ['x', 'y', 'row', 'class', 'layer', 'day', 'lon', 'lat', 'ids']) read[name] = column(name);
  return read;
}

async function ask() {
  const reply = await fetch('/api/map');
  if (!reply.ok) {
    const problem = await reply.json();
    throw new Error([problem.error, problem.hint].filter(Boolean).join(' – '));
  }
  return reply;
}

// Where the ids begin: they lie one behind the other, each with a zero at its end.
function starts() {
  if (!map.starts) {
    map.starts = new Uint32Array(map.n + 1);
    for (let i = 0, at = 0; i < map.ids.length; i++) if (map.ids[i] === 0) map.starts[++at] = i + 1;
  }
  return map.starts;
}

function id(point) {
  const at = starts();
  return new TextDecoder().decode(map.ids.subarray(at[point], at[point + 1] - 1));
}

// A fixed random order, so that what is drawn last, and what is drawn while the map moves, favours nothing.
function shuffled(n) {
  const out = new Uint32Array(n);
  for (let i = 0; i < n; i++) out[i] = i;
  let state = 12345;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor(state / 4294967296 * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

// Points by cells of 256 steps.
function cells() {
  const first = new Uint32Array(65537);
  const cell = (i) => (map.y[i] >> 8) << 8 | map.x[i] >> 8;
  for (let i = 0; i < map.n; i++) first[cell(i) + 1]++;
  for (let i = 0; i < 65536; i++) first[i + 1] += first[i];
  const next = first.slice(), list = new Uint32Array(map.n);
  for (let i = 0; i < map.n; i++) list[next[cell(i)]++] = i;
  return { first, list };
}

// --- Colours

const packed = (hex) => {
  const n = parseInt(hex.slice(1), 16);
  return (255 << 24 | (n & 255) << 16 | (n >> 8 & 255) << 8 | n >> 16) >>> 0;
};

function hsl(hue, saturation, lightness) {
  const a = saturation * Math.min(lightness, 1 - lightness);
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return (255 << 24 | part(4) << 16 | part(8) << 8 | part(0)) >>> 0;
}

function edges(column) {
  let [low, high] = [NONE, 0];
  for (const value of column) if (value !== NONE) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

const degrees = (step, span) => `${(step / 65534 * span - span / 2).toFixed(1)}°`;

// From violet over green to yellow.
const ramp = (share) => hsl(270 - 215 * share, 0.75, (dark.matches ? 0.5 : 0.42) + 0.1 * share);
const css = (colour) => `rgb(${colour & 255} ${colour >> 8 & 255} ${colour >> 16 & 255})`;

function ways() {
  const found = [];
  if (map.classes.length) found.push(['class', 'by class']);
  if (map.layers.length > 1) found.push(['layer', 'by layer']);
  if (map.days.length > 1) found.push(['day', 'by date']);
  if (map.lon) found.push(['place', 'by place']);
  found.push(['none', 'all alike']);
  return found;
}

// A colour for every point, and what is said of it.
function colours(way) {
  const out = new Uint32Array(map.n), legend = [];
  const others = packed(OTHERS);
  if (way === 'class' || way === 'layer') {
    const names = way === 'class' ? map.classes : map.layers;
    const counts = new Uint32Array(names.length + 1);
    for (const number of map[way]) counts[number === NONE ? names.length : number]++;
    const ranked = [...names.keys()].sort((a, b) => counts[b] - counts[a] || a - b);
    const own = new Uint32Array(names.length + 1).fill(others);
    ranked.forEach((number, rank) => { if (rank < COLOURS.length) own[number] = packed(COLOURS[rank]); });
    for (let i = 0; i < map.n; i++) out[i] = own[map[way][i] === NONE ? names.length : map[way][i]];
    for (const number of ranked) legend.push({ colour: css(own[number]), name: names[number], count: counts[number], has: (i) => map[way][i] === number });
    if (counts[names.length]) legend.push({ colour: css(others), name: 'none', count: counts[names.length], has: (i) => map[way][i] === NONE });
  } else if (way === 'day') {
    const times = map.days.map((day) => Date.parse(day));
    const [low, high] = [times[0], times[times.length - 1]];
    const own = times.map((time) => (Number.isFinite(time) ? ramp((time - low) / (high - low || 1)) : others));
    for (let i = 0; i < map.n; i++) out[i] = map.day[i] === NONE ? others : own[map.day[i]];
    legend.push({ ramp: [map.days[0], map.days[map.days.length - 1]] });
  } else if (way === 'place') {
    const [west, east] = edges(map.lon), [south, north] = edges(map.lat);
    for (let i = 0; i < map.n; i++) {
      out[i] = map.lon[i] === NONE ? others
        : hsl(300 * (map.lon[i] - west) / (east - west || 1), 0.75, 0.28 + 0.4 * (map.lat[i] - south) / (north - south || 1));
    }
    legend.push({ text: `Hue from west, red, to east, violet; dark in the south, light in the north: ${degrees(south, 180)} to ${degrees(north, 180)}, ${degrees(west, 360)} to ${degrees(east, 360)}` });
  } else {
    out.fill(packed(COLOURS[0]));
  }
  return [out, legend];
}

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function recolour() {
  const [own, legend] = colours($('colour').value);
  for (let i = 0; i < map.n; i++) drawn.colour[i] = own[order[i]];
  $('legend').replaceChildren(...legend.map((entry) => {
    if (entry.text) return element('li', { textContent: entry.text });
    if (entry.ramp) {
      const bar = element('i', { className: 'ramp' });
      bar.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map((share) => css(ramp(share))).join(',')})`;
      return element('li', {}, bar, `${entry.ramp[0]} to ${entry.ramp[1]}`);
    }
    const dot = element('i', {});
    dot.style.background = entry.colour;
    const button = element('button', { type: 'button', title: 'Select all of these' }, dot, entry.name, element('span', { textContent: entry.count.toLocaleString() }));
    button.onclick = () => select(entry.has);
    return element('li', {}, button);
  }));
  paint();
}

// --- Drawing

function fit() {
  ratio = Math.min(devicePixelRatio || 1, 2);
  for (const canvas of [points, marks]) {
    canvas.width = Math.max(1, Math.round(innerWidth * ratio));
    canvas.height = Math.max(1, Math.round(innerHeight * ratio));
  }
  pen = points.getContext('2d');
  image = pen.createImageData(points.width, points.height);
  pixels = new Uint32Array(image.data.buffer);
}

function whole() {
  const room = $('panel').getBoundingClientRect();
  const narrow = room.right > innerWidth * 0.6;
  const left = narrow ? 0 : room.right, top = narrow ? room.bottom : 0;
  const [w, h] = [(innerWidth - left) * ratio, (innerHeight - top) * ratio];
  view.scale = 0.94 * Math.min(w, h) / SQUARE;
  view.x = left * ratio + (w - SQUARE * view.scale) / 2;
  view.y = top * ratio + (h - SQUARE * view.scale) / 2;
  paint();
}

// Pixels of a point's side: few points are large, and closer ones grow.
function size() {
  const least = Math.sqrt(points.width * points.height / map.n) / 6;
  const closer = view.scale * SQUARE / Math.min(points.width, points.height);
  return Math.max(1, Math.min(9 * ratio, Math.round(Math.max(ratio, least) * Math.sqrt(Math.max(1, closer)))));
}

function dot(x, y, side, colour, width, height) {
  const half = side >> 1, corner = side > 3 ? (side > 8 ? 2 : 1) : 0;
  for (let dy = 0; dy < side; dy++) {
    const row = y - half + dy;
    if (row < 0 || row >= height) continue;
    const cut = Math.max(0, corner - Math.min(dy, side - 1 - dy));
    const from = Math.max(0, x - half + cut), to = Math.min(width, x - half + side - cut);
    for (let at = row * width + from, end = row * width + to; at < end; at++) pixels[at] = colour;
  }
}

function draw() {
  moving = 0;
  const begun = performance.now();
  const { width, height } = points;
  const still = !dragged.size;
  const count = still ? map.n : Math.min(map.n, WHILE_MOVING);
  pixels.fill(dark.matches ? 0xff141211 : 0xffffffff);
  const { x: xs, y: ys, colour } = drawn;
  const { scale, x, y } = view, side = size();
  const edge = side + 1;
  for (let i = 0; i < count; i++) {
    const px = xs[i] * scale + x | 0, py = (65534 - ys[i]) * scale + y | 0;
    if (px < -edge || py < -edge || px > width + edge || py > height + edge) continue;
    if (side === 1) { if (px >= 0 && py >= 0 && px < width && py < height) pixels[py * width + px] = colour[i]; }
    else dot(px, py, side, colour[i], width, height);
  }
  if (chosen) {
    const [rim, heart] = dark.matches ? [0xffffffff, 0xff141211] : [0xff000000, 0xffffffff];
    for (let i = 0; i < count; i++) {
      if (!selected[order[i]]) continue;
      const px = xs[i] * scale + x | 0, py = (65534 - ys[i]) * scale + y | 0;
      if (px < -edge || py < -edge || px > width + edge || py > height + edge) continue;
      dot(px, py, side + 2 * ratio | 0, rim, width, height);
      if (side > 3) dot(px, py, side - 2, heart, width, height);
      if (side > 5) dot(px, py, side - 4, colour[i], width, height);
    }
  }
  pen.putImageData(image, 0, 0);
  mark();
  points.dataset.view = [scale, x, y].join();
  points.dataset.ms = (performance.now() - begun).toFixed(1);
}

function paint() {
  if (!moving) moving = requestAnimationFrame(draw);
}

// The lasso, and a ring round the point that is told of.
function mark() {
  const pencil = marks.getContext('2d');
  pencil.clearRect(0, 0, marks.width, marks.height);
  pencil.strokeStyle = '#0a6cff';
  pencil.lineWidth = 2 * ratio;
  const told = pinned >= 0 ? pinned : hovered;
  if (told >= 0) {
    const [px, py] = at(told);
    pencil.beginPath();
    pencil.arc(px, py, size() / 2 + 4 * ratio, 0, 2 * Math.PI);
    pencil.stroke();
  }
  if (path) {
    pencil.beginPath();
    path.forEach(([px, py], i) => (i ? pencil.lineTo(px, py) : pencil.moveTo(px, py)));
    pencil.closePath();
    pencil.fillStyle = 'rgb(10 108 255 / 15%)';
    pencil.fill();
    pencil.stroke();
  }
}

const at = (point) => [map.x[point] * view.scale + view.x, (65534 - map.y[point]) * view.scale + view.y];
const back = (px, py) => [(px - view.x) / view.scale, 65534 - (py - view.y) / view.scale];

// --- Looking at points

function nearest(px, py) {
  const reach = 14 * ratio / view.scale;
  const [x, y] = back(px, py);
  const [left, right] = [x - reach, x + reach].map((value) => Math.max(0, Math.min(255, value >> 8)));
  const [low, high] = [y - reach, y + reach].map((value) => Math.max(0, Math.min(255, value >> 8)));
  let found = -1, least = reach * reach;
  for (let row = low; row <= high; row++) {
    for (let i = grid.first[row << 8 | left], end = grid.first[(row << 8 | right) + 1]; i < end; i++) {
      const point = grid.list[i];
      const away = (map.x[point] - x) ** 2 + (map.y[point] - y) ** 2;
      if (away < least) [found, least] = [point, away];
    }
  }
  return found;
}

function tell(point) {
  $('card').hidden = point < 0;
  if (point < 0) return;
  const words = [id(point)];
  if (map.class && map.class[point] !== NONE) words.push(map.classes[map.class[point]]);
  if (map.day && map.day[point] !== NONE) words.push(map.days[map.day[point]]);
  if (map.layer && map.layer[point] !== NONE) words.push(map.layers[map.layer[point]]);
  if (map.lon && map.lon[point] !== NONE) {
    words.push(`${degrees(map.lat[point], 180)}, ${degrees(map.lon[point], 360)}`);
  }
  $('what').textContent = words.join(' · ');
  $('pick').textContent = selected[point] ? 'Leave out' : 'Select';
  $('card').dataset.row = map.row[point];
  $('more').hidden = !served;
  $('more').href = `/?like=${map.row[point]}`;
  show(point);
}

function show(point) {
  const frame = $('picture');
  frame.removeAttribute('style');
  if (served) {
    const source = `/api/tiles/${map.row[point]}/image`;
    if (frame.firstChild?.getAttribute('src') !== source) {
      const picture = element('img', { src: source, alt: id(point) });
      picture.onerror = () => picture.remove();
      frame.replaceChildren(picture);
    }
    return;
  }
  const number = thumbnails.points.get(point);
  if (number === undefined) return;
  const { columns, sheets } = thumbnails, each = columns * columns;
  const sheet = Math.floor(number / each), place = number % each;
  sheets[sheet].url ??= URL.createObjectURL(new Blob([bytes(sheets[sheet].node.textContent)], { type: 'image/jpeg' }));
  const side = frame.clientWidth || 190;
  const rows = Math.ceil(Math.min(each, thumbnails.points.size - sheet * each) / columns);
  frame.style.backgroundImage = `url(${sheets[sheet].url})`;
  frame.style.backgroundSize = `${columns * side}px ${rows * side}px`;
  frame.style.backgroundPosition = `${-(place % columns) * side}px ${-Math.floor(place / columns) * side}px`;
}

// --- Selecting

function count() {
  chosen = 0;
  for (let i = 0; i < map.n; i++) chosen += selected[i];
  $('bar').hidden = !chosen;
  $('chosen').textContent = `${chosen.toLocaleString()} selected`;
  paint();
}

function select(has) {
  for (let i = 0; i < map.n; i++) if (has(i)) selected[i] = 1;
  count();
}

function surround(polygon) {
  const ring = polygon.map(([px, py]) => back(px, py));
  const [xs, ys] = [ring.map((p) => p[0]), ring.map((p) => p[1])];
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  select((i) => {
    const x = map.x[i], y = map.y[i];
    if (x < left || x > right || y < low || y > high) return false;
    let inside = false;
    for (let a = 0, b = ring.length - 1; a < ring.length; b = a++) {
      if ((ring[a][1] > y) !== (ring[b][1] > y) && x < (ring[b][0] - ring[a][0]) * (y - ring[a][1]) / (ring[b][1] - ring[a][1]) + ring[a][0]) inside = !inside;
    }
    return inside;
  });
}

// The same lines that the search page saves, for `swipe-labeler serve --queue`.
function save() {
  const parts = [];
  for (let i = 0; i < map.n; i++) if (selected[i]) parts.push(id(i) + '\n');
  const link = element('a', { href: URL.createObjectURL(new Blob(parts, { type: 'text/plain' })), download: 'selection.txt' });
  link.click();
  URL.revokeObjectURL(link.href);
}

function lasso(on) {
  lassoing = on;
  $('lasso').setAttribute('aria-pressed', on);
  points.classList.toggle('lasso', on);
}

// --- Moving

function zoom(by, px, py) {
  const scale = Math.max(0.3 * Math.min(points.width, points.height) / SQUARE, Math.min(40 * ratio, view.scale * by));
  view.x = px - (px - view.x) * scale / view.scale;
  view.y = py - (py - view.y) * scale / view.scale;
  view.scale = scale;
  paint();
}

const dragged = new Map();
const place = (event) => [event.clientX * ratio, event.clientY * ratio];
let travelled = 0;

points.onpointerdown = (event) => {
  points.setPointerCapture(event.pointerId);
  dragged.set(event.pointerId, place(event));
  travelled = dragged.size > 1 ? Infinity : 0;
  path = dragged.size === 1 && (lassoing || event.shiftKey) ? [place(event)] : null;
};

points.onpointermove = (event) => {
  const now = place(event), before = dragged.get(event.pointerId);
  if (!before) {
    if (event.pointerType === 'mouse') hover(nearest(...now));
    return;
  }
  travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
  if (path) {
    path.push(now);
    mark();
  } else if (dragged.size === 2) {
    const other = [...dragged].find(([key]) => key !== event.pointerId)[1];
    const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
    view.x += (now[0] - before[0]) / 2;
    view.y += (now[1] - before[1]) / 2;
    zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else if (travelled > 4 * ratio) {
    view.x += now[0] - before[0];
    view.y += now[1] - before[1];
    paint();
  }
  dragged.set(event.pointerId, now);
};

points.onpointerup = points.onpointercancel = (event) => {
  const last = dragged.get(event.pointerId);
  dragged.delete(event.pointerId);
  if (path) {
    const polygon = path;
    path = null;
    if (event.type === 'pointerup' && polygon.length > 2) surround(polygon);
    if (!event.shiftKey) lasso(false);
    mark();
  } else if (last && travelled <= 4 * ratio && event.type === 'pointerup') {
    pinned = nearest(...last);
    tell(pinned);
  }
  paint();
};

points.onpointerleave = () => { if (!dragged.size) hover(-1); };
points.onwheel = (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
};

function hover(point) {
  if (point === hovered) return;
  hovered = point;
  if (pinned < 0) tell(point);
  mark();
}

function key(event) {
  if (event.target.matches('select, button, a') && event.key !== 'Escape') return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = 60 * ratio, middle = [points.width / 2, points.height / 2];
  const act = {
    ArrowLeft: () => { view.x += step; }, ArrowRight: () => { view.x -= step; },
    ArrowUp: () => { view.y += step; }, ArrowDown: () => { view.y -= step; },
    '+': () => zoom(1.4, ...middle), '=': () => zoom(1.4, ...middle), '-': () => zoom(1 / 1.4, ...middle),
    0: whole, l: () => lasso(!lassoing),
    Escape: () => { lasso(false); path = null; pinned = -1; tell(hovered); },
  }[event.key];
  if (!act) return;
  act();
  paint();
  event.preventDefault();
}

// --- Beginning

async function begin() {
  fit();
  map = await read();
  order = shuffled(map.n);
  drawn = { x: new Uint16Array(map.n), y: new Uint16Array(map.n), colour: new Uint32Array(map.n) };
  for (let i = 0; i < map.n; i++) [drawn.x[i], drawn.y[i]] = [map.x[order[i]], map.y[order[i]]];
  selected = new Uint8Array(map.n);
  grid = cells();
  if (!served) {
    const { columns, points: with_picture } = JSON.parse($('thumbnails').textContent);
    const sheets = [...document.querySelectorAll('.sheet')].map((node) => ({ node }));
    thumbnails = { columns, sheets, points: new Map(with_picture.map((point, number) => [point, number])) };
  }
  document.title = `${map.index} · map`;
  document.querySelector('h1').textContent = map.index;
  const all = map.rows > map.n ? ` of ${map.rows.toLocaleString()}, evenly taken` : '';
  $('facts').textContent = `${map.n.toLocaleString()} tiles${all}. Near points look alike.`;
  $('colour').replaceChildren(...ways().map(([value, name]) => element('option', { value, textContent: name })));
  $('coloured').hidden = ways().length < 2;
  $('search').hidden = !served;
  $('colour').onchange = recolour;
  $('lasso').onclick = () => lasso(!lassoing);
  $('whole').onclick = whole;
  $('save').onclick = save;
  $('clear').onclick = () => { selected.fill(0); count(); };
  $('pick').onclick = () => {
    const point = pinned >= 0 ? pinned : hovered;
    selected[point] ^= 1;
    count();
    tell(point);
  };
  onkeydown = key;
  onresize = () => { fit(); whole(); };
  dark.onchange = recolour;
  recolour();
  whole();
  points.dataset.ready = 'yes';
}

begin().catch((error) => { $('facts').textContent = `The map cannot be shown: ${error.message}`; });

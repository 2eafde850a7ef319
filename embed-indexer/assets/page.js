// Search page: pictures, rows and places that show what is looked for, rows that do not, and the answers.
import { drawMap, onPlace } from '/assets/map.js';
import { viewOf } from '/assets/view.js';

const $ = (id) => document.getElementById(id);
const state = { picture: null, source: null, place: null, like: new Map(), unlike: new Map(), hits: [], selected: new Set(), asked: 0 };

const say = (text) => { $('status').textContent = text; };

async function ask() {
  const number = ++state.asked;
  const parameters = new URLSearchParams(new FormData($('filters')));
  for (const [name, value] of [...parameters]) if (!value) parameters.delete(name);
  if (state.like.size) parameters.set('like', [...state.like.keys()].join(','));
  if (state.unlike.size) parameters.set('unlike', [...state.unlike.keys()].join(','));
  if (state.place) parameters.set('at', state.place.join(','));
  if (!state.picture && !state.like.size && !state.place) { show([]); say(''); return; }
  say('Searching…');
  const begun = performance.now();
  try {
    const reply = await fetch('/api/search?' + parameters,
      state.picture ? { method: 'POST', body: state.picture } : {});
    const answer = await reply.json();
    if (number !== state.asked) return;
    if (!reply.ok) { say([answer.error, answer.hint].filter(Boolean).join(' – ')); return; }
    const gone = answer.missing.length ? `, without ${answer.missing.length} damaged parts` : '';
    say(`${answer.hits.length} tiles in ${Math.round(performance.now() - begun)} ms${gone}`);
    show(answer.hits);
  } catch { say('The server does not answer. Is it still running?'); }
}

function show(hits) {
  state.hits = hits;
  $('hits').replaceChildren(...hits.map(card));
  drawMap(hits, state.place);
}

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const picture = (row) => `/api/tiles/${row}/image`;

function move(hit, set) {
  set.set(hit.row, picture(hit.row));
  draw();
  ask();
}

function choose(hit, node) {
  if (!state.selected.delete(hit.tile_id)) state.selected.add(hit.tile_id);
  node.classList.toggle('selected', state.selected.has(hit.tile_id));
  node.setAttribute('aria-pressed', state.selected.has(hit.tile_id));
  $('save').hidden = !state.selected.size;
  $('save').textContent = `Save selection (${state.selected.size})`;
}

function card(hit) {
  const button = (label, title, act) => element('button', { type: 'button', textContent: label, title, onclick: act });
  const day = [hit.time?.slice(0, 10), hit.more_here ? `+${hit.more_here} here` : ''].filter(Boolean).join(' · ');
  const buttons = [
    button('More', 'Look for this one too', () => move(hit, state.like)),
    button('Less', 'Not like this one', () => move(hit, state.unlike))];
  if (hit.worldview) {
    buttons.push(element('a', { href: hit.worldview, target: '_blank', rel: 'noopener', textContent: 'Worldview', title: 'This place and day in NASA Worldview' }));
  }
  const image = element('img', { src: picture(hit.row), alt: hit.tile_id, loading: 'lazy', width: 138, height: 138 });
  const node = element('li', { tabIndex: 0 }, image,
    element('p', { className: 'meta', title: hit.tile_id },
      element('span', { className: 'score', textContent: hit.score.toFixed(3) }), ` ${day} ${hit.tile_id}`),
    element('div', { className: 'buttons' }, ...buttons));
  image.onclick = () => choose(hit, node);
  node.classList.toggle('selected', state.selected.has(hit.tile_id));
  node.onkeydown = (event) => key(event, hit, node);
  return node;
}

function key(event, hit, node) {
  if (event.target !== node) return;
  const columns = getComputedStyle($('hits')).gridTemplateColumns.split(' ').length;
  const cards = [...$('hits').children];
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (step) cards[cards.indexOf(node) + step]?.focus();
  else if (event.key === '+') move(hit, state.like);
  else if (event.key === '-') move(hit, state.unlike);
  else if (event.key === ' ') choose(hit, node);
  else if (event.key === 'w' && hit.worldview) open(hit.worldview, '_blank', 'noopener');
  else return;
  event.preventDefault();
}

function draw() {
  const example = (source, className, alt, remove) => element('div', { className: 'example ' + className },
    element('img', { src: source, alt, width: 72, height: 72 }),
    element('button', { type: 'button', textContent: '×', ariaLabel: 'Remove ' + alt, onclick: () => { remove(); draw(); ask(); } }));
  const examples = [];
  if (state.picture) examples.push(example(state.source, '', 'your picture', () => { state.picture = null; }));
  for (const [row, source] of state.like) examples.push(example(source, '', `tile ${row}`, () => state.like.delete(row)));
  for (const [row, source] of state.unlike) examples.push(example(source, 'unlike', `unlike tile ${row}`, () => state.unlike.delete(row)));
  if (state.place) {
    const [lon, lat] = state.place;
    examples.push(element('button', { type: 'button', textContent: `${lat}°, ${lon}° ×`, ariaLabel: 'Remove the place', onclick: () => { state.place = null; draw(); ask(); } }));
  }
  $('examples').replaceChildren(...examples);
}

function take(file) {
  if (!file) return;
  state.picture = file;
  if (state.source) URL.revokeObjectURL(state.source);
  state.source = URL.createObjectURL(file);
  draw();
  ask();
}

function save() {
  const text = [...state.selected].join('\n') + '\n';
  const link = element('a', { href: URL.createObjectURL(new Blob([text], { type: 'text/plain' })), download: 'selection.txt' });
  link.click();
  URL.revokeObjectURL(link.href);
}

$('file').onchange = (event) => take(event.target.files[0]);
$('drop').onkeydown = (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); $('file').click(); } };
$('save').onclick = save;
addEventListener('paste', (event) => take([...event.clipboardData.files][0]));
addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
addEventListener('dragleave', () => $('drop').classList.remove('over'));
addEventListener('drop', (event) => { event.preventDefault(); $('drop').classList.remove('over'); take(event.dataTransfer.files[0]); });
$('filters').onchange = ask;
$('filters').onsubmit = (event) => { event.preventDefault(); ask(); };
onPlace((place) => { state.place = place; draw(); ask(); });

const index = await (await fetch('/api/index')).json();
const recall = index.quality?.recall_at_10;
$('facts').textContent = [`${index.rows.toLocaleString()} tiles`, recall ? `finds ${(100 * recall).toFixed(1)} % of the nearest` : ''].filter(Boolean).join(' · ');
if (!index.pictures) $('drop').hidden = true;
if (index.map) $('space').hidden = false;
if (index.missing.length) say(`${index.missing.length} parts of the index are damaged and not searched`);
// A bookmark may open the page with a view: ?bbox=W,S,E,N&layer=…&date=YYYY-MM-DD
const asked = new URLSearchParams(location.search);
// The map opens it with a row: ?like=ROW
const row = asked.get('like') ?? '';
if (/^\d{1,9}$/.test(row)) state.like.set(Number(row), picture(row));
const box = asked.get('bbox')?.split(',').map(Number);
if (box?.length === 4 && box.every(Number.isFinite)) {
  const day = asked.get('date') ?? '';
  for (const [name, value] of [['layer', asked.get('layer') ?? ''], ['from', day], ['to', day]]) $('filters').elements[name].value = value;
  state.place = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2].map((x) => Number(x.toFixed(4)));
}
// The bookmarklet opens it with what NASA Worldview shows: ?view=…
const view = asked.get('view') ? viewOf(asked.get('view')) : null;
if (view && !view.problem) {
  const layer = view.layers.find((name) => index.parts.some(([part]) => part.startsWith(name + '_'))) ?? '';
  for (const [name, value] of [['layer', layer], ['from', view.date], ['to', view.date]]) $('filters').elements[name].value = value;
  state.place = view.middle.map((x) => Number(x.toFixed(4)));
}
draw();
if (index.places) {
  $('world').hidden = $('elsewhere').hidden = false;
  $('bookmarklet').href = `javascript:void open('${location.origin}/?view='+encodeURIComponent(location.search))`;
  $('bookmarklet').onclick = (event) => { event.preventDefault(); say('Drag it to your bookmarks, then press it on NASA Worldview'); };
}
ask();
if (view?.problem) say(view.problem);

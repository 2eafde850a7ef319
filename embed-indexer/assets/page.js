// Search page: pictures and rows that show what is looked for, rows that do not, and the answers.
'use strict';
const $ = (id) => document.getElementById(id);
const state = { picture: null, like: new Map(), unlike: new Map(), asked: 0 };

const say = (text) => { $('status').textContent = text; };

async function ask() {
  const number = ++state.asked;
  const parameters = new URLSearchParams(new FormData($('filters')));
  for (const [name, value] of [...parameters]) if (!value) parameters.delete(name);
  parameters.set('like', [...state.like.keys()].join(','));
  parameters.set('unlike', [...state.unlike.keys()].join(','));
  if (!state.picture && !state.like.size) { $('hits').replaceChildren(); say(''); return; }
  say('Searching…');
  const begun = performance.now();
  try {
    const reply = await fetch('/api/search?' + parameters,
      state.picture ? { method: 'POST', body: state.picture } : {});
    const answer = await reply.json();
    if (number !== state.asked) return;
    if (!reply.ok) { say([answer.error, answer.hint].filter(Boolean).join(' – ')); return; }
    say(`${answer.hits.length} tiles in ${Math.round(performance.now() - begun)} ms`);
    $('hits').replaceChildren(...answer.hits.map(card));
  } catch { say('The server does not answer. Is it still running?'); }
}

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function card(hit) {
  const source = `/api/tiles/${hit.row}/image`;
  const button = (label, title, set) => element('button', {
    type: 'button', textContent: label, title,
    onclick: () => { set.set(hit.row, source); draw(); ask(); },
  });
  return element('li', {},
    element('img', { src: source, alt: hit.tile_id, loading: 'lazy', width: 132, height: 132 }),
    element('p', { className: 'meta', title: hit.tile_id },
      element('span', { className: 'score', textContent: hit.score.toFixed(3) }), ' ' + hit.tile_id),
    element('div', { className: 'buttons' },
      button('More', 'Look for this one too', state.like),
      button('Less', 'Not like this one', state.unlike)));
}

function draw() {
  const example = (source, className, alt, remove) => element('div', { className: 'example ' + className },
    element('img', { src: source, alt, width: 72, height: 72 }),
    element('button', { type: 'button', textContent: '×', ariaLabel: 'Remove ' + alt, onclick: () => { remove(); draw(); ask(); } }));
  const examples = [];
  if (state.picture) examples.push(example(state.source, '', 'your picture', () => { state.picture = null; }));
  for (const [row, source] of state.like) examples.push(example(source, '', `tile ${row}`, () => state.like.delete(row)));
  for (const [row, source] of state.unlike) examples.push(example(source, 'unlike', `unlike tile ${row}`, () => state.unlike.delete(row)));
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

$('file').onchange = (event) => take(event.target.files[0]);
$('drop').onkeydown = (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); $('file').click(); } };
addEventListener('paste', (event) => take([...event.clipboardData.files][0]));
addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
addEventListener('dragleave', () => $('drop').classList.remove('over'));
addEventListener('drop', (event) => { event.preventDefault(); $('drop').classList.remove('over'); take(event.dataTransfer.files[0]); });
$('filters').onchange = ask;
$('filters').onsubmit = (event) => { event.preventDefault(); ask(); };
fetch('/api/index').then((reply) => reply.json()).then((index) => {
  $('facts').textContent = `${index.rows.toLocaleString()} tiles`;
});

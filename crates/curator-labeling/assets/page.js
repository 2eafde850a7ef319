// The labelling page. Cards are loaded ahead; an answer shows the next picture at once and is sent in
// the background, kept in the browser until the server has stored it, and sent once (each has a key).
'use strict';
const $ = (id) => document.getElementById(id);
const AHEAD = 6;
const SWIPE = 90; // pixels, or a flick
const key = () => crypto.randomUUID ? crypto.randomUUID()
  : [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

const state = {
  who: localStorage.getItem('curator-name') || '',
  cards: [], current: null, shown: 0,
  unsent: JSON.parse(localStorage.getItem('curator-unsent') || '[]'),
  sending: false, answered: [], session: null, fetching: false,
};

async function call(path, body) {
  const reply = await fetch(path, body && {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  const answer = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(answer.error), { status: reply.status });
  return answer;
}

// --- cards ---------------------------------------------------------------------------------------

const pending = () => new Set([...state.unsent.map((a) => a.card), ...state.answered]);

async function refill() {
  if (state.fetching || state.cards.length >= AHEAD / 2) return;
  state.fetching = true;
  try {
    const { cards } = await call(`/api/cards?who=${encodeURIComponent(state.who)}&n=${AHEAD}`);
    const known = new Set([...pending(), ...state.cards.map((c) => c.card), state.current?.card]);
    for (const card of cards) {
      if (known.has(card.card)) continue;
      card.image = new Image();
      card.image.src = `/api/cards/${card.card}/image`;
      state.cards.push(card);
    }
    if (!state.current) show();
    else peek();
  } catch (error) { offline(error); }
  state.fetching = false;
  if (!state.current && !state.cards.length) setTimeout(refill, 1500);
}

function show() {
  state.current = state.cards.shift() || null;
  const card = $('card');
  card.classList.remove('gone', 'back', 'zoomed');
  card.style.transform = '';
  stamps(0, 0);
  card.hidden = !state.current;
  $('wait').hidden = Boolean(state.current);
  if (state.current) {
    $('picture').src = state.current.image.src;
    $('picture').alt = `Picture to judge: ${state.current.title}`;
    $('caption').textContent = [state.current.reason, state.current.time, place(state.current.place)]
      .filter(Boolean).join(' · ');
    state.shown = performance.now();
  } else {
    $('caption').textContent = '';
    $('wait').textContent = state.unsent.length ? 'Sending your answers…'
      : 'No more pictures at the moment. New ones appear by themselves; or press Finish.';
  }
  peek();
  refill();
}

function peek() {
  const next = state.cards[0];
  $('next').hidden = !next;
  if (next) $('next').firstElementChild.src = next.image.src;
}

const place = (p) => p && `${Math.abs(p[1]).toFixed(2)}° ${p[1] < 0 ? 'S' : 'N'}, ${Math.abs(p[0]).toFixed(2)}° ${p[0] < 0 ? 'W' : 'E'}`;

// --- answers -------------------------------------------------------------------------------------

const WORDS = { positive: 'yes', negative: 'no', unsure: 'unsure' };

function answer(label) {
  if (!state.current || document.querySelector('dialog[open]')) return;
  const card = state.current;
  state.unsent.push({
    who: state.who, card: card.card, label, key: key(),
    milliseconds: Math.round(performance.now() - state.shown),
  });
  state.answered.push(card.card);
  keep();
  $('announce').textContent = `Answered ${WORDS[label]}`;
  count(label, 1);
  const fly = { positive: 'translate(120%, 0) rotate(14deg)', negative: 'translate(-120%, 0) rotate(-14deg)', unsure: 'translate(0, 80%)' };
  const ghost = $('card').cloneNode(true);
  ghost.removeAttribute('id');
  ghost.setAttribute('aria-hidden', 'true');
  ghost.style.cssText += ';transition:transform .2s ease-in,opacity .2s;pointer-events:none';
  $('stage').append(ghost);
  requestAnimationFrame(() => { ghost.style.transform = fly[label]; ghost.style.opacity = 0; });
  setTimeout(() => ghost.remove(), 260);
  show();
  send();
}

const keep = () => localStorage.setItem('curator-unsent', JSON.stringify(state.unsent));

async function send() {
  if (state.sending) return;
  state.sending = true;
  while (state.unsent.length) {
    try {
      await call('/api/answers', state.unsent[0]);
    } catch (error) {
      // An answer to a card of an earlier server run cannot be placed; everything else is tried again.
      if (error.status !== 404 && error.status !== 400) { offline(error); break; }
    }
    state.unsent.shift();
    keep();
    online();
  }
  state.sending = false;
  if (state.unsent.length) setTimeout(send, 2000);
  else refreshSoon();
}

async function undo() {
  if (document.querySelector('dialog[open]')) return;
  while (state.unsent.length || state.sending) await new Promise((done) => setTimeout(done, 50));
  try {
    const { card } = await call('/api/undo', { who: state.who, key: key() });
    if (!card) { $('announce').textContent = 'Nothing to take back'; refreshSoon(); return; }
    state.answered = state.answered.filter((number) => number !== card.card);
    card.image = new Image();
    card.image.src = `/api/cards/${card.card}/image`;
    if (state.current) state.cards.unshift(state.current);
    state.cards = [card, ...state.cards.filter((c) => c.card !== card.card)];
    $('announce').textContent = 'Taken back';
    show();
    refreshSoon();
  } catch (error) { offline(error); }
}

// --- progress ------------------------------------------------------------------------------------

let timer = null;
function refreshSoon() { clearTimeout(timer); timer = setTimeout(refresh, 400); }

async function refresh() {
  try { state.session = await call('/api/session'); } catch (error) { offline(error); return; }
  const { question, has_reference: hasReference, progress } = state.session;
  $('question').textContent = question;
  if (hasReference && $('reference').hidden) {
    $('reference-image').src = '/api/reference';
    $('reference').hidden = false;
  }
  counts();
  const { facts, chart, advice } = progress.panel;
  $('panel').hidden = !facts.length && !chart && !advice;
  $('facts').replaceChildren(...facts.flatMap(([name, value]) => [
    Object.assign(document.createElement('dt'), { textContent: name }),
    Object.assign(document.createElement('dd'), { textContent: value }),
  ]));
  $('chart').innerHTML = chart || '';
  $('advice').textContent = advice || '';
}

function count(label, by) {
  if (!state.session) return;
  state.session.progress.answered += by;
  if (label in state.session.progress) state.session.progress[label] += by;
  counts();
}

const times = [];
function counts() {
  const { answered, positive, total } = state.session.progress;
  times.push([performance.now(), answered]);
  while (times.length > 2 && times[0][0] < performance.now() - 60000) times.shift();
  const [first, last] = [times[0], times[times.length - 1]];
  const pace = (last[1] - first[1]) / ((last[0] - first[0]) / 60000);
  const parts = [total ? `${answered} of ${total} answered` : `${answered} answered`, `${positive} yes`];
  if (Number.isFinite(pace) && pace > 1) parts.push(`${Math.round(pace)} a minute`);
  $('counts').textContent = parts.join(' · ');
  const share = total ? Math.min(100, 100 * answered / total) : 0;
  $('bar').hidden = !total;
  $('bar').setAttribute('aria-valuenow', Math.round(share));
  $('bar').firstElementChild.style.width = share + '%';
}

function offline(error) {
  $('counts').textContent = error.status ? error.message
    : `No connection. ${state.unsent.length} answers are kept here and sent later.`;
}
function online() { if (state.session) counts(); }

// --- gestures and keys ---------------------------------------------------------------------------

const drag = { on: false };
function stamps(x, y) {
  const show = (name, strength) => { document.querySelector('#card .stamp.' + name).style.opacity = Math.max(0, Math.min(1, strength)); };
  show('yes', x / SWIPE); show('no', -x / SWIPE);
  show('unsure', Math.abs(x) > y ? 0 : y / SWIPE);
}
$('card').addEventListener('pointerdown', (event) => {
  if (!state.current || event.button) return;
  Object.assign(drag, { on: true, x: event.clientX, y: event.clientY, at: performance.now(), dx: 0, dy: 0 });
  $('card').setPointerCapture(event.pointerId);
  $('card').classList.remove('back');
});
$('card').addEventListener('pointermove', (event) => {
  if (!drag.on) return;
  drag.dx = event.clientX - drag.x;
  drag.dy = event.clientY - drag.y;
  $('card').style.transform = `translate(${drag.dx}px, ${drag.dy}px) rotate(${drag.dx / 22}deg)`;
  stamps(drag.dx, drag.dy);
});
function release() {
  if (!drag.on) return;
  drag.on = false;
  const { dx, dy } = drag;
  const seconds = (performance.now() - drag.at) / 1000;
  const reach = SWIPE * (seconds < 0.25 ? 0.45 : 1);
  if (Math.abs(dx) > reach && Math.abs(dx) > Math.abs(dy)) answer(dx > 0 ? 'positive' : 'negative');
  else if (dy > reach) answer('unsure');
  else {
    if (Math.hypot(dx, dy) < 6 && seconds < 0.4) zoom();
    $('card').classList.add('back');
    $('card').style.transform = '';
    stamps(0, 0);
  }
}
$('card').addEventListener('pointerup', release);
$('card').addEventListener('pointercancel', () => { drag.dx = drag.dy = 0; release(); });

function zoom() {
  const on = $('card').classList.toggle('zoomed');
  $('zoom').setAttribute('aria-pressed', on);
}

const KEYS = { ArrowRight: 'positive', a: 'positive', ArrowLeft: 'negative', x: 'negative', ArrowDown: 'unsure', ' ': 'unsure' };
addEventListener('keydown', (event) => {
  if (event.target.closest('dialog, input') || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.closest('button') && (event.key === ' ' || event.key === 'Enter');
  if (onButton || event.repeat) return;
  if (KEYS[event.key]) { event.preventDefault(); answer(KEYS[event.key]); }
  else if (event.key === 'Backspace') { event.preventDefault(); undo(); }
  else if (event.key === 'z') zoom();
  else if (event.key === '?') $('help').showModal();
});
for (const button of document.querySelectorAll('#buttons button')) button.onclick = () => answer(button.dataset.label);
$('undo').onclick = undo;
$('zoom').onclick = zoom;
$('help-button').onclick = () => $('help').showModal();
$('finish').onclick = async () => {
  if (!confirm('Finish here? Your answers are stored; you can go on later with the same command.')) return;
  while (state.unsent.length) await new Promise((done) => setTimeout(done, 100));
  await call('/api/finish', {}).catch(() => {});
  document.querySelector('main').replaceChildren(Object.assign(document.createElement('h2'), { textContent: 'Thank you. The results are being written; you can close this page.' }));
};

// --- start ---------------------------------------------------------------------------------------

function start() { refresh(); send(); refill(); setInterval(refresh, 5000); $('card').focus({ preventScroll: true }); }
if (state.who) start();
else {
  $('hello').showModal();
  $('hello').addEventListener('cancel', (event) => event.preventDefault());
  $('hello').addEventListener('close', () => {
    state.who = $('name').value.trim() || 'somebody';
    localStorage.setItem('curator-name', state.who);
    start();
  });
}

// A page of thumbnails: all get the same answer but those that are tapped.
import { hand, want, refill } from './hand.js';
import { give } from './answers.js';
import { choices } from './choices.js';
import { pictureUrl } from './net.js';
import { $, on, make, say, emit } from './bus.js';

let on_ = false;
let page = [];
const tapped = new Set();
let shown = 0;
let patience = 0; // Until then a page waits to be full.

export const open = () => on_;
const columns = () => getComputedStyle($('grid')).gridTemplateColumns.split(' ').length;

// As many as fit without scrolling: in so many columns that the rows leave little of the height.
function room() {
  const box = $('grid').getBoundingClientRect();
  const side = (box.width < 600 ? 108 : 148) + 8;
  const few = Math.max(2, Math.floor((box.width + 8) / side));
  const rows = (across) => (box.height + 8) / ((box.width + 8) / across);
  const filled = (across) => Math.floor(rows(across)) / rows(across);
  const more = (box.width + 8) / (few + 1) > 0.9 * side && filled(few + 1) > filled(few);
  const across = more ? few + 1 : few;
  $('grid').style.setProperty('--across', across);
  return Math.min(60, across * Math.max(2, Math.floor(rows(across))));
}

const options = () => [
  ...(choices.classes.length ? choices.classes.map((name) => ['positive', name, name]) : [['positive', '', 'Yes']]),
  ['negative', '', choices.classes.length ? 'None of these' : 'No'], ['unsure', '', 'Unsure'],
];

function selects() {
  for (const [id, first] of [['grid-rest', 'negative'], ['grid-tapped', 'positive']]) {
    const kept = $(id).value;
    $(id).replaceChildren(...options().map(([label, name, text]) => make('option', { value: `${label}/${name}`, textContent: text })));
    $(id).value = kept || options().filter(([label]) => label === first).map(([label, name]) => `${label}/${name}`)[0];
    $(id).onchange = () => { if ($('grid-rest').value === $('grid-tapped').value) swap(id); paint(); };
  }
}

// Both cannot be the same: the other one takes what is left.
function swap(changed) {
  const other = changed === 'grid-rest' ? 'grid-tapped' : 'grid-rest';
  const value = [...$(other).options].map((o) => o.value).find((v) => v !== $(changed).value);
  $(other).value = value;
}

const chosen = (card) => $(tapped.has(card.tile) ? 'grid-tapped' : 'grid-rest').value.split(/\/(.*)/s);

export function toggle(force = !on_) {
  on_ = force;
  document.body.classList.toggle('gridded', on_);
  $('grid-button').ariaPressed = String(on_);
  $('grid-view').hidden = !on_;
  $('grid-empty').hidden = true; // it is not known yet
  if (on_) { selects(); $('grid-send').disabled = true; patience = performance.now() + 2000; want(room() * 2); fill(); } else { page = []; tapped.clear(); want(0); emit('hand'); }
  say(on_ ? 'Grid: all pictures get the same answer but the ones you tap' : 'One picture at a time');
}

function fill() {
  if (!on_ || page.length) return;
  if (hand.length < room() && performance.now() < patience) { setTimeout(fill, 100); return; }
  page = hand.slice(0, room());
  tapped.clear();
  shown = performance.now();
  paint();
  $('grid').querySelector('button')?.focus({ preventScroll: true });
}

function paint() {
  $('grid-send').disabled = !page.length;
  $('grid-empty').hidden = page.length > 0;
  $('grid').replaceChildren(...page.map((card) => {
    const [label, name] = chosen(card);
    const text = name || { positive: 'yes', negative: 'no', unsure: 'unsure' }[label];
    const cell = make('button', { type: 'button', className: `cell ${card.broken ? 'lost' : label}`, ariaPressed: String(tapped.has(card.tile)) },
      card.broken ? make('span', { textContent: 'cannot be shown' }) : make('img', { src: pictureUrl(card, 256), alt: card.tile, draggable: false }),
      make('b', { textContent: card.broken ? 'skip' : text }));
    cell.onclick = () => flip(card, cell);
    return cell;
  }));
}

function flip(card, cell) {
  if (card.broken) return;
  if (tapped.has(card.tile)) tapped.delete(card.tile); else tapped.add(card.tile);
  const [label, name] = chosen(card);
  const text = name || { positive: 'yes', negative: 'no', unsure: 'unsure' }[label];
  cell.className = `cell ${label}`;
  cell.ariaPressed = String(tapped.has(card.tile));
  cell.querySelector('b').textContent = text;
  say(text);
}

// Answers the whole page.
export function sendPage() {
  if (!page.length) return;
  const each = Math.round(Math.min(600000, performance.now() - shown) / page.length);
  const answered = new Set(page.map((card) => card.tile));
  for (const card of page) {
    const [label, className] = card.broken ? ['skip', ''] : chosen(card);
    give(card, label, { className, milliseconds: each });
  }
  for (let i = hand.length - 1; i >= 0; i--) if (answered.has(hand[i].tile)) hand.splice(i, 1);
  say(`${page.length} answers`);
  page = [];
  patience = performance.now() + 2000;
  refill();
  fill();
}

export function move(by) {
  const cells = [...$('grid').children];
  const at = cells.indexOf(document.activeElement);
  const step = { right: 1, left: -1, down: columns(), flag: -columns() }[by];
  cells[Math.min(cells.length - 1, Math.max(0, at + step))]?.focus();
}

export function start() {
  $('grid-button').onclick = () => toggle();
  $('grid-send').onclick = sendPage;
  on('hand', fill);
  on('dry', () => { patience = 0; });
  on('taken', () => { if (on_) { page = []; fill(); } });
  on('broken', (card) => { if (on_ && page.includes(card)) paint(); });
}

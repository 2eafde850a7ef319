// The pictures in hand: the next ones are fetched and decoded before they are needed.
import { post, pictureUrl } from './net.js';
import { pending, waiting, failure } from './outbox.js';
import { emit, afterPaint } from './bus.js';

const AHEAD = 8;
export const hand = []; // The first is the one that is judged.
let wanted = AHEAD;
let fetching = false;
let timer = 0;
let size = 1024;

export function setSize(pixels) { size = Math.min(2048, Math.max(256, Math.ceil(pixels / 256) * 256)); }
export function want(n) { wanted = Math.max(AHEAD, n); refill(); }

// Loads a card's picture. `card.ready` is settled when it can be painted without a delay.
export function load(card) {
  if (card.image) return card;
  card.image = new Image();
  card.image.decoding = 'sync';
  card.image.draggable = false;
  card.image.alt = card.tile;
  card.image.src = pictureUrl(card, size);
  card.ready = card.image.decode().then(() => true, () => { card.broken = true; emit('broken', card); return false; });
  return card;
}

export async function refill() {
  if (fetching || hand.length >= wanted) return;
  fetching = true;
  clearTimeout(timer);
  try {
    // What is answered while the request is under way may be in its reply still.
    const had = [...hand.map((card) => card.tile), ...waiting()];
    const { cards } = await post('/api/cards', { n: Math.min(128, wanted + pending()) });
    const known = new Set([...had, ...hand.map((card) => card.tile), ...waiting()]);
    const fresh = cards.filter((card) => !known.has(card.tile));
    hand.push(...fresh.map(load));
    if (fresh.length) emit('hand');
    else emit('dry');
    emit('connected');
  } catch (error) {
    emit('connection', error);
  }
  fetching = false;
  // Nothing to show: more may come, from others or from the folder.
  if (!hand.length) timer = setTimeout(refill, failure() ? 4000 : 1500);
}

export function take() {
  const card = hand.shift();
  afterPaint(refill);
  return card;
}

export function putBack(card) {
  const at = hand.findIndex((other) => other.tile === card.tile);
  if (at >= 0) hand.splice(at, 1);
  hand.unshift(load(card));
  emit('hand');
}

// Leases end when a page gives no sign of life.
setInterval(() => { if (hand.length && !document.hidden) post('/api/cards', { n: Math.min(128, hand.length) }).catch(() => {}); }, 40000);

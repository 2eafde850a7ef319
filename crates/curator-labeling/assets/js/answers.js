// Giving answers and taking them back. The last ones are remembered, so that one can go back to any of them.
import { post, key } from './net.js';
import * as outbox from './outbox.js';
import { hand, take, putBack, load } from './hand.js';
import { emit, say } from './bus.js';

const REMEMBERED = 200;
export const given = []; // The newest last: { card, answer }.
export const words = { positive: 'yes', negative: 'no', unsure: 'unsure', skip: 'skipped' };
let shown = performance.now();

export function startClock() { shown = performance.now(); }

export const nameOf = (answer) => answer.class || words[answer.label];

// Answers a card: the one on top, or one of the grid.
export function give(card, label, { className = '', flag = false, milliseconds } = {}) {
  const answer = {
    tile: card.tile, token: card.token, label, class: className, flag: flag || Boolean(card.flag), key: key(),
    milliseconds: milliseconds ?? Math.round(Math.min(performance.now() - shown, 600000)),
  };
  outbox.put(answer);
  given.push({ card, answer });
  if (given.length > REMEMBERED) given.shift();
  emit('given', answer, card);
  return answer;
}

export function judge(label, className = '') {
  const card = hand[0];
  if (!card || (card.broken && label !== 'skip')) return;
  take();
  const answer = give(card, label, { className });
  say(`${nameOf(answer)}. ${hand.length ? '' : 'No more pictures at the moment.'}`);
  emit('judged', answer, card);
}

// Takes back an answer, the newest when none is named; its picture is on top again.
export async function undo(entry = given[given.length - 1]) {
  const at = given.indexOf(entry);
  const answer = entry?.answer;
  if (entry) given.splice(at, 1);
  if (answer && outbox.withdraw(answer.key)) return back(entry.card, answer);
  await outbox.flush();
  try {
    const { card } = await post('/api/undo', { key: key(), of: answer?.key });
    if (card) back(entry ? Object.assign(entry.card, card) : card, answer);
    else if (entry) say('Taken back. Somebody else has the picture now.');
    else say('Nothing to take back');
    emit('stored');
  } catch (error) {
    if (entry) given.splice(Math.max(0, at), 0, entry);
    emit('connection', error);
  }
}

function back(card, answer) {
  card.broken = false;
  card.image = null;
  putBack(load(card));
  emit('taken', answer, card);
  say('Taken back');
  startClock();
}

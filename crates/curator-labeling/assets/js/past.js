// Looking back without judging: the last answers, any of which can be taken back.
import { given, undo, nameOf } from './answers.js';
import { pictureUrl } from './net.js';
import { $, on, make, say } from './bus.js';

let at = -1; // which of the given is looked at; −1 is none

export const looking = () => at >= 0;

export function step(by) {
  if (!given.length) return say('Nothing was answered yet');
  const from = at < 0 ? given.length : at;
  at = from + by;
  if (at >= given.length) return leave();
  at = Math.max(0, at);
  paint();
}

export function leave() {
  at = -1;
  $('past').hidden = true;
}

function paint() {
  const { card, answer } = given[at];
  $('past').hidden = false;
  $('past-image').src = pictureUrl(card, 1024);
  $('past-image').alt = card.tile;
  $('past-said').textContent = `${nameOf(answer)}${answer.flag ? ', flagged' : ''}`;
  $('past-said').className = answer.label;
  $('past-place').textContent = `${given.length - at} back of ${given.length}`;
  say(`${given.length - at} back: ${nameOf(answer)}`);
}

export function takeBack() {
  const entry = given[at];
  leave();
  if (entry) undo(entry);
}

export function list() {
  const entries = [...given].reverse();
  $('history-list').replaceChildren(...entries.map((entry) => make('li', {},
    make('button', { type: 'button', className: entry.answer.label, onclick: () => { $('history').close(); undo(entry); } },
      make('img', { src: pictureUrl(entry.card, 256), alt: entry.card.tile, loading: 'lazy' }),
      make('span', { textContent: nameOf(entry.answer) })))));
  $('history-empty').hidden = entries.length > 0;
  $('history').showModal();
}

export function start() {
  $('past-undo').onclick = takeBack;
  $('past-older').onclick = () => step(-1);
  $('past-newer').onclick = () => step(1);
  $('past-close').onclick = leave;
  $('history-button').onclick = list;
  on('judged', leave);
}

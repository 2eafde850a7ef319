// One picture at a time. The next cards lie under it, painted already: answering only lets the upper one go.
import { hand, setSize, load } from './hand.js';
import { judge, startClock } from './answers.js';
import { $, on, emit, make, afterPaint } from './bus.js';
import * as zoom from './zoom.js';
import { swipe, reading } from './swipe.js';
import { choices, labelFor } from './choices.js';

const SHOWN = 3;
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const stage = $('stage');
const cards = new Map(); // tile → article
let leaving = null; // how the next card leaves: direction and speed
let gesture = null;
let onTop = null;

export const top = () => cards.get(hand[0]?.tile);
export const picture = () => top()?.querySelector('img');

function article(card) {
  const known = cards.get(card.tile);
  if (known) return known;
  const element = make('article', { className: 'card' });
  element.append(card.image);
  const stamps = [['right', choices.classes.length > 1 ? 'tap' : 'yes'], ['left', 'no'], ['down', 'unsure'], ['up', 'flag']];
  for (const [direction, kind] of stamps) {
    const stamp = make('b', { className: `stamp ${kind}`, ariaHidden: 'true', textContent: labelFor(direction) });
    stamp.dataset.direction = direction;
    element.append(stamp);
  }
  if (card.broken) broken(card, element);
  cards.set(card.tile, element);
  return element;
}

function broken(card, element = cards.get(card.tile)) {
  if (!element || element.querySelector('.broken')) return;
  element.querySelector('img').hidden = true;
  element.append(make('div', { className: 'broken', role: 'alert' },
    make('b', { textContent: 'This picture cannot be shown' }),
    make('p', { className: 'quiet', textContent: card.tile }),
    make('button', { type: 'button', className: 'skip', textContent: 'Skip it', onclick: () => judge('skip') })));
  element.inert = card !== hand[0];
  if (card === hand[0]) emit('shown', card);
}

// Puts the cards in hand onto the stage; those that stay are only moved.
export function paint() {
  place(hand.slice(0, SHOWN));
}

// As paint, but nothing new is made: the next card is there already and comes up in this very frame.
function lift() {
  place(hand.slice(0, SHOWN).filter((card, depth) => depth === 0 || cards.has(card.tile)));
  afterPaint(paint);
}

function place(visible) {
  const keep = new Set(visible.map((card) => card.tile));
  for (const [tile, element] of cards) {
    if (!keep.has(tile)) { cards.delete(tile); if (!element.classList.contains('gone')) element.remove(); }
  }
  visible.forEach((card, depth) => {
    load(card);
    const element = article(card);
    if (element.firstElementChild !== card.image && element.firstElementChild.tagName === 'IMG') element.firstElementChild.replaceWith(card.image);
    // Under the card before it: the order of the elements is that of the pile.
    const upper = depth ? cards.get(visible[depth - 1].tile) : $('wait');
    if (!(upper.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_PRECEDING) || !element.isConnected) upper.before(element);
    element.style.setProperty('--depth', depth);
    element.classList.toggle('top', depth === 0);
    if (card.broken) element.inert = depth > 0; // nothing else on a card can be reached
    element.ariaHidden = depth > 0 ? 'true' : null;
    element.classList.toggle('flagged', Boolean(card.flag));
    if (depth === 0 && element !== onTop) {
      card.image.alt = `Picture to judge: ${card.tile}`;
      zoom.reset(card.image);
      startClock();
      emit('shown', card);
    }
  });
  onTop = top();
  if (!visible.length) emit('empty');
}

// The upper card leaves the way it was swiped, or the way its key points.
function leave(card, direction) {
  const element = cards.get(card.tile);
  if (!element) return;
  cards.delete(card.tile);
  const { dx = 0, dy = 0, speed = [0, 0] } = leaving || {};
  leaving = null;
  const far = Math.max(innerWidth, innerHeight);
  const aim = { right: [far, dy * 2 + 40], left: [-far, dy * 2 + 40], down: [dx * 2, far], up: [dx * 2, -far] }[direction] || [0, far];
  const quick = Math.hypot(...speed);
  element.classList.replace('top', 'gone');
  // By key or button it is on its way already, so that the very first frame shows the next picture.
  const begun = { right: 'translate(24%, 2%) rotate(4deg)', left: 'translate(-24%, 2%) rotate(-4deg)', down: 'translate(0, 24%)' }[direction];
  const from = element.style.transform || begun;
  const to = `translate(${aim[0]}px, ${aim[1]}px) rotate(${Math.sign(aim[0]) * 16}deg)`;
  // And soon gone: an answer that comes while something moves waits for the frame that is being drawn.
  const duration = calm.matches ? 1 : Math.round(quick ? Math.min(320, Math.max(140, far / Math.max(quick, 3.2))) : 140);
  // Of these two the compositor takes care: no layout, and nothing is painted anew.
  const going = element.animate({ transform: [from, to], opacity: [quick ? 1 : 0.8, 0.8, 0] }, { duration, easing: 'cubic-bezier(.3, .1, .6, 1)', fill: 'forwards' });
  going.onfinish = going.oncancel = () => element.remove();
}

function stamps(element, dx, dy) {
  const { name, strength } = reading(dx, dy);
  for (const stamp of element.querySelectorAll('.stamp')) {
    stamp.style.opacity = stamp.dataset.direction === name ? Math.min(1, strength) : 0;
  }
}

export function start(act) {
  const moved = (dx, dy, turn) => {
    const element = top();
    if (!element) return;
    element.classList.toggle('held', turn !== 0);
    element.classList.toggle('sprung', turn === 0);
    element.style.transform = turn ? `translate(${dx}px, ${dy}px) rotate(${turn * dx / 20}deg)` : '';
    stamps(element, dx, dy);
  };
  gesture = swipe(stage, {
    moved,
    movable: () => top() && !zoom.zoomed() && !zoom.pinching() && !hand[0]?.broken,
    done(direction, motion) {
      leaving = motion;
      if (!act(direction)) { leaving = null; moved(0, 0, 0); }
    },
    tapped(event) { if (event.target.tagName === 'IMG') tap(event); else moved(0, 0, 0); },
  });
  zoom.watch(stage, () => ({ picture: picture(), card: hand[0] }), () => gesture.stop());
  const measure = () => setSize(stage.getBoundingClientRect().width * devicePixelRatio);
  new ResizeObserver(measure).observe(stage);
  measure();
  on('hand', paint);
  on('broken', (card) => broken(card));
  on('judged', (answer, card) => { leave(card, directionOf(answer)); lift(); });
  on('taken', () => { paint(); const element = top(); element?.classList.add('back'); setTimeout(() => element?.classList.remove('back'), 300); });
}

const directionOf = ({ label }) => ({ positive: 'right', negative: 'left', unsure: 'down', skip: 'down' }[label]);

let tapped = 0;
function tap(event) {
  const twice = event.timeStamp - tapped < 320;
  tapped = twice ? 0 : event.timeStamp;
  if (twice || zoom.zoomed()) zoom.toggle(picture(), hand[0], event.clientX, event.clientY);
}

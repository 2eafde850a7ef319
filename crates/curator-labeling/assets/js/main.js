// The labelling page: brings its parts together.
import { me, post } from './net.js';
import { send, flush } from './outbox.js';
import { hand, refill } from './hand.js';
import { judge, undo } from './answers.js';
import { choices, buttons, explain } from './choices.js';
import { keys } from './keys.js';
import { $, on, say, make, dialogOpen, afterPaint } from './bus.js';
import * as stage from './stage.js';
import * as zoom from './zoom.js';
import * as light from './light.js';
import * as context from './context.js';
import * as grid from './grid.js';
import * as past from './past.js';
import * as progress from './progress.js';

const place = (p) => p && `${Math.abs(p[1]).toFixed(2)}° ${p[1] < 0 ? 'S' : 'N'}, ${Math.abs(p[0]).toFixed(2)}° ${p[0] < 0 ? 'W' : 'E'}`;

function flag() {
  const card = hand[0];
  if (!card) return;
  card.flag = !card.flag;
  stage.top()?.classList.toggle('flagged', card.flag);
  $('flag').ariaPressed = String(Boolean(card.flag));
  say(card.flag ? 'Flagged: it will be looked at again' : 'Not flagged');
}

function answer(label, className = '') {
  if (dialogOpen() || past.looking() || !hand.length) return false;
  if (label === 'positive' && choices.classes.length && !className) return false;
  if (hand[0].broken && label !== 'skip') return false;
  judge(label, className);
  return true;
}

const centre = (factor) => {
  const box = $('stage').getBoundingClientRect();
  if (stage.picture()) zoom.zoomAt(stage.picture(), hand[0], factor, box.left + box.width / 2, box.top + box.height / 2);
};

const actions = {
  right: () => answer('positive', choices.classes.length === 1 ? choices.classes[0] : ''),
  left: () => answer('negative'),
  down: () => answer('unsure'),
  skip: () => hand[0]?.broken && answer('skip'),
  flag, undo: () => undo(), help: () => $('help').showModal(), history: past.list,
  zoom: () => stage.picture() && zoom.toggle(stage.picture(), hand[0]),
  closer: () => centre(1.4), farther: () => centre(1 / 1.4),
  brighter: () => light.change('brightness', 10), darker: () => light.change('brightness', -10),
  contrast: () => light.change('contrast', 10), flatter: () => light.change('contrast', -10), plain: light.reset,
  around: context.showAround, times: context.showTimes,
  previous: () => past.step(-1), next: () => past.looking() && past.step(1),
  grid: () => grid.toggle(), enter: () => past.looking() && past.takeBack(), leave: () => past.leave(),
};

function act(action) {
  const number = /^class (\d)$/.exec(action)?.[1];
  if (number) {
    const name = choices.classes[number - 1];
    return !grid.open() && name ? answer('positive', name) : false;
  }
  if (grid.open()) {
    if (['right', 'left', 'down', 'flag'].includes(action)) { grid.move(action); return true; }
    if (action === 'enter') { grid.sendPage(); return true; }
    if (!['grid', 'undo', 'help', 'history', 'brighter', 'darker', 'contrast', 'flatter', 'plain'].includes(action)) return false;
  }
  if (!actions[action]) return false;
  actions[action]();
  return true;
}

function caption(card) {
  $('caption').textContent = [card.reason, card.time, place(card.place)].filter(Boolean).join(' · ');
  $('caption').title = card.tile;
  $('flag').ariaPressed = String(Boolean(card.flag));
  context.look(card);
}

function wire() {
  // The same ways for a finger as for keys; up marks for another look and keeps the card.
  stage.start((direction) => {
    if (direction === 'up') { flag(); return false; }
    if (direction === 'right' && choices.classes.length > 1) { say('Tap a class'); return false; }
    return act(direction);
  });
  keys(act);
  light.start(); grid.start(); past.start(); progress.start();
  on('shown', (card) => afterPaint(() => { if (card === hand[0]) caption(card); }));
  on('empty', () => { $('caption').textContent = ''; });
  for (const [id, action] of [['undo', 'undo'], ['zoom', 'zoom'], ['flag', 'flag'], ['around', 'around'], ['times', 'times'], ['help-button', 'help']]) $(id).onclick = () => act(action);
  $('reference-button').onclick = () => $('reference-large').showModal();
  for (const dialog of document.querySelectorAll('dialog.light')) {
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  }
  $('finish').onclick = () => $('finish-dialog').showModal();
  $('finish-yes').onclick = finish;
}

async function finish() {
  $('finish-dialog').close();
  await flush();
  await post('/api/finish').catch(() => {});
  document.querySelector('main').replaceChildren(make('div', { className: 'thanks' },
    make('h2', { textContent: 'Thank you' }), make('p', { textContent: 'Everything is stored. You can close this page.' })));
}

async function start() {
  const session = await progress.refresh();
  if (!session) { document.body.classList.remove('starting'); return void setTimeout(start, 2000); }
  $('question').textContent = session.question;
  document.title = session.question;
  explain(session.classes);
  buttons(session.classes, answer);
  if (session.has_reference) {
    for (const image of [$('reference-image'), $('reference-full')]) image.src = '/api/reference';
    $('reference-button').hidden = false;
  }
  if (session.role === 'viewer') { location.replace('/owner'); return; }
  document.body.classList.remove('starting');
  send();
  refill();
}

function ask(session) {
  if (session) explain(session.classes);
  $('hello').showModal();
  $('hello').addEventListener('cancel', (event) => event.preventDefault());
  $('hello').addEventListener('close', () => { me.who = $('name').value.trim() || 'somebody'; $('you').textContent = me.who; start(); });
}

wire();
$('you').textContent = me.who;
if (me.who) start(); else progress.refresh().then((session) => session?.role === 'viewer' ? location.replace('/owner') : ask(session));
if ('serviceWorker' in navigator && isSecureContext) navigator.serviceWorker.register('/worker.js').catch(() => {});

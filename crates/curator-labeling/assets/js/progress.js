// How far it is: counts, pace and streaks in one quiet line.
import { get, me } from './net.js';
import { pending, failure } from './outbox.js';
import { hand } from './hand.js';
import { choices } from './choices.js';
import { $, on, make, afterPaint } from './bus.js';

const state = { session: null, times: [], streak: 0, trouble: null };
export const session = () => state.session;

export async function refresh() {
  try {
    state.session = await get(`/api/session?who=${encodeURIComponent(me.who)}`);
    state.trouble = null;
  } catch (error) {
    state.trouble = error;
  }
  paint();
  return state.session;
}

let timer = 0;
const soon = () => { clearTimeout(timer); timer = setTimeout(refresh, 500); };

function pace() {
  const now = performance.now();
  while (state.times.length && state.times[0] < now - 120000) state.times.shift();
  const minutes = (now - state.times[0]) / 60000;
  return state.times.length > 4 ? Math.round(state.times.length / Math.max(minutes, 1 / 6)) : 0;
}

// What a positive answer says.
const said = () => ['yes', choices.classes[0], 'of a class'][Math.min(2, choices.classes.length)];

let due = false;
function paintSoon() {
  if (due) return;
  due = true;
  afterPaint(() => { due = false; paint(); });
}

function paint() {
  const trouble = failure() || state.trouble;
  $('trouble').hidden = !trouble;
  if (trouble) {
    const many = pending() === 1 ? '1 answer is' : `${pending()} answers are`;
    const kept = pending() ? ` ${many} kept here and sent later.` : '';
    $('trouble').textContent = trouble.status === 507 ? `${trouble.message}.${kept} Tell the owner: the disk is full.`
      : trouble.status ? `${trouble.message}. ${trouble.hint || ''}${kept}` : `No connection.${kept}`;
  }
  if (!state.session) return;
  const { progress, role } = state.session;
  const { answered, positive, total, panel } = progress;
  const done = Math.max(answered, 0);
  const parts = [total ? `${done.toLocaleString()} of ${total.toLocaleString()}` : `${done.toLocaleString()} answered`, `${positive.toLocaleString()} ${said()}`];
  const speed = pace();
  if (speed) parts.push(`${speed} a minute`);
  if (state.streak >= 10) parts.push(`${state.streak} in a row`);
  $('counts').textContent = parts.join(' · ');
  const share = total ? Math.min(100, 100 * done / total) : 0;
  $('bar').style.visibility = total ? '' : 'hidden';
  $('bar').setAttribute('aria-valuenow', Math.round(share));
  $('bar').firstElementChild.style.transform = `scaleX(${share / 100})`;
  $('owner-link').hidden = role === 'labeller';
  $('finish').hidden = role !== 'owner';
  const { facts, chart, advice } = panel;
  $('panel').hidden = !facts.length && !chart && !advice;
  $('facts').replaceChildren(...facts.flatMap(([name, value]) => [make('dt', { textContent: name }), make('dd', { textContent: value })]));
  if ($('chart').dataset.chart !== (chart || '')) { $('chart').innerHTML = chart || ''; $('chart').dataset.chart = chart || ''; }
  $('advice').textContent = advice || '';
  if (!hand.length) empty();
}

export function empty() {
  $('wait').hidden = hand.length > 0;
  const waiting = state.session?.progress.waiting;
  $('wait-text').textContent = pending() ? 'Your answers are being sent…' : waiting || 'No more pictures at the moment. New ones appear by themselves.';
}

function count(answer, by) {
  if (!state.session || answer.label === 'skip') return;
  const { progress } = state.session;
  progress.answered += by;
  progress.yours += by;
  if (answer.label in progress) progress[answer.label] += by;
}

export function start() {
  on('given', (answer) => { state.times.push(performance.now()); state.streak += 1; count(answer, 1); paintSoon(); });
  on('taken', (answer) => { state.streak = 0; state.times.pop(); if (answer) count(answer, -1); paint(); });
  on('stored', soon);
  on('connection', (error) => { state.trouble = error; paint(); });
  on('connected', () => { if (state.trouble) { state.trouble = null; paint(); } });
  on('refused', (error) => { $('note').textContent = `An answer was not taken: ${error}.`; $('note').hidden = false; setTimeout(() => { $('note').hidden = true; }, 6000); });
  on('empty', empty);
  on('hand', () => { $('wait').hidden = hand.length > 0; });
  setInterval(() => { if (!document.hidden) refresh(); }, 5000);
  setInterval(() => { if (!document.hidden) { if (performance.now() - (state.times.at(-1) || 0) > 60000) state.streak = 0; paint(); } }, 10000);
}

// Answers on their way: each is kept in the browser, under its own key so that tabs do not overwrite one
// another, until the server has it on its disk. Sent in the background, together, and again after a failure;
// the server counts each key once.
import { post } from './net.js';
import { emit, afterPaint } from './bus.js';

const PREFIX = 'curator-answer-';
const TOGETHER = 100;
let sending = false;
let wait = 1000;
let timer = 0;
const doing = { failure: null };

const kept = () => Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));
export const pending = () => kept().length;
export const failure = () => doing.failure;

// Tiles whose answers are not stored yet; they are not shown again.
export function waiting() {
  return new Set(kept().map((name) => JSON.parse(localStorage.getItem(name)).tile));
}

export function put(answer) {
  localStorage.setItem(PREFIX + answer.key, JSON.stringify({ ...answer, at: Date.now() }));
  afterPaint(send);
}

// Takes an answer back before it was sent; whether it was still here.
export function withdraw(key) {
  if (sending || localStorage.getItem(PREFIX + key) === null) return false;
  localStorage.removeItem(PREFIX + key);
  return true;
}

export async function send() {
  clearTimeout(timer);
  if (sending) return;
  sending = true;
  let failed = null;
  while (!failed && pending()) {
    const batch = kept().map((name) => JSON.parse(localStorage.getItem(name)))
      .sort((a, b) => a.at - b.at).slice(0, TOGETHER);
    const answers = batch.map(({ at, ...answer }) => ({ ...answer, ago: Math.max(0, Date.now() - at) }));
    try {
      const { stored, refused } = await post('/api/answers', { answers });
      for (const key of stored) localStorage.removeItem(PREFIX + key);
      for (const { key, error } of refused) {
        // The server will never take it: the picture is not in this session, or the key is another's. It is
        // kept aside, so that nothing is lost without a trace.
        localStorage.setItem(`curator-refused-${key}`, localStorage.getItem(PREFIX + key));
        localStorage.removeItem(PREFIX + key);
        emit('refused', error);
      }
    } catch (error) {
      failed = error;
    }
  }
  sending = false;
  wait = failed ? Math.min(wait * 2, 15000) : 1000;
  if (failed) timer = setTimeout(send, wait);
  const before = doing.failure;
  doing.failure = failed;
  if (failed || before) emit('connection', failed);
  if (!failed) emit('stored');
}

// Waits until everything is stored, or cannot be.
export async function flush() {
  while (sending) await new Promise((done) => setTimeout(done, 20));
  await send();
}

addEventListener('online', () => { wait = 1000; send(); });

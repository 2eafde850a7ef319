// What the parts of the page tell one another.
const listeners = {};

export function on(name, listener) { (listeners[name] ||= []).push(listener); }
export function emit(name, ...what) { for (const listener of listeners[name] || []) listener(...what); }

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Work for after the next frame: what a key press shows comes first. Pages that are not seen have no frames.
let works = [];
export function afterPaint(work) {
  if (works.push(work) > 1) return;
  let done = false;
  const once = () => { if (!done) { done = true; const all = works; works = []; for (const each of all) queueMicrotask(each); } };
  requestAnimationFrame(() => setTimeout(once));
  setTimeout(once, 120);
}

// Said to a screen reader.
let said = '';
export function say(text) {
  if (!said) afterPaint(() => { $('announce').textContent = ''; setTimeout(() => { $('announce').textContent = said; said = ''; }, 30); });
  said = text;
}

export const dialogOpen = () => Boolean(document.querySelector('dialog[open]'));

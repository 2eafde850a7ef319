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

// Said to a screen reader.
export function say(text) {
  $('announce').textContent = '';
  requestAnimationFrame(() => { $('announce').textContent = text; });
}

export const dialogOpen = () => Boolean(document.querySelector('dialog[open]'));

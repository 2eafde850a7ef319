// What can be said: yes, no, unsure; or one of several classes, by number.
import { $, make } from './bus.js';

export const choices = { classes: [] };

export const labelFor = (direction) => ({ right: 'yes', left: choices.classes.length ? 'none' : 'no', down: 'unsure', up: 'flag' }[direction]);

// The buttons under the picture.
export function buttons(classes, answer) {
  choices.classes = classes;
  const nav = $('buttons');
  const button = (label, text, kind, keys, hint, className = '') => make('button', {
    type: 'button', className: kind, title: `${text} (${keys})`, onclick: () => answer(label, className),
  }, make('span', { ariaHidden: 'true', textContent: hint, className: 'hint' }), make('span', { textContent: text }));
  nav.classList.toggle('many', classes.length > 0);
  if (!classes.length) {
    nav.replaceChildren(
      button('negative', 'No', 'no', 'left, x', '←'),
      button('unsure', 'Unsure', 'unsure', 'down, space', '↓'),
      button('positive', 'Yes', 'yes', 'right, a', '→'));
    return;
  }
  nav.replaceChildren(
    ...classes.map((name, i) => button('positive', name, 'yes', i < 9 ? String(i + 1) : 'tap', i < 9 ? String(i + 1) : '', name)),
    button('negative', 'None of these', 'no', 'left, x', '←'),
    button('unsure', 'Unsure', 'unsure', 'down, space', '↓'));
}

// What can be said: yes, no, unsure; or one of several classes, by number.
import { $, make } from './bus.js';

export const choices = { classes: [] };

// What going in a direction says. With several classes right says nothing yet.
const right = () => ['yes', choices.classes[0], 'tap a class'][Math.min(2, choices.classes.length)];
const left = () => (choices.classes.length ? 'none' : 'no');
export const labelFor = (direction) => ({ right: right(), left: left(), down: 'unsure', up: 'flag' }[direction]);

// The same in the greeting and the help, which are there before anything can be said.
export function explain(classes) {
  choices.classes = classes;
  const [several, last] = [classes.length > 1, Math.min(9, classes.length)];
  $('hello-how').textContent = several
    ? `Choose a class by its button${last < classes.length ? '' : ' or number key'}. Left is none of these, down is unsure: swipe, press the arrow keys, or use the buttons.`
    : `Right is ${right()}, left is ${left()}, down is unsure: swipe, press the arrow keys, or use the buttons.`;
  for (const part of document.querySelectorAll('.help-right')) part.hidden = several;
  for (const part of document.querySelectorAll('.help-class')) part.hidden = !several;
  $('help-says-right').textContent = right();
  $('help-says-left').textContent = classes.length ? 'none of these' : 'no';
  $('help-last').textContent = last;
  $('help-classes').textContent = classes.slice(0, 9).join(', ');
}

// The buttons under the picture.
export function buttons(classes, answer) {
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
    make('i', { className: 'break', ariaHidden: 'true' }),
    button('negative', 'None of these', 'no', 'left, x', '←'),
    button('unsure', 'Unsure', 'unsure', 'down, space', '↓'));
}

// The keyboard. Everything on the page can be done with it.
import { dialogOpen } from './bus.js';

const ACTIONS = {
  ArrowRight: 'right', a: 'right', ArrowLeft: 'left', x: 'left', ArrowDown: 'down', ' ': 'down',
  f: 'flag', ArrowUp: 'flag', Backspace: 'undo', u: 'undo', z: 'zoom', g: 'grid', h: 'history', ',': 'previous', '.': 'next',
  b: 'brighter', B: 'darker', c: 'contrast', C: 'flatter', r: 'plain', t: 'times', n: 'around', s: 'skip', '?': 'help',
  '+': 'closer', '=': 'closer', '-': 'farther', Enter: 'enter', Escape: 'leave',
};

export function keys(act) {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialogOpen()) return;
    if (event.target.closest('input, select, textarea, [contenteditable]')) return;
    const pressing = event.target.closest('button, a, summary') && (event.key === ' ' || event.key === 'Enter');
    if (pressing || (event.repeat && !['+', '-', '='].includes(event.key))) return;
    const action = /^[1-9]$/.test(event.key) ? `class ${event.key}` : ACTIONS[event.key];
    if (action && act(action, event)) event.preventDefault();
  });
}

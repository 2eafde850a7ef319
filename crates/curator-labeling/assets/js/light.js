// Brightness and contrast of the pictures, kept in this browser.
import { $, say } from './bus.js';

const plain = { brightness: 100, contrast: 100 };
const light = { ...plain, ...JSON.parse(localStorage.getItem('curator-light') || '{}') };

function apply() {
  const { brightness, contrast } = light;
  const changed = brightness !== 100 || contrast !== 100;
  document.documentElement.style.setProperty('--light', changed ? `brightness(${brightness}%) contrast(${contrast}%)` : 'none');
  $('brightness').value = brightness;
  $('contrast').value = contrast;
  localStorage.setItem('curator-light', JSON.stringify(light));
}

export function change(name, by) {
  light[name] = Math.min(300, Math.max(20, light[name] + by));
  apply();
  say(`${name} ${light[name]} percent`);
}

export function reset() { Object.assign(light, plain); apply(); say('Brightness and contrast as they are'); }

export function start() {
  for (const name of ['brightness', 'contrast']) {
    $(name).addEventListener('input', () => { light[name] = Number($(name).value); apply(); });
  }
  $('light-reset').onclick = reset;
  apply();
}

// Looking closer: wheel, pinch, double tap and keys; the picture follows the finger while it is large.
// Full resolution comes when it is needed.
import { pictureUrl } from './net.js';

const MOST = 16;
export const view = { scale: 1, x: 0, y: 0 };
const pointers = new Map();
let pinch = null;

export const zoomed = () => view.scale > 1.01;

export function reset(picture) {
  Object.assign(view, { scale: 1, x: 0, y: 0 });
  if (picture) paint(picture, null);
}

function paint(picture, card) {
  const { scale, x, y } = view;
  picture.style.transform = scale === 1 ? '' : `translate(${x}px, ${y}px) scale(${scale})`;
  picture.classList.toggle('near', scale > 3);
  if (card && scale > 1.2) full(picture, card);
}

// The whole picture in place of the one that fits the page.
function full(picture, card) {
  if (card.full) return;
  card.full = new Image();
  card.full.src = pictureUrl(card);
  card.full.decode().then(() => { if (picture.isConnected) picture.src = card.full.src; }, () => { card.full = null; });
}

export function zoomAt(picture, card, factor, clientX, clientY) {
  const box = picture.parentElement.getBoundingClientRect();
  const [px, py] = [clientX - box.left - box.width / 2, clientY - box.top - box.height / 2];
  const scale = Math.min(MOST, Math.max(1, view.scale * factor));
  const ratio = scale / view.scale;
  view.x = px - (px - view.x) * ratio;
  view.y = py - (py - view.y) * ratio;
  view.scale = scale;
  clamp(box);
  paint(picture, card);
}

export function pan(picture, card, dx, dy) {
  view.x += dx;
  view.y += dy;
  clamp(picture.parentElement.getBoundingClientRect());
  paint(picture, card);
}

function clamp(box) {
  const [mx, my] = [box.width * (view.scale - 1) / 2, box.height * (view.scale - 1) / 2];
  view.x = Math.min(mx, Math.max(-mx, view.x));
  view.y = Math.min(my, Math.max(-my, view.y));
}

export function toggle(picture, card, clientX, clientY) {
  const box = picture.parentElement.getBoundingClientRect();
  const [x, y] = [clientX ?? box.left + box.width / 2, clientY ?? box.top + box.height / 2];
  zoomAt(picture, card, zoomed() ? 1 / MOST : 3, x, y);
}

// Two fingers on the card, or one while it is large. `current` gives the picture and card.
export function watch(surface, current, pinched) {
  surface.addEventListener('wheel', (event) => {
    event.preventDefault();
    const { picture, card } = current();
    if (picture) zoomAt(picture, card, Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0022)), event.clientX, event.clientY);
  }, { passive: false });
  surface.addEventListener('pointerdown', (event) => {
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 2) { pinch = spread(); pinched(); }
  });
  surface.addEventListener('pointermove', (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const { picture, card } = current();
    if (!picture) return;
    if (pinch) {
      const now = spread();
      zoomAt(picture, card, now.distance / Math.max(1, pinch.distance), now.x, now.y);
      pan(picture, card, now.x - pinch.x, now.y - pinch.y);
      pinch = now;
    } else if (zoomed()) {
      pan(picture, card, event.clientX - last[0], event.clientY - last[1]);
    }
  });
  for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
    surface.addEventListener(name, (event) => { pointers.delete(event.pointerId); if (pointers.size < 2) pinch = null; });
  }
}

function spread() {
  const [a, b] = [...pointers.values()];
  return { distance: Math.hypot(a[0] - b[0], a[1] - b[1]), x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2 };
}

export const pinching = () => pointers.size > 1;

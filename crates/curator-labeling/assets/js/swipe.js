// The card follows the finger: it turns with the hand, leaves with its speed, and springs back when let go
// too early.
const REACH = 84; // pixels
const FLICK = 0.55; // pixels a millisecond

export const directions = {
  right: (x, y) => x > 0 && Math.abs(x) > Math.abs(y) * 0.8,
  left: (x, y) => x < 0 && Math.abs(x) > Math.abs(y) * 0.8,
  down: (x, y) => y > 0 && Math.abs(y) > Math.abs(x),
  up: (x, y) => y < 0 && Math.abs(y) > Math.abs(x),
};

// Where a gesture would lead, and how far it is: 1 is enough.
export function reading(dx, dy) {
  const name = Object.keys(directions).find((d) => directions[d](dx, dy));
  const far = name === 'right' || name === 'left' ? Math.abs(dx) : Math.abs(dy);
  return { name, strength: far / REACH };
}

export function swipe(surface, { movable, moved, done, tapped }) {
  const drag = { id: null };
  surface.addEventListener('pointerdown', (event) => {
    if (drag.id !== null || event.button || !movable(event)) return;
    Object.assign(drag, { id: event.pointerId, x: event.clientX, y: event.clientY, dx: 0, dy: 0, trail: [[event.timeStamp, 0, 0]] });
    // Held higher up, it turns the other way.
    const box = surface.getBoundingClientRect();
    drag.turn = event.clientY < box.top + box.height * 0.6 ? 1 : -1;
    surface.setPointerCapture(event.pointerId);
  });
  surface.addEventListener('pointermove', (event) => {
    if (event.pointerId !== drag.id) return;
    drag.dx = event.clientX - drag.x;
    drag.dy = event.clientY - drag.y;
    drag.trail.push([event.timeStamp, drag.dx, drag.dy]);
    while (drag.trail.length > 2 && drag.trail[0][0] < event.timeStamp - 90) drag.trail.shift();
    moved(drag.dx, drag.dy, drag.turn);
  });
  const end = (event, cancelled) => {
    if (event.pointerId !== drag.id) return;
    drag.id = null;
    const { dx, dy, trail } = drag;
    const [first, last] = [trail[0], trail[trail.length - 1]];
    const time = Math.max(1, last[0] - first[0]);
    const speed = [(last[1] - first[1]) / time, (last[2] - first[2]) / time];
    const { name, strength } = reading(dx, dy);
    const along = name === 'right' || name === 'left' ? Math.abs(speed[0]) : Math.abs(speed[1]);
    const forward = name && reading(speed[0], speed[1]).name === name;
    if (!cancelled && Math.hypot(dx, dy) < 7) tapped(event);
    else if (!cancelled && name && (strength >= 1 || (strength > 0.25 && along > FLICK && forward))) done(name, { dx, dy, speed });
    else moved(0, 0, 0);
  };
  surface.addEventListener('pointerup', (event) => end(event, false));
  surface.addEventListener('pointercancel', (event) => end(event, true));
  return { stop: () => { drag.id = null; moved(0, 0, 0); } };
}

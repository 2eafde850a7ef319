// What an address of NASA Worldview shows: ?v=W,S,E,N&l=LAYER(hidden,…),LAYER&t=2020-09-12-T12:00:00Z&p=geographic

const wrapped = (degrees) => ((degrees + 180) % 360 + 360) % 360 - 180;

// Layers that are shown, topmost first; commas inside of brackets part nothing.
function shown(layers) {
  const names = [...layers.matchAll(/([^,()]+)(\(([^()]*)\))?/g)];
  return names.filter(([, , , how]) => !(how ?? '').split(',').includes('hidden')).map(([, name]) => name.trim()).filter(Boolean);
}

// `{ box, layers, date }` of the part behind the question mark, or `{ problem }`.
export function viewOf(search) {
  const asked = new URLSearchParams(search);
  if ((asked.get('p') ?? 'geographic') !== 'geographic') return { problem: 'a polar map has no box of degrees; choose the geographic one in Worldview' };
  const [west, south, east, north] = (asked.get('v') ?? '').split(',').map((x) => (x.trim() ? Number(x) : NaN));
  const sound = [west, south, east, north].every(Number.isFinite) && west < east && south < north;
  if (!sound) return { problem: 'this address shows no view of NASA Worldview' };
  const whole = east - west >= 360;
  const [low, high] = [Math.max(south, -90), Math.min(north, 90)];
  const middle = [wrapped((west + east) / 2), (low + high) / 2];
  const box = [whole ? -180 : wrapped(west), low, whole ? 180 : wrapped(east), high];
  const date = /^\d{4}-\d{2}-\d{2}/.exec(asked.get('t') ?? '')?.[0] ?? '';
  return { box, middle, layers: shown(asked.get('l') ?? ''), date };
}

// The world on a canvas, equirectangular: land of Natural Earth, answers as dots, a click as a place.
const canvas = document.getElementById('map');
const base = document.getElementById('base');
const GIBS = 'https://gibs.earthdata.nasa.gov/wms/epsg4326/best/wms.cgi?SERVICE=WMS&REQUEST=GetMap&VERSION=1.1.1'
  + '&LAYERS=BlueMarble_ShadedRelief_Bathymetry&STYLES=&SRS=EPSG:4326&BBOX=-180,-90,180,90&WIDTH=1440&HEIGHT=720&FORMAT=image/jpeg';
const at = (lon, lat) => [(lon + 180) / 360 * canvas.width, (90 - lat) / 180 * canvas.height];
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
let land = null, marble = null, shown = [[], null];

function fill(name) {
  // `color-mix` is not everywhere understood by canvases: an element computes it.
  const probe = document.createElement('i');
  probe.style.color = color(name);
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

export function drawMap(hits, place) {
  shown = [hits, place];
  const pen = canvas.getContext('2d');
  pen.fillStyle = fill('--sea');
  pen.fillRect(0, 0, canvas.width, canvas.height);
  if (marble) pen.drawImage(marble, 0, 0, canvas.width, canvas.height);
  else if (land) {
    pen.fillStyle = fill('--land');
    pen.beginPath();
    for (const ring of land) {
      for (let i = 0; i < ring.length; i += 2) {
        const [x, y] = at(ring[i], ring[i + 1]);
        if (i) pen.lineTo(x, y); else pen.moveTo(x, y);
      }
      pen.closePath();
    }
    pen.fill('evenodd');
  }
  const scores = hits.map((hit) => hit.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  // The best last, so that it lies on top.
  for (const hit of [...hits].reverse()) {
    if (!hit.bbox) continue;
    const { west, south, east, north } = hit.bbox;
    const middle = west > east ? (west + east + 360) / 2 : (west + east) / 2;
    const [x, y] = at(middle > 180 ? middle - 360 : middle, (south + north) / 2);
    const share = high > low ? (hit.score - low) / (high - low) : 1;
    pen.beginPath();
    pen.arc(x, y, 6 + 4 * share, 0, 2 * Math.PI);
    pen.fillStyle = `hsl(${20 + 25 * share} 100% ${38 + 17 * share}%)`;
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = '#fff';
    pen.stroke();
  }
  if (place) {
    const [x, y] = at(...place);
    pen.lineWidth = 3;
    pen.strokeStyle = '#0a6cff';
    pen.strokeRect(x - 9, y - 9, 18, 18);
  }
}

export function onPlace(act) {
  canvas.onclick = (event) => {
    const box = canvas.getBoundingClientRect();
    const lon = (event.clientX - box.left) / box.width * 360 - 180;
    const lat = 90 - (event.clientY - box.top) / box.height * 180;
    act([Number(lon.toFixed(3)), Number(lat.toFixed(3))]);
  };
}

base.onchange = () => {
  marble = null;
  if (!base.checked) { drawMap(...shown); return; }
  const image = new Image();
  image.onload = () => { marble = image; drawMap(...shown); };
  image.onerror = () => { base.checked = false; base.parentElement.append(' – no connection'); };
  image.src = GIBS;
};
matchMedia('(prefers-color-scheme: dark)').onchange = () => drawMap(...shown);
fetch('/assets/land.json').then((reply) => reply.json()).then((rings) => { land = rings; drawMap(...shown); });

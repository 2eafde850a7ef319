// Sends what Worldview shows to the server that this add-on was paired with, and shows the answers.
import { viewOf } from './view.js';

const $ = (id) => document.getElementById(id);
const WORLDVIEW = 'https://worldview.earthdata.nasa.gov/';
const ANSWERS = 24;
// Pixels of the longer side that are sent.
const LONGEST = 1024;
let pair = null;

const say = (text) => { $('status').textContent = text; };

async function ask(path, options = {}) {
  let reply;
  try {
    reply = await fetch(pair.origin + path, { ...options, headers: { authorization: `Bearer ${pair.token}`, ...options.headers } });
  } catch {
    throw new Error(`${pair.origin} does not answer this add-on: is it running, with --allow-origin ${location.origin}?`);
  }
  if (reply.status === 401) throw new Error('the server was started anew: unpair, and pair it with its new link');
  if (!reply.ok) {
    const problem = await reply.json().catch(() => ({ error: `status ${reply.status}` }));
    throw new Error([problem.error, problem.hint].filter(Boolean).join(' – '));
  }
  return reply;
}

// The largest canvas of the page is its map.
function area() {
  const boxes = [...document.querySelectorAll('canvas')].map((canvas) => canvas.getBoundingClientRect());
  const map = boxes.sort((a, b) => b.width * b.height - a.width * a.height)[0];
  return map && map.width > 0 ? { x: map.x, y: map.y, width: map.width, height: map.height, ratio: devicePixelRatio } : null;
}

async function capture(tab) {
  const shot = await (await fetch(await chrome.tabs.captureVisibleTab(tab.windowId, { format: 'png' }))).blob();
  const [found] = await chrome.scripting.executeScript({ target: { tabId: tab.id }, func: area });
  const whole = await createImageBitmap(shot);
  const map = found?.result;
  const part = map
    ? [map.x, map.y, map.width, map.height].map((x) => Math.max(0, Math.round(x * map.ratio)))
    : [0, 0, whole.width, whole.height];
  const [x, y] = part;
  const [width, height] = [Math.min(part[2], whole.width - x), Math.min(part[3], whole.height - y)];
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  canvas.getContext('2d').drawImage(whole, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 });
}

async function shown() {
  const [tab] = await chrome.tabs.query({ active: true, currentWindow: true });
  if (!tab?.url?.startsWith(WORLDVIEW)) throw new Error('this works on a tab of NASA Worldview');
  const view = viewOf(new URL(tab.url).search);
  if (view.problem) throw new Error(view.problem);
  return { tab, view };
}

async function card(hit) {
  const picture = document.createElement('img');
  picture.alt = hit.tile_id;
  picture.title = `${hit.score.toFixed(3)} ${hit.tile_id}`;
  picture.dataset.row = hit.row;
  const item = document.createElement('li');
  item.append(picture);
  if (hit.worldview) {
    const link = Object.assign(document.createElement('a'), { href: hit.worldview, target: '_blank', rel: 'noopener', textContent: hit.time?.slice(0, 10) ?? 'Worldview' });
    item.append(link);
  }
  // Pictures need the token, which an address would give away.
  ask(`/api/tiles/${hit.row}/image`).then((reply) => reply.blob()).then((blob) => { picture.src = URL.createObjectURL(blob); }).catch(() => {});
  return item;
}

async function find() {
  const { tab, view } = await shown();
  say('Searching…');
  const parameters = new URLSearchParams({ k: ANSWERS });
  if ($('day').checked && view.date) { parameters.set('from', view.date); parameters.set('to', view.date); }
  const reply = await ask('/api/search?' + parameters, { method: 'POST', body: await capture(tab), headers: { 'content-type': 'image/jpeg' } });
  const { hits } = await reply.json();
  $('hits').replaceChildren(...await Promise.all(hits.map(card)));
  say(`${hits.length} tiles`);
}

async function open() {
  const { tab } = await shown();
  await chrome.tabs.create({ url: `${pair.origin}/?view=${encodeURIComponent(new URL(tab.url).search)}` });
}

function show() {
  $('pair').hidden = Boolean(pair);
  $('ask').hidden = !pair;
  $('flag').textContent = `--allow-origin ${location.origin}`;
}

async function begin(link) {
  const { origin, searchParams } = new URL(link);
  const token = searchParams.get('token');
  if (!token) throw new Error('the link has no token: copy all of it');
  pair = { origin, token };
  try {
    const index = await (await ask('/api/index')).json();
    await chrome.storage.local.set({ pair });
    say(`Paired with ${index.rows.toLocaleString()} tiles`);
  } catch (error) {
    pair = null;
    throw error;
  }
}

const tried = (act) => async (event) => {
  event?.preventDefault();
  try { await act(); } catch (error) { say(error.message); }
  show();
};

$('pair').onsubmit = tried(() => begin($('link').value));
$('find').onclick = tried(find);
$('open').onclick = tried(open);
$('forget').onclick = tried(async () => { pair = null; await chrome.storage.local.remove('pair'); $('hits').replaceChildren(); say(''); });
pair = (await chrome.storage.local.get('pair')).pair ?? null;
show();

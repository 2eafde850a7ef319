// The owner's page: who takes part, how far people agree, what is to be decided, and the links.
import { get, post, key, me, pictureUrl } from './net.js';
import { $, make, say } from './bus.js';

const state = { role: 'viewer', classes: [] };
const number = (x, digits = 0) => x === null || x === undefined ? '–' : x.toFixed(digits);
const row = (...cells) => make('tr', {}, ...cells.map((cell) => make('td', {}, cell)));

function when(seconds) {
  if (seconds === null || seconds === undefined) return 'earlier';
  if (seconds < 60) return 'now';
  return seconds < 3600 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

// In the words of Landis and Koch (1977).
function word(kappa) {
  const names = [[0.8, 'almost perfect'], [0.6, 'substantial'], [0.4, 'moderate'], [0.2, 'fair'], [0, 'slight']];
  return names.find(([least]) => kappa > least)?.[1] || 'no better than chance';
}

function paint(seen) {
  const { tally, total, people, agreement, names, held } = seen;
  const numbers = [[total ? `of ${total.toLocaleString()} answered` : 'answered', tally.answered], ['positive', tally.positive], ['negative', tally.negative],
    ['unsure', tally.unsure], ['disagreements', tally.disputed], ['flagged', tally.flagged], ['cannot be shown', tally.skipped], ['with somebody now', held]];
  $('numbers').replaceChildren(...numbers.map(([name, value]) => make('div', {}, make('b', { textContent: value.toLocaleString() }), make('span', { className: 'quiet', textContent: name }))));
  $('people').replaceChildren(...people.map((p) => row(p.name, String(p.answers), p.pace ? number(p.pace) : '–', p.milliseconds === null ? '–' : number(p.milliseconds / 1000, 1), when(p.idle))));
  const { alpha, fleiss, observed } = agreement;
  $('agreement').textContent = agreement.tiles
    ? `${agreement.tiles} pictures were judged by several people, who said the same in ${number(observed * 100)} % of the cases. Krippendorff's α ${number(alpha, 2)}${alpha === null ? '' : ` (${word(alpha)})`}, Fleiss' κ ${number(fleiss, 2)}.`
    : 'Nobody judged the same picture as somebody else. The flag --overlap 2 has every picture judged by two people.';
  $('pairs').hidden = !agreement.pairs.length;
  $('pairs').tBodies[0].replaceChildren(...agreement.pairs.map((pair) => row(`${names[pair.people[0]]} and ${names[pair.people[1]]}`, String(pair.tiles), number(pair.kappa, 2))));
  for (const kind of ['disputed', 'flagged']) cases(kind, seen[kind], tally[kind]);
}

const shown = {};
function cases(kind, list, all) {
  $(`${kind}-none`).hidden = list.length > 0;
  $(`${kind}-count`).textContent = all > list.length ? `${list.length} of ${all}` : '';
  const text = JSON.stringify(list);
  if (shown[kind] === text) return;
  shown[kind] = text;
  $(kind).replaceChildren(...list.map(one));
}

function one(found) {
  const said = found.said.map(([who, label, name]) => make('span', {}, `${who}: `, make('b', { className: label, textContent: name || label })));
  return make('article', { className: 'case' }, make('img', { src: pictureUrl(found, 512), alt: found.tile, loading: 'lazy' }),
    make('div', {}, ...said, make('span', { className: 'quiet', textContent: `holds: ${found.holds || 'nothing'}` }), state.role === 'owner' ? decide(found) : null));
}

function decide(found) {
  const button = (label, text) => make('button', { type: 'button', className: label, textContent: text, onclick: () => settle(found, label, '') });
  const yes = state.classes.length
    ? make('select', { ariaLabel: 'Decide for a class', onchange: (event) => settle(found, 'positive', event.target.value) },
      make('option', { value: '', textContent: 'Class…' }), ...state.classes.map((name) => make('option', { textContent: name })))
    : button('positive', 'Yes');
  return make('span', { className: 'row' }, button('negative', state.classes.length ? 'None' : 'No'), button('unsure', 'Unsure'), yes);
}

async function settle(found, label, name) {
  await post('/api/settle', { tile: found.tile, token: '', label, class: name, key: key(), who: me.who || 'owner' });
  say(`Decided: ${name || label}`);
  refresh();
}

async function links() {
  const { links: all } = await get('/api/links');
  $('links').replaceChildren(...all.map((link) => row(
    make('code', { textContent: link.id }), link.role, link.created.replace('T', ' ').replace('Z', ' UTC'),
    link.revoked ? 'revoked' : link.expires ? new Date(link.expires * 1000).toLocaleString() : 'never',
    link.revoked ? '' : make('span', {}, make('button', { type: 'button', textContent: 'Show', onclick: () => show(link) }), ' ',
      make('button', { type: 'button', textContent: 'Revoke', onclick: async () => { await post('/api/links/revoke', { id: link.id }); links(); } })))));
}

function show(link) {
  $('link-made').hidden = false;
  $('link-made').firstElementChild.textContent = `${location.origin}/?token=${link.token}`;
}

async function refresh() {
  try {
    paint(await get('/api/overview'));
    $('trouble').hidden = true;
  } catch (error) {
    $('trouble').hidden = false;
    $('trouble').textContent = error.status ? error.message : 'No connection.';
  }
}

async function start() {
  const session = await get('/api/session');
  Object.assign(state, { role: session.role, classes: session.classes });
  $('question').textContent = session.question;
  $('label-link').hidden = session.role === 'viewer';
  if (session.role === 'owner') {
    $('links-part').hidden = false;
    $('new-link').onsubmit = async (event) => {
      event.preventDefault();
      const hours = Number($('link-hours').value) || null;
      show(await post('/api/links', { role: $('link-role').value, hours }));
      links();
    };
    $('link-copy').onclick = () => navigator.clipboard?.writeText($('link-made').firstElementChild.textContent).then(() => say('Copied'));
    links();
  }
  refresh();
  setInterval(() => { if (!document.hidden) refresh(); }, 3000);
}

start().catch((error) => { $('trouble').hidden = false; $('trouble').textContent = error.message; });

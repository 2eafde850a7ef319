// What is around a tile, and its place at other times, when that is known.
import { get, pictureUrl } from './net.js';
import { $, make, say } from './bus.js';
import { hand } from './hand.js';

let known = null;

async function around(card) {
  if (card.around) return card.around;
  const query = new URLSearchParams({ tile: card.tile, sight: card.sight });
  card.around = await get(`/api/around?${query}`);
  return card.around;
}

// Whether there is anything to show is asked only for pictures that have a place.
export async function look(card) {
  known = null;
  // Tiles of one set all have a place, or none has: the buttons stay where they are.
  $('around').hidden = $('times').hidden = !card?.place;
  $('around').disabled = $('times').disabled = true;
  if (!card?.place) return;
  const found = await around(card).catch(() => null);
  if (!found || card !== hand[0]) return;
  known = found;
  $('around').disabled = !found.places.some(Boolean);
  $('times').disabled = found.times.length < 2;
}

export function showAround() {
  if (!known?.places.some(Boolean)) return say('Nothing is known around this picture');
  const cells = known.places.map((place, i) => {
    if (i === 4) return make('img', { src: pictureUrl(hand[0], 512), alt: 'this picture', className: 'here' });
    return place ? make('img', { src: pictureUrl(place, 512), alt: '', loading: 'lazy' }) : make('span');
  });
  $('context-title').textContent = 'Around it';
  $('context-body').className = 'nine';
  $('context-body').replaceChildren(...cells);
  $('context').showModal();
}

export function showTimes() {
  if (!(known?.times.length > 1)) return say('No other dates are known');
  const figures = known.times.map((view) => make('figure', { className: view.tile === hand[0].tile ? 'here' : '' },
    make('img', { src: pictureUrl(view, 384), alt: '', loading: 'lazy' }), make('figcaption', { textContent: view.time || '' })));
  $('context-title').textContent = 'The same place at other times';
  $('context-body').className = 'times';
  $('context-body').replaceChildren(...figures);
  $('context').showModal();
}

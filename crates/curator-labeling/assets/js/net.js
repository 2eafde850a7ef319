// Talking to the server.

export const key = () => crypto.randomUUID ? crypto.randomUUID()
  : [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

// A tab of its own: two tabs get different pictures; a reload gets its own again.
export const tab = sessionStorage.getItem('curator-tab') || key();
sessionStorage.setItem('curator-tab', tab);

export const me = {
  get who() { return localStorage.getItem('curator-name') || ''; },
  set who(name) { localStorage.setItem('curator-name', name); },
};

export async function get(path) {
  return read(await fetch(path));
}

export async function post(path, body = {}) {
  return read(await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ who: me.who, tab, ...body }),
  }));
}

async function read(reply) {
  const answer = await reply.json().catch(() => ({}));
  if (reply.ok) return answer;
  throw Object.assign(new Error(answer.error || `the server said ${reply.status}`), { status: reply.status, hint: answer.hint });
}

export function pictureUrl({ tile, sight }, size) {
  const query = new URLSearchParams({ tile, sight });
  if (size) query.set('size', size);
  return `/api/picture?${query}`;
}

// A closed tab gives back what it holds.
addEventListener('pagehide', (event) => {
  if (event.persisted || !me.who) return;
  const body = new Blob([JSON.stringify({ who: me.who, tab })], { type: 'application/json' });
  navigator.sendBeacon('/api/release', body);
});

// Keeps the page itself for times without a connection. Answers and pictures are the page's own business.
const CACHE = 'curator-page-2';

const SCRIPTS = ['answers', 'bus', 'choices', 'context', 'grid', 'hand', 'keys', 'light', 'main', 'net', 'outbox', 'past', 'progress', 'stage', 'swipe', 'zoom'];
const PARTS = ['/', '/assets/icon.svg', ...['base', 'label', 'grid'].map((name) => `/assets/css/${name}.css`), ...SCRIPTS.map((name) => `/assets/js/${name}.js`)];

// What was loaded before this worker was there is fetched once more.
self.addEventListener('install', (event) => event.waitUntil((async () => {
  await (await caches.open(CACHE)).addAll(PARTS);
  await self.skipWaiting();
})()));
self.addEventListener('activate', (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name !== CACHE) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== location.origin || url.search) return;
  const ours = url.pathname === '/' || url.pathname.startsWith('/assets/') || url.pathname === '/api/reference';
  if (ours) event.respondWith(fresh(event.request));
});

// From the server; from the cache when it does not answer.
async function fresh(request) {
  const cache = await caches.open(CACHE);
  try {
    const reply = await fetch(request);
    if (reply.ok) await cache.put(request, reply.clone());
    return reply;
  } catch (error) {
    const kept = await cache.match(request);
    if (kept) return kept;
    throw error;
  }
}

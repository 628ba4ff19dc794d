// Keeps the page's own files, so that it opens without the controller and can say so. Data is never kept.

const KEPT = "graphwall-page";
const OURS = /^\/(page\/|icons\/|manifest\.webmanifest$|$)/;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

async function newestOrKept(request) {
  const kept = await caches.open(KEPT);
  try {
    const answer = await fetch(request);
    if (answer.ok) await kept.put(request, answer.clone());
    return answer;
  } catch (error) {
    const found = await kept.match(request);
    if (found) return found;
    throw error;
  }
}

self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method === "GET" && origin === self.location.origin && OURS.test(pathname)) {
    event.respondWith(newestOrKept(event.request));
  }
});

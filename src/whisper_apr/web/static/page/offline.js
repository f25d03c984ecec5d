// The service worker, with which the page works without a network, and storage that the browser does not clear.

const PATIENCE = 2000; // milliseconds that loading may wait for the service worker on the first visit

async function register() {
  const { serviceWorker } = navigator;
  const controlled = new Promise((done) => serviceWorker.addEventListener("controllerchange", done, { once: true }));
  await serviceWorker.register(new URL("../service-worker.js", import.meta.url));
  if (!serviceWorker.controller) await controlled;
  // the page's own files came before the service worker
  const urls = performance.getEntriesByType("resource").map(({ name }) => name);
  serviceWorker.controller.postMessage({ keep: [location.href.split("#")[0], ...urls] });
}

/**
 * Register the service worker, and wait until the page's requests pass through it, so that it keeps what they bring.
 * Without service workers (a page that is not served securely, a private window) nothing happens.
 */
export async function startServiceWorker() {
  const patience = new Promise((done) => setTimeout(done, PATIENCE));
  if (navigator.serviceWorker) await Promise.race([register().catch(() => {}), patience]);
}

/** Ask the browser once not to clear the models when storage becomes scarce. Firefox asks the user. */
export async function keepStorage() {
  try {
    if (!(await navigator.storage.persisted())) await navigator.storage.persist();
  } catch {
    // the browser does not know it, and clears what was not used for long
  }
}

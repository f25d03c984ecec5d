// What the page is doing: its state, one line of status with progress, and errors.

import { $ } from "./dom.js";

/**
 * Set the page's state, by which style.css chooses the layout: loading, failed (to load), ready, running, live, done or
 * cancelled.
 */
export function setState(state) {
  document.body.dataset.state = state;
  $("options").open = !["done", "cancelled"].includes(state); // otherwise the summary cannot be seen
}

/**
 * Show what goes on. Screen readers announce `text`, but not `detail`, which changes all the time. `fraction` is the
 * share that is done, null if it is unknown, undefined if nothing is in progress.
 */
export function showStatus(text, fraction, detail = "") {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("detail").textContent = detail;
  $("progress").hidden = fraction === undefined;
  if (fraction === null) $("progress").removeAttribute("value");
  else if (fraction !== undefined) $("progress").value = fraction;
}

/** Show an error, or none if it is null. */
export function showError(error) {
  $("error").hidden = !error;
  $("error-text").textContent = error ? error.message : "";
  if (error) $("error").scrollIntoView({ block: "nearest" });
}

/** Let screen readers announce something that others see. */
export function announce(text) {
  $("announcer").textContent = "";
  $("announcer").textContent = text;
}

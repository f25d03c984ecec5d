// What can be taken out of the page: the text on the clipboard, and files.

import { $ } from "./dom.js";
import { announce, showError } from "./status.js";

const COPIED = 2000; // milliseconds for which the button says so

/** Put a text on the clipboard, and say so. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    showError(new Error(`the text cannot be copied: ${error.message}`));
    return;
  }
  announce("Copied");
  $("copy-label").textContent = "Copied";
  setTimeout(() => ($("copy-label").textContent = "Copy"), COPIED);
}

/** Let the user save a text as a file. */
function save(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Connect the buttons. `getText()` returns the text to copy, `write(format)` resolves with a file's content, and
 * `getName()` returns the recording's file name.
 */
export function connectFiles({ getText, write, getName }) {
  const more = $("more");
  $("copy").onclick = () => copy(getText());
  $("downloads").onclick = async ({ target }) => {
    const format = target.closest("[data-format]")?.dataset.format;
    if (!format) return;
    more.open = false;
    try {
      save(await write(format), `${getName().replace(/\.[^.]*$/, "")}.${format}`);
    } catch (error) {
      showError(error);
    }
  };
  addEventListener("click", ({ target }) => more.contains(target) || (more.open = false));
  more.onkeydown = (event) => {
    if (event.key !== "Escape" || !more.open) return;
    more.open = false;
    more.querySelector("summary").focus();
  };
  more.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !more.contains(relatedTarget)) more.open = false;
  });
}

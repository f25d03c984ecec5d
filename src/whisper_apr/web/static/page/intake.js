// Files that the user chooses, or drops anywhere on the page.

import { $ } from "./dom.js";

/** Call `onFile(file)` for each file. */
export function connectIntake(onFile) {
  $("file").onchange = ({ target }) => {
    if (target.files.length) onFile(target.files[0]);
    target.value = ""; // otherwise choosing the same file again would not be a change
  };
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) onFile(event.dataTransfer.files[0]);
    });
  }
}

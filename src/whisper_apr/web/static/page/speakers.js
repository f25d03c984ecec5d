// The speakers of a transcript: their names, which can be changed, and their colors.

import { $, create, createIcon } from "./dom.js";
import { announce } from "./status.js";

const COLORS = 8; // in speakers.css
const LONGEST = 60; // characters of a name

const clean = (name) => name.replace(/\s+/g, " ").trim();

/** Names by the speakers' ids, which are what Whisper.transcribe calls them; a list above the text shows them. */
export class Speakers {
  #names = new Map(); // in order of appearance
  #onRename;

  /** `onRename()` is called when a name has changed. */
  constructor(onRename) {
    this.#onRename = onRename;
  }

  get count() {
    return this.#names.size;
  }

  clear() {
    this.#names.clear();
    $("speaker-list").replaceChildren();
    $("speaker-list").hidden = true;
  }

  /** Take a speaker of a segment. */
  add(id) {
    if (this.#names.has(id)) return;
    this.#names.set(id, `Speaker ${this.#names.size + 1}`);
    const button = this.createButton(id);
    button.append(createIcon("edit"));
    $("speaker-list").append(create("li", {}, button));
    $("speaker-list").hidden = false;
  }

  /** Return the name of a speaker; undefined if nobody is known to speak. */
  name(id) {
    return this.#names.get(id);
  }

  /** Return the number of a speaker's color. Speakers of one name have one. */
  color(id) {
    const [first] = [...this.#names].find(([, name]) => name === this.#names.get(id));
    return String(([...this.#names.keys()].indexOf(first) % COLORS) + 1);
  }

  /** Return a segment with names instead of ids. */
  named(segment) {
    const rename = (part) => (part.speaker === undefined ? part : { ...part, speaker: this.name(part.speaker) });
    const { words } = segment;
    return rename(words ? { ...segment, words: words.map(rename) } : segment);
  }

  /** Create a button with a speaker's name, by which it is changed. */
  createButton(id) {
    const dataset = { speaker: id, color: this.color(id) };
    const name = create("span", { className: "speaker-name" }, this.name(id));
    const button = create("button", { type: "button", className: "speaker", title: "Rename", dataset }, name);
    button.onclick = () => this.#edit(button, id);
    return button;
  }

  // Replace a button by a field until Enter is pressed, Escape, or something else is chosen.
  #edit(button, id) {
    const before = this.name(id);
    const field = create("input", { className: "speaker-field", value: before, maxLength: LONGEST });
    field.setAttribute("aria-label", `Name of ${before}`);
    const end = (name, hasFocus) => {
      field.onblur = null; // removing it would call this again
      button.hidden = false;
      if (hasFocus) button.focus();
      field.remove();
      if (name && name !== before) this.#rename(id, name);
    };
    field.onkeydown = (event) => {
      event.stopPropagation(); // arrow keys move in the field
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault(); // otherwise Enter would also press the button, which has the focus then
      end(event.key === "Enter" ? clean(field.value) : before, true);
    };
    field.onblur = () => end(clean(field.value), false);
    button.after(field);
    button.hidden = true;
    field.select();
    field.focus();
  }

  #rename(id, name) {
    const before = this.name(id);
    this.#names.set(id, name);
    for (const button of document.querySelectorAll(".speaker")) {
      button.dataset.color = this.color(button.dataset.speaker);
      button.querySelector(".speaker-name").firstChild.data = this.name(button.dataset.speaker);
    }
    announce(`${before} is now ${name}`);
    this.#onRename();
  }
}

// The transcript: segments with their times, words that can be played, and corrections.

import { $, create } from "./dom.js";
import { clock } from "./format.js";
import { retime } from "./words.js";

const UNSURE = 0.4; // probability below which a word is marked

/**
 * A list of segments. `onSeek(seconds)` is called when a time or a word is chosen, `onEditRequested()` when a word
 * is to be corrected. `speakers` is the Speakers whose names are shown.
 */
export class Transcript {
  #list = $("segments");
  #entries = []; // { segment, item, isDraft }; segments as Whisper.transcribe returns them, with corrections
  #words = []; // { element, start, end } of all segments, in order
  #shown = null; // the word that is highlighted
  #isEditing = false;

  constructor({ onSeek, onEditRequested, speakers }) {
    Object.assign(this, { onSeek, onEditRequested, speakers });
    this.#list.onclick = ({ target }) => this.#click(target);
    this.#list.ondblclick = ({ target }) => this.#isEditing || this.#editWord(target);
    this.#list.onkeydown = (event) => (this.#isEditing ? this.#pressInText(event) : this.#press(event));
  }

  /** The segments that have a text, with the corrections and the speakers' names. */
  get segments() {
    const kept = this.#entries.filter(({ segment }) => segment.text.trim());
    return kept.map(({ segment }) => this.speakers.named(segment));
  }

  /** The number of segments that have a text. */
  get length() {
    return this.segments.length;
  }

  /** The text, one line a segment, with the speaker before it. */
  get text() {
    return this.segments.map(({ speaker, text }) => `${speaker ? `${speaker}: ` : ""}${text.trim()}`).join("\n");
  }

  clear() {
    this.#entries = [];
    this.speakers.clear();
    this.#list.replaceChildren();
    this.#index();
  }

  /** Append a segment. It replaces the drafts that begin before its end; later drafts stay after it. */
  add(segment, isDraft = false) {
    if (!isDraft) this.#removeDrafts(segment.end);
    const next = isDraft ? -1 : this.#entries.findIndex((entry) => entry.isDraft);
    const at = next < 0 ? this.#entries.length : next;
    const item = this.#createItem(segment, isDraft);
    this.#list.insertBefore(item, this.#entries[at]?.item ?? null);
    this.#entries.splice(at, 0, { segment, item, isDraft });
    if (this.#isEditing) this.#setEditable(item.querySelector(".text"), true);
    this.#index();
  }

  /** Remove the drafts, or make them part of the text. */
  endDrafts(isKept) {
    if (!isKept) this.#removeDrafts(Infinity);
    for (const entry of this.#entries) {
      entry.isDraft = false;
      entry.item.classList.remove("draft");
    }
    this.#index();
  }

  #removeDrafts(until) {
    const isOver = ({ segment, isDraft }) => isDraft && segment.start < until;
    for (const { item } of this.#entries.filter(isOver)) item.remove();
    this.#entries = this.#entries.filter((entry) => !isOver(entry));
  }

  #createItem(segment, isDraft) {
    const at = clock(segment.start);
    const time = create("button", { type: "button", className: "time" }, at);
    time.setAttribute("aria-label", `Play from ${at}`);
    const text = create("div", { className: "text", dir: "auto" });
    this.#fill(text, segment);
    const item = create("li", { className: isDraft ? "draft" : "", hidden: !segment.text.trim() }, time, text);
    if (segment.speaker !== undefined && !item.hidden) {
      this.speakers.add(segment.speaker);
      const name = this.speakers.createButton(segment.speaker);
      name.tabIndex = -1;
      time.after(name);
    }
    return item;
  }

  /** Show a speaker's name where others spoke before, and the colors. To be called when a name has changed. */
  showSpeakers() {
    let before;
    for (const { segment, item } of this.#entries) {
      if (item.hidden) continue;
      const name = this.speakers.name(segment.speaker);
      item.classList.toggle("continued", name !== undefined && name === before);
      if (name !== undefined) item.dataset.color = this.speakers.color(segment.speaker);
      before = name;
    }
  }

  /** Highlight the word that is spoken at a time, while the recording is played. */
  follow(time, isPlaying) {
    const word = isPlaying && !this.#isEditing ? this.#findWord(time) : null;
    if (word?.element === this.#shown) return;
    this.#shown?.classList.remove("now");
    this.#list.querySelector("li.now")?.classList.remove("now");
    this.#shown = word?.element ?? null;
    this.#shown?.classList.add("now");
    this.#shown?.closest("li").classList.add("now");
  }

  get isEditing() {
    return this.#isEditing;
  }

  /** Let the text be edited, or take over what was edited. */
  set isEditing(value) {
    if (value === this.#isEditing) return;
    this.#isEditing = value;
    document.body.classList.toggle("editing", value);
    for (const text of this.#list.querySelectorAll(".text")) this.#setEditable(text, value);
    if (value) this.#list.querySelector(".text")?.focus();
    else this.#index();
  }

  #segmentOf(element) {
    const item = element.closest("li");
    return this.#entries.find((entry) => entry.item === item).segment;
  }

  #fill(text, segment) {
    const words = segment.words?.length ? segment.words : [{ word: segment.text, ...segment, probability: 1 }];
    const parts = words.flatMap(({ word, start, end, probability }) => {
      const shown = word.trimStart();
      const className = probability < UNSURE ? "word unsure" : "word";
      const element = create("span", { className, dataset: { start, end } }, shown);
      return [word.slice(0, word.length - shown.length), element];
    });
    text.replaceChildren(...parts.slice(1)); // without the space before the first word
  }

  // Called when the segments or their words have changed.
  #index() {
    this.#shown = null;
    this.#words = Array.from(this.#list.querySelectorAll(".word"), (element) => ({
      element,
      start: Number(element.dataset.start),
      end: Number(element.dataset.end),
    }));
    const times = [...this.#list.querySelectorAll("li:not([hidden]) .time")];
    const stop = times.find(({ tabIndex }) => tabIndex === 0) ?? times[0];
    for (const time of times) time.tabIndex = time === stop ? 0 : -1;
    this.showSpeakers();
  }

  // The last word that has begun, by binary search.
  #findWord(time) {
    let [low, high] = [0, this.#words.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#words[middle].start <= time + 1e-3) low = middle + 1;
      else high = middle;
    }
    return this.#words[low - 1] ?? null;
  }

  // ---- corrections

  #setEditable(text, isEditable) {
    const segment = this.#segmentOf(text);
    if (isEditable) {
      text.setAttribute("role", "textbox");
      text.setAttribute("aria-multiline", "true");
      text.setAttribute("aria-label", `Text at ${clock(segment.start)}`);
      text.textContent = segment.text.trim(); // without elements, which the browser would edit too
      text.contentEditable = "plaintext-only";
      if (text.contentEditable !== "plaintext-only") text.contentEditable = "true"; // an older browser
      text.spellcheck = true;
      text.oninput = () => this.#correct(segment, text.textContent);
      return;
    }
    for (const name of ["role", "aria-multiline", "aria-label", "contenteditable"]) text.removeAttribute(name);
    text.oninput = null;
    this.#fill(text, segment);
    text.closest("li").hidden = !segment.text.trim(); // all of it was deleted
  }

  #correct(segment, shown) {
    const space = /^\s*/.exec(segment.text)[0] || (segment.words?.[0]?.word.startsWith(" ") ? " " : "");
    const text = space + shown.replace(/\s+/g, " ").trim();
    const { speaker } = segment;
    const named = (word) => (speaker === undefined ? word : { ...word, speaker });
    if (segment.words) segment.words = retime(segment.words, text, segment.start, segment.end).map(named);
    segment.text = text;
  }

  // Begin to edit, with a word selected.
  #editWord(target) {
    const word = target.closest(".word");
    if (!word) return;
    const text = word.closest(".text");
    const before = document.createRange();
    before.setStart(text, 0);
    before.setEndBefore(word);
    const begin = before.toString().length;
    const end = begin + word.textContent.length;
    this.onEditRequested();
    text.focus();
    getSelection().setBaseAndExtent(text.firstChild, begin, text.firstChild, end);
  }

  // ---- mouse and keyboard

  #click(target) {
    if (this.#isEditing) return;
    const word = target.closest(".word");
    if (word) this.onSeek(Number(word.dataset.start));
    else if (target.closest(".time")) this.onSeek(this.#segmentOf(target).start);
  }

  // Arrow keys move between segments and, from a time, through the words after it; only one element is a tab stop.
  #press(event) {
    const { target, key } = event;
    const item = target.closest("li");
    if (!item) return;
    const stops = [...item.querySelectorAll(".time, :not(.continued) > .speaker, .word")];
    const visible = [...this.#list.children].filter((each) => !each.hidden);
    const at = visible.indexOf(item);
    const goals = {
      ArrowDown: visible[at + 1]?.querySelector(".time"),
      ArrowUp: visible[at - 1]?.querySelector(".time"),
      Home: visible[0].querySelector(".time"),
      End: visible.at(-1).querySelector(".time"),
      ArrowRight: stops[stops.indexOf(target) + 1],
      ArrowLeft: stops[stops.indexOf(target) - 1],
    };
    if (key in goals) this.#focus(goals[key]);
    else if (target.matches(".word") && [" ", "Enter"].includes(key)) this.#click(target);
    else return;
    event.preventDefault();
  }

  #focus(element) {
    if (!element) return;
    if (element.matches(".time")) {
      for (const time of this.#list.querySelectorAll(".time")) time.tabIndex = time === element ? 0 : -1;
    } else if (element.matches(".word")) {
      // a button only while it has the focus: otherwise screen readers would read each word as one
      element.tabIndex = -1;
      element.setAttribute("role", "button");
      element.onblur = () => ["role", "tabindex"].forEach((name) => element.removeAttribute(name));
    }
    element.focus();
  }

  // A segment is one line of text.
  #pressInText(event) {
    if (event.key === "Enter" && event.target.matches(".text")) event.preventDefault();
  }
}

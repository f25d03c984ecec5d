// The models to choose from, and which of them, and of the networks for speakers, are kept in the browser.

import { findStored, forget } from "../download.js";
import { $, create, createIcon } from "./dom.js";
import { fileSize } from "./format.js";
import { announce } from "./status.js";

const KEPT = "Kept in this browser";
const SPEAKERS = "Networks for speakers";
const CHOSEN = "whisper-apr-model"; // the entry of localStorage with the name of the chosen model

// localStorage throws where cookies are blocked.
function remember(name) {
  try {
    localStorage.setItem(CHOSEN, name);
  } catch {
    // the next visit begins with the first model
  }
}

function recall() {
  try {
    return localStorage.getItem(CHOSEN);
  } catch {
    return null;
  }
}

/** The dialog in which a model is chosen. With one model it is never shown. */
export class ModelChooser {
  #models = []; // { name, url, size }
  #speakers; // the URL of the networks for speakers, if the page is served with them
  #onChoose;

  /** `onChoose(model)` is called when another model is chosen. */
  constructor(onChoose) {
    this.#onChoose = onChoose;
    $("choose-model").onclick = () => this.#open();
    $("models-close").onclick = () => $("models").close();
    $("models").onclick = ({ target }) => target === $("models") && $("models").close(); // on the backdrop
  }

  /** Read settings.json, and take the model of the last visit, or the first. */
  async read() {
    const place = new URL("../settings.json", import.meta.url);
    try {
      const { models = [], speakers } = await (await fetch(place)).json();
      this.#speakers = speakers && new URL(speakers, place).href;
      this.#models = models.map((model) => ({ ...model, url: new URL(model.url, place).href }));
    } catch {
      this.#models = []; // Whisper.load reads the file too, and reports why it cannot
    }
    const chosen = recall();
    this.current = this.#models.find(({ name }) => name === chosen) ?? this.#models[0] ?? null;
    $("choose-model").hidden = this.#models.length < 2;
    this.#showCurrent();
  }

  #showCurrent() {
    $("model-name").textContent = this.current?.name ?? "";
    $("model-size").textContent = this.current ? fileSize(this.current.size) : "";
  }

  async #open() {
    await this.#list();
    $("models").showModal();
    $("models").querySelector("[aria-current=true] .choose, .choose")?.focus();
  }

  async #list() {
    const items = await Promise.all([...this.#models.map((model) => this.#createItem(model)), this.#createSpeakers()]);
    $("model-list").replaceChildren(...items.filter(Boolean));
  }

  async #createItem(model) {
    const { bytes, isComplete } = await findStored(model.url);
    const isCurrent = model === this.current;
    const kept = isComplete ? KEPT : bytes ? `${fileSize(bytes)} downloaded` : "Not downloaded yet";
    const choose = create(
      "button",
      { type: "button", className: "choose", onclick: () => this.#choose(model) },
      create("span", { className: "model-name" }, model.name, isCurrent ? createIcon("check") : ""),
      create("span", { className: "quiet" }, `${fileSize(model.size)} · ${kept}`),
    );
    const item = create("li", {}, choose);
    if (isCurrent) item.setAttribute("aria-current", "true");
    if (bytes) item.append(this.#createRemove(model.name, model.url));
    return item;
  }

  // Create the item of the networks for speakers, which are no model to choose; null while none of them is kept.
  async #createSpeakers() {
    const { bytes, isComplete } = this.#speakers ? await findStored(this.#speakers) : { bytes: 0 };
    if (!bytes) return null;
    const kept = isComplete ? ` · ${KEPT}` : " downloaded";
    const text = create(
      "div",
      { className: "kept" },
      create("span", { className: "model-name" }, SPEAKERS),
      create("span", { className: "quiet" }, `${fileSize(bytes)}${kept}`),
    );
    return create("li", {}, text, this.#createRemove(SPEAKERS, this.#speakers));
  }

  #createRemove(name, url) {
    const remove = create("button", { type: "button", className: "icon-button" }, createIcon("trash"));
    remove.setAttribute("aria-label", `Remove ${name} from this browser`);
    remove.onclick = async () => {
      await forget(url);
      await this.#list();
      announce(`${name} ${name === SPEAKERS ? "were" : "was"} removed from this browser`);
      $("models-close").focus();
    };
    return remove;
  }

  #choose(model) {
    $("models").close();
    if (model === this.current) return;
    this.current = model;
    remember(model.name);
    this.#showCurrent();
    this.#onChoose(model);
  }
}

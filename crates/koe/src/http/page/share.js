// What one can take away of what was heard: files in every format, and code that makes them.
// The same body gives the same sound, so a file is simply asked for again, in another format.

import { ask, hasKey } from "./api.js";
import { $, bytes, el, write } from "./dom.js";
import { LANGUAGES, snippet } from "./snippets.js";

const SOUND = ["mp3", "opus", "aac", "flac", "wav", "pcm"];
const TIMES = ["srt", "vtt", "json"];
const KEEP_URL_MS = 60_000; // A browser that asks where to save still needs the address.

export class Share {
  #body = null;
  #language = LANGUAGES[0];

  constructor() {
    const button = (format) => {
      const what = TIMES.includes(format) ? "Times of the words as" : "Sound as";
      const made = el("button", { type: "button", "aria-label": `${what} ${format}` }, format);
      made.dataset.format = format;
      made.addEventListener("click", () => this.#download(format, made));
      return made;
    };
    const formats = [...SOUND, ...TIMES].map(button);
    formats[SOUND.length].classList.add("apart");
    $("formats").replaceChildren(...formats);

    const languages = LANGUAGES.map((language) => {
      const made = el("button", { type: "button", className: "small" }, language);
      made.addEventListener("click", () => this.#speakIn(language));
      return made;
    });
    $("code-tabs").replaceChildren(...languages);
    $("copy").addEventListener("click", () => this.#copy());
  }

  // `body` is what was posted, less what only this page needs.
  offer(body) {
    this.#body = body;
    write($("save-state"), "");
    this.#speakIn(this.#language);
  }

  #speakIn(language) {
    this.#language = language;
    for (const button of $("code-tabs").children) button.setAttribute("aria-pressed", String(button.textContent === language));
    const base = new URL("v1", document.baseURI).href;
    write($("code"), snippet(language, this.#body, base, hasKey()));
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText($("code").textContent);
      write($("copy"), "Copied");
    } catch {
      // Not allowed, or no secure context: then it is at least selected.
      getSelection().selectAllChildren($("code"));
      write($("copy"), "Selected");
    }
    setTimeout(() => write($("copy"), "Copy"), 2000);
  }

  async #download(format, button) {
    if (button.getAttribute("aria-busy") === "true") return;
    const body = this.#body;
    button.setAttribute("aria-busy", "true");
    write($("save-state"), `Making ${format}…`);
    try {
      const response = await ask("v1/audio/speech", { body: { ...body, response_format: format } });
      const blob = await response.blob();
      const name = `${fileName(body)}.${format}`;
      const link = el("a", { href: URL.createObjectURL(blob), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), KEEP_URL_MS);
      write($("save-state"), `${name}, ${bytes(blob.size)}`);
    } catch (error) {
      write($("save-state"), `${format} could not be had: ${error.message}`);
    } finally {
      button.removeAttribute("aria-busy");
    }
  }
}

function fileName({ voice, input }) {
  const words = input.match(/[\p{L}\p{N}]+/gu)?.slice(0, 4) ?? [];
  const plain = [voice.replace(/[^\w.-]+/g, "-").replace(/-+$/, ""), ...words].filter(Boolean).join("-");
  return plain.slice(0, 60) || "speech";
}

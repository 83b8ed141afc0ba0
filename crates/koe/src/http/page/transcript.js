// The text that is spoken, its words lit as they are heard. Words come from the server with times and
// with offsets in code points of the text; here they become spans around the text itself, so that what
// is not a word (spaces, stops, what was left out) stays as it was written.
// Tells "seek" with the seconds in `detail` when a word is chosen.

import { el } from "./dom.js";

// The remarks of the server, for the reader. Others are shown by their name.
const REMARKS = {
  unspeakable: "left out, nothing in it can be spoken",
  malformed_markup: "markup that does not parse, spoken as text",
  unknown_phoneme: "a sound that the model lacks, left out",
  guessed: "pronunciation guessed",
  spelled: "spelled letter by letter",
  link_target: "the target of a link, not spoken",
  footnote: "the mark of a footnote, not spoken",
};
const MOST_REMARKS = 12;
const BREATH = 0.12; // Seconds.

export class Transcript extends EventTarget {
  #box;
  #remarks;
  #tail = null; // The text node with what no word has claimed yet.
  #map; // From code points to the text's own units.
  #words = []; // { start, end, span }, by time.
  #now = -1; // The last word that has begun.
  #n_remarks = 0;
  #claimed = 0; // How much of the text has become words, in its own units.

  constructor(box, remarks) {
    super();
    this.#box = box;
    this.#remarks = remarks;
    box.addEventListener("click", (event) => {
      const word = this.#words[event.target.dataset?.word];
      if (word) this.#seek(word);
    });
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || this.#words.length === 0) return;
      event.preventDefault();
      this.#seek(this.#words[Math.max(0, Math.min(this.#now + step, this.#words.length - 1))]);
    });
  }

  begin(text) {
    this.#map = new CodePoints(text);
    this.#tail = document.createTextNode(text);
    this.#box.replaceChildren(this.#tail);
    this.#box.scrollTop = 0;
    this.#remarks.replaceChildren();
    this.#remarks.hidden = true;
    this.#words = [];
    this.#now = -1;
    this.#n_remarks = 0;
    this.#claimed = 0;
  }

  // Takes { start_time, end_time, char_start, char_end } in order. One that overlaps an earlier one has no place
  // of its own in the text and is passed over.
  add(words) {
    const pieces = document.createDocumentFragment();
    const text = this.#map.text;
    for (const word of words) {
      const from = this.#map.unit(word.char_start);
      const to = this.#map.unit(word.char_end);
      if (!(from >= this.#claimed && to > from && to <= text.length)) continue;
      const span = el("span", {}, text.slice(from, to));
      span.dataset.word = this.#words.length;
      pieces.append(text.slice(this.#claimed, from), span);
      this.#words.push({ start: word.start_time ?? word.start, end: word.end_time ?? word.end, span });
      this.#claimed = to;
    }
    this.#box.insertBefore(pieces, this.#tail);
    this.#tail.data = text.slice(this.#claimed);
  }

  remark({ kind, char_start, char_end }) {
    this.#n_remarks += 1;
    this.#remarks.hidden = false;
    if (this.#n_remarks > MOST_REMARKS) {
      const more = `and ${this.#n_remarks - MOST_REMARKS} more`;
      if (this.#n_remarks === MOST_REMARKS + 1) this.#remarks.append(el("li", {}, more));
      else this.#remarks.lastChild.textContent = more;
      return;
    }
    const name = String(kind ?? "remark").replace(/[ -]/g, "_").toLowerCase();
    const words = REMARKS[name] ?? name.replaceAll("_", " ");
    let about = this.#map.text.slice(this.#map.unit(char_start), this.#map.unit(char_end)).trim();
    if (about.length > 40) about = `${about.slice(0, 39)}…`;
    this.#remarks.append(el("li", {}, ...(about ? [el("q", {}, about), ": "] : []), words));
  }

  // Lights the word that is heard at `position`.
  at(position) {
    let now = this.#now;
    while (now + 1 < this.#words.length && this.#words[now + 1].start <= position) {
      now += 1;
      this.#words[now].span.classList.add("said");
    }
    while (now >= 0 && this.#words[now].start > position) {
      this.#words[now].span.classList.remove("said", "now");
      now -= 1;
    }
    if (now !== this.#now) this.#words[this.#now]?.span.classList.remove("now");
    const word = this.#words[now];
    // The breath between two words keeps its light: a flicker would say nothing.
    const lit = word !== undefined && position < word.end + BREATH;
    word?.span.classList.toggle("now", lit);
    if (now !== this.#now && word) this.#show(word.span);
    this.#now = now;
  }

  // Scrolls only the box, and only when the word is out of sight: the page itself stays put.
  #show(span) {
    const top = span.offsetTop - this.#box.scrollTop;
    if (top >= 8 && top + span.offsetHeight <= this.#box.clientHeight - 8) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#box.scrollTo({ top: span.offsetTop - this.#box.clientHeight / 3, behavior: still ? "auto" : "smooth" });
  }

  // A hair after its start, so that rounding does not light the word before.
  #seek(word) {
    this.dispatchEvent(new CustomEvent("seek", { detail: word.start + 0.001 }));
  }
}

// JavaScript counts UTF-16 units, the server code points. Asked in rising order, all answers together
// cost one walk over the text; asked for an earlier one, the walk starts again.
class CodePoints {
  #point = 0;
  #unit = 0;

  constructor(text) {
    this.text = text;
  }

  unit(point) {
    if (!(point >= this.#point)) this.#point = this.#unit = 0;
    while (this.#point < point && this.#unit < this.text.length) {
      this.#unit += this.text.codePointAt(this.#unit) > 0xffff ? 2 : 1;
      this.#point += 1;
    }
    return this.#unit;
  }
}

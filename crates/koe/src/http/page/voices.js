// The card that chooses a voice or mixes several: a list with filters, a slider for each part of the
// mixture, and the notation itself, which can be typed. The notation is what counts; list and sliders
// show it and write it. Voices come from GET /v1/audio/voices through `load`.

import { $, el, write } from "./dom.js";
import { formatMix, parseMix } from "./mix.js";

const FEW = 5; // So many voices are seen at a glance: no filters then.

export class VoiceCard {
  #voices = [];
  #parts = [];
  #rows = new Map();
  #sliders = "";

  constructor() {
    $("voice").addEventListener("input", () => this.#typed());
    $("mix").addEventListener("change", () => this.#mixing($("mix").checked));
    for (const id of ["find", "by-language", "by-gender"]) $(id).addEventListener("input", () => this.#filter());
  }

  // What to send as `voice`.
  get value() {
    return $("voice").value.trim();
  }

  // What to send as `model`: the small one by its name, all else is what the server was started with.
  get model() {
    return this.#voices.find(({ name }) => name === this.#parts[0]?.name)?.model === "builtin" ? "builtin" : "kokoro";
  }

  load(voices) {
    this.#voices = voices.map((voice) => (typeof voice === "string" ? { name: voice } : { ...voice, name: voice.name ?? voice.id }));
    this.#rows.clear();
    for (const voice of this.#voices) this.#rows.set(voice.name, this.#row(voice));
    $("voice-list").replaceChildren(...this.#rows.values());
    this.#choices("by-language", "Every language", "language");
    this.#choices("by-gender", "Every gender", "gender");
    $("filters").hidden = this.#voices.length <= FEW;
    this.#filter();
    const first = this.#voices.find((voice) => voice.default) ?? this.#voices[0];
    if (this.value === "" && first) this.#choose([{ name: first.name, weight: 1 }]);
    else this.#typed();
  }

  #row(voice) {
    const input = el("input", { type: "radio", name: "voice-of-list", value: voice.name });
    input.addEventListener("change", () => this.#picked(voice.name, input.checked));
    const about = [voice.language, voice.gender].filter(Boolean).join(", ");
    return el("label", {}, input, el("b", {}, voice.name), el("small", {}, about));
  }

  #choices(id, all, field) {
    const values = [...new Set(this.#voices.map((voice) => voice[field]).filter(Boolean))].sort();
    $(id).replaceChildren(el("option", { value: "" }, all), ...values.map((value) => el("option", { value }, value)));
  }

  #filter() {
    const [language, gender] = [$("by-language").value, $("by-gender").value];
    const needles = $("find").value.toLowerCase().split(/\s+/);
    let n_shown = 0;
    for (const voice of this.#voices) {
      const hay = `${voice.name} ${voice.language ?? ""} ${voice.gender ?? ""}`.toLowerCase();
      const shown = (!language || voice.language === language) && (!gender || voice.gender === gender)
        && needles.every((needle) => hay.split(/[\s_]+/).some((word) => word.startsWith(needle)) || hay.startsWith(needle));
      this.#rows.get(voice.name).hidden = !shown;
      n_shown += shown ? 1 : 0;
    }
    const all = this.#voices.length;
    const words = n_shown === 0 && all > 0 ? "No voice is like that." : n_shown < all ? `${n_shown} of ${all} voices` : "";
    write($("voice-count"), words);
  }

  #picked(name, checked) {
    if (!$("mix").checked) return this.#choose([{ name, weight: 1 }]);
    const others = this.#parts.filter((part) => part.name !== name);
    const parts = checked ? [...this.#parts, { name, weight: 1 }] : others;
    // The last one cannot be left out: something has to speak.
    this.#choose(parts.length > 0 ? parts : this.#parts);
  }

  #mixing(on) {
    this.#choose(on ? this.#parts : this.#parts.slice(0, 1));
  }

  #choose(parts) {
    $("voice").value = formatMix(parts);
    this.#parts = parts;
    this.#show();
  }

  #typed() {
    const parts = parseMix($("voice").value);
    if (parts === null) return write($("voice-hint"), "Names joined by +, with weights in brackets: one(2)+other(1)");
    this.#parts = parts;
    if (parts.length > 1) $("mix").checked = true;
    this.#show();
  }

  #show() {
    const mixing = $("mix").checked;
    const chosen = new Set(this.#parts.map((part) => part.name));
    for (const [name, row] of this.#rows) {
      const input = row.firstChild;
      input.type = mixing ? "checkbox" : "radio";
      input.checked = chosen.has(name);
    }
    const strangers = this.#rows.size > 0 ? [...chosen].filter((name) => !this.#rows.has(name)) : [];
    write($("voice-hint"), strangers.length > 0 ? `Not in this server’s list: ${strangers.join(", ")}` : "");
    $("mix-parts").hidden = !mixing;
    // Rebuilt only when other voices are in it, so that a slider that is being dragged stays.
    const names = this.#parts.map((part) => part.name).join("+");
    if (names !== this.#sliders) $("mix-parts").replaceChildren(...this.#parts.map((part, index) => this.#slider(part.name, index)));
    this.#sliders = names;
    const total = this.#parts.reduce((sum, part) => sum + part.weight, 0);
    this.#parts.forEach(({ weight }, index) => {
      const [, slider, share] = $("mix-parts").children[index].children;
      const percent = `${Math.round((100 * weight) / total)}%`;
      if (Number(slider.value) !== weight) {
        slider.max = Math.max(5, weight);
        slider.value = weight;
      }
      slider.setAttribute("aria-valuetext", `${weight}, which is ${percent}`);
      write(share, percent);
    });
  }

  #slider(name, index) {
    const slider = el("input", { type: "range", min: 0.1, max: 5, step: 0.1, value: 1, "aria-label": `Weight of ${name}` });
    slider.addEventListener("input", () => {
      this.#parts[index] = { name, weight: Number(slider.value) };
      this.#choose(this.#parts);
    });
    const out = el("button", { type: "button", className: "quiet", title: `Leave out ${name}`, "aria-label": `Leave out ${name}` }, "×");
    out.addEventListener("click", () => {
      this.#picked(name, false);
      this.#rows.get(name)?.firstChild.focus();
    });
    return el("div", { className: "part" }, el("b", { title: name }, name), slider, el("output"), out);
  }
}

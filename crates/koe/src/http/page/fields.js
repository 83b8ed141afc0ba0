// Fields of a JSON object that nobody has shown yet, and words for names and values that are not known
// in advance: `ready_after_ms: 18` becomes "Ready after", "18 ms".

import { bytes, duration, milliseconds, number } from "./dom.js";

const UNITS = [
  [/_bytes$/, bytes],
  [/_mb$/, (n) => `${number(n, 1)} MB`],
  [/_ms$/, milliseconds],
  [/_us$/, (n) => milliseconds(n / 1000)],
  [/_(seconds|secs|s)$/, duration],
  [/_percent$/, (n) => `${number(n, 1)}%`],
];
const MOST_ROWS = 60; // In one table; a page is no place for more.

export function label(name) {
  const words = UNITS.reduce((rest, [unit]) => rest.replace(unit, ""), name).replaceAll("_", " ").trim();
  if (/^p\d/.test(words)) return words; // A percentile.
  return words === "" ? name : words[0].toUpperCase() + words.slice(1);
}

// `path` or a name: its end tells the unit.
export function value(thing, path = "") {
  if (thing === null || thing === undefined) return "–";
  if (typeof thing === "boolean") return thing ? "yes" : "no";
  if (typeof thing === "number") {
    const unit = UNITS.find(([ending]) => ending.test(path));
    return unit ? unit[1](thing) : number(thing, Math.abs(thing) < 1 ? 4 : 2);
  }
  if (Array.isArray(thing)) return thing.map((item) => value(item, path)).join(", ") || "none";
  if (typeof thing === "object") return Object.entries(thing).map(([name, item]) => `${label(name).toLowerCase()} ${value(item, name)}`).join(", ");
  return String(thing);
}

export class Remaining {
  #all;
  #taken = new Set();

  constructor(all) {
    this.#all = all;
  }

  // What is at a path such as "engine.isa", undefined where nothing is; it no longer remains.
  take(path) {
    this.#taken.add(path);
    return this.peek(path);
  }

  peek(path) {
    return path.split(".").reduce((at, name) => (typeof at === "object" && at !== null ? at[name] : undefined), this.#all);
  }

  // What remains at and below a path, as rows of [label, text].
  rows(path) {
    const found = [];
    const walk = (at, thing, names) => {
      if (this.#taken.has(at) || thing === null) return; // Null: the server has nothing to say there.
      const deeper = typeof thing === "object" && thing !== null && !(Array.isArray(thing) && thing.every((item) => typeof item !== "object"));
      if (!deeper) {
        const name = at.split(".").pop();
        // A section that is itself a value goes by its own name.
        found.push([names.length > 0 ? names.map(label).join(" · ") : label(name), value(thing, unitOf(at))]);
      } else for (const [name, item] of Object.entries(thing)) walk(`${at}.${name}`, item, [...names, Array.isArray(thing) ? String(Number(name) + 1) : name]);
    };
    const start = this.#all[path];
    if (start !== undefined) walk(path, start, []);
    if (found.length > MOST_ROWS) found.splice(MOST_ROWS, Infinity, ["…", `${found.length - MOST_ROWS} more`]);
    return found;
  }
}

// The unit may be in the name of a field or of what holds it: `first_audio_ms.p50`. Counts have none.
function unitOf(path) {
  const names = path.split(".").reverse();
  if (/^(n|count|total|n_.*|.*_count)$/.test(names[0])) return "";
  return names.find((name) => UNITS.some(([unit]) => unit.test(name))) ?? "";
}

// Small helpers for building and finding elements, and for putting quantities into words.
// Nothing here knows of the server. Text only ever becomes text nodes, never markup.

export const $ = (id) => document.getElementById(id);

// el("p", { className: "hint" }, "text", child) makes an element; names with a dash become attributes.
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// Writes only what changed, so that a selection by the reader and live regions are left in peace.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const number = (value, digits) => value.toLocaleString("en", { maximumFractionDigits: digits });

export function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function milliseconds(ms) {
  if (ms >= 60_000) return duration(ms / 1000);
  if (ms >= 1000) return `${number(ms / 1000, 2)} s`;
  return `${number(ms, ms < 10 ? 1 : 0)} ms`;
}

export function duration(seconds) {
  if (seconds < 60) return `${number(seconds, seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function bytes(n) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (Math.abs(n) >= 1000 && unit < units.length - 1) [n, unit] = [n / 1000, unit + 1];
  return `${number(n, unit > 2 ? 2 : unit > 1 && n < 100 ? 1 : 0)} ${units[unit]}`;
}

export { number };

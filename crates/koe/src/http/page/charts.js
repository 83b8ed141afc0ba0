// The two pictures of the "Server" page: how full something is, and how often the first sound took how
// long. Made of elements, with what they show in words for those who do not see them.

import { el, milliseconds, number } from "./dom.js";

export function meter(used, total, words) {
  const share = total > 0 ? Math.max(0, Math.min(1, used / total)) : 0;
  const fill = el("div");
  fill.style.width = `${100 * share}%`;
  return el("div", { className: "meter", role: "img", "aria-label": `${number(100 * share, 0)}%: ${words}` }, fill);
}

// `buckets` are [{ le, count }]: how many took at most `le` seconds, so each counts those before it too.
// The last may be without bound ("+Inf", null); where it is not, `total` tells how many took longer.
export function histogram(buckets, total) {
  let before = 0;
  if (total > (buckets.at(-1).count ?? Infinity)) buckets = [...buckets, { le: null, count: total }];
  let bars = buckets.map(({ le, count }) => {
    const n = Math.max(0, count - before);
    before = count;
    const bound = typeof le === "number" ? le : parseFloat(le);
    return { bound: Number.isFinite(bound) ? bound : null, n };
  });
  // Empty bars at both ends say nothing; one is kept on either side.
  const first = bars.findIndex(({ n }) => n > 0);
  const last = bars.findLastIndex(({ n }) => n > 0);
  bars = first < 0 ? bars : bars.slice(Math.max(0, first - 1), last + 2);
  const most = Math.max(1, ...bars.map(({ n }) => n));

  const inWords = bars.filter(({ n }) => n > 0).map(({ bound, n }) => `${n} within ${bound === null ? "more" : milliseconds(1000 * bound)}`);
  const picture = el("div", { className: "bars", role: "img", "aria-label": inWords.join(", ") || "none yet" });
  for (const { bound, n } of bars) {
    const bar = el("i");
    bar.style.height = `${(86 * n) / most}%`;
    const pile = el("div", { className: "pile" }, n > 0 ? number(n, 0) : "", bar);
    picture.append(el("div", {}, pile, el("div", { className: "below" }, brief(bound))));
  }
  const unit = el("p", { "aria-hidden": "true" }, "how many took at most so many milliseconds");
  return el("div", { className: "chart" }, picture, unit);
}

// Narrow columns have no room for "ms".
function brief(bound) {
  if (bound === null) return "more";
  return bound < 1 ? number(1000 * bound, 1) : `${number(bound, 1)} s`;
}

// The "Server" page: draws what GET /status says. Takes what it knows by name, and shows all that is
// left as plain tables: a later server has more to say, and an earlier one less.
// Asks nobody itself; app.js polls and calls `show` and `lost`.

import { $, bytes, duration, el, milliseconds, number, write } from "./dom.js";
import { histogram, meter } from "./charts.js";
import { Remaining, label, value } from "./fields.js";

const STATES = {
  ready: ["ready", "Ready"],
  starting: ["wait", "Starting"],
  draining: ["wait", "Draining: it finishes what it has and takes no more"],
};

export function serverPage() {
  const cards = new Map();

  function light(dot, words) {
    $("dot").className = `dot ${dot}`;
    write($("dot-words"), words);
  }

  // One card, written anew only where something changed. Rows are [label, text]; a chart is
  // { of, make }: made again when what it is of is another.
  function card(title, rows, chart) {
    if (rows.length === 0 && !chart) return null;
    let known = cards.get(title);
    if (!known) {
      const [dl, picture] = [el("dl"), el("div")];
      const section = el("section", { className: "card", "aria-label": title }, el("h2", {}, title), picture, dl);
      cards.set(title, (known = { section, dl, picture, labels: "", of: "" }));
    }
    const labels = JSON.stringify(rows.map(([name]) => name));
    if (labels !== known.labels) {
      known.dl.replaceChildren(...rows.flatMap(([name]) => [el("dt", {}, name), el("dd")]));
      known.labels = labels;
    }
    rows.forEach(([, text], index) => write(known.dl.children[2 * index + 1], text));
    const of = JSON.stringify(chart?.of ?? null);
    if (of !== known.of) {
      known.picture.replaceChildren(...(chart ? [chart.make()] : []));
      known.of = of;
    }
    known.picture.hidden = !chart;
    return known.section;
  }

  function show(status) {
    const all = new Remaining(status);
    // Rows for those fields that are there, in this order.
    const rows = (...wanted) => wanted.flatMap(([name, path, form = value]) => {
      const field = all.take(path);
      return field === undefined || field === null ? [] : [[name, (typeof field === "number" ? form : value)(field, path)]];
    });
    const numberAt = (path) => (typeof all.peek(path) === "number" ? all.take(path) : undefined);

    const ready = all.take("ready");
    const name = all.take("state") ?? (ready ? "ready" : "starting");
    const [dot, words] = STATES[name] ?? [ready ? "ready" : "wait", label(String(name))];
    light(dot, words);
    const version = all.take("version");
    const uptime = numberAt("uptime_seconds");
    const primed = numberAt("startup.ready_after_ms");
    const facts = [
      ...(version ? [`koe ${version}`] : []),
      ...(primed === undefined ? [] : [`primed in ${milliseconds(primed)}`]),
      ...(uptime === undefined ? [] : [`up for ${duration(uptime < 60 ? Math.floor(uptime) : uptime)}`]),
    ].join(" · ");
    if (!$("state").querySelector("b")) $("state").replaceChildren(el("b"), el("small", { "aria-live": "off" }));
    write($("state").querySelector("b"), words);
    write($("state").querySelector("small"), facts);
    if (version) write($("version"), `koe ${version}`);
    const notice = all.take("model.notice");
    $("notice").hidden = !notice;
    write($("notice"), notice ? String(notice) : "");

    const [resident, weights] = [numberAt("engine.residency.resident_bytes"), numberAt("engine.residency.total_bytes")];
    const [inflight, limit] = [numberAt("requests.inflight"), numberAt("requests.limit")];
    const [rss, cap] = [numberAt("memory.rss_bytes"), numberAt("memory.limit_bytes")];
    const byStatus = all.take("requests.by_status");
    const buckets = all.take("first_audio_ms.buckets");
    const n_first = numberAt("first_audio_ms.count");
    const pace = numberAt("real_time_factor");

    const known = [
      ["Requests", "requests", () => [
        ...(inflight === undefined ? [] : [["In work", limit === undefined ? value(inflight) : `${inflight} of ${limit}`]]),
        ...rows(["Waiting", "requests.queued"], ["Answered in all", "requests.total"], ["Cancelled by the client", "requests.cancelled"]),
        ...Object.entries(isObject(byStatus) ? byStatus : {}).map(([code, n]) => [`Answered ${code}`, value(n)]),
      ], limit && inflight !== undefined && { of: [inflight, limit], make: () => meter(inflight, limit, `${inflight} of ${limit} in work`) }],
      ["First sound", "first_audio_ms", () => rows(["Median", "first_audio_ms.p50", milliseconds], ["95 of 100 within", "first_audio_ms.p95", milliseconds], ["Counted", "first_audio_ms.count"]),
        Array.isArray(buckets) && buckets.length > 0 && { of: [buckets, n_first], make: () => histogram(buckets, n_first) }],
      ["Sound", "real_time_factor", () => [
        ...rows(["Made", "audio_seconds", duration], ["Computed for", "compute_seconds", duration]),
        ...(pace ? [["Faster than spoken", `${number(1 / pace, 1 / pace < 10 ? 1 : 0)} times`]] : []),
      ]],
      ["Start", "startup", () => [
        ...(primed === undefined ? [] : [["Ready after", milliseconds(primed)]]),
        ...rows(["First sound of the priming", "startup.first_audio_ms", milliseconds]),
      ]],
      ["Model", "model", () => rows(["Name", "model.id"], ["Voices", "model.voices"])],
      ["Engine", "engine", () => [
        ...rows(["Kernels for", "engine.isa"], ["Precision", "engine.precision"], ["Threads", "engine.threads"], ["Lanes", "engine.lanes"], ["Processor", "engine.processor"]),
        ...(weights === undefined ? [] : [["Weights in memory", resident === undefined ? bytes(weights) : `${bytes(resident)} of ${bytes(weights)}`]]),
      ], weights && resident !== undefined && { of: [resident, weights], make: () => meter(resident, weights, "weights in memory") }],
      ["Memory", "memory", () => [
        ...(rss === undefined ? [] : [["In use", bytes(rss)]]),
        ...rows(["At most so far", "memory.peak_bytes", bytes], ["Allowed", "memory.limit_bytes", bytes]),
      ], cap && rss !== undefined && { of: [rss, cap], make: () => meter(rss, cap, "memory in use") }],
    ];
    const shown = known.map(([title, section, knownRows, chart]) => {
      const first = knownRows();
      return card(title, [...first, ...all.rows(section)], chart || undefined);
    });
    const loose = [];
    for (const [section, field] of Object.entries(status)) {
      if (known.some(([, name]) => name === section)) continue;
      if (isObject(field) || Array.isArray(field)) shown.push(card(label(section), all.rows(section)));
      else loose.push(...all.rows(section)); // Less what some card has taken.
    }
    shown.push(card("Other", loose));
    const sections = shown.filter(Boolean);
    if (sections.length !== $("cards").children.length || sections.some((section, i) => $("cards").children[i] !== section)) {
      $("cards").replaceChildren(...sections);
    }
  }

  function lost(words) {
    light("lost", words);
    $("state").replaceChildren(el("b", {}, words));
  }

  return { show, lost };
}

const isObject = (thing) => typeof thing === "object" && thing !== null && !Array.isArray(thing);

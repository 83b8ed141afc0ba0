// Where the page starts: tabs, colours, the field for the API key, and the one loop that asks for the
// server's state, each second while it is looked at (or until it is ready) and never while it is not.

import { Failure, ask, locked, setKey, stored } from "./api.js";
import { $, milliseconds } from "./dom.js";
import { serverPage } from "./server.js";
import { speakPage } from "./speak.js";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;

const speak = speakPage();
const server = serverPage();
let haveVoices = false;
let ready = false;

// Tabs. The address keeps which one is open.
const tabs = [$("tab-speak"), $("tab-server")];
function open(tab, focus = false) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
  history.replaceState(null, "", tab === tabs[0] ? location.pathname + location.search : "#server");
  poll();
}
tabs.forEach((tab, index) => {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    open(tabs.at(to % tabs.length), true);
  });
});

// Colours: as the system has them, light, dark.
const THEMES = { "": "as the system has them", light: "light", dark: "dark" };
function paint(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  $("theme").title = `Colours: ${THEMES[theme]}`;
  $("theme").setAttribute("aria-label", $("theme").title);
  document.dispatchEvent(new Event("theme"));
}
const kept = stored(() => localStorage.getItem("koe-theme")) ?? "";
paint(kept in THEMES ? kept : "");
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
  stored(() => localStorage.setItem("koe-theme", next));
  paint(next);
});

// The key. It is asked for when the server first refuses, and again when it refuses the key.
locked.addEventListener("locked", () => {
  if (!$("key-form").hidden) return;
  $("key-form").hidden = false;
  $("key").focus();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value.trim());
  $("key").value = "";
  $("key-form").hidden = true;
  speak.fail("");
  haveVoices = false;
  poll();
});

// The state.
let timer = 0;
let asking = false;
async function poll() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  try {
    const read = async (path) => (await ask(path, { signal: AbortSignal.timeout(PATIENCE_MS) })).json();
    const [status, kept] = await Promise.all([read("status"), $("panel-server").hidden ? {} : read("optimization/summary")]);
    ready = status.ready === true;
    // Cards of their own, beside what /status says.
    const { warmup, cache: caches, keep_alive, memory: memory_management } = kept;
    server.show({ ...status, ...(keep_alive && { keep_alive, memory_management, warm_ups: brief(warmup), caches }) });
  } catch (error) {
    ready = false;
    server.lost(error instanceof Failure ? error.message : "The server does not answer.");
  }
  if (!haveVoices) await loadVoices();
  asking = false;
  if (!ready || !haveVoices || !$("panel-server").hidden) timer = setTimeout(poll, EVERY_MS);
}

// One row for each pattern: what was said, and how long it took or what went wrong.
function brief({ stage_results, completed_stages, ...rest }) {
  const patterns = Object.values(stage_results).flatMap((stage) => Object.entries(stage));
  return { ...Object.fromEntries(patterns.map(([text, of]) => [`“${text}”`, of.error ?? milliseconds(of.duration_ms ?? 0)])), ...rest };
}

async function loadVoices() {
  try {
    await speak.loadVoices();
    haveVoices = true;
  } catch (error) {
    // While it starts it may not know yet; what it refuses when ready is for the reader to see.
    // For want of a key there is nothing to try again until there is one.
    if (error.status === 401) haveVoices = true;
    else if (ready) speak.fail(error.message);
  }
}
document.addEventListener("visibilitychange", poll);
open(location.hash === "#server" ? tabs[1] : tabs[0]);

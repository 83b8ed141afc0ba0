// Talks to the server: one way to ask, one kind of failure with words for the reader, and the parser
// of the event stream. Holds the API key, in sessionStorage and nowhere else.
// `locked` is told when the server wants a key.

const KEY = "koe-api-key";
export const locked = new EventTarget();
let apiKey = stored(() => sessionStorage.getItem(KEY)) ?? "";

// Storage may be forbidden; the page then lives without it.
export function stored(use) {
  try {
    return use();
  } catch {
    return null;
  }
}

export const hasKey = () => apiKey !== "";

export function setKey(key) {
  apiKey = key;
  stored(() => sessionStorage.setItem(KEY, key));
}

// What went wrong, in words that can be shown. `status` is 0 where no answer came.
export class Failure extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// Asks, and throws a Failure for anything but success. With a body it is a POST of JSON.
// An abort by `signal` is thrown as the AbortError it is.
export async function ask(path, { body, signal } = {}) {
  const headers = {};
  if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server cannot be reached.");
  }
  if (response.ok) return response;
  const failure = await refusal(response);
  if (response.status === 401) locked.dispatchEvent(new Event("locked"));
  throw failure;
}

async function refusal(response) {
  let words = `The server answered ${response.status} ${response.statusText}`.trim();
  try {
    words = inWords((await response.json()).error, words);
  } catch {
    // No JSON: a proxy in between, perhaps. The status has to do.
  }
  const wait = response.headers.get("Retry-After");
  if (response.status === 429 && wait) words += ` Try again in ${wait} ${wait === "1" ? "second" : "seconds"}.`;
  return new Failure(words, response.status);
}

function inWords(error, otherwise) {
  const message = typeof error === "string" ? error : error?.message;
  if (!message) return otherwise;
  const sentence = message[0].toUpperCase() + message.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

// The events of a stream, parsed. An event of type "error" is thrown as a Failure.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(broken);
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        if (line !== "" || data.length === 0) continue;
        const text = data.join("\n");
        data = [];
        if (text === "[DONE]") return;
        const event = JSON.parse(text);
        if (event.type === "error") throw new Failure(inWords(event.error, "The server failed while speaking."));
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function broken(error) {
  if (error.name === "AbortError") throw error;
  throw new Failure("The connection to the server broke off.");
}

export function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

// The "Speak" page: asks for a stream, plays it as it comes, and shows where in text and sound we are.
// The parts know nothing of each other; here what one tells is passed on to the others.

import { ask, events, fromBase64 } from "./api.js";
import { $, clock, duration, milliseconds, number, write } from "./dom.js";
import { Player } from "./player.js";
import { Share } from "./share.js";
import { Transcript } from "./transcript.js";
import { VoiceCard } from "./voices.js";
import { Wave } from "./wave.js";

// The stops of the speed slider: finer where the ear is. 1 stands at 15.
const SPEEDS = [
  ...Array.from({ length: 15 }, (_, i) => 0.25 + 0.05 * i),
  ...Array.from({ length: 10 }, (_, i) => 1 + 0.1 * i),
  ...Array.from({ length: 9 }, (_, i) => 2 + 0.25 * i),
].map((speed) => Number(speed.toFixed(2)));

// Letters a second at speed 1, roughly: how wide the waveform starts before its length is known.
const LETTERS_A_SECOND = 14;

export function speakPage() {
  const voices = new VoiceCard();
  const player = new Player();
  const wave = new Wave($("wave"));
  const transcript = new Transcript($("transcript"), $("notes"));
  const share = new Share();
  let running = null; // The AbortController of the stream that is coming.
  let expected = 0; // Seconds of sound that are expected in all.
  let span = 1; // Seconds that the waveform shows, on its way to what it should.
  let frame = 0;

  const speed = () => SPEEDS[$("speed").value];
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  function showSettings() {
    $("speed").max = SPEEDS.length - 1;
    $("speed").setAttribute("aria-valuetext", `${speed()} times`);
    write($("speed-shown"), `${speed()}×`);
    const n = [...$("text").value].length;
    write($("count"), `${number(n, 0)} ${n === 1 ? "character" : "characters"}`);
  }

  function fail(words) {
    $("error").hidden = !words;
    write($("error"), words);
  }

  function stop() {
    running?.abort();
    running = null;
    player.stop();
    showState();
  }

  async function speak() {
    stop();
    fail("");
    const input = $("text").value.toWellFormed?.() ?? $("text").value;
    if (input.trim() === "") {
      fail("There is nothing to speak yet: write or paste a text.");
      $("text").focus();
      return;
    }
    const body = { model: voices.model, input, voice: voices.value, speed: speed(), seed: Math.max(0, Math.floor(Number($("seed").value) || 0)) };
    if ($("lang").value) body.lang_code = $("lang").value;
    const mine = (running = new AbortController());
    const begun = performance.now();
    player.begin();
    wave.clear();
    transcript.begin(input);
    expected = span = Math.max(2, [...input].length / LETTERS_A_SECOND / speed());
    write($("figures"), "Waiting for the first sound…");
    $("player").hidden = false;
    showState();
    let first = "";
    try {
      const request = { ...body, response_format: "pcm", stream_format: "sse", return_timestamps: true };
      const response = await ask("v1/audio/speech", { body: request, signal: mine.signal });
      share.offer(body);
      let done = false;
      for await (const event of events(response)) {
        if (running !== mine) return;
        if (event.type === "speech.audio.delta") {
          wave.add(player.push(fromBase64(event.audio)));
          if (first === "" && player.duration > 0) {
            first = `First sound after ${milliseconds(performance.now() - begun + 1000 * player.untilHeard)}`;
            write($("figures"), first);
          }
          animate();
        } else if (event.type === "speech.audio.words") transcript.add(event.words);
        else if (event.type === "speech.audio.note") transcript.remark(event);
        else if (event.type === "speech.audio.done") done = true;
      }
      if (!done) fail("The stream ended before all was spoken.");
      const seconds = (performance.now() - begun) / 1000;
      const pace = number(player.duration / seconds, player.duration < 10 * seconds ? 1 : 0);
      write($("figures"), `${first} · ${duration(player.duration)} of sound in ${duration(seconds)}, ${pace} times as fast as it is spoken`);
    } catch (error) {
      // An abort is the reader's own wish, and already dealt with.
      if (error.name === "AbortError" || running !== mine) return;
      fail(error.message);
      write($("figures"), first);
      $("player").hidden = player.duration === 0;
    } finally {
      if (running === mine) {
        running = null;
        expected = player.duration;
        player.finish();
        showState();
      }
    }
  }

  function showState() {
    const busy = player.state === "playing" || player.state === "waiting";
    $("stop").disabled = running === null && !busy;
    $("play").classList.toggle("playing", busy);
    $("play").setAttribute("aria-label", busy ? "Pause" : "Play");
    $("play").disabled = player.state === "empty";
    animate();
  }

  function animate() {
    if (frame === 0) frame = requestAnimationFrame(draw);
  }

  function draw() {
    frame = 0;
    const position = player.position;
    const wanted = Math.max(player.duration, running ? expected : 0, 0.5);
    span = still.matches || Math.abs(wanted - span) < 0.02 * wanted ? wanted : span + 0.12 * (wanted - span);
    wave.draw(position, span);
    transcript.at(player.state === "ended" ? Infinity : position);
    $("transcript").classList.toggle("ended", player.state === "ended");
    write($("now"), clock(position));
    write($("all"), clock(player.duration));
    if (player.state === "playing" || player.state === "waiting" || span !== wanted) animate();
  }

  function seek(seconds, thenPlay) {
    player.seek(seconds);
    if (thenPlay) player.play();
    showState();
  }

  player.addEventListener("state", showState);
  wave.addEventListener("seek", (event) => seek(event.detail, false));
  transcript.addEventListener("seek", (event) => seek(event.detail, true));
  $("speak").addEventListener("click", speak);
  $("stop").addEventListener("click", () => {
    stop();
    write($("figures"), `Stopped; ${duration(player.duration)} of sound had come.`);
  });
  $("play").addEventListener("click", () => ($("play").classList.contains("playing") ? player.pause() : player.play()));
  $("text").addEventListener("input", showSettings);
  $("speed").addEventListener("input", showSettings);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("panel-speak").hidden) {
      event.preventDefault();
      speak();
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", animate);
  document.addEventListener("theme", animate);
  showSettings();

  // Throws where the server refuses; the caller knows whether to try again.
  async function loadVoices() {
    const { voices: list } = await (await ask("v1/audio/voices")).json();
    voices.load(Array.isArray(list) ? list : []);
  }
  return { loadVoices, fail };
}

// The waveform on a canvas: how loud the sound is over time, what of it was heard, and a playhead that
// can be dragged or moved with keys (it is a slider to assistive technology).
// Tells "seek" with the seconds in `detail`. Colours come from the style sheet.

import { RATE } from "./player.js";
import { clock } from "./dom.js";

// One peak for each 10 ms; bars on the screen take the largest of theirs.
const BIN = RATE / 100;
// The loudest peak fills the height, but what is all softer than this does not look loud.
const QUIET = 0.2 * 32_768;

export class Wave extends EventTarget {
  #box;
  #canvas;
  #peaks = [];
  #partial = 0; // Samples in the last peak.
  #loudest = QUIET;
  #span = 1; // Seconds from the left edge to the right.
  #position = 0;

  constructor(box) {
    super();
    this.#box = box;
    this.#canvas = box.querySelector("canvas");
    box.addEventListener("pointerdown", (event) => {
      box.setPointerCapture(event.pointerId);
      this.#point(event);
    });
    box.addEventListener("pointermove", (event) => {
      if (box.hasPointerCapture(event.pointerId)) this.#point(event);
    });
    box.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.draw(this.#position, this.#span)).observe(box);
  }

  clear() {
    this.#peaks = [];
    this.#partial = 0;
    this.#loudest = QUIET;
    this.#position = 0;
  }

  // Takes the next samples, 16 bit.
  add(samples) {
    for (const sample of samples) {
      const loudness = Math.abs(sample);
      if (loudness > this.#loudest) this.#loudest = loudness;
      if (this.#partial === 0) this.#peaks.push(loudness);
      else if (loudness > this.#peaks[this.#peaks.length - 1]) this.#peaks[this.#peaks.length - 1] = loudness;
      this.#partial = (this.#partial + 1) % BIN;
    }
  }

  // Draws with the playhead at `position`, the whole width being `span` seconds.
  draw(position, span) {
    this.#position = position;
    this.#span = Math.max(span, 0.1);
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0) return;
    const scale = window.devicePixelRatio || 1;
    if (this.#canvas.width !== Math.round(width * scale) || this.#canvas.height !== Math.round(height * scale)) {
      this.#canvas.width = Math.round(width * scale);
      this.#canvas.height = Math.round(height * scale);
    }
    const context = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(name);
    const [quiet, heard, head] = [colour("--bar"), colour("--bar-heard"), colour("--head")];
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);

    const step = 4;
    const n_bars = Math.max(1, Math.floor(width / step));
    const binsPerBar = (this.#span * RATE) / BIN / n_bars;
    const playhead = (position / this.#span) * width;
    for (let bar = 0; bar < n_bars; bar += 1) {
      const first = Math.floor(bar * binsPerBar);
      const known = first < this.#peaks.length;
      let peak = 0;
      for (let bin = first; bin < Math.max(first + 1, (bar + 1) * binsPerBar) && bin < this.#peaks.length; bin += 1) {
        peak = Math.max(peak, this.#peaks[bin]);
      }
      const x = bar * step;
      const tall = known ? Math.max(3, (peak / this.#loudest) * (height - 4)) : 1.5;
      context.globalAlpha = known ? 1 : 0.7;
      context.fillStyle = known && x < playhead ? heard : quiet;
      context.beginPath();
      context.roundRect(x, (height - tall) / 2, step - 1.5, tall, 1.25);
      context.fill();
    }
    context.globalAlpha = 1;
    if (this.#peaks.length > 0) {
      context.fillStyle = head;
      context.fillRect(Math.min(width - 1.5, Math.max(0, playhead - 0.75)), 0, 1.5, height);
    }
    this.#describe();
  }

  // Whole seconds, so that a screen reader is not told sixty times in each.
  #describe() {
    const set = (name, value) => {
      if (this.#box.getAttribute(name) !== value) this.#box.setAttribute(name, value);
    };
    const length = (this.#peaks.length * BIN) / RATE;
    set("aria-valuemax", String(Math.floor(length)));
    set("aria-valuenow", String(Math.floor(this.#position)));
    set("aria-valuetext", `${clock(this.#position)} of ${clock(length)}`);
  }

  #point(event) {
    const { left, width } = this.#box.getBoundingClientRect();
    this.#seek(((event.clientX - left) / width) * this.#span);
  }

  #key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    if (event.key in steps) this.#seek(this.#position + steps[event.key]);
    else if (event.key === "Home") this.#seek(0);
    else if (event.key === "End") this.#seek(Infinity);
    else return;
    event.preventDefault();
  }

  #seek(seconds) {
    const length = (this.#peaks.length * BIN) / RATE;
    this.dispatchEvent(new CustomEvent("seek", { detail: Math.max(0, Math.min(seconds, length)) }));
  }
}

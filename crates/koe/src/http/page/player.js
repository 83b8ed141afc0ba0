// Plays 16-bit mono PCM at 24 kHz while it arrives, and keeps it, so that one can go back in it.
// Sound is handed to the AudioContext in blocks a few seconds ahead of what is heard: a block starts
// on the very sample where the one before it ends. When sound comes too late, the rest moves later.
// Tells "state" (see `state`) to whoever listens; positions are seconds.

export const RATE = 24_000;

// All in samples. A block is small enough to schedule quickly, and a few of them outlast the
// throttled timers of a tab in the background, where only the end of a block wakes us.
const BLOCK = 2 * RATE;
const AHEAD = 8 * RATE;
// How far ahead of the clock a block starts when nothing plays: about what a block takes to be set up.
const LEAD = 0.03 * RATE;

export class Player extends EventTarget {
  // "empty", "playing", "waiting" (for more sound), "paused" or "ended".
  state = "empty";
  #context = null;
  #samples = new Int16Array(30 * RATE);
  #length = 0;
  #oddByte = null;
  #complete = true;
  #cursor = 0; // The next sample to schedule.
  #anchor = null; // The context's time, in samples, at which sample 0 sounds or would have.
  #floor = 0; // The position never runs backwards below this while playing.
  #sources = new Set();

  // Forgets the sound and awaits another. Call it from a click or a key: browsers want that.
  begin() {
    this.#silence();
    this.#length = this.#cursor = this.#floor = 0;
    this.#oddByte = null;
    this.#complete = false;
    this.#wake();
    this.#become("waiting");
  }

  // Takes bytes of PCM; a sample may be cut in two between calls. Returns the samples that are new.
  push(bytes) {
    if (this.#oddByte !== null) {
      const joined = new Uint8Array(bytes.length + 1);
      joined[0] = this.#oddByte;
      joined.set(bytes, 1);
      bytes = joined;
    }
    this.#oddByte = bytes.length % 2 === 1 ? bytes[bytes.length - 1] : null;
    const n = bytes.length >> 1;
    const from = this.#length;
    this.#reserve(from + n);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 2 * n);
    for (let i = 0; i < n; i += 1) this.#samples[from + i] = view.getInt16(2 * i, true);
    this.#length += n;
    this.#pump();
    return this.#samples.subarray(from, this.#length);
  }

  // Nothing more will come.
  finish() {
    this.#complete = true;
    this.#pump();
  }

  // Nothing more will come, and what plays falls silent. What came can be played again.
  stop() {
    this.#complete = true;
    this.pause();
    if (this.#length === 0) this.#become("empty");
  }

  pause() {
    const at = this.position;
    this.#silence();
    this.#jump(at);
    if (this.state !== "empty" && this.state !== "ended") this.#become("paused");
  }

  play() {
    if (this.state === "empty" || this.state === "playing" || this.state === "waiting") return;
    if (this.state === "ended") this.#jump(0);
    this.#wake();
    this.#become("waiting");
    this.#pump();
  }

  seek(seconds) {
    if (this.state === "empty") return;
    this.#silence();
    this.#jump(seconds);
    if (this.state === "ended") this.#become("paused");
    if (this.state === "playing") this.#become("waiting");
    this.#pump();
  }

  // Seconds that have come.
  get duration() {
    return this.#length / RATE;
  }

  // Seconds into the sound that leave the loudspeaker now.
  get position() {
    if (this.#anchor !== null) {
      const heard = (this.#context.currentTime - (this.#context.outputLatency || 0)) * RATE - this.#anchor;
      this.#floor = Math.max(this.#floor, Math.min(heard, this.#cursor));
    }
    return this.#floor / RATE;
  }

  // Seconds from now until the first sample that is scheduled leaves the loudspeaker.
  get untilHeard() {
    if (this.#anchor === null) return 0;
    return (this.#anchor + this.#floor) / RATE - this.#context.currentTime + (this.#context.outputLatency || 0);
  }

  #jump(seconds) {
    this.#cursor = this.#floor = Math.max(0, Math.min(Math.round(seconds * RATE), this.#length));
  }

  #wake() {
    if (!this.#context) {
      try {
        this.#context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
      } catch {
        // Some browsers only have the rate of the device; they then convert each block.
        this.#context = new AudioContext();
      }
    }
    // Without a loudspeaker it stays suspended: the page then shows the sound but does not play it.
    if (this.#context.state !== "running") this.#context.resume().catch(() => {});
  }

  #pump() {
    if (this.state !== "playing" && this.state !== "waiting") return;
    const now = Math.ceil(this.#context.currentTime * RATE);
    while (this.#cursor < this.#length) {
      if (this.#anchor === null || this.#anchor + this.#cursor < now) this.#anchor = now + LEAD - this.#cursor;
      if (this.#anchor + this.#cursor > now + AHEAD) break;
      const end = Math.min(this.#cursor + BLOCK, this.#length);
      this.#schedule(this.#cursor, end);
      this.#cursor = end;
    }
    if (this.#sources.size > 0) this.#become("playing");
    else if (this.#complete) this.#end();
    else this.#become("waiting");
  }

  #schedule(from, to) {
    const buffer = this.#context.createBuffer(1, to - from, RATE);
    const channel = buffer.getChannelData(0);
    for (let i = from; i < to; i += 1) channel[i - from] = this.#samples[i] / 32_768;
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#context.destination);
    source.onended = () => {
      if (!this.#sources.delete(source)) return;
      source.disconnect();
      this.#pump();
    };
    this.#sources.add(source);
    source.start((this.#anchor + from) / RATE);
  }

  #silence() {
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.#sources.clear();
    this.#anchor = null;
  }

  #end() {
    this.#anchor = null;
    this.#floor = this.#length;
    this.#become(this.#length === 0 ? "empty" : "ended");
  }

  #reserve(length) {
    if (length <= this.#samples.length) return;
    const larger = new Int16Array(Math.max(length, 2 * this.#samples.length));
    larger.set(this.#samples.subarray(0, this.#length));
    this.#samples = larger;
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

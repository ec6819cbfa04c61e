/**
 * Plays the sound of a live stream by its time stamps, and is the clock that pictures follow.
 *
 * The ring is addressed by media time: sample n of the stream lies at n modulo its length, and what never came is
 * silence. `position` is the next sample to be heard. It moves with the sound card, and stands still in two cases:
 * before the first sound, and when the network was late (then the delay grows by what was missing).
 *
 * The delay is kept as small as the network allows. How long before its turn each piece came is its slack; the least
 * of some seconds should be the margin. What is too much is skipped and what is too little is added where the stream is
 * silent: nobody hears it. The margin grows when a piece came too late, and shrinks slowly while none does.
 */

const RATE = 48000;
const RING = 4 * RATE;
const LEAST_MARGIN = 0.012 * RATE;
const MOST_MARGIN = 0.2 * RATE;
const GROWTH = 0.012 * RATE; // of the margin, when the network was late
const DECAY = 0.0005 * RATE; // a second
const TOLERANCE = 0.010 * RATE;
const WINDOW_SECONDS = 2;
const JUMP = 1.5 * RATE;
const QUIET = 0.003;
const FADE = 240;
const REPORT_SECONDS = 0.02;

class Sound extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.ring = new Float32Array(RING);
    this.generation = 0;
    this.position = null;
    this.end = 0;
    this.margin = Math.round(options.processorOptions.margin * RATE);
    this.hold = 0; // samples of silence before going on
    this.isDry = true;
    this.skip = 0;
    this.gain = 1;
    this.wanted = 1;
    this.fade = 0;
    this.windows = [];
    this.underruns = 0;
    this.late = 0;
    this.reported = 0;
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  obey(message) {
    if (message.type === "sound") this.hear(message);
    else if (message.type === "feed") message.port.onmessage = ({ data }) => this.obey(data);
    else if (message.type === "generation") this.interrupt(message.generation);
    else if (message.type === "gain") this.wanted = message.value;
    else if (message.type === "reset") {
      this.position = null;
      this.generation = message.generation;
    }
  }

  hear({ start, samples, generation }) {
    const stop = start + samples.length;
    if (this.position === null || start > this.end + JUMP || stop < this.position - JUMP) {
      this.ring.fill(0);
      this.position = start;
      this.end = start;
      this.isDry = true;
      this.windows = [];
    }
    if (this.isDry) {
      this.isDry = false;
      this.hold = Math.round(this.margin);
      if (start > this.position) this.position = start;
    } else {
      this.measure(start - this.position + this.hold);
    }
    if (generation >= this.generation) {
      for (let i = Math.max(start, this.position); i < stop; i++) this.ring[i % RING] = samples[i - start];
    }
    if (stop <= this.position) this.late++;
    this.end = Math.max(this.end, stop);
  }

  /** How early a piece came, in samples. */
  measure(slack) {
    const last = this.windows[this.windows.length - 1];
    if (last && currentTime - last.begin < WINDOW_SECONDS / 4) last.least = Math.min(last.least, slack);
    else this.windows.push({ begin: currentTime, least: slack });
    while (this.windows.length && currentTime - this.windows[0].begin > WINDOW_SECONDS) this.windows.shift();
    const tooMuch = this.windows.length >= 4 ? Math.round(this.least() - this.margin) : 0;
    this.skip = Math.abs(tooMuch) > TOLERANCE ? tooMuch : 0;
  }

  least() {
    return this.windows.reduce((least, one) => Math.min(least, one.least), Infinity);
  }

  interrupt(generation) {
    this.generation = Math.max(this.generation, generation);
    if (this.position === null) return;
    for (let i = this.position + FADE; i < this.end; i++) this.ring[i % RING] = 0;
    for (let i = 0; i < FADE; i++) this.ring[(this.position + i) % RING] *= 1 - i / FADE;
  }

  isQuiet(from, count) {
    for (let i = 0; i < count; i++) if (Math.abs(this.ring[(from + i) % RING]) > QUIET) return false;
    return true;
  }

  /** Take some of what the delay has too much of, or add to it, where it is silent. */
  adjust(block) {
    if (this.skip === 0) return;
    if (this.skip > 0) {
      const count = Math.min(this.skip, this.end - this.position - block);
      if (count < block || !this.isQuiet(this.position, count + block)) return;
      this.forget(count);
    } else {
      if (!this.isQuiet(this.position, block)) return;
      this.hold = -this.skip;
    }
    this.skip = 0;
    this.windows = [];
  }

  forget(count) {
    for (let i = 0; i < count; i++) this.ring[(this.position + i) % RING] = 0;
    this.position += count;
  }

  process(_, [[out]]) {
    const block = out.length;
    this.report();
    if (this.position === null || this.isDry) return true;
    if (this.hold <= 0) this.adjust(block);
    let i = 0;
    if (this.hold > 0) {
      i = Math.min(this.hold, block);
      this.hold -= i;
    }
    for (; i < block; i++) {
      if (this.position >= this.end) {
        this.isDry = true;
        this.underruns++;
        this.margin = Math.min(this.margin + GROWTH, MOST_MARGIN);
        this.windows = [];
        break;
      }
      const place = this.position % RING;
      this.gain += (this.wanted - this.gain) * 0.01;
      out[i] = this.ring[place] * this.gain;
      this.ring[place] = 0;
      this.position++;
    }
    return true;
  }

  report() {
    if (currentTime - this.reported < REPORT_SECONDS) return;
    this.margin = Math.max(this.margin - DECAY * (currentTime - this.reported), LEAST_MARGIN);
    this.reported = currentTime;
    this.port.postMessage({
      position: this.position === null ? null : this.position,
      moves: this.position !== null && !this.isDry && this.hold <= 0,
      time: currentTime,
      waiting: this.position === null ? 0 : Math.max(this.end - this.position, 0),
      margin: this.margin,
      underruns: this.underruns,
      late: this.late,
    });
  }
}

registerProcessor("geneface-sound", Sound);

/** The time of the stream while no sound plays: before the first gesture, and where sound is not to be had. */

const START_DELAY = 0.015;
const RELAX_A_SECOND = 0.005;

export class LocalClock {
  constructor() {
    this.reset();
  }

  reset() {
    this.shift = null;
    this.relaxed = 0;
  }

  /** A picture of `seconds` has come: if it is late, all that follows is shown later. */
  came(seconds) {
    const now = performance.now() / 1000;
    const wanted = now + START_DELAY - seconds;
    // A stream that jumps is another stream.
    if (this.shift === null || Math.abs(wanted - this.shift) > 2) this.shift = wanted;
    else if (now - seconds > this.shift) this.shift = wanted;
    else if (now - this.relaxed > 1) {
      this.relaxed = now;
      this.shift = Math.max(this.shift - RELAX_A_SECOND, wanted - START_DELAY);
    }
  }

  /** Seconds of the stream that are shown now, or null. */
  now() {
    return this.shift === null ? null : performance.now() / 1000 - this.shift;
  }
}

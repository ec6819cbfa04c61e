/** Hears what the player gives to the loudspeaker: when sounds begin and end, in the context's time, and holes in them. */

const LOUD = 0.03;
const APART = 0.15; // seconds of quiet between two sounds

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.last = -1;
    this.news = [];
    this.told = 0;
    this.hole = 0;
    this.zeros = 0;
  }

  process([[input]]) {
    for (let i = 0; input && i < input.length; i++) {
      const now = currentTime + i / sampleRate;
      if (Math.abs(input[i]) > LOUD) {
        if (now - this.last > APART) {
          if (this.last >= 0) this.news.push(["end", this.last]);
          this.news.push(["begin", now]);
        } else if (this.zeros > 96) this.hole = Math.max(this.hole, this.zeros / sampleRate);
        this.last = now;
        this.zeros = 0;
      } else if (input[i] === 0) this.zeros++;
      else this.zeros = 0;
    }
    if (currentTime - this.told > 0.05) {
      this.port.postMessage({ news: this.news, hole: this.hole, last: this.last, now: currentTime });
      this.told = currentTime;
      this.news = [];
    }
    return true;
  }
}

registerProcessor("tap", Tap);

/** Cuts the microphone's sound into pieces of 10 ms, s16: what is waited for is late. */

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(sampleRate / 100));
    this.filled = 0;
  }

  process([[input]]) {
    if (!input) return true;
    for (const value of input) {
      this.piece[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32767)));
      if (this.filled === this.piece.length) {
        const piece = this.piece;
        this.port.postMessage({ piece, time: currentTime }, [piece.buffer]);
        this.piece = new Int16Array(Math.round(sampleRate / 100));
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("geneface-microphone", Microphone);

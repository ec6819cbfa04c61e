/** Sound packets of a stream -> samples for the worklet that plays them. It lives in the link's worker. */

const RATE = 48000;

export class SoundFeed {
  /** `onError` is called with a sentence. */
  constructor(onError) {
    this.onError = onError;
    this.port = null;
    this.form = "pcm";
    this.isPlaying = false;
    this._decoder = null;
    this._pending = [];
  }

  /** `port`: to the worklet; `form`: "pcm" or "opus". */
  connect(port, form) {
    Object.assign(this, { port, form });
  }

  /** Another connection: its sound has nothing to do with what came before. */
  reset(generation) {
    this._pending = [];
    if (this._decoder && this._decoder.state !== "closed") this._decoder.close();
    this._decoder = null;
    this.port?.postMessage({ type: "reset", generation });
  }

  /** Nothing is kept while the browser plays nothing. */
  push(packet) {
    if (!this.isPlaying || !this.port) return;
    if (this.form === "pcm") {
      const samples = new Int16Array(packet.payload.slice().buffer);
      this._play(Float32Array.from(samples, (value) => value / 32768), packet);
    } else {
      this._decode(packet);
    }
  }

  _play(samples, { microseconds, generation }) {
    const start = Math.round((microseconds / 1e6) * RATE);
    if (start >= 0) this.port.postMessage({ type: "sound", start, samples, generation }, [samples.buffer]);
  }

  _decode(packet) {
    if (!this._decoder || this._decoder.state === "closed") {
      this._pending = [];
      this._decoder = new AudioDecoder({
        output: (data) => {
          // One packet, one piece: times are those of the packets, whatever the decoder makes of them.
          const of = this._pending.shift();
          const samples = new Float32Array(data.numberOfFrames);
          data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
          data.close();
          if (of) this._play(samples, of);
        },
        error: (error) => this.onError(`the sound can't be decoded: ${error.message}`),
      });
      this._decoder.configure({ codec: "opus", sampleRate: RATE, numberOfChannels: 1 });
    }
    this._pending.push(packet);
    const timestamp = packet.microseconds;
    this._decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: packet.payload }));
  }
}

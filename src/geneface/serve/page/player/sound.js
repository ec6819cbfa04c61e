/** The sound of a live stream: decodes it, plays it in an AudioWorklet, and tells the time that is heard. */

const RATE = 48000;
const FIRST_MARGIN_SECONDS = 0.03;

export class Sound {
  /** `form`: "pcm" or "opus". `onError` is called with a sentence. */
  constructor(form, onError) {
    this.form = form;
    this.onError = onError;
    this.context = null;
    this.node = null;
    this.muted = false;
    this.generation = 0;
    this.report = null;
    this._decoder = null;
    this._pending = [];
  }

  /** May be called before a gesture: the context then waits, suspended, for `resume`. */
  async open() {
    this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule(new URL("./sound-worklet.js", import.meta.url));
    this.node = new AudioWorkletNode(this.context, "geneface-sound", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { margin: FIRST_MARGIN_SECONDS },
    });
    this.node.port.onmessage = ({ data }) => {
      this.report = data;
    };
    this.node.connect(this.context.destination);
    this._applyGain();
  }

  get isRunning() {
    return this.context?.state === "running" && this.node !== null;
  }

  async resume() {
    if (this.context && this.context.state !== "running") await this.context.resume();
  }

  set isMuted(value) {
    this.muted = value;
    this._applyGain();
  }

  get isMuted() {
    return this.muted;
  }

  /** A packet of sound; nothing is kept while the context waits. */
  push(packet) {
    if (!this.isRunning) return;
    if (this.form === "pcm") {
      const aligned = packet.payload.slice();
      this._play(Float32Array.from(new Int16Array(aligned.buffer), (value) => value / 32768), packet);
    } else {
      this._decode(packet);
    }
  }

  /** Nothing older than this generation is heard any more. */
  drop(generation) {
    this.generation = Math.max(this.generation, generation);
    this.node?.port.postMessage({ type: "generation", generation: this.generation });
  }

  /** After a new connection: another beginning. */
  reset(generation) {
    this.generation = generation;
    this._pending = [];
    if (this._decoder && this._decoder.state !== "closed") this._decoder.close();
    this._decoder = null;
    this.report = null;
    this.node?.port.postMessage({ type: "reset", generation });
  }

  /** Seconds of the stream that are heard now, or null while nothing is. */
  now() {
    if (!this.isRunning || !this.report || this.report.position === null) return null;
    const heard = this.heardTime();
    const past = this.report.moves ? heard - this.report.time : Math.min(heard - this.report.time, 0);
    return this.report.position / RATE + past;
  }

  /** The context's time that leaves the loudspeaker now. */
  heardTime() {
    const stamp = this.context.getOutputTimestamp?.();
    if (stamp?.performanceTime > 0) return stamp.contextTime + (performance.now() - stamp.performanceTime) / 1000;
    return this.context.currentTime - (this.context.outputLatency || this.context.baseLatency || 0);
  }

  close() {
    if (this._decoder && this._decoder.state !== "closed") this._decoder.close();
    this.context?.close().catch(() => {});
    this.context = this.node = null;
  }

  _applyGain() {
    this.node?.port.postMessage({ type: "gain", value: this.muted ? 0 : 1 });
  }

  _play(samples, { microseconds, generation }) {
    const start = Math.round((microseconds / 1e6) * RATE);
    if (start < 0) return;
    this.node?.port.postMessage({ type: "sound", start, samples, generation }, [samples.buffer]);
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

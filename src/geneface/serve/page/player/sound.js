/** The sound of a live stream: an AudioWorklet plays what the link's worker sends it, and tells what time is heard. */

const RATE = 48000;
const FIRST_MARGIN_SECONDS = 0.03;

export class Sound {
  constructor() {
    this.context = null;
    this.node = null;
    this.muted = false;
    this.report = null;
  }

  /**
   * May be called before a gesture: the context then waits, suspended, for `resume`.
   * `link` brings the packets, in the form "pcm" or "opus".
   */
  async open(link, form) {
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
    const { port1, port2 } = new MessageChannel();
    this.node.port.postMessage({ type: "feed", port: port1 }, [port1]);
    link.connectSound(port2, form);
    const tell = () => link.setPlaying(this.isRunning);
    this.context.addEventListener("statechange", tell);
    tell();
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

  /** Nothing older than this generation is heard any more. */
  drop(generation) {
    this.node?.port.postMessage({ type: "generation", generation });
  }

  /** After a new connection: what is known of the time is old. */
  reset() {
    this.report = null;
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
    this.context?.close().catch(() => {});
    this.context = this.node = null;
  }

  _applyGain() {
    this.node?.port.postMessage({ type: "gain", value: this.muted ? 0 : 1 });
  }
}

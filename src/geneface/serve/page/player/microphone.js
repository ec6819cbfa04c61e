/** The microphone: 10 ms pieces of s16 at 16 kHz, or at the rate that the browser insists on. */

const RATE = 16000;

export class Microphone {
  /** `onPiece(samples: Int16Array, seconds)`. */
  constructor(onPiece) {
    this.onPiece = onPiece;
    this.context = null;
    this.stream = null;
  }

  get rate() {
    return this.context?.sampleRate ?? null;
  }

  /** Rejects with the browser's own error where the person or the browser says no. */
  async open() {
    if (!navigator.mediaDevices?.getUserMedia) {
      // Browsers hide it on pages that came over plain HTTP from another machine.
      throw new DOMException("the microphone needs HTTPS, or the page at localhost", "SecurityError");
    }
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio, video: false });
    let source;
    try {
      this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
      source = this.context.createMediaStreamSource(this.stream);
    } catch {
      // Firefox joins no stream to a context of another rate.
      await this.context?.close();
      this.context = new AudioContext({ latencyHint: "interactive" });
      source = this.context.createMediaStreamSource(this.stream);
    }
    await this.context.audioWorklet.addModule(new URL("./microphone-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(this.context, "geneface-microphone", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => this.onPiece(data.piece, data.time);
    source.connect(node);
    await this.context.resume();
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close().catch(() => {});
    this.stream = this.context = null;
  }
}

/** The pictures of a live stream: H.264 units in, decoded frames out, each kept until its time has come. */

const MOST_FRAMES = 24; // kept decoded: about a second; more only means that nobody looks
const MOST_UNDECODED = 12;

export class Pictures {
  /** `askForKey` is called when only a key frame helps. */
  constructor(codec, askForKey) {
    this.codec = codec;
    this.askForKey = askForKey;
    this.generation = 0;
    this.frames = [];
    this.needsKey = true;
    this.skipped = 0;
    this._under = new Map(); // time stamp -> what the decoder does not know of a picture under way
    this._decoder = null;
  }

  static async isSupported(codec) {
    if (typeof VideoDecoder === "undefined" || typeof EncodedVideoChunk === "undefined") return false;
    try {
      return (await VideoDecoder.isConfigSupported(config(codec))).supported === true;
    } catch {
      return false;
    }
  }

  push({ payload, isKey, generation, microseconds }) {
    if (this.needsKey && !isKey) return;
    if (this._decoder && !isKey && this._decoder.decodeQueueSize > MOST_UNDECODED) {
      // This machine can't keep up: go on from the next key frame.
      this.needsKey = true;
      this.askForKey();
      return;
    }
    this.needsKey = false;
    if (!this._decoder || this._decoder.state === "closed") this._open();
    this._under.set(microseconds, { generation, came: performance.now() });
    const type = isKey ? "key" : "delta";
    try {
      this._decoder.decode(new EncodedVideoChunk({ type, timestamp: microseconds, data: payload }));
    } catch {
      this._fail();
    }
  }

  /** Frames of older generations are not shown any more. */
  drop(generation) {
    this.generation = Math.max(this.generation, generation);
    this.frames = this.frames.filter((frame) => {
      const isKept = frame.generation >= this.generation;
      if (!isKept) frame.picture.close();
      return isKept;
    });
  }

  /** The frame to show at `seconds` of the stream, or null; the caller closes its `picture`. */
  take(seconds) {
    let found = null;
    while (this.frames.length && this.frames[0].seconds <= seconds) {
      if (found) {
        found.picture.close();
        this.skipped++;
      }
      found = this.frames.shift();
    }
    return found;
  }

  get latest() {
    return this.frames.length ? this.frames[this.frames.length - 1].seconds : null;
  }

  reset() {
    for (const frame of this.frames) frame.picture.close();
    this.frames = [];
    this._under.clear();
    this.needsKey = true;
    if (this._decoder && this._decoder.state !== "closed") this._decoder.close();
    this._decoder = null;
  }

  _open() {
    const decoder = new VideoDecoder({
      output: (picture) => this._decoded(picture),
      error: () => {
        if (decoder === this._decoder) this._fail();
      },
    });
    decoder.configure(config(this.codec));
    this._decoder = decoder;
  }

  _decoded(picture) {
    const unknown = { generation: this.generation, came: performance.now() };
    const { generation, came } = this._under.get(picture.timestamp) ?? unknown;
    this._under.delete(picture.timestamp);
    if (generation < this.generation) {
      picture.close();
      return;
    }
    this.frames.push({ picture, generation, came, seconds: picture.timestamp / 1e6 });
    if (this.frames.length > MOST_FRAMES) this.frames.shift().picture.close();
  }

  _fail() {
    this.reset();
    this.askForKey();
  }
}

function config(codec) {
  return { codec, optimizeForLatency: true };
}

/**
 * Plays fragmented MP4 (MediaSource), where there is no WebCodecs. The browser keeps sound and picture together; what
 * is done here is staying close to the end of what has come: a little faster when behind, a jump when far behind.
 */

import { KIND } from "./packets.js";

const ITEM_SECONDS = 0.04;
const AIM = 0.16;
const FAST_BEYOND = 0.26;
const JUMP_BEYOND = 0.8;
const KEEP_SECONDS = 10;

export class FragmentPlayer {
  /** `video`: an element; `canvas`: where its pictures are drawn, or null if the element itself is shown. */
  constructor(video, canvas, port) {
    this.video = video;
    this.canvas = canvas;
    this.paint = canvas?.getContext("2d", { alpha: false }) ?? null;
    this.port = port;
    this.generation = 0;
    this.isMuted = false;
    this.isSilenced = false; // until the new generation comes
    this.shown = { count: 0, at: 0, seconds: 0, worstGap: 0, offset: null };
    this.queue = [];
    this.buffer = null;
    this.jump = null;
    video.playsInline = true;
    video.muted = true;
    video.disableRemotePlayback = true;
    this._draw = () => this._show();
    this._frame = requestAnimationFrame(this._draw);
  }

  static isSupported(type) {
    return typeof MediaSource !== "undefined" && MediaSource.isTypeSupported(type);
  }

  begin(ready) {
    this._release();
    this.generation = ready.generation;
    this.isSilenced = false;
    this._applyMute();
    if (this.canvas) {
      this.canvas.width = ready.width;
      this.canvas.height = ready.height;
    }
    const source = new MediaSource();
    this.source = source;
    this.address = URL.createObjectURL(source);
    this.video.src = this.address;
    source.addEventListener("sourceopen", () => {
      if (this.source !== source) return;
      this.buffer = source.addSourceBuffer(ready.video);
      this.buffer.addEventListener("updateend", () => this._feed());
      this._feed();
    }, { once: true });
    this.video.play().catch(() => {});
  }

  push(packet) {
    if (packet.kind === KIND.fragment) {
      if (packet.generation < this.generation) return;
      if (packet.generation > this.generation || this.isSilenced) {
        // The first of a new generation: what waits before it is old.
        this.generation = packet.generation;
        this.isSilenced = false;
        this.jump = packet.microseconds / 1e6;
        this._applyMute();
      }
    }
    this.queue.push(packet.payload);
    this._feed();
  }

  drop(generation) {
    if (generation <= this.generation) return;
    this.generation = generation;
    this.isSilenced = true;
    this.queue = [];
    this._applyMute();
  }

  set muted(value) {
    this.isMuted = value;
    this._applyMute();
  }

  get hasSound() {
    return !this.video.muted || this.isSilenced;
  }

  /** After a gesture. */
  async resume() {
    this.mayPlay = true;
    this._applyMute();
    await this.video.play();
  }

  get delay() {
    const { buffered, currentTime } = this.video;
    return buffered.length ? Math.max(buffered.end(buffered.length - 1) - currentTime, 0) : 0;
  }

  close() {
    cancelAnimationFrame(this._frame);
    this._release();
  }

  _applyMute() {
    this.video.muted = !this.mayPlay || this.isMuted || this.isSilenced;
  }

  _release() {
    this.queue = [];
    this.buffer = this.source = null;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
    this.video.removeAttribute("src");
    this.video.load();
  }

  _feed() {
    const { buffer, video } = this;
    if (!buffer || buffer.updating || this.source.readyState !== "open") return;
    if (this.queue.length) {
      const size = this.queue.reduce((sum, part) => sum + part.byteLength, 0);
      const all = new Uint8Array(size);
      let at = 0;
      for (const part of this.queue) {
        all.set(part, at);
        at += part.byteLength;
      }
      this.queue = [];
      try {
        buffer.appendBuffer(all);
      } catch (error) {
        this.port.onError(`the browser took no more of the stream: ${error.message}`);
      }
      return;
    }
    const { buffered } = video;
    if (buffered.length && video.currentTime - buffered.start(0) > 2 * KEEP_SECONDS) {
      buffer.remove(0, video.currentTime - KEEP_SECONDS);
    }
  }

  _chase() {
    const { video } = this;
    const { buffered } = video;
    if (!buffered.length) return;
    const end = buffered.end(buffered.length - 1);
    if (this.jump !== null && end > this.jump) {
      video.currentTime = Math.max(this.jump, video.currentTime);
      this.jump = null;
    }
    const behind = end - video.currentTime;
    if (behind > JUMP_BEYOND || video.currentTime < buffered.start(buffered.length - 1)) {
      video.currentTime = end - AIM;
      video.playbackRate = 1;
    } else if (behind > FAST_BEYOND) video.playbackRate = 1.08;
    else if (behind < AIM) video.playbackRate = 1;
    if (video.paused) video.play().catch(() => {});
  }

  _show() {
    this._frame = requestAnimationFrame(this._draw);
    const { video, shown } = this;
    this._chase();
    if (video.readyState < 2) return;
    const seconds = Math.floor(video.currentTime / ITEM_SECONDS) * ITEM_SECONDS;
    if (shown.count && seconds === shown.seconds) return;
    this.paint?.drawImage(video, 0, 0, this.canvas.width, this.canvas.height);
    const now = performance.now();
    if (shown.count) shown.worstGap = Math.max(shown.worstGap, now - shown.at);
    shown.count++;
    shown.at = now;
    shown.seconds = seconds;
    this.port.onShown?.(seconds, now, this.generation);
  }
}

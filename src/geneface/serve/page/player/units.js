/**
 * Plays a stream of single units (WebCodecs): pictures on a canvas, at the times of the sound that is heard.
 *
 * Sound is the master. While it is not allowed to play, or its sound card is still asleep, pictures follow a clock of
 * their own. What an interruption made old is neither heard nor shown.
 */

import { LocalClock } from "./clock.js";
import { Pictures } from "./decoder.js";
import { KIND } from "./packets.js";
import { Sound } from "./sound.js";

const LOOK_AHEAD = 0.008; // half a refresh of the screen: the nearest one shows it

export class UnitPlayer {
  /** `port`: {askForKey(), onError(text), onShown(seconds, now)}. */
  constructor(canvas, sound, port) {
    this.canvas = canvas;
    this.paint = canvas.getContext("2d", { alpha: false });
    this.port = port;
    this.sound = sound;
    this.local = new LocalClock();
    this.pictures = null;
    this.generation = 0;
    this.shown = { count: 0, at: 0, worstGap: 0, offset: null };
    this._waited = 0;
    this._draw = () => this._show();
    this._frame = requestAnimationFrame(this._draw);
  }

  begin(ready) {
    this.pictures?.reset();
    this.pictures = new Pictures(ready.video, () => this.port.askForKey());
    this.generation = ready.generation;
    this.pictures.drop(this.generation);
    this.canvas.width = ready.width;
    this.canvas.height = ready.height;
    this.local.reset();
    this.sound.reset();
  }

  push(packet) {
    if (packet.kind !== KIND.picture) return;
    this.local.came(packet.microseconds / 1e6);
    this.pictures?.push(packet);
  }

  drop(generation) {
    this.generation = Math.max(this.generation, generation);
    this.sound.drop(this.generation);
    this.pictures?.drop(this.generation);
  }

  /** Seconds from a picture's arrival until it is shown, lately. */
  get delay() {
    return this._waited / 1000;
  }

  close() {
    cancelAnimationFrame(this._frame);
    this.pictures?.reset();
    this.pictures = null;
  }

  _show() {
    this._frame = requestAnimationFrame(this._draw);
    // Sound that nobody hears is nothing to wait for.
    const heard = this.sound.isMuted ? null : this.sound.now();
    const seconds = heard ?? this.local.now();
    if (seconds === null || !this.pictures) return;
    const found = this.pictures.take(seconds + LOOK_AHEAD);
    if (!found) return;
    this.paint.drawImage(found.picture, 0, 0, this.canvas.width, this.canvas.height);
    found.picture.close();
    const now = performance.now();
    const { shown } = this;
    this._waited += 0.1 * (now - found.came - this._waited);
    if (shown.count) shown.worstGap = Math.max(shown.worstGap, now - shown.at);
    shown.count++;
    shown.at = now;
    shown.offset = heard === null ? null : heard - found.seconds;
    this.port.onShown?.(found.seconds, now, found.generation);
  }
}

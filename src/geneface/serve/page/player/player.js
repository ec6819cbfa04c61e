/**
 * A live session in a page: connects, plays, sends text and microphone, and comes back after a dropped connection.
 *
 *     const player = new LivePlayer({ canvas, sessionId, token });
 *     player.addEventListener("state", ({ detail }) => ...);
 *     await player.connect();
 *
 * Events, each with what it is about in `detail`: "state" {state, reason, sound}, "stats", "speech.start",
 * "speech.end", "transcript", "generation", "warning" (the session goes on), "error" (it does not).
 * States: "connecting", "live", "reconnecting", "closed". `sound` is "on", or "waiting" for a gesture of the person.
 */

import { Pictures } from "./decoder.js";
import { Link } from "./link.js";
import { Microphone } from "./microphone.js";
import { FragmentPlayer } from "./mse.js";
import { microphonePacket } from "./packets.js";
import { Sound } from "./sound.js";
import { UnitPlayer } from "./units.js";

const PROTOCOL = "geneface.v1";
const GUESS = "avc1.42C01F"; // any level of it will do to ask what the browser can
const ENDED = new Set(["closed", "expired", "failed", "taken_over", "not_found", "bad_request"]);
const WAITS = [0.2, 0.5, 1, 2, 4];
const TRIES = 12;
const STATS_SECONDS = 1;
const GESTURES = ["pointerdown", "keydown"];

export class LivePlayer extends EventTarget {
  /**
   * canvas or video: where the face is shown. `codec` ("webcodecs", "mse") and `audio` ("opus", "pcm") are chosen if
   * they are not given: samples as they are on this machine, Opus over a network.
   */
  constructor({ canvas = null, video = null, sessionId, token = null, base = document.baseURI, codec, audio }) {
    super();
    Object.assign(this, { canvas, video, sessionId, token, base, codec: codec ?? null, audio: audio ?? null });
    this.state = "new";
    this.generation = 0;
    this.isConversation = false;
    this.isUnderstood = false;
    this._link = null;
    this._microphone = null;
    this._muted = false;
    this._monitor = false;
    this._asked = new Map();
    this._ref = 0;
    this._tries = 0;
    this._roundTrip = null;
    this._serverStats = null;
    this._counted = { count: 0, at: performance.now() };
    this._figures = {};
    this._gesture = () => this.startSound();
  }

  /** Resolves when the first connection is up; rejects with an Error where the session is not to be had. */
  async connect() {
    this._setState("connecting");
    await this._choose();
    for (const name of GESTURES) addEventListener(name, this._gesture, { capture: true, passive: true });
    this._timer = setInterval(() => this._report(), STATS_SECONDS * 1000);
    await new Promise((resolve, reject) => {
      this._first = { resolve, reject };
      this._open();
    });
  }

  /** Let the sound play: browsers want a gesture of the person first. Called by itself at the first one in the page. */
  async startSound() {
    try {
      await (this._playback instanceof FragmentPlayer ? this._playback.resume() : this._sound?.resume());
    } catch {
      return;
    }
    if (this.state === "live" && this.sound === "on") this._setState("live");
    if (this.sound === "on") this._forgetGestures();
  }

  /** "on", or "waiting" for a gesture. */
  get sound() {
    if (this._playback instanceof FragmentPlayer) return this._playback.mayPlay ? "on" : "waiting";
    return this._sound?.isRunning ? "on" : "waiting";
  }

  /** Speak `text` as it is; resolves when it was accepted, rejects with cause and remedy. */
  say(text) {
    return this._ask({ type: "say", text });
  }

  /** `text` to the conversation, which answers; without one it is spoken as it is. */
  chat(text) {
    return this._ask({ type: "chat", text });
  }

  /** Silence, now: heard at once, whatever the network does. */
  interrupt() {
    this.generation += 1;
    this._playback?.drop(this.generation);
    this._send({ type: "interrupt" });
  }

  /** "keep", or a colour. */
  setBackground(background) {
    return this._ask({ type: "background", background });
  }

  /**
   * Turn the microphone on or off. Where what is said is not understood it moves the face, whose sound is then not
   * played here: nobody wants to hear themselves late. `monitor` plays it.
   */
  async sendMicrophone(on, { monitor = false } = {}) {
    if (!on) {
      this._microphone?.close();
      this._microphone = null;
      this._send({ type: "microphone", on: false });
      this._applyMute();
      return;
    }
    if (this._microphone) return;
    let count = 0;
    const microphone = new Microphone((piece, seconds) => {
      if (this._microphone === microphone) this._link.send(microphonePacket(piece, count++, seconds * 1e6));
    });
    await microphone.open();
    this._microphone = microphone;
    this._monitor = monitor;
    this._send({ type: "microphone", on: true, rate: microphone.rate });
    this._applyMute();
    this.startSound();
  }

  get muted() {
    return this._muted;
  }

  set muted(value) {
    this._muted = Boolean(value);
    this._applyMute();
  }

  /** Figures of the last second; null where there is none yet. */
  get stats() {
    return this._figures;
  }

  /** End. The session itself lives on until it is deleted or nobody has listened for a while. */
  close() {
    clearInterval(this._timer);
    clearTimeout(this._wait);
    this._forgetGestures();
    this._microphone?.close();
    this._microphone = null;
    this._setState("closed", "left");
    this._link?.end();
    this._playback?.close();
    this._sound?.close();
    this._refuseAll("the player was closed");
  }

  async _choose() {
    const canUnits = this.canvas && this.codec !== "mse" && (await Pictures.isSupported(GUESS));
    this.codec = canUnits ? "webcodecs" : "mse";
    const isNear = ["localhost", "127.0.0.1", "[::1]"].includes(new URL(this.base).hostname);
    const hasOpus = typeof AudioDecoder !== "undefined";
    if (canUnits) this.audio ??= hasOpus && !isNear ? "opus" : "pcm";
    const port = {
      askForKey: () => this._send({ type: "key_frame" }),
      onError: (text) => this._emit("warning", { code: "media", message: text, remedy: "" }),
      onShown: (seconds, now, generation) => this._emit("shown", { seconds, now, generation }),
    };
    this._link = new Link({
      message: (message) => this._obey(message),
      packet: (packet) => this._playback.push(packet),
      closed: () => this._lost(),
      trouble: port.onError,
    });
    if (canUnits) {
      this._sound = new Sound();
      // Without sound the face is still to be seen.
      const noSound = (error) => port.onError(`there is no sound here: ${error.message}`);
      await this._sound.open(this._link, this.audio).catch(noSound);
      this._sound.context?.addEventListener("statechange", () => this.startSound());
      this._playback = new UnitPlayer(this.canvas, this._sound, port);
    } else {
      if (!FragmentPlayer.isSupported(`video/mp4; codecs="${GUESS}, mp4a.40.2"`)) {
        throw new Error("this browser plays no H.264, neither by WebCodecs nor by MediaSource");
      }
      this.audio ??= "aac";
      const video = this.video ?? document.createElement("video");
      this._playback = new FragmentPlayer(video, this.video ? null : this.canvas, port);
      if (navigator.userActivation?.hasBeenActive) this._playback.resume().catch(() => {});
    }
    this._applyMute();
  }

  _open() {
    const address = new URL(`v1/live/${encodeURIComponent(this.sessionId)}/stream`, this.base);
    address.protocol = address.protocol.replace("http", "ws");
    address.hash = "";
    address.search = new URLSearchParams({ codec: this.codec, audio: this.audio });
    this._reason = this._error = null;
    this._link.open(address, this.token ? [PROTOCOL, `bearer.${this.token}`] : [PROTOCOL]);
  }

  _obey(message) {
    const { type, ...detail } = message;
    if (type === "ready") this._begin(detail);
    else if (type === "generation") {
      this.generation = Math.max(this.generation, detail.generation);
      this._playback.drop(this.generation);
      this._emit(type, detail);
    } else if (type === "accepted" || type === "refused") this._answered(type, detail);
    else if (type === "stats") this._serverStats = detail;
    else if (type === "closed") this._reason = detail.reason;
    else if (type === "error") {
      this._reason ??= detail.code;
      this._error = detail;
      if (!ENDED.has(detail.code)) this._emit("warning", detail);
    } else this._emit(type, detail);
  }

  _begin(ready) {
    this._tries = 0;
    this.isConversation = ready.conversation;
    this.isUnderstood = ready.understands ?? ready.conversation;
    this.generation = ready.generation;
    this._playback.begin(ready);
    if (this._microphone) this._send({ type: "microphone", on: true, rate: this._microphone.rate });
    this._applyMute();
    this._setState("live");
    this._first?.resolve();
    this._first = null;
  }

  _lost() {
    this._refuseAll("the connection was lost");
    if (this.state === "closed") return;
    if (ENDED.has(this._reason) || this._tries >= TRIES) {
      const lost = { code: this._reason ?? "lost", message: "the connection was lost", remedy: "load the page again" };
      const error = this._error ?? lost;
      const first = this._first;
      this._first = null;
      this._setState("closed", this._reason ?? "lost");
      if (first) first.reject(Object.assign(new Error(error.message), error));
      else if (this._error || !this._reason) this._emit("error", error);
      return;
    }
    this._setState(this._first ? "connecting" : "reconnecting", this._reason ?? "lost");
    const wait = WAITS[Math.min(this._tries++, WAITS.length - 1)];
    this._wait = setTimeout(() => this._open(), wait * 1000 * (0.75 + 0.5 * Math.random()));
  }

  _ask(message) {
    const ref = ++this._ref;
    return new Promise((resolve, reject) => {
      this._asked.set(ref, { resolve, reject });
      if (!this._send({ ...message, ref })) {
        this._asked.delete(ref);
        reject(failure({ code: "not_connected", message: "there is no connection", remedy: "wait a moment" }));
      }
    });
  }

  _answered(type, { ref, ...detail }) {
    const asked = this._asked.get(ref);
    this._asked.delete(ref);
    if (type === "accepted") asked?.resolve(detail);
    else if (asked) asked.reject(failure(detail));
    else this._emit("warning", detail);
  }

  _refuseAll(message) {
    const asked = [...this._asked.values()];
    this._asked.clear();
    for (const { reject } of asked) reject(failure({ code: "not_connected", message, remedy: "try again" }));
  }

  _send(message) {
    return this._link?.send(JSON.stringify(message)) ?? false;
  }

  _applyMute() {
    const drives = this._microphone !== null && !this.isUnderstood && !this._monitor;
    const isMuted = this._muted || drives;
    if (this._playback instanceof FragmentPlayer) this._playback.muted = isMuted;
    else if (this._sound) this._sound.isMuted = isMuted;
  }

  _report() {
    if (this.state !== "live") return;
    const { shown } = this._playback;
    const now = performance.now();
    const rate = ((shown.count - this._counted.count) * 1000) / Math.max(now - this._counted.at, 1);
    this._counted = { count: shown.count, at: now };
    const delay = 1000 * this._playback.delay;
    this._figures = {
      frames_per_second: Math.round(10 * rate) / 10,
      latency_ms: Math.round(delay + (this._roundTrip ?? 0) / 2),
      round_trip_ms: this._roundTrip,
      buffer_ms: Math.round(delay),
      offset_ms: shown.offset === null ? null : Math.round(1000 * shown.offset),
      gap_ms: Math.round(shown.worstGap),
      underruns: this._sound?.report?.underruns ?? null,
      skipped: this._playback.pictures?.skipped ?? null,
      server: this._serverStats,
    };
    shown.worstGap = 0;
    this._emit("stats", this._figures);
    const asked = performance.now();
    this._ask({ type: "ping" }).then(
      () => {
        this._roundTrip = Math.round(10 * (performance.now() - asked)) / 10;
      },
      () => {},
    );
  }

  _setState(state, reason = null) {
    this.state = state;
    this._emit("state", { state, reason, sound: this.sound });
  }

  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  _forgetGestures() {
    for (const name of GESTURES) removeEventListener(name, this._gesture, { capture: true });
  }
}

function failure({ code, message, remedy = "" }) {
  return Object.assign(new Error(message), { code, remedy });
}

/** The living face: type a line or speak, and it says it. A session lasts as long as somebody looks. */

import { ask, token } from "../api.js";
import { avatarChoice, backgroundChoice, choice, voiceChoice } from "../components/choices.js";
import { announce, h, show } from "../components/dom.js";
import { face, poster } from "../components/face.js";
import { icon } from "../components/icons.js";
import { message, notice } from "../components/notice.js";
import { microphoneError, needsMicrophone } from "../components/recorder.js";
import { transcript } from "../components/transcript.js";
import { number, t } from "../i18n.js";
import { choose, drafts, firstChoice, readyAvatars } from "../store.js";

const HIDDEN_SECONDS = 30;
/** How soon a lost session is opened again, first and then. Only the second loss is told: a server that is back has it at once. */
const REOPEN_SECONDS = [0.5, 3];
/** Ends of a session that nobody wanted: the server went away, or came back without it. */
const LOST = ["lost", "not_found", "closed", "not_connected"];

export async function mount(root, { server, values }) {
  const named = values.get("avatar");
  const isKnown = (avatars) => !named || avatars.some(({ id }) => id === named);
  let avatars = await readyAvatars();
  if (!isKnown(avatars)) avatars = await readyAvatars(true);
  const tab = new Live(root, server, avatars, firstChoice(avatars, named));
  tab.draw();
  tab.open();
  if (!isKnown(avatars)) tab.warn({ message: t("live.unknown", { name: named }), remedy: t("live.unknown.remedy") });
  return () => tab.leave();
}

class Live {
  constructor(root, server, avatars, avatar) {
    Object.assign(this, { root, server, avatars, avatar });
    this.player = null;
    this.session = null;
    this.isSpeaking = false;
    this.isHearing = false;
    this.turn = 0;
    this.hidden = 0;
    this.wake = 0;
    this.losses = 0;
    this.said = "";
    this.watch = () => this.seen();
  }

  draw() {
    const { server } = this;
    this.poster = h("div");
    this.canvas = h("canvas", { width: 512, height: 512, role: "img" });
    this.over = h("div", { class: "over" });
    this.state = h("span");
    this.figures = h("span", { class: "figures", role: "note", title: t("live.figures") });
    this.hint = h("span", { class: "hint-sound", hidden: true }, t("live.sound"));
    this.face = face([this.poster, this.canvas, this.over, this.hint, h("p", { class: "state" }, this.state, this.figures)]);
    this.frame = this.face.querySelector(".face-frame");
    this.input = h("input", {
      type: "text", id: "line", autocomplete: "off", enterkeyhint: "send", maxlength: server.limits?.text ?? 5000,
      placeholder: this.placeholder(), value: drafts.live, oninput: () => this.drawButton(),
      onkeydown: (event) => { if (event.key === "Escape" && this.isSpeaking) this.interrupt(); },
    });
    this.microphone = h("button", { type: "button", class: "circle bare", "aria-pressed": "false", onclick: () => this.hear() }, icon("microphone"));
    this.button = h("button", { class: "circle main" });
    this.voice = voiceChoice(server, () => this.open());
    this.background = backgroundChoice((value) => this.player?.setBackground(value)?.catch((error) => this.warn(error)));
    this.mode = server.chat ? choice(t("live.mode"), [["chat", t("live.mode.chat")], ["say", t("live.mode.say")]], { onchange: () => this.drawHints() }) : null;
    this.words = server.chat || server.listen ? transcript() : null;
    this.root.classList.toggle("has-talk", Boolean(this.words));
    show(this.root, h("h1", { class: "unseen" }, t("live.title")), h("div", { class: "stage" },
      h("div", { class: "column" },
        this.face,
        h("form", { class: "composer", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
          h("label", { class: "unseen", for: "line" }, t("live.line")), this.input, this.microphone, this.button),
        h("div", { class: "under" },
          h("div", {},
            avatarChoice(this.avatars, this.avatar, (avatar) => { this.avatar = avatar; choose(avatar); this.open(); }).element,
            this.voice.element, this.background.element, this.mode?.element))),
      this.words?.element));
    this.drawHints();
    this.drawFigures();
    document.addEventListener("visibilitychange", this.watch);
    if (matchMedia("(pointer: fine)").matches) this.input.focus({ preventScroll: true });
  }

  placeholder() {
    if (!(this.server.voices ?? []).length) return t("live.no_voice");
    return this.firstSentence();
  }

  /** What is said when nothing was typed: in the language of the voice. */
  firstSentence() {
    const voice = (this.server.voices ?? []).find(({ id }) => id === this.voice?.select.value) ?? this.server.voices?.[0];
    return (voice?.language ?? "en").startsWith("zh") ? "你好！我该说什么？" : "Hello! What shall I say?";
  }

  drawHints() {
    this.canvas.setAttribute("aria-label", t("live.face", { name: this.avatar?.name ?? "" }));
    this.input.placeholder = this.isChat() ? t("live.chat_line") : this.placeholder();
    this.input.disabled = !this.isChat() && !(this.server.voices ?? []).length;
    const key = this.server.listen && this.isChat() ? "live.talk" : "live.drive";
    this.microphone.setAttribute("aria-label", t(key));
    this.microphone.title = t(key);
    this.drawButton();
  }

  isChat() {
    return this.mode?.select.value === "chat";
  }

  drawButton() {
    const stops = this.isSpeaking && !this.input.value.trim();
    const text = t(stops ? "live.stop" : "live.say");
    if (this.button.getAttribute("aria-label") === text) return;
    this.button.setAttribute("aria-label", text);
    this.button.title = text;
    show(this.button, icon(stops ? "stop" : "say"));
  }

  drawState(key) {
    const drives = this.isHearing && !this.player?.isUnderstood && ["live", "speaking"].includes(key);
    this.key = key;
    this.state.textContent = t(`live.state.${drives ? "driven" : key}`);
    const isLive = ["live", "speaking", "hearing"].includes(key);
    this.frame.classList.toggle("is-live", isLive);
    if (!isLive) this.figures.textContent = "";
    this.frame.classList.toggle("is-speaking", key === "speaking");
  }

  drawFigures() {
    const { latency_ms: latency, frames_per_second: rate } = this.player?.stats ?? {};
    const parts = [
      latency ? t("live.latency", { n: number(latency) }) : "",
      rate ? t("live.rate", { n: number(rate, 1) }) : "",
    ];
    this.figures.textContent = parts.filter(Boolean).join(" · ");
  }

  /** Begin a session with what is chosen; the one before ends. `isAgain`: after a lost one, whose notice stays until it is back. */
  async open(isAgain = false) {
    clearTimeout(this.wake);
    this.end();
    this.turn += 1;
    const mine = this.turn;
    if (!isAgain) {
      this.losses = 0;
      show(this.over);
    }
    if (!this.avatar) {
      show(this.over, message("info", t("live.no_avatar"), t("live.no_avatar.remedy")));
      return;
    }
    show(this.poster, poster(this.avatar, { alt: "" }));
    if (!isAgain) this.drawState("connecting");
    try {
      const [session, { LivePlayer }] = await Promise.all([
        ask("v1/live", { method: "POST", json: {
          model: this.avatar.id, voice: this.voice.select.value || undefined, background: this.background.value() } }),
        import("../player/player.js"),
      ]);
      if (mine !== this.turn) {
        closeSession(session);
        return;
      }
      this.session = session;
      this.player = new LivePlayer({ canvas: this.canvas, sessionId: session.id, token: token() });
      this.follow(this.player);
      await this.player.connect();
    } catch (error) {
      if (mine === this.turn) this.fail(error);
    }
  }

  follow(player) {
    const on = (name, act) => player.addEventListener(name, (event) => { if (player === this.player) act(event.detail ?? {}); });
    on("state", ({ state, reason, sound }) => {
      if (state === "live") {
        this.forgetLost();
        this.drawState(this.isSpeaking ? "speaking" : "live");
        this.hint.hidden = sound !== "waiting";
      } else if (state !== "closed") this.drawState("connecting");
      // An error of its own follows at once, where there is one.
      else queueMicrotask(() => { if (player === this.player) this.fail(endOf(reason)); });
    });
    on("stats", () => this.drawFigures());
    on("speech.start", () => this.speaking(true));
    on("speech.end", () => this.speaking(false));
    on("generation", () => this.speaking(false));
    on("listening", ({ is_speech: isSpeech }) => this.drawState(isSpeech ? "hearing" : this.isSpeaking ? "speaking" : "live"));
    on("error", (detail) => this.fail(detail));
    on("warning", (detail) => {
      // The voice refuses some texts only when it comes to speak them.
      if (detail.code === "voice") this.giveBack();
      this.warn(detail);
    });
    on("transcript", (detail) => this.words?.add(detail));
  }

  speaking(on) {
    this.isSpeaking = on;
    this.drawState(on ? "speaking" : "live");
    this.drawButton();
  }

  async submit() {
    const typed = this.input.value.trim();
    if (!typed && this.isSpeaking) return this.interrupt();
    if (!this.player || this.input.disabled) return;
    const text = typed || (this.isChat() ? "" : this.firstSentence());
    if (!text) return;
    this.input.value = "";
    this.said = this.isChat() ? "" : typed;
    this.drawButton();
    try {
      if (this.isChat()) await this.player.chat(text);
      else await this.player.say(text);
    } catch (error) {
      this.said = typed;
      this.giveBack();
      this.warn(error);
    }
  }

  /** What was said last, back into the line, unless the next text is there already. */
  giveBack() {
    if (!this.input.value) this.input.value = this.said;
    this.said = "";
    this.drawButton();
  }

  interrupt() {
    this.player?.interrupt();
    this.speaking(false);
    announce(t("live.stopped"));
  }

  async hear() {
    if (!this.player) return;
    const next = !this.isHearing;
    try {
      if (next) needsMicrophone();
      await this.player.sendMicrophone(next);
      this.isHearing = next;
      this.microphone.setAttribute("aria-pressed", String(next));
      this.drawState(this.key);
      announce(t(next ? "microphone.on" : "microphone.off"));
    } catch (error) {
      this.warn(microphoneError(error));
    }
  }

  /** Something failed; the session goes on. */
  warn(error) {
    const box = notice(error);
    box.append(h("button", { type: "button", class: "circle bare", "aria-label": t("close"), onclick: () => box.remove() }, icon("close")));
    show(this.over, box);
  }

  /** The session is over; where it was lost, it is opened again as soon as the server answers. */
  fail(error) {
    this.end();
    if (wasLost(error)) {
      this.losses += 1;
      this.drawState(this.losses === 1 ? "connecting" : "off");
      this.wake = setTimeout(() => this.open(true), 1000 * REOPEN_SECONDS[Math.min(this.losses, REOPEN_SECONDS.length) - 1]);
      if (this.losses === 2) show(this.over, notice({ message: t("live.lost"), remedy: t("live.lost.remedy") }, { again: () => this.open() }));
      return;
    }
    this.drawState("off");
    this.losses = 0;
    show(this.over, notice(error, { again: () => this.open() }));
  }

  /** It is back, or somebody wants another one. */
  forgetLost() {
    if (this.losses) show(this.over);
    this.losses = 0;
  }

  seen() {
    clearTimeout(this.hidden);
    if (document.hidden) this.hidden = setTimeout(() => { clearTimeout(this.wake); this.end(); this.drawState("off"); this.isAsleep = true; }, HIDDEN_SECONDS * 1000);
    else if (this.isAsleep) { this.isAsleep = false; this.open(); }
  }

  end() {
    const { player, session } = this;
    this.player = null;
    this.session = null;
    this.isSpeaking = false;
    this.isHearing = false;
    this.microphone?.setAttribute("aria-pressed", "false");
    player?.close();
    if (session) closeSession(session);
  }

  leave() {
    this.turn += 1;
    this.end();
    drafts.live = this.input?.value ?? "";
    clearTimeout(this.hidden);
    clearTimeout(this.wake);
    document.removeEventListener("visibilitychange", this.watch);
  }
}

/** Why a session ended that nobody here has ended. */
function endOf(reason) {
  const known = ["taken_over", "expired"].includes(reason) ? reason : "lost";
  return { code: reason ?? "lost", message: t(`live.${known}`), remedy: t(`live.${known}.remedy`) };
}

/** Whether the server did not answer, or the session is gone; an answer of the server's to a request is neither. */
function wasLost({ status, code }) {
  return status === 0 || (status === undefined && LOST.includes(code));
}

function closeSession(session) {
  ask(`v1/live/${session.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

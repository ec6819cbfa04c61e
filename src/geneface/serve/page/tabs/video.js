/** A video of an avatar: from text, a sound file or a recording; below, those that were made. */

import { ask, askList } from "../api.js";
import { avatarChoice, backgroundChoice, choice, field, voiceChoice } from "../components/choices.js";
import { confirm } from "../components/dialog.js";
import { forgetSounds, h, listen, show, uniqueId } from "../components/dom.js";
import { drop } from "../components/drop.js";
import { face, poster } from "../components/face.js";
import { isUnfinished, keepFresh, renew } from "../components/fresh.js";
import { icon } from "../components/icons.js";
import { message, notice, sentence } from "../components/notice.js";
import { recorder } from "../components/recorder.js";
import { contentOf, player, videoJob, waiting } from "../components/videojob.js";
import { bytes, clock, moment, t } from "../i18n.js";
import { choose, drafts, firstChoice, readyAvatars } from "../store.js";

const FORMATS = ["mp4", "webm-alpha", "png"];
const NAMES = "geneface.sounds";
const MOST_NAMES = 200;
const SOURCES = ["text", "file", "record"];

export async function mount(root, { server, values }) {
  const avatars = await readyAvatars();
  const tab = new MakeVideo(root, server, avatars, firstChoice(avatars, values.get("avatar")));
  tab.draw();
  await tab.drawPast();
  return () => tab.leave();
}

/** Names of the sound files of videos that were begun in this browser: the server does not keep them. */
function names() {
  return JSON.parse(localStorage.getItem(NAMES) ?? "{}");
}

function keepName(id, name) {
  const kept = [...Object.entries(names()), [id, name]].slice(-MOST_NAMES);
  localStorage.setItem(NAMES, JSON.stringify(Object.fromEntries(kept)));
}

class MakeVideo {
  constructor(root, server, avatars, avatar) {
    Object.assign(this, { root, server, avatars, avatar, stop: new AbortController() });
    this.source = (server.voices ?? []).length ? "text" : "file";
    this.sound = null;
    this.job = videoJob({ signal: this.stop.signal });
    this.items = h("ul", { class: "list" });
    this.drawPast = keepFresh(() => this.showPast(), this.stop.signal);
  }

  draw() {
    if (!this.avatar) {
      show(this.root, h("h1", {}, t("video.title")), message("info", t("live.no_avatar"), t("live.no_avatar.remedy")));
      return;
    }
    const kind = "field";
    this.text = h("textarea", { value: drafts.video, maxlength: this.server.limits?.text ?? 20000, placeholder: t("video.text.example") });
    this.input = h("div");
    this.recorder = recorder({ onRecorded: (blob) => { this.sound = blob; this.drawButton(); }, mostSeconds: this.server.limits?.speech_seconds ?? 600 });
    this.text.addEventListener("input", () => this.drawButton());
    this.voice = voiceChoice(this.server, null, kind);
    this.background = backgroundChoice(() => this.drawPicture(), kind, [["picture", t("background.picture")]]);
    this.size = choice(t("video.size"), [], { kind });
    this.frame = choice(t("video.frame"), [["crop", t("video.frame.crop")], ["source", t("video.frame.source")]], { kind });
    this.format = choice(t("video.format"), FORMATS.map((format) => [format, t(`format.${format}`)]), { kind, onchange: () => this.drawFormat() });
    this.button = h("button", { class: "main" }, t("video.make"));
    this.result = h("div", { class: "result" });
    this.past = h("section", { class: "past", "aria-labelledby": "past", hidden: true });
    this.picture = h("div");
    const group = uniqueId("source");
    show(this.root,
      h("header", {}, h("h1", {}, t("video.title")), h("p", { class: "lead" }, t("video.lead"))),
      h("div", { class: "two" },
        h("form", { class: "card stack", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
          h("fieldset", { class: "segments-set" }, h("legend", { class: "unseen" }, t("video.source")),
            h("div", { class: "segments" }, SOURCES.map((name) => h("label", {},
              h("input", { type: "radio", name: group, value: name, checked: name === this.source, onchange: () => { this.source = name; this.drawInput(); } }),
              h("span", {}, t(`video.source.${name}`)))))),
          this.input,
          h("div", { class: "fields" },
            avatarChoice(this.avatars, this.avatar, (avatar) => { this.avatar = avatar; choose(avatar); this.drawAvatar(); }, kind).element,
            this.voice.element, this.background.element),
          this.picture,
          h("div", { class: "fields" }, this.size.element, this.frame.element, this.format.element),
          h("div", { class: "row" }, this.button),
          this.job.element),
        this.result),
      this.past);
    this.drawInput();
    this.drawPicture();
    this.drawAvatar();
  }

  drawInput() {
    this.recorder.stop();
    this.sound = null;
    if (this.voice.element) this.voice.element.hidden = this.source !== "text";
    if (this.source === "text") {
      const voices = this.server.voices ?? [];
      show(this.input, voices.length ? field(t("video.text"), this.text)
        : message("info", t("voice.none"), t("voice.none.remedy")));
    } else if (this.source === "file") this.drawFile();
    else show(this.input, this.recorder.element);
    this.drawButton();
  }

  drawFile(file = null) {
    this.sound = file;
    forgetSounds(this.input);
    show(this.input, file && h("p", { class: "row" }, h("strong", {}, file.name), h("span", { class: "soft" }, bytes(file.size))), file && listen(file, file.name),
      drop({ kind: "slim", text: t("video.file.text"), button: t(file ? "video.file.other" : "video.file"), accept: "audio/*,video/*", onFile: (next) => this.drawFile(next) }));
    this.drawButton();
  }

  drawButton() {
    this.button.disabled = this.isBusy || !(this.source === "text" ? this.text.value.trim() && (this.server.voices ?? []).length : this.sound);
  }

  drawPicture() {
    const wants = this.background.select.value === "picture";
    if (!wants) this.behind = null;
    show(this.picture, wants && h("div", { class: "stack" }, this.behind && h("p", {}, this.behind.name),
      drop({ kind: "slim", text: t("background.picture.text"), button: t("background.picture.choose"), accept: "image/png,image/jpeg", onFile: (file) => { this.behind = file; this.drawPicture(); } })));
  }

  drawAvatar() {
    const { avatar } = this;
    const sizes = [...new Set([avatar.size ?? 256, 512, 256])].sort((a, b) => a - b).map((size) => [String(size), `${size} px`]);
    if (avatar.has_body) sizes.push(["source", t("video.size.source")]);
    show(this.size.select, sizes.map(([value, text]) => h("option", { value }, text)));
    this.size.select.value = String(avatar.size ?? 256);
    this.frame.element.hidden = !avatar.has_body;
    show(this.result, face(poster(avatar, { alt: "" }), { label: avatar.name, isDrawn: avatar.isDrawn }), h("p", { class: "soft small" }, t("video.waiting", { name: avatar.name })));
  }

  drawFormat() {
    this.background.select.disabled = this.format.select.value === "webm-alpha";
  }

  async submit() {
    const form = new FormData();
    const name = this.source === "file" ? this.sound?.name : null;
    form.set("model", this.avatar.id);
    if (this.source === "text") {
      form.set("prompt", this.text.value.trim());
      if (this.voice.select.value) form.set("voice", this.voice.select.value);
    } else form.set("audio", this.sound, this.sound.name ?? "recording.webm");
    form.set("format", this.format.select.value);
    form.set("size", this.size.select.value);
    if (this.avatar.has_body) form.set("frame", this.frame.select.value);
    if (this.behind) form.set("background", this.behind, "background");
    else if (!["picture"].includes(this.background.value()) && !this.background.select.disabled) form.set("background", this.background.value());
    this.isBusy = true;
    this.drawButton();
    await this.job.start(async () => {
      const job = await ask("v1/videos", { method: "POST", body: form });
      if (name) keepName(job.id, name);
      this.drawPast();
      return job;
    }, (figure, job) => this.showVideo(job, figure));
    this.isBusy = false;
    this.drawButton();
    if (!this.stop.signal.aborted) await this.drawPast();
  }

  showVideo(job, figure) {
    const canPlay = !["png", "landmarks"].includes(job.format);
    show(this.result, canPlay ? figure ?? player(job.id, this.words(job)) : face(poster(this.avatarOf(job)), { label: this.words(job) }),
      h("div", { class: "row" }, h("a", { class: "button main", href: `${contentOf(job.id)}?download=1`, download: "" }, icon("download"), t("download"))));
  }

  avatarOf(job) {
    return this.avatars.find(({ id }) => id === job.model) ?? this.avatar;
  }

  words(job) {
    return job.prompt || names()[job.id] || t("video.from_sound");
  }

  /** Returns whether one of them is not finished. */
  async showPast() {
    if (!this.past) return false;
    let jobs;
    try {
      jobs = (await askList("v1/videos")).filter(({ status }) => status !== "cancelled");
    } catch (error) {
      // Told once; a server that is gone is asked again until it is back.
      if (!this.past.querySelector(":scope > .notice")) show(this.past, notice(error, { again: () => this.drawPast() }));
      this.past.hidden = false;
      return error.status === 0;
    }
    this.past.hidden = !jobs.length;
    if (!this.past.contains(this.items)) show(this.past, h("h2", { id: "past" }, t("video.past")), this.items);
    renew(this.items, jobs.map((job) => [
      [job.id, job.status, job.queue_position, job.seconds, job.size, job.error], () => this.item(job)]));
    return jobs.some(isUnfinished);
  }

  item(job) {
    const facts = [this.avatarOf(job).name, job.seconds && clock(Number(job.seconds)), job.size, moment(job.created_at)];
    const isReady = job.status === "completed";
    const remove = async () => {
      if (!(await confirm(t("video.delete.question"), this.words(job), t("delete")))) return;
      try {
        await ask(`v1/videos/${job.id}`, { method: "DELETE" });
      } catch (error) {
        this.past.prepend(notice(error));
      }
      await this.drawPast();
    };
    const label = (key) => ({ "aria-label": `${t(key)}: ${this.words(job)}`, title: t(key) });
    return h("li", { class: "item" }, poster(this.avatarOf(job)),
      h("div", {}, h("p", { class: "words" }, this.words(job)),
        h("p", { class: "small soft number" }, facts.filter(Boolean).join(" · ")),
        !isReady && h("p", { class: "small" }, job.error ? sentence(job.error.message) : waiting(job) || t(`status.${job.status}`))),
      h("div", { class: "row" },
        isReady && h("button", { type: "button", class: "bare circle", ...label("play"), onclick: () => { this.showVideo(job); this.result.scrollIntoView({ block: "nearest" }); } }, icon("play")),
        isReady && h("a", { class: "button bare circle", ...label("download"), href: `${contentOf(job.id)}?download=1`, download: "" }, icon("download")),
        h("button", { type: "button", class: "bare circle", ...label("delete"), onclick: remove }, icon("remove"))));
  }

  leave() {
    this.stop.abort();
    drafts.video = this.text?.value ?? "";
    this.recorder?.stop();
  }
}

/** A new avatar: choose a video, see what is found in it, agree, watch it being made, hear the first sentence. */

import { address, ask, poll } from "../api.js";
import { confirm } from "../components/dialog.js";
import { announce, h, show } from "../components/dom.js";
import { drop } from "../components/drop.js";
import { message, notice } from "../components/notice.js";
import { consentForm } from "../components/consent.js";
import { isUnfinished } from "../components/fresh.js";
import { making } from "../components/making.js";
import { dropUpload, forgetUpload, unfinishedUpload, upload } from "../components/upload.js";
import { timeline, usedSpans } from "../components/timeline.js";
import { about, bytes, limit, number, span, t } from "../i18n.js";
import { loadAvatars } from "../store.js";

const KEPT = "geneface.create";

export async function mount(root, { server, values }) {
  const tab = new Create(root, server);
  await tab.begin(values.get("avatar"));
  return () => tab.stop.abort();
}

class Create {
  constructor(root, server) {
    Object.assign(this, { root, server, stop: new AbortController() });
    this.place = h("div", { class: "stack" });
    show(root, h("header", {}, h("h1", {}, t("create.title")), h("p", { class: "lead" }, t("create.lead"))), this.place);
  }

  /** Put the next step in place of the last; the focus, which would be lost with the last one, goes to its title. */
  show(...children) {
    const isFirst = !this.place.hasChildNodes();
    show(this.place, ...children);
    const title = this.place.querySelector("h2");
    if (isFirst || !title) return;
    title.tabIndex = -1;
    title.focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "start" });
  }

  get kept() {
    return JSON.parse(localStorage.getItem(KEPT) ?? "null");
  }

  keep(state) {
    if (state) localStorage.setItem(KEPT, JSON.stringify(state));
    else localStorage.removeItem(KEPT);
  }

  /** The avatar that the address names, where the last visit stopped, or what somebody else has begun. */
  async begin(named) {
    if (named) return this.make(named);
    const kept = this.kept;
    if (kept?.avatar) return this.make(kept.avatar);
    if (kept?.upload) return this.check(kept.upload, kept.name);
    const made = (await loadAvatars(true)).filter((avatar) => isUnfinished(avatar) && avatar.consent);
    if (made.length) return this.make((made.find(({ status }) => status === "in_progress") ?? made[0]).id);
    const unfinished = await unfinishedUpload();
    return this.choose(unfinished);
  }

  choose(unfinished, error) {
    const most = this.server.limits?.upload_bytes;
    this.show(
      error && notice(error),
      unfinished && message("info",
        t("create.unfinished", { name: unfinished.name, done: number((100 * unfinished.offset) / unfinished.size) }),
        t("create.unfinished.remedy"),
        { text: t("create.forget"), act: async () => { await dropUpload(unfinished.id); this.choose(null); } }),
      drop({ title: t("create.drop"), text: most ? t("create.drop.text", { size: limit(most) }) : null, button: t("create.choose"),
        accept: "video/*", onFile: (file) => this.send(file) }),
      h("div", { class: "tips" }, ["light", "camera", "length", "sound"].map((name) =>
        h("div", {}, h("h2", { class: "small" }, t(`tip.${name}`)), h("p", {}, t(`tip.${name}.text`))))));
  }

  async send(file) {
    const most = this.server.limits?.upload_bytes;
    if (most && file.size > most) {
      return this.choose(null, { message: t("create.too_large", { size: bytes(file.size), most: limit(most) }), remedy: t("create.too_large.remedy") });
    }
    const stop = new AbortController();
    this.stop.signal.addEventListener("abort", () => stop.abort());
    const bar = h("progress", { max: file.size, value: 0, "aria-label": t("create.sending", { name: file.name }) });
    const line = h("p", { class: "soft number" });
    this.show( h("section", { class: "card stack" },
      h("h2", {}, t("create.sending", { name: file.name })), bar,
      h("div", { class: "row" }, line, h("button", { type: "button", class: "quiet", onclick: () => stop.abort() }, t("create.pause")))));
    announce(t("create.sending", { name: file.name }));
    try {
      const id = await upload(file, { signal: stop.signal, onProgress: ({ done, total, perSecond, isWaiting }) => {
        bar.value = done;
        const rest = perSecond ? about((total - done) / perSecond) : "";
        line.textContent = isWaiting ? t("create.waiting") : [`${bytes(done)} / ${bytes(total)}`, rest && done < total && t("step.left", { time: rest })].filter(Boolean).join(" · ");
      } });
      this.keep({ upload: id, name: file.name });
      await this.check(id, file.name);
    } catch (error) {
      if (this.stop.signal.aborted) return undefined;
      this.choose(await unfinishedUpload(), error.name === "AbortError" ? null : error);
    }
    return undefined;
  }

  async check(uploadId, name) {
    const bar = h("progress", { "aria-label": t("create.checking") });
    const line = h("p", { class: "soft number" }, t("create.checking.text"));
    this.show( h("section", { class: "card stack" }, h("h2", {}, t("create.checking")), bar, line));
    announce(t("create.checking"));
    try {
      let found = await ask("v1/avatars/check", { method: "POST", json: { upload: uploadId }, signal: this.stop.signal });
      found = await poll(`v1/avatars/check/${found.id}`, ({ status }) => !["queued", "in_progress"].includes(status), (job) => {
        if (job.progress) bar.value = job.progress / 100;
        line.textContent = job.eta_seconds ? t("step.left", { time: about(job.eta_seconds) }) : t("create.checking.text");
      }, { signal: this.stop.signal });
      if (found.status === "failed") throw found.error;
      this.found(uploadId, name, found);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 404) this.forget(uploadId);
      // The same file would be refused again.
      const isTheFile = error.code === "bad_input";
      const again = error.status === 404 ? () => this.choose(null) : () => this.check(uploadId, name);
      this.show( notice(error, isTheFile ? {} : { again }), this.otherVideo(uploadId));
    }
  }

  forget(uploadId) {
    forgetUpload(uploadId);
    this.keep(null);
  }

  otherVideo(uploadId) {
    return h("button", { type: "button", class: "quiet", onclick: async () => {
      this.forget(uploadId);
      await dropUpload(uploadId);
      this.choose(null);
    } }, t("create.other"));
  }

  /** Everything that matters before an hour is spent: what is used, what is not and why. */
  found(uploadId, name, { id, findings, seconds: duration, preview, is_usable: isUsable }) {
    const line = timeline({ duration, used: isUsable ? usedSpans(findings, duration) : [], findings });
    const title = t(isUsable ? "check.good" : "check.bad", { used: span(line.seconds), total: span(duration) });
    const next = h("div", { class: "row" },
      isUsable && h("button", { type: "button", class: "main", onclick: () => this.agree(uploadId, name) }, t("create.go_on")),
      this.otherVideo(uploadId));
    this.show(
      h("section", { class: "card stack" }, h("h2", { tabindex: "-1" }, title), line.element, preview && h("img", { class: "preview", src: address(`v1/avatars/check/${id}/preview`), alt: t("check.preview"), loading: "lazy" })),
      h("section", { class: "card stack" }, h("h2", {}, t(findings.length ? "check.findings" : "check.nothing")), line.list),
      next);
    announce(title);
  }

  agree(uploadId, name) {
    this.show( consentForm({
      server: this.server, name,
      onBack: () => this.check(uploadId, name),
      onAgreed: async (values) => {
        const avatar = await ask("v1/avatars", { method: "POST", json: { upload: uploadId, ...values } });
        forgetUpload(uploadId);
        this.keep({ avatar: avatar.id });
        this.make(avatar.id);
      },
    }));
  }

  /** No longer about that avatar. */
  other(error = null) {
    this.keep(null);
    history.replaceState(null, "", "#create");
    this.choose(null, error);
  }

  make(id) {
    const gone = { message: t("create.gone"), remedy: t("create.gone.remedy") };
    this.show( making({
      id, server: this.server, signal: this.stop.signal,
      onGone: () => this.other(location.hash.includes("?") ? gone : null),
      onOther: () => this.other(),
      onCancel: async () => {
        if (!(await confirm(t("make.cancel.question"), t("make.cancel.text"), t("make.cancel")))) return false;
        await ask(`v1/avatars/${encodeURIComponent(id)}`, { method: "DELETE" });
        this.other();
        return true;
      },
    }));
  }
}

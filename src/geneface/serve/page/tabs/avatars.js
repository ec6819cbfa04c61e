/** All avatars: picture, licence and consent, export, import, delete. */

import { address, ask, pause } from "../api.js";
import { confirm } from "../components/dialog.js";
import { announce, h, show } from "../components/dom.js";
import { drop } from "../components/drop.js";
import { face, poster } from "../components/face.js";
import { isUnfinished, keepFresh, renew } from "../components/fresh.js";
import { icon } from "../components/icons.js";
import { notice, sentence } from "../components/notice.js";
import { forgetUpload, upload } from "../components/upload.js";
import { bytes, moment, t } from "../i18n.js";
import { loadAvatars } from "../store.js";

export async function mount(root) {
  const stop = new AbortController();
  const trouble = h("div");
  const cards = h("ul", { class: "cards" });
  const place = h("li");
  const draw = keepFresh(async () => {
    const avatars = await loadAvatars(true);
    renew(cards, [...avatars.map((avatar) => [shownOf(avatar), () => card(avatar, { remove, retry })]), ["import", () => place]]);
    return avatars.some(isUnfinished);
  }, stop.signal);
  const retry = async (avatar) => {
    try {
      await ask(`v1/avatars/${encodeURIComponent(avatar.id)}/retry`, { method: "POST" });
      location.hash = watching(avatar);
    } catch (error) {
      show(trouble, notice(error));
      await draw();
    }
  };
  const remove = async (avatar) => {
    if (!(await confirm(t("avatar.delete.question", { name: avatar.name }), t("avatar.delete.text"), t("delete")))) return;
    try {
      await ask(`v1/avatars/${encodeURIComponent(avatar.id)}`, { method: "DELETE" });
      announce(t("avatar.deleted", { name: avatar.name }));
    } catch (error) {
      show(trouble, notice(error));
    }
    await draw();
  };
  const bring = drop({ kind: "slim", text: t("avatar.import.text"), button: t("avatar.import"), accept: ".zip,application/zip",
    onFile: (file) => importFile(file, trouble, draw, stop.signal) });
  place.append(bring);
  show(root,
    h("header", {}, h("h1", {}, t("avatar.title")), h("p", { class: "lead" }, t("avatar.lead"))),
    h("div", { class: "stack" }, trouble, cards));
  await draw();
  return () => stop.abort();
}

async function importFile(file, trouble, draw, signal) {
  const bar = h("progress", { max: file.size, value: 0, "aria-label": t("avatar.importing") });
  show(trouble, h("section", { class: "card stack" }, h("h2", {}, t("avatar.importing")), bar));
  try {
    const id = await upload(file, { signal, onProgress: ({ done }) => { bar.value = done; } });
    const { id: avatar } = await ask("v1/avatars/import", { method: "POST", json: { upload: id }, signal });
    forgetUpload(id);
    bar.removeAttribute("value");
    for (;;) {
      const job = await ask(`v1/avatars/${avatar}`, { signal });
      if (job.status === "failed") throw Object.assign(new Error(job.error?.message), job.error);
      if (!["queued", "in_progress"].includes(job.status)) break;
      await pause(0.5, signal);
    }
    show(trouble);
    announce(t("avatar.imported"));
    await draw();
  } catch (error) {
    if (error.name === "AbortError") return;
    show(trouble, notice(error));
    await draw().catch(() => {});
  }
}

/** What the card shows; of one in the making that is not how far it is. */
function shownOf(avatar) {
  const { steps, progress, eta_seconds: eta, queue_position: position, bytes: size, ...shown } = avatar;
  return avatar.isReady ? { ...shown, size } : shown;
}

/** Where an avatar is watched while it is made. */
function watching(avatar) {
  return `#create?avatar=${encodeURIComponent(avatar.id)}`;
}

/** What became of one that is not ready: state, cause and remedy. Those that are made have a consent, imported ones none yet. */
function state(avatar) {
  const text = isUnfinished(avatar) && !avatar.consent ? t("avatar.importing") : t(`status.${avatar.status}`);
  const { message, remedy } = avatar.error ?? {};
  return [h("p", { class: `small ${avatar.status === "failed" ? "failed" : ""}` }, text),
    message && h("p", { class: "small" }, sentence(message)), remedy && h("p", { class: "small soft" }, sentence(remedy))];
}

function card(avatar, { remove, retry }) {
  const id = encodeURIComponent(avatar.id);
  const fact = (key, value) => Boolean(value) && [h("dt", {}, t(key)), h("dd", {}, value)];
  return h("li", { class: "card avatar" },
    face(poster(avatar, { alt: "" }), { label: avatar.name, isDrawn: avatar.isDrawn }),
    h("div", { class: "about" },
      h("h2", {}, avatar.name),
      !avatar.isReady && state(avatar),
      h("dl", { class: "facts" },
        fact("avatar.size", avatar.size && `${avatar.size} px${avatar.has_body ? `, ${t("avatar.body")}` : ""}`),
        fact("avatar.made", avatar.isReady && avatar.is_own && avatar.created_at && moment(avatar.created_at)),
        fact("avatar.space", avatar.isReady && avatar.bytes > 0 && bytes(avatar.bytes)),
        fact("avatar.licence", avatar.licence)),
      avatar.consent && h("details", {}, h("summary", {}, t("avatar.consent")), h("p", { class: "small" }, avatar.consent)),
      avatar.attribution && h("details", {}, h("summary", {}, t("avatar.attribution")), h("p", { class: "small" }, avatar.attribution))),
    h("div", { class: "row" },
      avatar.isReady && h("a", { class: "button main", href: `#live?avatar=${id}` }, t("avatar.speak")),
      isUnfinished(avatar) && avatar.consent && h("a", { class: "button quiet", href: watching(avatar) }, t("avatar.watch")),
      !avatar.isReady && !isUnfinished(avatar) && avatar.consent
        && h("button", { type: "button", class: "quiet", "aria-label": `${t("avatar.retry")}: ${avatar.name}`, onclick: () => retry(avatar) }, t("avatar.retry")),
      avatar.isReady && action("a", "report", t("tab.report"), avatar, { href: `#report?avatar=${id}` }),
      avatar.isReady && action("a", "download", t("avatar.export"), avatar, { href: address(`v1/avatars/${id}/export`), download: "" }),
      avatar.is_own && action("button", "remove", t("delete"), avatar, { type: "button", onclick: () => remove(avatar) })));
}

function action(tag, name, text, avatar, properties) {
  return h(tag, { class: "button bare circle", "aria-label": `${text}: ${avatar.name}`, title: text, ...properties }, icon(name));
}

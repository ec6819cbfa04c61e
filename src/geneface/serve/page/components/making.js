/** An avatar in the making: its steps, a first picture, and a sample sentence when it is done. */

import { address, ask, poll } from "../api.js";
import { about, has, t } from "../i18n.js";
import { forgetAvatars } from "../store.js";
import { field } from "./choices.js";
import { announce, h, show } from "./dom.js";
import { face } from "./face.js";
import { notice } from "./notice.js";
import { stepList } from "./steps.js";
import { videoJob, waiting } from "./videojob.js";

/** What will be done, as long as the server has not said it. */
const STEPS = ["check", "prepare", "train"].map((name) => ({ name, status: "pending" }));

/** The element; it asks the server for the state until `signal` ends it. */
export function making({ id, server, signal, onGone, onOther, onCancel }) {
  const place = h("div", { class: "stack" });
  const path = `v1/avatars/${encodeURIComponent(id)}`;
  const steps = stepList((name) => (has(`step.${name}`) ? t(`step.${name}`) : name));
  const title = h("h2", { tabindex: "-1" }, t("make.title"));
  const trouble = h("div");
  const watch = new AbortController();
  signal.addEventListener("abort", () => watch.abort());
  const leave = () => { watch.abort(); onOther(); };
  const cancel = async () => {
    try {
      if (await onCancel()) watch.abort();
    } catch (error) {
      show(trouble, notice(error));
    }
  };
  const rest = h("p", { class: "soft number" });
  const picture = h("img", { class: "preview", alt: t("make.preview") });
  let current = null;
  const update = (avatar) => {
    const now = (avatar.steps ?? []).find(({ status }) => status === "in_progress");
    steps.update(avatar.steps?.length ? avatar.steps : STEPS);
    rest.textContent = avatar.status === "queued" ? waiting(avatar)
      : avatar.eta_seconds ? t("step.left", { time: about(avatar.eta_seconds) }) : "";
    if (now && now.name !== current) announce(has(`step.${now.name}`) ? t(`step.${now.name}`) : now.name);
    current = now?.name ?? null;
    if (avatar.preview && view.hidden) {
      picture.src = address(`${path}/preview`);
      view.hidden = false;
    }
  };
  steps.update(STEPS);
  const view = h("figure", { class: "card stack", hidden: true }, picture, h("figcaption", { class: "small soft" }, t("make.preview")));
  show(place, h("section", { class: "card" },
    h("div", { class: "stack" }, title, rest, steps.element,
      h("div", { class: "row" }, h("button", { type: "button", class: "quiet", onclick: cancel }, t("make.cancel")),
        h("button", { type: "button", class: "quiet", onclick: leave }, t("make.another")),
        h("p", { class: "small soft" }, t("make.leave"))), trouble)),
  view);
  const other = () => h("div", { class: "row" }, h("button", { type: "button", class: "quiet", onclick: onOther }, t("create.other")));
  const retry = async () => {
    try {
      await ask(`${path}/retry`, { method: "POST" });
    } catch (error) {
      show(place, notice(error, { again: retry }), other());
      return;
    }
    place.replaceWith(making({ id, server, signal, onGone, onOther, onCancel }));
  };
  poll(path, ({ status }) => !["queued", "in_progress"].includes(status), update, { signal: watch.signal }).then((avatar) => {
    forgetAvatars();
    if (avatar.status === "failed") throw Object.assign(new Error(avatar.error?.message), avatar.error);
    if (avatar.status === "cancelled") return onGone();
    return show(place, done(avatar, server, signal, onOther));
  }).catch((error) => {
    if (error.name === "AbortError") return;
    if (error.status === 404) onGone();
    else show(place, notice(error, { again: retry }), other());
  });
  return place;
}

/** Ready: what it says first. */
function done(avatar, server, signal, onOther) {
  announce(t("make.done", { name: avatar.name }));
  const poster = h("img", { src: address(`v1/avatars/${encodeURIComponent(avatar.id)}/poster`), alt: "", width: 512, height: 512 });
  const stage = h("div", {}, face(poster));
  const line = h("input", { value: t("make.sample"), maxlength: 300, required: true });
  const job = videoJob({ signal });
  const say = async (event) => {
    event.preventDefault();
    await job.start(() => ask("v1/videos", { method: "POST", json: { model: avatar.id, prompt: line.value } }), (element) => show(stage, element));
  };
  return h("section", { class: "card two" },
    h("div", { class: "stack" },
      h("h2", {}, t("make.done", { name: avatar.name })),
      (server.voices ?? []).length > 0 && h("form", { class: "stack", onsubmit: say },
        field(t("make.line"), line),
        h("div", { class: "row" }, h("button", { class: "main" }, t("make.say"))), job.element),
      h("div", { class: "row" },
        h("a", { class: "button quiet", href: `#live?avatar=${encodeURIComponent(avatar.id)}` }, t("make.live")),
        h("button", { type: "button", class: "quiet", onclick: onOther }, t("make.another")))),
    stage);
}

/** Questions in a modal dialog: the browser keeps the focus inside and gives it back. */

import { field } from "./choices.js";
import { h, uniqueId } from "./dom.js";
import { t } from "../i18n.js";

function ask(build) {
  return new Promise((resolve) => {
    const title = uniqueId("dialog");
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": title });
    dialog.append(...build(title, (answer) => { resolve(answer); dialog.close(); }));
    dialog.addEventListener("close", () => { resolve(null); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** True where the person says yes. `question` is the title, `text` says what happens, `yes` names the deed. */
export async function confirm(question, text, yes, { isDangerous = true } = {}) {
  const answer = await ask((title, done) => [
    h("h2", { id: title }, question),
    h("p", {}, text),
    h("div", { class: "row end" },
      h("button", { type: "button", class: "quiet", autofocus: true, onclick: () => done(false) }, t("cancel")),
      h("button", { type: "button", class: isDangerous ? "danger" : "main", onclick: () => done(true) }, yes)),
  ]);
  return answer === true;
}

let asking = null;

/** The token that this server was started with, or null. Requests at the same time ask once. `wasWrong`: the last one. */
export function askForToken(wasWrong) {
  asking ??= ask((title, done) => {
    const input = h("input", { type: "password", autocomplete: "off", required: true, autofocus: true });
    return [h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); done(input.value.trim()); } },
      h("h2", { id: title }, t("token.title")),
      h("p", { role: wasWrong ? "alert" : null }, t(wasWrong ? "token.wrong" : "token.text")),
      field(t("token.label"), input),
      h("div", { class: "row end" }, h("button", { class: "main" }, t("token.go"))))];
  }).finally(() => { asking = null; });
  return asking;
}

/** An error in the page: its cause, what to do, and a way to try again. */

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { said, t } from "../i18n.js";

/** A box for `error` (ApiError, or any); `again` is called by its button. It is read out when it is put into the page. */
export function notice(error, { again } = {}) {
  return message("error", error?.message || String(error), error?.remedy, again && { text: t("again"), act: again });
}

/** A box of a kind ("error", "warning", "info") with a cause and what to do. */
export function message(kind, cause, remedy, action) {
  return h("div", { class: `notice notice-${kind}`, role: kind === "error" ? "alert" : null },
    icon(kind),
    h("div", {}, h("p", { class: "cause" }, sentence(cause)), remedy && h("p", { class: "remedy" }, sentence(remedy))),
    action && h("button", { type: "button", class: "quiet", onclick: action.act }, action.text));
}

/** In the language of the page, and with a capital: the server's clauses begin with a small letter, as on the command line. */
export function sentence(text) {
  const words = said(text ?? "");
  return words && words[0].toUpperCase() + words.slice(1);
}

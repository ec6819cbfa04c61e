/** What was said in a conversation, newest last. */

import { t } from "../i18n.js";
import { h, show } from "./dom.js";

/** Returns {element, add({role, text, id, is_final})}; a later text of the same id replaces the earlier one. */
export function transcript() {
  const list = h("ol", { class: "transcript" });
  const log = h("div", { class: "log", role: "log", "aria-label": t("live.transcript"), tabindex: "0" }, list);
  const lines = new Map();
  const add = ({ role, text, id }) => {
    const isYou = role === "user";
    let line = id === undefined || id === null ? null : lines.get(`${role} ${id}`);
    if (!line) {
      line = h("li", { class: isYou ? "you" : "face-says" });
      lines.set(`${role} ${id ?? lines.size}`, line);
      list.append(line);
    }
    show(line, h("span", { class: "unseen" }, t(isYou ? "live.you" : "live.it")), text);
    log.scrollTop = log.scrollHeight;
  };
  return { element: h("section", { class: "talk" }, h("h2", { class: "small soft" }, t("live.transcript")), log), add };
}

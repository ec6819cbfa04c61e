/** The steps of long work: which are done, which one runs, how long it will take. */

import { about, t } from "../i18n.js";
import { h, show } from "./dom.js";
import { icon } from "./icons.js";

/** A list of steps that can be updated: `update(steps)` with {name, status, progress 0 to 1, eta_seconds}. */
export function stepList(words) {
  const element = h("ol", { class: "steps" });
  const update = (steps) => show(element, steps.map((step) => {
    const isNow = step.status === "in_progress";
    const isDone = step.status === "completed";
    return h("li", { class: `step ${isDone ? "is-done" : ""} ${isNow ? "is-now" : ""}`, "aria-current": isNow ? "step" : null },
      h("span", { class: "dot" }, icon("done")),
      h("span", {}, words(step.name), h("span", { class: "unseen" }, isDone ? ` (${t("step.done")})` : "")),
      h("span", { class: "eta" }, isNow && step.eta_seconds ? t("step.left", { time: about(step.eta_seconds) }) : ""),
      h("progress", { max: 1, value: step.progress ?? 0, "aria-label": words(step.name) }));
  }));
  return { element, update };
}

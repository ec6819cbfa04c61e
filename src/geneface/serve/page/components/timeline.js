/** What a check found, on the video's time: used, not used and why. */

import { clock, span, t } from "../i18n.js";
import { h, svg, uniqueId } from "./dom.js";
import { icon } from "./icons.js";
import { sentence } from "./notice.js";

const WIDTH = 1000;
const HEIGHT = 52;
const GRAVITY = ["error", "warning", "info"];

/** The seconds [start, end] that are used: all but those of findings that say `is_used: false`. */
export function usedSpans(findings, duration) {
  const gaps = findings
    .filter(({ is_used: isUsed, severity, start }) => typeof start === "number" && !(isUsed ?? severity === "info"))
    .map(({ start, end }) => [Math.max(0, start), Math.min(duration, end ?? start)])
    .sort((a, b) => a[0] - b[0]);
  const spans = [];
  let from = 0;
  for (const [start, end] of gaps) {
    if (start > from) spans.push([from, start]);
    from = Math.max(from, end);
  }
  if (from < duration) spans.push([from, duration]);
  return spans;
}

/** `used`: [[start, end], ...] in seconds; `findings`: {severity, cause, where, remedy, start, end}. */
export function timeline({ duration, used, findings }) {
  const x = (seconds) => (WIDTH * Math.min(Math.max(seconds, 0), duration)) / (duration || 1);
  const pattern = uniqueId("hatch");
  const chosen = svg("rect", { class: "chosen", x: 0, y: 1.5, width: 0, height: HEIGHT - 3, rx: 6, visibility: "hidden" });
  const warned = findings.filter(({ is_used: isUsed, severity, start }) => severity === "warning" && typeof start === "number" && isUsed !== false);
  const total = used.reduce((sum, [start, end]) => sum + end - start, 0);
  const bar = svg("svg", { class: "bar", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": t("check.used", { used: span(total), total: span(duration) }) },
    svg("defs", {}, hatch(pattern)),
    svg("rect", { class: "unused", x: 0, y: 0, width: WIDTH, height: HEIGHT }),
    svg("rect", { fill: `url(#${pattern})`, x: 0, y: 0, width: WIDTH, height: HEIGHT }),
    used.map(([start, end]) => svg("rect", { class: "used", x: x(start), y: 0, width: Math.max(1, x(end) - x(start)), height: HEIGHT })),
    warned.map(({ start, end }) =>
      svg("rect", { class: "mark", x: x(start), y: HEIGHT - 8, width: Math.max(3, x(end ?? start) - x(start)), height: 8 })),
    chosen);
  const point = (finding) => {
    const has = finding && typeof finding.start === "number";
    chosen.setAttribute("visibility", has ? "visible" : "hidden");
    if (!has) return;
    chosen.setAttribute("x", x(finding.start));
    chosen.setAttribute("width", Math.max(6, x(finding.end ?? finding.start) - x(finding.start)));
  };
  const ticks = [0, 1, 2, 3, 4].map((part) => h("span", {}, clock((duration * part) / 4)));
  return {
    element: h("div", { class: "timeline" }, bar, h("div", { class: "ticks", "aria-hidden": "true" }, ticks),
      h("ul", { class: "legend" },
        h("li", {}, swatch("used"), t("check.legend.used")),
        h("li", {}, swatch("unused", true), t("check.legend.unused")),
        warned.length > 0 && h("li", {}, swatch("mark"), t("check.legend.warning")))),
    list: h("ul", { class: "findings" }, [...findings].sort((a, b) => GRAVITY.indexOf(a.severity) - GRAVITY.indexOf(b.severity)).map((finding) => row(finding, point))),
    seconds: total,
  };
}

function hatch(id) {
  return svg("pattern", { id, width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 8 }));
}

function swatch(name, isHatched = false) {
  const pattern = uniqueId("hatch");
  return svg("svg", { class: "bar swatch", viewBox: "0 0 18 13", "aria-hidden": "true" },
    isHatched && svg("defs", {}, hatch(pattern)),
    svg("rect", { class: name, width: 18, height: 13 }),
    isHatched && svg("rect", { fill: `url(#${pattern})`, width: 18, height: 13 }));
}

function row(finding, point) {
  const place = typeof finding.start === "number"
    ? [...new Set([clock(finding.start), clock(finding.end ?? finding.start)])].join(" – ") : "";
  const element = h("li", {
    class: `finding finding-${finding.severity}`,
    onmouseenter: () => point(finding), onmouseleave: () => point(null),
  }, icon(finding.severity), h("p", {},
    h("span", { class: "unseen" }, `${t(`severity.${finding.severity}`)}: `), sentence(finding.cause)),
  h("span", { class: "when" }, place || finding.where || ""),
  finding.remedy && h("p", { class: "remedy" }, sentence(finding.remedy)));
  return element;
}

/** What was measured of an avatar: in words first, then the whole report as it was written. */

import { address, ask, poll } from "../api.js";
import { avatarChoice } from "../components/choices.js";
import { announce, h, show } from "../components/dom.js";
import { face, poster } from "../components/face.js";
import { notice, sentence } from "../components/notice.js";
import { about, number, t } from "../i18n.js";
import { choose, firstChoice, readyAvatars } from "../store.js";

/** Figures that say something without a manual: [key, tables in which to look, what is shown of the value, digits, unit]. */
const SHOWN = [
  ["closure_rate", ["lips", "motion"], (value) => 100 * value, 0, "%"],
  ["opening_correlation", ["lips", "motion", "adaptation"], (value) => 100 * value, 0, "%"],
  ["offset_frames", ["lips", "motion", "adaptation"], (value) => 40 * Math.abs(value), 0, "ms"],
  ["silence_motion_ratio", ["lips", "motion"], (value) => 100 * value, 0, "%"],
  ["head_psnr", ["image_head", "pasted"], (value) => value, 1, "dB"],
  ["head_sharpness_ratio", ["image_head"], (value) => 100 * value, 0, "%"],
  ["speckle_ratio", ["driven"], (value) => value, 2, "×"],
  ["render_rate", ["speed"], (value) => value, 0, "fps"],
];

/** Rates, and the figure that says how often something was counted for them. Below `FEWEST` a rate is chance. */
const COUNTS = { closure_rate: "closure_count" };
const FEWEST = 10;

export async function mount(root, { server, values }) {
  const stop = new AbortController();
  const avatars = await readyAvatars();
  const place = h("div", { class: "stack" });
  let avatar = firstChoice(avatars, values.get("avatar"));
  const open = () => showReport(place, avatar, stop.signal).catch((error) => {
    if (error.name !== "AbortError") show(place, notice(error, { again: open }));
  });
  show(root,
    h("header", {}, h("h1", {}, t("report.title")), h("p", { class: "lead" }, t("report.lead")),
      avatar && h("div", {}, avatarChoice(avatars, avatar, (next) => { avatar = next; choose(next); open(); }).element)),
    place);
  if (avatar) await open();
  return () => stop.abort();
}

async function showReport(place, avatar, signal) {
  const path = `v1/avatars/${encodeURIComponent(avatar.id)}`;
  const card = await ask(path, { signal });
  const report = card.has_report || card.report_status ? await ask(`${path}/report`, { signal }) : null;
  if (report && ["queued", "in_progress"].includes(report.status)) return measuring(place, avatar, signal);
  const isDone = report?.status === "completed";
  // Measured without the person's video, a report has little; what training measured, the avatar carries.
  const figures = words([report?.metrics, card.metrics].filter(Boolean));
  show(place,
    report?.status === "failed" && notice(Object.assign(new Error(report.error?.message), report.error)),
    figures.length > 0 && h("ul", { class: "verdicts" }, figures),
    told(card.summary),
    !figures.length && !isDone && h("div", { class: "card two" },
      h("div", { class: "stack" }, h("h2", {}, t("report.none")), h("p", { class: "soft" }, t("report.none.text"))), face(poster(avatar), { label: avatar.name, isDrawn: avatar.isDrawn })),
    h("div", { class: "row" },
      h("button", { type: "button", class: isDone ? "quiet" : "main", onclick: () => start(place, avatar, signal) }, t(isDone ? "report.again" : "report.start")),
      h("p", { class: "small soft" }, t("report.start.text"))),
    isDone && h("section", { class: "stack" }, h("h2", {}, t("report.whole")),
      h("iframe", { class: "sheet", sandbox: "", title: t("report.whole"), src: address(`${path}/report/report.html`), loading: "lazy", tabindex: "0" })));
  return undefined;
}

async function start(place, avatar, signal) {
  try {
    await ask(`v1/avatars/${encodeURIComponent(avatar.id)}/report`, { method: "POST", json: {}, signal });
    await measuring(place, avatar, signal);
  } catch (error) {
    if (error.name !== "AbortError") show(place, notice(error, { again: () => start(place, avatar, signal) }));
  }
}

async function measuring(place, avatar, signal) {
  const bar = h("progress", { "aria-label": t("report.measuring") });
  const line = h("p", { class: "soft number" });
  show(place, h("section", { class: "card stack" }, h("h2", {}, t("report.measuring")), bar, line));
  announce(t("report.measuring"));
  await poll(`v1/avatars/${encodeURIComponent(avatar.id)}/report`, ({ status }) => !["queued", "in_progress"].includes(status), (job) => {
    if (job.progress) bar.value = job.progress / 100;
    line.textContent = job.eta_seconds ? t("step.left", { time: about(job.eta_seconds) }) : "";
  }, { signal });
  return showReport(place, avatar, signal);
}

/**
 * The evaluated row of a table: of pictures pasted into the person's own video where there are such, as people see those;
 * from speech where there are several.
 */
function evaluated(table) {
  const rows = (table?.rows ?? []).filter(({ role }) => role === "evaluated");
  const spoken = rows.filter(({ name }) => name.includes("from speech"));
  return spoken.find(({ name }) => name.includes(", pasted")) ?? spoken[0] ?? rows.at(-1);
}

/** {value, isSure} of a figure in a table, or null. It says little where its controls say so, or where it counted little. */
function figureIn(table, key) {
  const row = evaluated(table);
  const value = row?.figures?.[key]?.value;
  if (typeof value !== "number") return null;
  const count = COUNTS[key] === undefined ? null : row.figures[COUNTS[key]]?.value;
  return { value, isSure: table.verdicts?.[key]?.informative !== false && (count ?? FEWEST) >= FEWEST };
}

/** Cards of the figures, each from the first of `all` that has it; those that say nothing are left out. */
function words(all) {
  return SHOWN.flatMap(([key, tables, convert, digits, unit]) => {
    const found = all.flatMap((metrics) => tables.map((table) => figureIn(metrics.tables?.[table], key))).find(Boolean);
    if (!found?.isSure) return [];
    return [h("li", { class: "card verdict" }, h("h2", { class: "small soft" }, t(`figure.${key}`)),
      h("b", {}, number(convert(found.value), digits), " ", h("small", {}, unit)), h("p", {}, t(`figure.${key}.text`)))];
  });
}

/** What training said of it, sentence by sentence. */
function told(summary) {
  const lines = Array.isArray(summary) ? summary : [...(summary?.summary ?? []), ...(summary?.warnings ?? [])];
  return lines.length > 0 && h("section", { class: "card stack" }, h("h2", {}, t("report.training")), h("ul", { class: "stack small" }, lines.map((line) => h("li", {}, sentence(line)))));
}

/** A video that is being made: progress with the time that is left, then the video in a figure. */

import { address, ask, poll } from "../api.js";
import { about, t } from "../i18n.js";
import { announce, h, show } from "./dom.js";
import { face } from "./face.js";
import { notice } from "./notice.js";

/** The address of a finished video. */
export function contentOf(id) {
  return address(`v1/videos/${encodeURIComponent(id)}/content`);
}

/** A finished video in a figure; `label` is its name. */
export function player(id, label, { plays = true } = {}) {
  const video = h("video", { src: contentOf(id), controls: true, playsinline: true, preload: "metadata", "aria-label": label });
  if (plays) video.play().catch(() => {});
  const figure = face(video, { label });
  video.addEventListener("loadedmetadata", () => {
    figure.querySelector(".face-frame").style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
  });
  return figure;
}

/** What a job that is queued waits for; "" for others. */
export function waiting({ status, queue_position: position }) {
  if (status !== "queued") return "";
  if (!position) return t("video.queued");
  return position === 1 ? t("video.queued.one") : t("video.queued.some", { n: position });
}

/** Returns {element, start(send, show)}: `send()` begins the job, `show(figure, job)` gets the finished video. */
export function videoJob({ signal }) {
  const element = h("div", { class: "stack" });
  const start = async (send, onVideo) => {
    const bar = h("progress", { "aria-label": t("video.making") });
    const line = h("p", { class: "soft number" }, t("video.queued"));
    try {
      const job = await send();
      const trouble = h("div");
      const stop = () => ask(`v1/videos/${job.id}/cancel`, { method: "POST" }).catch((error) => show(trouble, notice(error)));
      const cancel = h("button", { type: "button", class: "quiet", onclick: stop }, t("cancel"));
      show(element, bar, h("div", { class: "row" }, line, cancel), trouble);
      const ended = await poll(`v1/videos/${job.id}`, ({ status }) => !["queued", "in_progress"].includes(status), (now) => {
        if (now.status === "queued") line.textContent = waiting(now);
        if (now.status !== "in_progress") return;
        bar.value = (now.progress ?? 0) / 100;
        line.textContent = now.eta_seconds ? t("step.left", { time: about(now.eta_seconds) }) : t("video.making");
      }, { signal, seconds: 0.5 });
      show(element);
      if (ended.status === "failed") throw ended.error;
      if (ended.status !== "completed") return;
      announce(t("video.done"));
      onVideo(player(ended.id, t("video.done")), ended);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 404) show(element);
      else show(element, notice(error));
    }
  };
  return { element, start };
}

/** Records the microphone into a file, with a level that moves. */

import { ApiError } from "../api.js";
import { clock, t } from "../i18n.js";
import { announce, forgetSounds, h, listen, show } from "./dom.js";
import { icon } from "./icons.js";
import { notice } from "./notice.js";

/** What is wrong with a microphone, in words. */
export function microphoneError(error) {
  const known = ["NotAllowedError", "NotFoundError", "insecure"].includes(error.name) ? error.name : null;
  return known ? new ApiError({ message: t(`microphone.${known}`), remedy: t(`microphone.${known}.remedy`) }) : error;
}

/** Refuse where the browser gives no microphone: the page is not on localhost or HTTPS. */
export function needsMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia) throw Object.assign(new Error("no microphone here"), { name: "insecure" });
}

/** Returns {element, stop()}; `onRecorded(blob)` gets the sound, or null when it is thrown away. */
export function recorder({ onRecorded, mostSeconds = 600 }) {
  const element = h("div", { class: "stack" });
  let end = null;

  const idle = (recorded) => {
    forgetSounds(element);
    show(element, recorded && listen(recorded, t("record.listen")), h("div", { class: "row" },
      h("button", { type: "button", class: "quiet", onclick: begin }, icon("microphone"), t(recorded ? "record.again" : "record.begin"))));
  };

  async function begin() {
    onRecorded(null);
    let stream;
    try {
      needsMicrophone();
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      idle(null);
      element.prepend(notice(microphoneError(error)));
      return;
    }
    const pieces = [];
    const recording = new MediaRecorder(stream);
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    const level = new Float32Array(analyser.fftSize);
    const meter = h("meter", { class: "meter", min: 0, max: 1, value: 0, "aria-label": t("record.level") });
    const time = h("span", { class: "number" }, "0:00");
    const started = performance.now();
    const timer = setInterval(() => {
      analyser.getFloatTimeDomainData(level);
      meter.value = Math.min(1, 3 * Math.max(...level.map(Math.abs)));
      const seconds = (performance.now() - started) / 1000;
      time.textContent = clock(seconds);
      if (seconds >= mostSeconds) end?.();
    }, 100);
    recording.ondataavailable = (event) => pieces.push(event.data);
    recording.onstop = () => {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      context.close();
      end = null;
      const blob = new Blob(pieces, { type: recording.mimeType });
      idle(blob);
      onRecorded(blob);
      announce(t("record.done"));
    };
    end = () => { if (recording.state !== "inactive") recording.stop(); };
    recording.start();
    announce(t("record.on"));
    show(element, meter, h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: () => end?.() }, icon("stop"), t("record.end")), time));
    element.querySelector("button").focus();
  }

  idle(null);
  return { element, stop: () => end?.() };
}

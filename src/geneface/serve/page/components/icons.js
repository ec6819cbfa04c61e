/** The page's icons: lines on a 24 pixel grid, in the colour of the text beside them. */

import { svg } from "./dom.js";

const PATHS = {
  live: ["M8 9.5v1M16 9.5v1", "M7 14.5c1.3 2 2.9 3 5 3s3.7-1 5-3", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z"],
  create: ["M12 5v14M5 12h14"],
  video: ["M4 6.5h11v11H4z", "M15 10.5l5-3v9l-5-3"],
  play: ["M8 5.5v13l10.5-6.5z"],
  report: ["M5 19V11M12 19V5M19 19v-6"],
  avatars: ["M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z", "M2.5 20c.5-3.5 3-5.5 6.5-5.5s6 2 6.5 5.5", "M16 4.8a3.5 3.5 0 0 1 0 6.4M18 14.9c2 .7 3.2 2.5 3.5 5.1"],
  microphone: ["M12 3.5a2.8 2.8 0 0 0-2.8 2.8v5a2.8 2.8 0 0 0 5.6 0v-5A2.8 2.8 0 0 0 12 3.5z", "M6 11a6 6 0 0 0 12 0M12 17v3.5"],
  say: ["M12 19V5M6 11l6-6 6 6"],
  stop: ["M7.5 7.5h9v9h-9z"],
  warning: ["M12 4l9 16H3z", "M12 10v4.5M12 17v.2"],
  error: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M12 7.5v5.5M12 16v.2"],
  info: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M12 11v5.5M12 7.8v.2"],
  done: ["M5 12.5l4.5 4.5L19 7.5"],
  upload: ["M12 16V4M7 9l5-5 5 5", "M4 16v4h16v-4"],
  download: ["M12 4v12M7 11l5 5 5-5", "M4 16v4h16v-4"],
  remove: ["M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13"],
  close: ["M6 6l12 12M18 6L6 18"],
};

/** An icon by name; screen readers skip it. */
export function icon(name) {
  return svg("svg", { class: `icon icon-${name}`, viewBox: "0 0 24 24", "aria-hidden": "true" },
    (PATHS[name] ?? []).map((d) => svg("path", { d })));
}

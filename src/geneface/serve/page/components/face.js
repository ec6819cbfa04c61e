/** A face, as a picture or alive, always with the word that it is synthetic. */

import { address } from "../api.js";
import { t } from "../i18n.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";

/** An avatar's poster as `<img>`; its place is kept while it loads. */
export function poster(avatar, { alt = "" } = {}) {
  if (!avatar.poster) return h("div", { class: "poster no-poster" }, icon("avatars"));
  return h("img", { class: "poster", src: address(avatar.poster), alt, width: 512, height: 512, decoding: "async" });
}

/** A figure around `content` with the quiet word; without it where nothing is drawn: no picture, or the person's own. */
export function face(content, { label, isDrawn = true } = {}) {
  return h("figure", { class: "face", "aria-label": label },
    h("div", { class: "face-frame" }, content),
    isDrawn && h("figcaption", { class: "synthetic" }, t("synthetic")));
}

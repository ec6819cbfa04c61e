/** Small choices: a select with its label, an avatar, a voice, a background. */

import { t } from "../i18n.js";
import { h, uniqueId } from "./dom.js";

/** A control with its label above it, and what there is to know below. */
export function field(label, control, hint) {
  control.id ||= uniqueId("field");
  const more = hint && h("p", { class: "hint", id: `${control.id}-hint` }, hint);
  if (more) control.setAttribute("aria-describedby", more.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, more);
}

/** A labelled select; `options` are [value, text]. Returns {element, select}. */
export function choice(label, options, { value, onchange, kind = "chip" } = {}) {
  const id = uniqueId("choice");
  const select = h("select", { id, onchange: () => onchange?.(select.value) },
    options.map(([key, text]) => h("option", { value: key }, text)));
  if (value !== undefined && value !== null) select.value = value;
  return { element: h("div", { class: kind }, h("label", { for: id }, label), select), select };
}

/** Choose one of the avatars that can speak. */
export function avatarChoice(avatars, chosen, onchange, kind) {
  return choice(t("avatar"), avatars.map((avatar) => [avatar.id, avatar.name]), {
    value: chosen?.id, kind, onchange: (id) => onchange(avatars.find((avatar) => avatar.id === id)),
  });
}

/** Choose a voice; without any there is nothing to choose. */
export function voiceChoice(server, onchange, kind) {
  const voices = server.voices ?? [];
  if (!voices.length) return { element: null, select: { value: "" } };
  return choice(t("voice"), voices.map((voice) => [voice.id, voice.name ?? voice.id]), {
    value: server.voice, kind, onchange,
  });
}

const COLOURS = { keep: "keep", white: "#ffffff", grey: "#808080", black: "#000000", green: "#00b140" };

/**
 * Choose a background: as recorded, a plain colour, or any colour.
 *
 * `value()` is what the API takes: "keep" or "#rrggbb". `more` are further [value, text].
 */
export function backgroundChoice(onchange, kind, more = []) {
  const colour = h("input", { type: "color", value: "#cfd8dc", hidden: true, "aria-label": t("background.own"),
    oninput: () => onchange?.(colour.value) });
  const options = [...Object.keys(COLOURS).map((name) => [name, t(`background.${name}`)]), ...more, ["own", t("background.own")]];
  const { element, select } = choice(t("background"), options, {
    kind,
    onchange: () => {
      colour.hidden = select.value !== "own";
      onchange?.(value());
    },
  });
  element.append(colour);
  const value = () => (select.value === "own" ? colour.value : COLOURS[select.value] ?? select.value);
  return { element, select, value };
}

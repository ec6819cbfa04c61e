/** Who agrees, to what, under which licence; the statement is typed by the person and stored in the avatar's card. */

import { t } from "../i18n.js";
import { field } from "./choices.js";
import { h, show } from "./dom.js";
import { notice } from "./notice.js";

const LICENCES = ["not stated: ask before you share it", "all rights reserved", "CC BY 4.0", "CC BY-NC 4.0", "CC0 1.0"];
const PRESETS = ["fast", "good", "tiny"];
const SIZES = [256, 512];

/** `onAgreed({name, consent, licence, preset, size})` may throw what the server answers; it is shown here. */
export function consentForm({ name, onAgreed, onBack }) {
  const statement = h("textarea", { required: true, maxlength: 4800, placeholder: t("consent.example"), minlength: 10 });
  const person = h("input", { required: true, maxlength: 120, autocomplete: "name" });
  const avatarName = h("input", { required: true, maxlength: 60, value: name.replace(/\.[^.]*$/, "").slice(0, 60), autocomplete: "off" });
  const licence = h("select", {}, LICENCES.map((text, index) => h("option", { value: text }, index < 2 ? t(`licence.${index}`) : text)));
  const preset = h("select", {}, PRESETS.map((value) => h("option", { value }, t(`preset.${value}`))));
  const size = h("select", {}, SIZES.map((value) => h("option", { value }, `${value} × ${value}`)));
  const trouble = h("div");
  const send = h("button", { class: "main" }, t("consent.go"));
  const submit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    show(trouble);
    try {
      await onAgreed({
        name: avatarName.value.trim(), licence: licence.value, preset: preset.value, size: Number(size.value),
        consent: `${statement.value.trim()} — ${person.value.trim()}`,
      });
    } catch (error) {
      show(trouble, notice(error));
      send.disabled = false;
    }
  };
  return h("form", { class: "card stack", onsubmit: submit },
    h("h2", {}, t("consent.title")),
    h("p", { class: "soft" }, t("consent.text")),
    field(t("consent.statement"), statement, t("consent.statement.hint")),
    h("div", { class: "fields" }, field(t("consent.person"), person), field(t("consent.licence"), licence)),
    h("div", { class: "fields" }, field(t("consent.avatar"), avatarName), field(t("consent.preset"), preset), field(t("consent.size"), size)),
    trouble,
    h("div", { class: "row" }, send, h("button", { type: "button", class: "quiet", onclick: onBack }, t("back"))));
}

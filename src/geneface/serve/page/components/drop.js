/** A place to drop a file, which is also a button that opens the file chooser. */

import { h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * `onFile(file)` gets what was dropped or chosen. `accept` as of `<input>`; `kind` "slim" is a small one.
 * Nothing that is dropped beside it replaces the page.
 */
export function drop({ title, text, button, accept, kind = "", onFile }) {
  const input = h("input", { type: "file", accept, hidden: true, tabindex: "-1", onchange: () => {
    if (input.files[0]) onFile(input.files[0]);
    input.value = "";
  } });
  const element = h("div", { class: `drop ${kind}` },
    icon("upload"), title && h("h2", {}, title), text && h("p", { class: "soft" }, text),
    h("button", { type: "button", class: kind ? "quiet" : "main", onclick: () => input.click() }, button), input);
  let depth = 0;
  const over = (event, change) => {
    event.preventDefault();
    depth = Math.max(0, depth + change);
    element.classList.toggle("is-over", depth > 0);
  };
  element.addEventListener("dragenter", (event) => over(event, 1));
  element.addEventListener("dragleave", (event) => over(event, -1));
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    over(event, -depth);
    const file = event.dataTransfer?.files?.[0];
    if (file) onFile(file);
  });
  return element;
}

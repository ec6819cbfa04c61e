/** Elements without markup: nothing that a server or a person wrote is ever read as HTML. */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (["value", "checked", "disabled", "hidden", "muted", "indeterminate", "srcdoc"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** `h("button", {class: "plain", onclick}, "Text")`: an element; `on...` are listeners, null and false leave out. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Put `children` in place of what `element` holds. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Say a sentence to screen readers, when they have finished what they are saying. */
export function announce(text) {
  const region = document.getElementById("polite");
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 50);
}

/** A player for a sound that is here: the browser may forget the sound when the player has left the page. */
export function listen(blob, label) {
  const address = URL.createObjectURL(blob);
  const player = h("audio", { controls: true, src: address, "aria-label": label });
  player.addEventListener("emptied", () => URL.revokeObjectURL(address), { once: true });
  return player;
}

/** Take out what `listen` made. */
export function forgetSounds(element) {
  for (const player of element.querySelectorAll("audio")) {
    player.removeAttribute("src");
    player.load();
  }
}

let lastId = 0;

/** An id that no other element has. */
export function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

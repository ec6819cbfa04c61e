/** Starts the page: language, what the server offers, and the tab that the address names (`#live`, `#video?avatar=...`). */

import { keepToken, openSession, setTokenPrompt } from "./api.js";
import { h, show } from "./components/dom.js";
import { askForToken } from "./components/dialog.js";
import { icon } from "./components/icons.js";
import { notice } from "./components/notice.js";
import { changeLanguage, currentLanguage, loadLanguage, t } from "./i18n.js";
import { loadAvatars, loadServer } from "./store.js";
import * as avatars from "./tabs/avatars.js";
import * as create from "./tabs/create.js";
import * as live from "./tabs/live.js";
import * as report from "./tabs/report.js";
import * as video from "./tabs/video.js";

const TABS = { live, create, video, report, avatars };
const main = document.getElementById("main");
let leave = null;
let turn = 0;

function route() {
  const [name, query] = location.hash.slice(1).split("?");
  return { name: name in TABS ? name : "live", values: new URLSearchParams(query ?? "") };
}

function drawFrame() {
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  show(document.querySelector(".tabs"), Object.keys(TABS).map((name) =>
    h("a", { href: `#${name}` }, icon(name), h("span", {}, t(`tab.${name}`)))));
  const other = currentLanguage() === "zh" ? "en" : "zh";
  show(document.querySelector(".foot"),
    h("p", {}, t("foot.synthetic")),
    h("p", {},
      h("a", { href: "docs" }, t("foot.api")),
      h("button", { class: "link", type: "button", lang: other === "zh" ? "zh-Hans" : "en", onclick: () => changeLanguage(other) },
        other === "zh" ? "中文" : "English")));
}

async function open(isFirst) {
  const { name, values } = route();
  turn += 1;
  const mine = turn;
  leave?.();
  leave = null;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(`tab.${name}`)} · GeneFace`;
  document.body.dataset.tab = name;
  const place = h("div", { class: `tab tab-${name}` });
  show(main, place);
  if (!isFirst) {
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  try {
    const server = await loadServer();
    if (mine !== turn) return;
    const stop = await TABS[name].mount(place, { server, values });
    if (mine === turn) leave = stop ?? null;
    else stop?.();
  } catch (error) {
    if (mine === turn) show(place, notice(error, { again: () => open(true) }));
  }
}

/** The address that was printed at the start may carry the token behind the `#`, which is never sent. */
function takeToken() {
  const given = /^#token=([^&]+)/.exec(location.hash);
  if (!given) return;
  keepToken(decodeURIComponent(given[1]));
  history.replaceState(null, "", location.pathname + location.search);
}

takeToken();
await loadLanguage();
setTokenPrompt(askForToken);
await openSession();
drawFrame();
window.addEventListener("hashchange", () => open(false));
window.addEventListener("pagehide", () => leave?.());
window.addEventListener("pageshow", (event) => { if (event.persisted) open(true); });
loadAvatars().catch(() => {});
await open(true);

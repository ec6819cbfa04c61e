/** The language of the page: Chinese where the browser asks for it, English else; a choice made here is kept. */

import en from "./strings.en.js";

const KEPT = "geneface.language";
const LANGUAGES = ["en", "zh"];
let strings = en;
let errors = {};
let sentences = [];
let language = "en";

function wanted() {
  const kept = localStorage.getItem(KEPT);
  if (LANGUAGES.includes(kept)) return kept;
  const asked = (navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2).toLowerCase());
  return asked.find((tag) => LANGUAGES.includes(tag)) ?? "en";
}

/** Load the strings; call it once, before anything is shown. */
export async function loadLanguage() {
  language = wanted();
  if (language === "zh") {
    const [own, servers] = await Promise.all([import("./strings.zh.js"), import("./server.zh.js")]);
    strings = own.default;
    ({ errors, sentences } = servers);
  }
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
}

/** "en" or "zh". */
export function currentLanguage() {
  return language;
}

/** Keep another language and load the page again. */
export function changeLanguage(next) {
  localStorage.setItem(KEPT, next);
  location.reload();
}

/** A string by key, `{name}` replaced by `values.name`. */
export function t(key, values = {}) {
  const text = strings[key];
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Whether there is such a string. */
export function has(key) {
  return strings[key] !== undefined;
}

/** [cause, remedy] of a server's error in another language than its own, English; null where its own words serve best. */
export function errorWords(code) {
  return errors[code] ?? null;
}

/** A sentence of the server's, in the language of the page where that is known. */
export function said(text) {
  for (const [pattern, words] of sentences) {
    if (typeof pattern === "string") {
      if (pattern === text) return words;
      continue;
    }
    const found = pattern.exec(text);
    if (found) return words.replace(/\$(\d)/g, (_, group) => found[group] ?? "");
  }
  return text;
}

/** 1234567 -> "1.2 MB". */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${number(value, unit && value < 100 ? 1 : 0)} ${units[unit]}`;
}

/** A limit as it was set: whole powers of 1024 as a round number, 2147483648 -> "2 GB". */
export function limit(count) {
  const power = [3, 2, 1].find((exponent) => count >= 1024 ** exponent);
  if (!power || count % 1024 ** power) return bytes(count);
  return `${number(count / 1024 ** power)} ${["kB", "MB", "GB"][power - 1]}`;
}

/** A number as the language writes it. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);
}

/** 83.2 -> "1:23". */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A length: "11.8 s" under a minute, "1:23" above. */
export function span(seconds) {
  return seconds < 60 ? t("time.seconds", { n: number(seconds, 1) }) : clock(seconds);
}

/** About how long: "2 min", "40 s". */
export function about(seconds) {
  if (seconds >= 90) return t("time.minutes", { n: number(Math.round(seconds / 60)) });
  return t("time.seconds", { n: number(seconds > 20 ? Math.round(seconds / 10) * 10 : Math.max(1, Math.round(seconds))) });
}

/** A moment, from seconds since 1970. */
export function moment(seconds) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(seconds * 1000));
}

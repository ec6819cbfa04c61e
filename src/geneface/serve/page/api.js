/**
 * The page's only way to the server. Addresses are relative to the page, so that it also works below a path of a proxy.
 *
 * Every failure is an `ApiError` with cause and remedy; a token is kept for this tab of the browser alone.
 */

import { errorWords, t } from "./i18n.js";

const TOKEN = "geneface.token";
let askForToken = null;

/** A request that failed. `status` is 0 where there was no answer. */
export class ApiError extends Error {
  constructor({ status = 0, code = "unknown", message, remedy = "", retryAfter = null }) {
    super(message);
    Object.assign(this, { status, code, remedy, retryAfter });
  }
}

/** Who asks the person for the token: an async function (was the last one wrong?) that returns it, or null. */
export function setTokenPrompt(prompt) {
  askForToken = prompt;
}

/** The token of this tab, or null. */
export function token() {
  return sessionStorage.getItem(TOKEN);
}

/** Keep a token for as long as this tab lives. */
export function keepToken(value) {
  sessionStorage.setItem(TOKEN, value);
}

/** Let pictures, videos and downloads be read, which can't send a token: the server gives a cookie for reading. */
export async function openSession() {
  if (token()) await request("v1/session", { method: "POST", again: false }).catch(() => {});
}

/** "v1/models" -> the whole address. */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

async function failure(response) {
  const body = await response.json().catch(() => null);
  const error = body?.error ?? {};
  const code = error.code ?? `http_${response.status}`;
  const wait = Number(response.headers.get("Retry-After")) || null;
  const [message, remedy] = errorWords(code) ?? [error.message ?? t("error.unknown", { status: response.status }), error.remedy ?? ""];
  return new ApiError({ status: response.status, code, message, remedy, retryAfter: wait });
}

/**
 * Ask the server. `json` or `body` is sent; the answer is the Response. `keepalive`: even if the page is being closed.
 *
 * Throws ApiError; an AbortError stays what it is.
 */
export async function request(path, { method = "GET", json, body, headers = {}, signal, keepalive = false, again = true } = {}) {
  const sent = { ...headers };
  if (token()) sent.Authorization = `Bearer ${token()}`;
  if (json !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(address(path), {
      method, signal, keepalive, headers: sent, body: json === undefined ? body : JSON.stringify(json), cache: "no-cache",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ code: "unreachable", message: t("error.unreachable"), remedy: t("remedy.unreachable") });
  }
  if (response.status === 401 && again && askForToken) {
    const given = await askForToken(token() !== null);
    if (given) {
      keepToken(given);
      await openSession();
      return request(path, { method, json, body, headers, signal });
    }
  }
  if (!response.ok) throw await failure(response);
  return response;
}

/** The answer's JSON. */
export async function ask(path, options) {
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
}

/** A list, whether it came bare or as `{data: [...]}`. */
export async function askList(path, options) {
  const answer = await ask(path, options);
  return Array.isArray(answer) ? answer : answer?.data ?? [];
}

/** Ask again, soon at first and then every `seconds`, until `isDone(answer)`; `onAnswer` gets each. Lost connections are waited out. */
export async function poll(path, isDone, onAnswer, { seconds = 1, signal } = {}) {
  let wait = 0.2;
  for (;;) {
    try {
      const answer = await ask(path, { signal });
      onAnswer(answer);
      if (isDone(answer)) return answer;
    } catch (error) {
      if (error.name === "AbortError" || error.status !== 0) throw error;
    }
    await pause(wait, signal);
    wait = Math.min(1.5 * wait, seconds);
  }
}

/** Wait; ends with an AbortError where `signal` says so. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }, { once: true });
  });
}

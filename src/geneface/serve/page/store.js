/** What several tabs need from the server, asked once and kept until somebody changes it. */

import { ask, askList } from "./api.js";

let server = null;
let avatars = null;
const CHOSEN = "geneface.avatar";

/** What was typed and not yet sent, for as long as the page is open. */
export const drafts = { live: "", video: "" };

/** What this server offers (`GET /v1/server`). */
export async function loadServer() {
  server ??= await ask("v1/server");
  return server;
}

/** All avatars, those in the making too. `fresh` asks again. */
export async function loadAvatars(fresh = false) {
  if (fresh || !avatars) avatars = askList("v1/avatars").then((all) => all.map(normal));
  try {
    return await avatars;
  } catch (error) {
    avatars = null;
    throw error;
  }
}

/** Those that can speak. */
export async function readyAvatars(fresh = false) {
  return (await loadAvatars(fresh)).filter((avatar) => avatar.isReady);
}

/** The next call of `loadAvatars` asks again. */
export function forgetAvatars() {
  avatars = null;
}

/** The avatar that is shown first: named in the address, chosen before, or the first one. */
export function firstChoice(ready, named) {
  const ids = [named, localStorage.getItem(CHOSEN)];
  return ids.map((id) => ready.find((avatar) => avatar.id === id)).find(Boolean) ?? ready[0] ?? null;
}

/** Remember a choice. */
export function choose(avatar) {
  localStorage.setItem(CHOSEN, avatar.id);
}

function normal(avatar) {
  return {
    ...avatar,
    name: avatar.name ?? avatar.id,
    isReady: !avatar.status || ["ready", "completed"].includes(avatar.status),
    // A preview shows the person's own video.
    isDrawn: Boolean(avatar.poster),
    poster: ["poster", "preview"].filter((name) => avatar[name]).map((name) => `v1/avatars/${encodeURIComponent(avatar.id)}/${name}`)[0],
  };
}

/**
 * A file that goes to the server in pieces. A broken connection is waited out; after a reload the same file goes on
 * where it stopped, as its upload is remembered by name, size and date.
 */

import { ask, pause, request } from "../api.js";

const FIRST = 1024 * 1024;
const LEAST = 256 * 1024;
const MOST = 32 * 1024 * 1024;
/** Pieces grow and shrink so that each takes about as long: a slow line shows progress, a fast one has few requests. */
const PIECE_SECONDS = 1.5;
const LONGEST_WAIT = 15;
const KEPT = "geneface.uploads";

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  } catch {
    return {};
  }
}

function mark(file) {
  return `${file.name}|${file.size}|${file.lastModified}`;
}

/** Forget an upload: it was used, or is gone. */
export function forgetUpload(id) {
  const all = Object.entries(remembered()).filter(([, upload]) => upload.id !== id);
  localStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(all)));
}

/** The unfinished upload of an earlier visit: {id, name, size, offset}, or null. */
export async function unfinishedUpload() {
  for (const { id, name, size } of Object.values(remembered())) {
    try {
      const { offset } = await ask(`v1/uploads/${id}`);
      if (offset < size) return { id, name, size, offset };
    } catch (error) {
      if (error.status === 404) forgetUpload(id);
    }
  }
  return null;
}

async function begin(file) {
  const known = remembered()[mark(file)];
  if (known) {
    try {
      return await ask(`v1/uploads/${known.id}`);
    } catch (error) {
      if (error.status !== 404) throw error;
    }
  }
  const upload = await ask("v1/uploads", { method: "POST", json: { bytes: file.size, name: file.name } });
  const all = { ...remembered(), [mark(file)]: { id: upload.id, name: file.name, size: file.size } };
  localStorage.setItem(KEPT, JSON.stringify(all));
  return upload;
}

/**
 * Send `file`; returns the upload's id.
 *
 * `onProgress({done, total, perSecond, isWaiting})` is called after every piece and while a connection is down.
 * Throws ApiError where the server refuses, AbortError where `signal` says so.
 */
export async function upload(file, { onProgress, signal }) {
  const { id, offset } = await begin(file);
  let done = offset;
  let wait = 1;
  let piece = FIRST;
  const started = performance.now();
  const tell = (isWaiting) => {
    const seconds = (performance.now() - started) / 1000;
    onProgress({ done, total: file.size, perSecond: seconds > 1 ? (done - offset) / seconds : 0, isWaiting });
  };
  tell(false);
  while (done < file.size) {
    try {
      const sent = performance.now();
      const response = await request(`v1/uploads/${id}`, {
        method: "PATCH", signal, body: file.slice(done, done + piece),
        headers: { "Upload-Offset": String(done), "Content-Type": "application/offset+octet-stream" },
      });
      const told = Number(response.headers.get("Upload-Offset"));
      done = told > done ? told : Math.min(done + piece, file.size);
      const share = (1000 * PIECE_SECONDS) / Math.max(performance.now() - sent, 1);
      piece = Math.round(Math.min(Math.max(piece * Math.min(share, 4), LEAST), MOST));
      wait = 1;
      tell(false);
    } catch (error) {
      if (error.name === "AbortError" || ![0, 409, 429, 502, 503, 504].includes(error.status)) throw error;
      tell(true);
      piece = Math.max(LEAST, Math.round(piece / 2));
      await pause(error.retryAfter ?? wait, signal);
      wait = Math.min(wait * 2, LONGEST_WAIT);
      done = await offsetOf(id, done, signal);
    }
  }
  return id;
}

async function offsetOf(id, before, signal) {
  try {
    return (await ask(`v1/uploads/${id}`, { signal })).offset;
  } catch (error) {
    if (error.name === "AbortError" || error.status === 404) throw error;
    return before;
  }
}

/** Remove an upload from the server, too. */
export async function dropUpload(id) {
  forgetUpload(id);
  await request(`v1/uploads/${id}`, { method: "DELETE" }).catch(() => {});
}

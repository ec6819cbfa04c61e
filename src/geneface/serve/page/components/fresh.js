/** Lists that follow the server: asked again while something in them is not finished and somebody looks. */

const SECONDS = 2;
const keys = new WeakMap();

/**
 * `draw()` asks, shows, and returns whether something is still queued or in progress. Returns a function that draws at
 * once; it throws what `draw` throws, while the rounds in between wait for a lost server in silence. `signal` ends it.
 */
export function keepFresh(draw, signal) {
  let timer = 0;
  let isBusy = false;
  const round = async () => {
    clearTimeout(timer);
    try {
      isBusy = await draw();
    } finally {
      clearTimeout(timer);
      if (isBusy && !document.hidden && !signal.aborted) timer = setTimeout(() => round().catch(() => {}), SECONDS * 1000);
    }
  };
  document.addEventListener("visibilitychange", () => { if (isBusy && !document.hidden) round().catch(() => {}); }, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return round;
}

/** Whether a job is not finished. */
export function isUnfinished({ status }) {
  return ["queued", "in_progress"].includes(status);
}

/**
 * Put `items`, [what is shown, () => element], into `list`. An item of which the same is shown keeps its element, so that
 * the focus and what was unfolded stay.
 */
export function renew(list, items) {
  const before = new Map([...list.children].map((element) => [keys.get(element), element]));
  const now = items.map(([shown, make]) => {
    const key = JSON.stringify(shown);
    const element = before.get(key) ?? make();
    keys.set(element, key);
    return element;
  });
  for (const element of before.values()) if (!now.includes(element)) element.remove();
  now.forEach((element, index) => { if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null); });
}

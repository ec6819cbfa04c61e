/** What `benchmarks/live.py` asks of the page: times of what is shown, heard and recorded, all by performance.now(). */

import { LivePlayer } from "/page/player/player.js";

const canvas = document.getElementById("face");
const paint = canvas.getContext("2d", { alpha: false, willReadFrequently: true });

window.open_ = async (options, session = {}) => {
  const answer = await fetch("/v1/live", {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(session) });
  if (!answer.ok) throw new Error(await answer.text());
  window.session = await answer.json();
  Object.assign(window, { shown: [], heard: [], spoken: [], hole: 0, lastLoud: -1, worstGap: 0 });
  const player = new LivePlayer({ canvas, sessionId: window.session.id, base: location.origin + "/", ...options });
  window.player = player;
  let last = null;
  player.addEventListener("shown", ({ detail }) => {
    const grey = paint.getImageData(16, 16, 1, 1).data[0];
    shown.push([detail.now, grey > 128 ? 1 : 0, detail.generation, detail.seconds]);
    if (last !== null) window.worstGap = Math.max(window.worstGap, detail.now - last);
    last = detail.now;
  });
  // Where a gap came from: the server was late, or the page's own thread stood still.
  Object.assign(window, { worstLate: 0, worstStall: 0 });
  player.addEventListener("stats", ({ detail }) => {
    window.worstLate = Math.max(window.worstLate, detail.server?.worst_late_ms ?? 0);
  });
  let before = performance.now();
  setInterval(() => {
    const now = performance.now();
    window.worstStall = Math.max(window.worstStall, now - before - 10);
    before = now;
  }, 10);
  await player.connect();
  await listen(player);
};

async function listen(player) {
  const { context, node } = player._sound;
  await context.audioWorklet.addModule("/page/bench/tap.js");
  const ear = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
  node.connect(ear);
  const moment = (at) => {
    const stamp = context.getOutputTimestamp();
    return stamp.performanceTime + 1000 * (at - stamp.contextTime);
  };
  ear.port.onmessage = ({ data }) => {
    for (const [what, at] of data.news) heard.push([what, moment(at)]);
    window.hole = data.hole;
    window.lastLoud = data.last < 0 ? -1 : moment(data.last);
  };
}

/** When sounds begin in the microphone, after the browser's own echo canceller. */
window.record = async () => {
  await player.sendMicrophone(true);
  const { _microphone: microphone } = player;
  const send = microphone.onPiece;
  let quiet = 0;
  microphone.onPiece = (piece, seconds) => {
    const now = performance.now();
    for (let i = 0; i < piece.length; i++) {
      if (Math.abs(piece[i]) > 32768 * 0.08) {
        if (quiet > microphone.rate / 4) spoken.push(now - (1000 * (piece.length - i)) / microphone.rate);
        quiet = 0;
      } else quiet++;
    }
    send(piece, seconds);
  };
};

window.isReady = true;

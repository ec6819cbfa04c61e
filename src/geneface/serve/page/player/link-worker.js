/**
 * The WebSocket, in a thread of its own: sound goes straight on to the worklet that plays it, so that nothing the page
 * does makes it stutter. All else goes to the page.
 */

import { KIND, parsePacket } from "./packets.js";
import { SoundFeed } from "./sound-feed.js";

const ACKNOWLEDGED = 5; // items

let socket = null;
let had = 0;
const sound = new SoundFeed((text) => postMessage({ type: "trouble", text }));

const orders = {
  open({ address, protocols }) {
    socket = new WebSocket(address, protocols);
    socket.binaryType = "arraybuffer";
    had = 0;
    const mine = socket;
    socket.onmessage = ({ data }) => {
      if (mine === socket) take(data);
    };
    socket.onclose = () => {
      if (mine === socket) postMessage({ type: "closed" });
    };
  },
  send({ content }) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(content);
  },
  sound({ port, form }) {
    sound.connect(port, form);
  },
  play({ value }) {
    sound.isPlaying = value;
  },
  close() {
    socket?.close(1000);
  },
};

function take(data) {
  if (typeof data === "string") {
    const message = JSON.parse(data);
    if (message.type === "ready") sound.reset(message.generation);
    postMessage({ type: "message", message });
    return;
  }
  const packet = parsePacket(data);
  if (packet.kind !== KIND.head && (packet.index >= had + ACKNOWLEDGED || packet.index < had)) {
    // So that the server knows when the network is behind.
    had = packet.index;
    socket.send(JSON.stringify({ type: "have", index: had }));
  }
  if (packet.kind === KIND.sound) sound.push(packet);
  else postMessage({ type: "packet", data }, [data]);
}

onmessage = ({ data }) => orders[data.type](data);

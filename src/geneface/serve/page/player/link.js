/** The page's end of `link-worker.js`: one connection after the other. */

import { parsePacket } from "./packets.js";

export class Link {
  /** `on`: {message(object), packet(packet), closed(), trouble(text)}. */
  constructor(on) {
    this.isOpen = false;
    this._worker = new Worker(new URL("./link-worker.js", import.meta.url), { type: "module" });
    this._worker.onmessage = ({ data }) => {
      if (data.type === "message") {
        this.isOpen = true;
        on.message(data.message);
      } else if (data.type === "packet") on.packet(parsePacket(data.data));
      else if (data.type === "trouble") on.trouble(data.text);
      else {
        this.isOpen = false;
        on.closed();
      }
    };
    this._worker.onerror = (event) => on.trouble(`the connection's worker failed: ${event.message}`);
  }

  open(address, protocols) {
    this._worker.postMessage({ type: "open", address: String(address), protocols });
  }

  /** Text, or an ArrayBuffer that is given away; false while there is no connection. */
  send(content) {
    const given = content instanceof ArrayBuffer ? [content] : [];
    if (this.isOpen) this._worker.postMessage({ type: "send", content }, given);
    return this.isOpen;
  }

  /** Where sound goes: a port of the worklet. */
  connectSound(port, form) {
    this._worker.postMessage({ type: "sound", port, form }, [port]);
  }

  /** Whether the browser plays now. */
  setPlaying(value) {
    this._worker.postMessage({ type: "play", value });
  }

  /** End the connection; another may be opened. */
  close() {
    this._worker.postMessage({ type: "close" });
  }

  /** End the worker, and the connection with it. */
  end() {
    this.isOpen = false;
    this._worker.terminate();
  }
}

/** Binary messages of a live stream: a header of 20 bytes, then the payload (docs/serve.md, "The stream"). */

export const KIND = Object.freeze({ picture: 1, sound: 2, head: 3, fragment: 4, microphone: 16 });
const HEADER_BYTES = 20;

/** An ArrayBuffer -> {kind, isKey, generation, index, microseconds, payload: Uint8Array on the same buffer}. */
export function parsePacket(buffer) {
  if (buffer.byteLength < HEADER_BYTES) throw new Error("a binary message without its header");
  const view = new DataView(buffer);
  return {
    kind: view.getUint8(0),
    isKey: (view.getUint8(1) & 1) !== 0,
    generation: view.getUint32(4, true),
    index: view.getUint32(8, true),
    microseconds: Number(view.getBigInt64(12, true)),
    payload: new Uint8Array(buffer, HEADER_BYTES),
  };
}

/** s16 samples of the microphone (Int16Array), as a message. */
export function microphonePacket(samples, index, microseconds) {
  const message = new Uint8Array(HEADER_BYTES + samples.byteLength);
  const view = new DataView(message.buffer);
  view.setUint8(0, KIND.microphone);
  view.setUint32(8, index >>> 0, true);
  view.setBigInt64(12, BigInt(Math.round(microseconds)), true);
  message.set(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength), HEADER_BYTES);
  return message.buffer;
}

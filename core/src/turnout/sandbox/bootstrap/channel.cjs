"use strict";
// Frames on file descriptor 3, the only way in and out. Everything is synchronous: this side asks, the other answers,
// so nothing of the channel lives in the event loop, and a loop that is empty really has nothing left to wait for.
//
// A frame: type (1 byte), nonce (8), length of meta (4), length of body (4), meta (UTF-8), body. Each job brings a fresh
// nonce that only this closure knows; a frame that customer code writes to the descriptor by itself lacks it.

const c = require("./captured.cjs");

const CHANNEL = 3;
const HEAD = 17;
const SMALL = 64 * 1024;
const head = c.allocate(HEAD);
const small = c.allocate(SMALL);
const nonce = c.allocate(8);

// What came with what was read last and is still to be taken: most frames come in one piece.
const ahead = c.allocate(SMALL);
let taken = 0;
let held = 0;

function receive(target, at, length) {
  const count = c.readSync(CHANNEL, target, at, length, null);
  if (count === 0) c.exit(0); // the other side is gone: nobody is left to work for
  return count;
}

function fill(target, length) {
  let done = 0;
  while (done < length) {
    if (taken === held && length - done >= SMALL) {
      done += receive(target, done, length - done);
      continue;
    }
    if (taken === held) {
      taken = 0;
      held = receive(ahead, 0, SMALL);
    }
    const count = c.min(length - done, held - taken);
    c.copyInto(ahead, target, done, taken, taken + count);
    taken += count;
    done += count;
  }
}

function flush(bytes, length) {
  let done = 0;
  while (done < length) done += c.writeSync(CHANNEL, bytes, done, length - done, null);
}

/** The next frame, waited for: `{ type, meta, body }`, meta as text and body as bytes. Its nonce becomes the current one. */
function read({ keepNonce = false } = {}) {
  fill(head, HEAD);
  if (!keepNonce) c.copyInto(head, nonce, 0, 1, 9);
  const metaLength = c.readUInt32(head, 9);
  const meta = c.allocate(metaLength);
  fill(meta, metaLength);
  const body = c.allocate(c.readUInt32(head, 13));
  fill(body, body.length);
  return { type: head[0], meta: c.utf8Slice(meta, 0, metaLength), body };
}

/** Send a frame under the current nonce; returns when the other side has taken it in. Body as bytes. */
function write(type, meta, body) {
  const metaBytes = c.bufferOf(meta, "utf8");
  const bodyLength = body === undefined ? 0 : body.length;
  const total = HEAD + metaBytes.length + bodyLength;
  const frame = total <= SMALL ? small : c.allocate(HEAD + metaBytes.length);
  frame[0] = type;
  c.copyInto(nonce, frame, 1, 0, 8);
  c.writeUInt32(frame, metaBytes.length, 9);
  c.writeUInt32(frame, bodyLength, 13);
  c.copyInto(metaBytes, frame, HEAD, 0, metaBytes.length);
  if (frame !== small) {
    flush(frame, frame.length);
    if (bodyLength) flush(body, bodyLength);
    return;
  }
  if (bodyLength) c.setBytes(frame, body, HEAD + metaBytes.length);
  flush(frame, total);
}

/** Ask and wait for the answer. */
function ask(type, meta) {
  write(type, meta);
  return read({ keepNonce: true });
}

module.exports = {
  ask,
  read,
  write,
  // From here to the other side
  READY: 1,
  LOG: 2,
  RESULT: 3,
  ERROR: 4,
  READ: 5,
  STORE: 6,
  CHUNK: 7,
  STORED: 8,
  PREPARED: 9,
  FETCH: 10,
  INDEX: 11,
  RENEWED: 12,
  // From the other side
  JOB: 32,
  PREPARE: 33,
  CONTENT: 34,
  REFUSED: 35,
  ENTER: 36,
  RENEW: 37,
};

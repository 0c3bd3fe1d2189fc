"use strict";
// Files inside values: those of the input are read over the channel when asked for, those of the result are sent in pieces.

const c = require("./captured.cjs");
const channel = require("./channel.cjs");

const CHUNK = 1024 * 1024;
let streams = 0;

const numberOf = new WeakMap();
const fileNumber = c.uncurry(WeakMap.prototype.get).bind(null, numberOf);

/** The next piece of the content, or undefined at its end. */
function next(number, stream) {
  const answer = channel.ask(channel.READ, `{"file":${number},"stream":${stream}}`);
  if (answer.type === channel.REFUSED) throw new c.Error(answer.meta);
  return answer.body.length ? answer.body : undefined;
}

function whole(file) {
  const number = fileNumber(file);
  const stream = ++streams;
  const content = new c.Uint8Array(file.size);
  let size = 0;
  for (let piece = next(number, stream); piece; piece = next(number, stream)) {
    c.setBytes(content, piece, size);
    size += piece.length;
  }
  return content;
}

/** A file of the input. Its content is fetched when it is asked for; `stream()` holds one piece at a time. */
class InputFile {
  constructor(number, { name, size, type }) {
    this.name = name;
    this.size = size;
    this.type = type;
    numberOf.set(this, number);
    Object.freeze(this);
  }

  async bytes() {
    return whole(this);
  }

  async arrayBuffer() {
    return whole(this).buffer;
  }

  async text() {
    return new c.TextDecoder().decode(whole(this));
  }

  async json() {
    return c.parse(await this.text());
  }

  stream() {
    const number = fileNumber(this);
    const stream = ++streams;
    return new ReadableStream({
      type: "bytes",
      pull(controller) {
        const piece = next(number, stream);
        if (piece) controller.enqueue(new Uint8Array(piece.buffer, piece.byteOffset, piece.length));
        else controller.close();
      },
    });
  }
}

const bytesOf = (view) =>
  c.types.isDataView(view)
    ? c.bufferOf(view.buffer, view.byteOffset, view.byteLength)
    : c.bufferOf(c.viewBuffer(view), c.viewOffset(view), c.viewLength(view));

const isBlob = (value) => {
  try {
    c.blobType(value);
    return true;
  } catch {
    return false;
  }
};

/** What of a result becomes a file: "view", "buffer", "blob", "stream", "input", or undefined. */
function kindOf(value) {
  if (c.isView(value)) return "view";
  if (c.types.isAnyArrayBuffer(value)) return "buffer";
  if (fileNumber(value) !== undefined) return "input";
  if (isBlob(value)) return "blob";
  return streamClass && value instanceof streamClass ? "stream" : undefined;
}

let streamClass;

function sendPieces(bytes) {
  for (let from = 0; from < bytes.length; from += CHUNK) {
    channel.write(channel.CHUNK, "", c.subarray(bytes, from, c.min(from + CHUNK, bytes.length)));
  }
}

async function sendStream(stream) {
  for await (const piece of stream) sendPieces(typeof piece === "string" ? c.bufferOf(piece, "utf8") : bytesOf(piece));
}

const asText = (value) => (typeof value === "string" ? c.stringify(value) : '""');

/** Send one file of a result; returns how the result's header names it. */
async function send(value) {
  const kind = kindOf(value);
  if (kind === "input") return `{"input":${fileNumber(value)}}`;
  const named = kind === "blob";
  channel.write(channel.STORE, `{"name":${asText(named ? value.name : "")},"type":${asText(named ? value.type : "")}}`);
  if (kind === "view") sendPieces(bytesOf(value));
  else if (kind === "buffer") sendPieces(c.bufferOf(value));
  else if (kind === "blob") await sendStream(value.stream());
  else await sendStream(value);
  const answer = channel.ask(channel.STORED, "");
  return `{"stored":${answer.meta}}`;
}

module.exports = {
  InputFile,
  kindOf,
  send,
  /** Streams are made files once the code has loaded their class: loading it here would cost every start 3 ms. */
  knowStreams() {
    if (!streamClass && process.moduleLoadList.includes("NativeModule internal/webstreams/readablestream")) {
      streamClass = globalThis.ReadableStream;
    }
    return streamClass;
  },
};

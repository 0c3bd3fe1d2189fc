// What the snippets have in common: every bundle of theirs has it.
import fs from "node:fs";
import { createRequire } from "node:module";
import util from "node:util";

export { fs, util };
export const require = createRequire(import.meta.url);

/** Throws what a binding's negative number means. */
export function check(result) {
  if (result < 0) throw Object.assign(new Error("refused"), { code: util.getSystemErrorName(result) });
  return result;
}

export const TYPES = {
  READY: 1, LOG: 2, RESULT: 3, ERROR: 4, READ: 5, STORE: 6, CHUNK: 7, STORED: 8, PREPARED: 9, FETCH: 10, INDEX: 11, RENEWED: 12, JOB: 32,
};

/** A frame as the bootstrap would make it; `claimed` is the length of the body that its head tells. */
export function frame(type, nonce, meta, body = "", claimed = undefined) {
  const metaBytes = Buffer.from(meta);
  const bodyBytes = Buffer.from(body);
  const head = Buffer.alloc(17);
  head[0] = type;
  Buffer.from(nonce).copy(head, 1);
  head.writeUInt32BE(metaBytes.length, 9);
  head.writeUInt32BE(claimed ?? bodyBytes.length, 13);
  return Buffer.concat([head, metaBytes, bodyBytes]);
}

export const result = (value, nonce) =>
  frame(TYPES.RESULT, nonce, '{"cpu_ms":1,"network":false,"files":[]}', JSON.stringify({ got: value }));

/** The job's nonce, seen as the bootstrap writes a frame: fs.writeSync calls a function of this object, by its name. */
export function stealNonce() {
  const binding = process.binding("fs");
  const { writeBuffer } = binding;
  let nonce;
  binding.writeBuffer = function (fd, buffer, ...rest) {
    if (fd === 3) nonce ??= Buffer.from(buffer.subarray(1, 9));
    return writeBuffer.call(this, fd, buffer, ...rest);
  };
  try {
    fs.readFileSync("/bundle/package.json");
  } finally {
    binding.writeBuffer = writeBuffer;
  }
  if (!nonce) throw new Error("no nonce");
  return nonce;
}

export const send = (bytes) => {
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(3, bytes, done);
};

/** What the other side answers, read where the bootstrap reads. */
export function receive() {
  const take = (length) => {
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const count = fs.readSync(3, bytes, done, length - done, null);
      if (count === 0) throw new Error("closed");
      done += count;
    }
    return bytes;
  };
  const head = take(17);
  const meta = take(head.readUInt32BE(9)).toString();
  return { type: head[0], meta, body: take(head.readUInt32BE(13)) };
}

/** Ask what only the bootstrap asks. The answer's text, or its refusal thrown. */
export function ask(type, meta) {
  send(frame(type, stealNonce(), meta));
  const { type: kind, meta: text, body } = receive();
  if (kind === 35) throw Object.assign(new Error(text), { code: text });
  return body.toString();
}

/** A file of the bundle by its place, as the bootstrap asks. */
export const fetch = (place) => ask(TYPES.FETCH, JSON.stringify([place, 0]));

/** Send bytes to a TCP address by Node's own binding, and read what comes back. */
export function tcp(address, port) {
  const { TCP, TCPConnectWrap, constants } = process.binding("tcp_wrap");
  return converse(new TCP(constants.SOCKET), new TCPConnectWrap(), (socket, request) => socket.connect(request, address, port));
}

export function pipe(path) {
  const { Pipe, PipeConnectWrap, constants } = process.binding("pipe_wrap");
  return converse(new Pipe(constants.SOCKET), new PipeConnectWrap(), (socket, request) => socket.connect(request, path));
}

function converse(socket, request, connect) {
  return new Promise((done, failed) => {
    request.oncomplete = (status) => {
      socket.close();
      if (status < 0) failed(Object.assign(new Error("no connection"), { code: util.getSystemErrorName(status) }));
      else done("connected");
    };
    const status = connect(socket, request);
    if (status < 0) {
      socket.close();
      failed(Object.assign(new Error("no connection"), { code: util.getSystemErrorName(status) }));
    }
  });
}

/** What a web server answers, by the client that Node has. */
export const get = (host, port, headers = {}) =>
  new Promise((done, failed) => {
    const { get: ask } = require("http");
    const request = ask({ host, port, headers, path: "/", agent: false }, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece)).on("end", () => done(`${answer.statusCode} ${text}`));
    });
    request.on("error", failed);
  });

/** What a server answers to these bytes, whatever they are. */
export const talk = (host, port, bytes) =>
  new Promise((done, failed) => {
    const socket = require("net").connect(port, host, () => socket.write(bytes));
    let text = "";
    socket.on("data", (piece) => (text += piece)).on("end", () => done(text)).on("error", failed);
  });

/** A frame to the broker. */
export function knock(kind, stream, payload = "") {
  const bytes = Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUInt32BE(bytes.length, 0);
  head.writeUInt32BE(stream, 4);
  head[8] = kind;
  return Buffer.concat([head, bytes]);
}

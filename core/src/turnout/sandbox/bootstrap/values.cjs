"use strict";
// Values in and out as JSON text. The common case costs one `JSON.parse` and one `JSON.stringify`; integers beyond 2^53
// (read as BigInt, written with all their digits) and bytes (which become files) take a slower way, found out cheaply.

const c = require("./captured.cjs");
const files = require("./files.cjs");

const LONG_NUMBER = /[0-9]{16}/;
const INTEGER = /^-?[0-9]{16,}$/;
const HALF_PAIR = /(\\+)u(d[89a-f][0-9a-f]{2})/g;

const keepDigits = (key, value, { source }) =>
  typeof value === "number" && !c.isSafeInteger(value) && c.exec(INTEGER, source) ? c.BigInt(source) : value;

/** The input: bytes of JSON text, with files at their JSON pointers. */
function read(bytes, fileList) {
  const text = c.utf8Slice(bytes, 0, bytes.length);
  let value = c.exec(LONG_NUMBER, text) ? c.parse(text, keepDigits) : c.parse(text);
  for (let number = 0; number < fileList.length; number++) {
    value = place(value, fileList[number].pointer, new files.InputFile(number, fileList[number]));
  }
  return value;
}

const unescaped = (part) => c.replace(c.replace(part, /~1/g, "/"), /~0/g, "~");
const escaped = (part) => c.replace(c.replace(part, /~/g, "~0"), /\//g, "~1");

function place(value, pointer, file) {
  if (pointer === "") return file;
  const way = c.split(pointer, "/");
  let target = value;
  for (let at = 1; at < way.length - 1; at++) target = target[unescaped(way[at])];
  target[unescaped(way[way.length - 1])] = file;
  return value;
}

/** "" while customer code runs; "looking" for bytes, or "leaving" them as they are for the replacer, while we write. */
let writing = "";
let bytesMet = false;

/** Let `JSON.stringify` tell us that it met bytes; for customer code's own calls everything stays as it was. */
function watchFor(prototype) {
  const original = prototype.toJSON;
  c.defineProperty(prototype, "toJSON", {
    configurable: true,
    writable: true,
    value: function toJSON() {
      if (writing === "") return original ? c.uncurry(original)(this) : this;
      if (writing === "leaving") return this;
      bytesMet = true;
      return null;
    },
  });
}

for (const known of [c.TypedArray, Buffer, DataView, ArrayBuffer, SharedArrayBuffer, c.Blob, files.InputFile]) {
  watchFor(known.prototype);
}

let streamsWatched = false;

/** The result as `{ text, found }`: JSON text, and what became a file as `[pointer, value]`. Throws what stringify throws. */
function write(value) {
  if (!streamsWatched && files.knowStreams()) {
    watchFor(files.knowStreams().prototype);
    streamsWatched = true;
  }
  writing = "looking";
  bytesMet = false;
  try {
    const text = c.stringify(value);
    if (!bytesMet) return { text: wellFormed(text), found: [] };
  } catch (error) {
    if (!isAboutBigInt(error)) throw error;
  } finally {
    writing = "";
  }
  writing = "leaving";
  try {
    return writeSlowly(value);
  } finally {
    writing = "";
  }
}

const isAboutBigInt = (error) => error instanceof c.TypeError && c.indexOf(`${error.message}`, "BigInt") >= 0;

/** The same by a replacer, which sees the way to each value: JSON.stringify goes depth first. */
function writeSlowly(value) {
  const found = [];
  const way = [];
  const replace = function (key, item) {
    while (way.length && way[way.length - 1].holder !== this) c.pop(way);
    const pointer = way.length ? `${way[way.length - 1].pointer}/${escaped(key)}` : "";
    if (typeof item === "bigint") return c.rawJSON(c.String(item));
    if (typeof item !== "object" || item === null) return item;
    if (files.kindOf(item)) {
      found[found.length] = [pointer, item];
      return null;
    }
    way[way.length] = { holder: item, pointer };
    return item;
  };
  const text = c.stringify(value, replace);
  return { text: wellFormed(text), found };
}

/** Half a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD, as everywhere on the web. */
function wellFormed(text) {
  if (text === undefined || c.indexOf(text, "\\ud") < 0) return text;
  return c.replace(text, HALF_PAIR, (match, slashes) =>
    slashes.length % 2 ? `${c.slice(slashes, 1)}\ufffd` : match,
  );
}

module.exports = { read, write };

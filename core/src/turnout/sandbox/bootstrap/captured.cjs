"use strict";
// Everything that the bootstrap needs after customer code has run, taken before any ran: replacing `JSON.stringify`,
// `Array.prototype.push` or `Promise` must not change how a result is written or a limit is kept.
// `uncurry(f)(self, ...args)` is `f.call(self, ...args)` without looking `call` up again.

const fs = require("fs");
const util = require("util");
const EventEmitter = require("events");
const { Blob, Buffer } = require("buffer");
const { fileURLToPath, pathToFileURL } = require("url");

const { bind, call } = Function.prototype;
const uncurry = bind.bind(call);
const TypedArray = Object.getPrototypeOf(Uint8Array);
const getter = (prototype, name) => uncurry(Object.getOwnPropertyDescriptor(prototype, name).get);

const { hrtime } = process;

/** Milliseconds since some moment. `performance` would load a dozen of Node's modules, which few jobs need. */
function now() {
  const time = hrtime();
  return time[0] * 1e3 + time[1] / 1e6;
}

module.exports = {
  uncurry,
  readSync: fs.readSync,
  writeSync: fs.writeSync,
  allocate: Buffer.allocUnsafeSlow,
  bufferOf: Buffer.from,
  parse: JSON.parse,
  stringify: JSON.stringify,
  rawJSON: JSON.rawJSON,
  formatWithOptions: util.formatWithOptions,
  inspect: util.inspect,
  types: { ...util.types },
  isView: ArrayBuffer.isView,
  defineProperty: Object.defineProperty,
  assign: Object.assign,
  hasOwn: Object.hasOwn,
  keys: Object.keys,
  isArray: Array.isArray,
  fileURLToPath,
  pathToFileURL,
  urlHref: getter(URL.prototype, "href"),
  urlProtocol: getter(URL.prototype, "protocol"),
  urlPathname: getter(URL.prototype, "pathname"),
  urlSearch: getter(URL.prototype, "search"),
  urlHash: getter(URL.prototype, "hash"),
  canParse: URL.canParse.bind(URL),
  setPrototypeOf: Object.setPrototypeOf,
  isSafeInteger: Number.isSafeInteger,
  min: Math.min,
  BigInt,
  Blob,
  Error,
  Map,
  Number,
  String,
  TypeError,
  TypedArray,
  Uint8Array,
  URL,
  TextDecoder,
  setTimeout,
  now,
  cpuUsage: process.cpuUsage,
  chdir: process.chdir,
  exit: process.reallyExit.bind(process),
  blobBytes: uncurry(Blob.prototype.arrayBuffer),
  blobType: getter(Blob.prototype, "type"),
  viewBuffer: getter(TypedArray.prototype, "buffer"),
  viewOffset: getter(TypedArray.prototype, "byteOffset"),
  viewLength: getter(TypedArray.prototype, "byteLength"),
  utf8Slice: uncurry(Buffer.prototype.utf8Slice),
  latin1Slice: uncurry(Buffer.prototype.latin1Slice),
  asciiSlice: uncurry(Buffer.prototype.asciiSlice),
  copyInto: uncurry(Buffer.prototype.copy),
  readUInt32: uncurry(Buffer.prototype.readUInt32BE),
  writeUInt32: uncurry(Buffer.prototype.writeUInt32BE),
  utf8Write: uncurry(Buffer.prototype.utf8Write),
  subarray: uncurry(TypedArray.prototype.subarray),
  setBytes: uncurry(TypedArray.prototype.set),
  exec: uncurry(RegExp.prototype.exec),
  replace: uncurry(String.prototype.replace),
  split: uncurry(String.prototype.split),
  slice: uncurry(String.prototype.slice),
  indexOf: uncurry(String.prototype.indexOf),
  lastIndexOf: uncurry(String.prototype.lastIndexOf),
  startsWith: uncurry(String.prototype.startsWith),
  endsWith: uncurry(String.prototype.endsWith),
  pop: uncurry(Array.prototype.pop),
  includes: uncurry(Array.prototype.includes),
  mapGet: uncurry(Map.prototype.get),
  mapSet: uncurry(Map.prototype.set),
  mapForEach: uncurry(Map.prototype.forEach),
  mapClear: uncurry(Map.prototype.clear),
  activeResources: process.getActiveResourcesInfo,
  eventNames: uncurry(EventEmitter.prototype.eventNames),
  mapDelete: uncurry(Map.prototype.delete),
  setHas: uncurry(Set.prototype.has),
};

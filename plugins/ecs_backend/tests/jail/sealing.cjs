"use strict";
// Given to Node in a jail with -e, sealed or not: tries what a seal forbids and what it must leave, and tells each one's outcome on
// its channel (descriptor 3), as `{name: "done" | error code}`. It waits for one byte there at the beginning.

const cp = require("node:child_process");
const crypto = require("node:crypto");
const fs = require("node:fs");
const net = require("node:net");
const zlib = require("node:zlib");
const { Worker } = require("node:worker_threads");

const SUM = [0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3, 97, 100, 100, 0, 0, 10, 9, 1, 7, 0, 32, 0, 32, 1, 106, 11];
const told = {};

function hot() {
  let sum = 0;
  for (let at = 0; at < 5e6; at++) sum = (sum + at * at) % 1000003;
  return sum;
}

function until(emitter, good) {
  return new Promise((resolve, reject) => emitter.once(good, resolve).once("error", reject));
}

const forbidden = {
  open: () => fs.openSync("/node", "r"),
  "open later": () => fs.promises.open("/node"),
  "look at": () => fs.statSync("/node"),
  list: () => fs.readdirSync("/"),
  "ask for rights": () => fs.accessSync("/node"),
  "change directory": () => process.chdir("/"),
  "close the lifeline": () => fs.closeSync(4),
};

const never = {
  write: () => fs.writeFileSync("/new", "x"),
  "start a program": () => {
    const { error } = cp.spawnSync("/node", ["-v"]);
    if (error) throw error;
  },
  "start a program later": () => until(cp.spawn("/node", ["-v"]), "exit"),
  connect: () => until(net.connect(80, "127.0.0.1"), "connect"),
  listen: () => until(net.createServer().listen(0), "listening"),
  "abstract socket": () => until(net.createServer().listen("\0abstract"), "listening"),
  "signal init": () => process.kill(1, 0),
  "signal the group": () => process.kill(0, 0),
};

const allowed = {
  timer: () => new Promise((resolve) => setTimeout(resolve, 5)),
  promise: async () => await Promise.all([1, Promise.resolve(2)]),
  "hot loop": () => hot(),
  wasm: async () => (await WebAssembly.instantiate(new Uint8Array(SUM))).instance.exports.add(1, 2),
  "wasm memory": () => new WebAssembly.Memory({ initial: 1, maximum: 65536 }).grow(100),
  worker: () => until(new Worker("1 + 1", { eval: true }), "exit"),
  wait: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(8)), 0, 0, 2),
  hash: () => crypto.createHash("sha256").update("x").digest(),
  random: () => new Promise((resolve, reject) => crypto.randomBytes(16, (error) => (error ? reject(error) : resolve()))),
  "pair of keys": () => crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }),
  gzip: () => zlib.gunzipSync(zlib.gzipSync(Buffer.alloc(100000, 1))),
  "gzip later": () => new Promise((resolve, reject) => zlib.gzip("x", (error) => (error ? reject(error) : resolve()))),
  intl: () => new Intl.DateTimeFormat("ja", { timeZone: "Asia/Tokyo" }).format(0),
  "100 MB": () => Buffer.alloc(100 << 20, 1),
  "signal itself": () => process.kill(process.pid, 0),
  console: () => console.error("printed"),
  "read the channel": () => fs.readSync(3, Buffer.alloc(1)),
  "a socket on the channel": async () => {
    const socket = new net.Socket({ fd: 5 });
    await until(socket, "data");
    await new Promise((resolve) => socket.end("pong", resolve));
    socket.destroy();
  },
};

async function attempt(name, action) {
  try {
    await action();
    told[name] = "done";
  } catch (error) {
    told[name] = error.code || error.message;
  }
}

async function main() {
  if (process.argv[1]) process.dlopen({ exports: {} }, process.argv[1]);
  fs.writeSync(3, "R");
  for (const [name, action] of Object.entries({ ...allowed, ...never, ...forbidden })) await attempt(name, action);
  fs.writeSync(3, JSON.stringify(told));
  setTimeout(() => {
    throw new Error("at the end");
  });
}

main();

"use strict";
// What the system tells a program about itself, where it tells little: without /proc and with few system calls some of
// Node's functions throw that never throw elsewhere. Here they give what is known, or a value that says nothing.

const c = require("./captured.cjs");

const { hasOwn } = c;
const UNKNOWN = { uid: -1, gid: -1, username: "sandbox", homedir: "/", shell: null };
const instead = {
  arch: () => process.arch,
  availableParallelism: () => 1,
  cpus: () => [],
  freemem: () => 0,
  getPriority: () => 0,
  homedir: () => "/",
  hostname: () => "sandbox",
  loadavg: () => [0, 0, 0],
  machine: () => "",
  networkInterfaces: () => ({}),
  release: () => "",
  setPriority: () => undefined,
  totalmem: () => 0,
  uptime: () => 0,
  userInfo: () => ({ ...UNKNOWN }),
  version: () => "",
};

function orElse(holder, name, value) {
  const original = holder[name];
  if (typeof original !== "function") return;
  const covered = function (...args) {
    try {
      return Reflect.apply(original, this, args);
    } catch (error) {
      return value(error, ...args);
    }
  };
  for (const key of Reflect.ownKeys(original)) if (!hasOwn(covered, key)) covered[key] = original[key];
  c.defineProperty(covered, "name", { value: name });
  c.defineProperty(holder, name, { value: covered, writable: true, configurable: true, enumerable: true });
}

/** A bad argument is told as ever: only what the system refuses is made up for. */
function isSystem(error) {
  return error?.code === "ERR_SYSTEM_ERROR" || typeof error?.errno === "number";
}

let osCovered = false;

/** `os` is loaded when somebody wants it: covered then. */
function knowOs() {
  if (osCovered) return;
  osCovered = true;
  const os = require("os");
  for (const name in instead) {
    orElse(os, name, (error) => {
      if (!isSystem(error)) throw error;
      return instead[name]();
    });
  }
}

const peakBytes = () => process.resourceUsage().maxRSS * 1024;

/** What V8 holds is known, what is resident only at its peak. */
function memoryUsage() {
  const heap = require("v8").getHeapStatistics();
  return {
    rss: peakBytes(),
    heapTotal: heap.total_heap_size,
    heapUsed: heap.used_heap_size,
    external: heap.external_memory,
    arrayBuffers: 0,
  };
}

let directory = "/";

/** From now on the program is in the folder `path`, which it cannot leave. */
function enter(path) {
  directory = path;
}

function install() {
  orElse(process, "memoryUsage", memoryUsage);
  orElse(process.memoryUsage, "rss", peakBytes);
  process.cwd = () => directory;
  process.chdir = function chdir(path) {
    const error = new c.Error(`ENOENT: no such file or directory, chdir '${directory}' -> '${path}'`);
    throw c.assign(error, { errno: -2, code: "ENOENT", syscall: "chdir", path: directory, dest: path });
  };
}

module.exports = { enter, install, knowOs };

"use strict";
// `console.*` becomes lines of the execution's log, with a level, formatted by Node's own console (groups, tables, timers).

const c = require("./captured.cjs");
const channel = require("./channel.cjs");

let budget = 0;

/** Bytes of log that may still be sent; the other side says so when more was written. */
function allow(bytes) {
  budget = bytes;
}

function log(level, text) {
  if (budget < 0) return;
  const line = c.endsWith(text, "\n") ? c.slice(text, 0, -1) : text;
  const body = c.bufferOf(line.length > budget ? c.slice(line, 0, budget + 1) : line, "utf8");
  budget -= body.length;
  channel.write(channel.LOG, level, body);
}

const nothing = () => {};

/** What Node's console takes for a stream: it writes, and attaches a listener for errors around each write. */
function stream(level) {
  return { write: (text) => log(level.now, text), once: nothing, removeListener: nothing, listenerCount: () => 1 };
}

function install(console) {
  const out = { now: "info" };
  const err = { now: "error" };
  c.defineProperty(console, "_stdout", { value: stream(out) });
  c.defineProperty(console, "_stderr", { value: stream(err) });
  const at = (holder, level, method) =>
    function (...args) {
      const before = holder.now;
      holder.now = level;
      try {
        return c.uncurry(method)(console, ...args);
      } finally {
        holder.now = before;
      }
    };
  console.debug = at(out, "debug", console.debug);
  console.warn = at(err, "warning", console.warn);
}

/** The logger of `context`: the same levels, by name. */
function logger() {
  const at = (level) => (...args) => log(level, c.formatWithOptions({}, ...args));
  return { debug: at("debug"), info: at("info"), warn: at("warning"), error: at("error") };
}

module.exports = { allow, install, logger };

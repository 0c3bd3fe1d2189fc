"use strict";
// `process.stdout` and `process.stderr`. Node's own open a handle in the event loop when somebody first looks at them, which
// stays and cannot be told from one that still does something. These write at once, and are made when they are asked for.

const c = require("./captured.cjs");

function open(fd) {
  const { Writable } = require("stream");
  const stream = new Writable({
    write(chunk, encoding, done) {
      try {
        for (let at = 0; at < chunk.length; ) at += c.writeSync(fd, chunk, at, chunk.length - at, null);
      } catch (error) {
        done(error);
        return;
      }
      done();
    },
    // As with Node's own, what ends or destroys it does not close the descriptor.
    destroy(error, done) {
      done(error);
    },
  });
  return c.assign(stream, { fd, _type: "pipe", _isStdio: true, destroySoon: stream.destroy });
}

function install() {
  const names = { stdout: 1, stderr: 2 };
  for (const name in names) {
    let stream;
    const get = () => (stream ??= open(names[name]));
    c.defineProperty(process, name, { get, configurable: true, enumerable: true });
  }
}

module.exports = { install };

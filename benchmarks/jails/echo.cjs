"use strict";
// The floor of a dispatch: Node reads JSON from descriptor 3, makes values of it, makes JSON of them and writes that back.
// A message is its length (4 bytes) and its text.

const fs = require("fs");

function fill(bytes) {
  for (let done = 0; done < bytes.length; ) {
    const count = fs.readSync(3, bytes, done, bytes.length - done, null);
    if (count === 0) process.exit(0);
    done += count;
  }
  return bytes;
}

function flush(bytes) {
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(3, bytes, done, bytes.length - done, null);
}

for (;;) {
  const length = fill(Buffer.allocUnsafe(4)).readUInt32BE(0);
  const text = Buffer.from(JSON.stringify(JSON.parse(fill(Buffer.allocUnsafe(length)).toString())));
  const head = Buffer.allocUnsafe(4);
  head.writeUInt32BE(text.length, 0);
  flush(text.length < 65536 ? Buffer.concat([head, text]) : head);
  if (text.length >= 65536) flush(text);
}

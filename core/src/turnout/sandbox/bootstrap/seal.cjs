"use strict";
// The second filter of a jailed process (see the seal of turnout-ecs): from here on no thread of it opens a file, starts a
// program or sends a signal to another process. The addon acts when it is loaded; it ends the process if it cannot.

function close(addon) {
  process.dlopen({ exports: {} }, addon);
}

module.exports = { close };

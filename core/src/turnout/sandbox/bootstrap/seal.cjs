"use strict";
// The second filter of a jailed process (see the seal of turnout-ecs): from here on no thread of it opens a file, starts a
// program or sends a signal to another process. The addon acts when it is loaded, and is no module: Node complains of that.

function close(addon) {
  try {
    process.dlopen({ exports: {} }, addon);
  } catch (error) {
    if (!/did not self-register/.test(error.message)) throw error;
  }
}

module.exports = { close };

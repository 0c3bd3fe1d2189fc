"use strict";
// Did this process open a connection, or start something that could? In doubt yes: a connection that an earlier job
// left open may carry a later job's request, so the answer never goes back to no.

const diagnostics = require("diagnostics_channel");

const SPAWNING = /^(NativeModule (child_process|cluster|inspector)|Internal Binding (spawn_sync|udp_wrap))$/;

let opened = false;
let seen = 0;
const loaded = process.moduleLoadList;
const test = SPAWNING.exec.bind(SPAWNING);

function watch() {
  for (const name of ["net.client.socket", "net.server.socket", "udp.socket", "child_process", "worker_threads"]) {
    diagnostics.subscribe(name, () => {
      opened = true;
    });
  }
  seen = loaded.length;
}

/** True from the first connection on. Loading a module that starts processes or threads counts: they are not watched. */
function used() {
  for (; !opened && seen < loaded.length; seen++) opened = test(loaded[seen]) !== null;
  return opened;
}

module.exports = { used, watch };

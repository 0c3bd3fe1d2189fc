"use strict";
// Forgetting modules that were loaded, so that the next import evaluates them anew. Node lets nobody do that for ES modules
// but its own parts: `--expose-internals` shows them to this file alone, which hides them again before customer code runs.

const Module = require("module");
const c = require("./captured.cjs");

const loadCache = taken();

/** Node's map of ES modules by URL; undefined where this Node is built otherwise. */
function taken() {
  try {
    const { getOrInitializeCascadedLoader } = require("internal/modules/esm/loader");
    const { loadBuiltinModule } = require("internal/modules/helpers");
    const cache = getOrInitializeCascadedLoader().loadCache;
    const open = Module.builtinModules.filter((id) => !id.startsWith("internal/"));
    const { constructor: Builtin } = loadBuiltinModule("fs");
    Builtin.setRealmAllowRequireByUsers(open);
    for (const id of open) if (id.startsWith("node:")) Builtin.allowRequireByUsers(id.slice(5));
    Module.builtinModules = Object.freeze(open);
    return Module.isBuiltin("internal/modules/helpers") || !c.types.isMap(cache) ? undefined : cache;
  } catch {
    return undefined;
  }
}

/** Forget every module of a URL or file for which `isOurs(url)` holds. False if that cannot be done. */
function forget(isOurs) {
  if (loadCache === undefined) return false;
  c.mapForEach(loadCache, (_, url) => {
    if (isOurs(url)) c.mapDelete(loadCache, url);
  });
  const files = c.keys(Module._cache);
  for (let at = 0; at < files.length; at++) {
    if (isOurs(`file://${files[at]}`)) delete Module._cache[files[at]];
  }
  return true;
}

module.exports = { forget };

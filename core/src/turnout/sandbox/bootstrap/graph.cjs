"use strict";
// What Node lets nobody do but its own parts: forget ES modules that were loaded, so that the next import evaluates them anew,
// and tell where source is that cannot be compiled. `--expose-internals` shows those parts to this file alone, which hides
// them again before customer code runs.

const Module = require("module");
const c = require("./captured.cjs");

const decorate = marking();
const loadCache = taken();

/** Node's own function that puts above an error's stack what Node prints above a syntax error; undefined as below. */
function marking() {
  try {
    return require("internal/util").decorateErrorStack;
  } catch {
    return undefined;
  }
}

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

/** The error, with `file:///…:line` of the source that cannot be compiled above its stack, if that is what is wrong. */
function placed(error) {
  if (decorate === undefined || !c.types.isNativeError(error)) return error;
  try {
    const plain = error.stack;
    decorate(error);
    const { stack } = error;
    if (stack !== plain) error.stack = c.slice(stack, 0, c.indexOf(stack, "\n") + 1) + plain;
  } catch {
    // the code has made its error so that it cannot be written to
  }
  return error;
}

module.exports = { forget, placed };

"use strict";
// Imports: answered from the bundle's map where it has one (see `../module_map.py`), confined to the bundle and its npm layer.
//
// The map spares Node the search for files and their reading; URLs, order and errors stay what they are without it. It is
// asked only while the static imports of an entry are loaded: then it steps aside, before any of them runs.

const { registerHooks } = require("module");
const { pathToFileURL } = require("url");
const fs = require("fs");
const c = require("./captured.cjs");
const graph = require("./graph.cjs");

const MAP = ".modules.map";
const LAYER = "node_modules/";
const here = pathToFileURL(__filename).href;

/** Modules of the map by URL, and entry modules by name: `{ url, at, length, imports, loaded, round }`. */
let rows = new c.Map();
let entries = new c.Map();
let contents;
let directory = "";
let allowed = [];
let confining;
let rounds = 0;

const folderUrl = (path) => `${pathToFileURL(path).href}/`;

function realPath(path) {
  try {
    return fs.realpathSync.native(path);
  } catch {
    return path;
  }
}

/** From now on imports are those of the bundle in `path`, and of nothing outside. `mapped`: its map is there and sound. */
function enter(path, mapped) {
  const root = realPath(path);
  const layer = realPath(`${path}/${LAYER}`);
  confining ??= registerHooks({ resolve: confined });
  directory = path;
  allowed = [folderUrl(path), folderUrl(root), folderUrl(layer)];
  rows = new c.Map();
  entries = new c.Map();
  if (!mapped) return;
  try {
    readMap(root, layer);
  } catch {
    rows = new c.Map(); // Node finds everything by itself, only later
    entries = new c.Map();
  }
}

/** Another way of loading takes over. */
function leave() {
  confining?.deregister();
  confining = undefined;
}

function readMap(root, layer) {
  contents = fs.readFileSync(`${root}/${MAP}`);
  const first = contents.indexOf("\n") + 1;
  const second = contents.indexOf("\n", first) + 1;
  const all = [];
  let at = second;
  for (const [place, length, imports] of c.parse(c.utf8Slice(contents, first, second))) {
    const path = place.startsWith(LAYER) ? `${layer}/${place.slice(LAYER.length)}` : `${root}/${place}`;
    const row = { __proto__: null, url: pathToFileURL(path).href, at, length, imports, loaded: false, round: 0 };
    c.mapSet(rows, row.url, row);
    c.mapSet(entries, place, row);
    all.push(row);
    at += length;
  }
  for (const row of all) {
    const imports = { __proto__: null };
    for (const [specifier, number] of row.imports) imports[specifier] = all[number];
    row.imports = imports;
  }
}

/** The next import of each module evaluates it anew. False if this cannot be. */
function renew() {
  c.mapForEach(rows, (row) => {
    row.loaded = false;
  });
  return graph.forget(isAllowed);
}

/** How many modules of the map an entry needs that are not loaded yet. */
function missing(entry) {
  const open = c.setPrototypeOf([entry], null);
  const round = ++rounds;
  let count = 0;
  entry.round = round;
  for (let at = 0; at < open.length; at++) {
    if (open[at].loaded) continue;
    count++;
    for (const specifier in open[at].imports) {
      const row = open[at].imports[specifier];
      if (row.round !== round) open[open.length] = row;
      row.round = round;
    }
  }
  return count;
}

/** Import a module of the bundle by its name. */
async function load(module) {
  const entry = c.mapGet(entries, module);
  let left = entry === undefined ? 0 : missing(entry);
  if (left === 0) return import(pathToFileURL(`${directory}/${module}`).href);
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      const row = specifier === entry.url && context.parentURL === here ? entry : imported(specifier, context);
      return row === undefined ? next(specifier, context) : { url: row.url, format: "module", shortCircuit: true };
    },
    load(url, context, next) {
      const row = c.mapGet(rows, url);
      if (row === undefined) return next(url, context);
      row.loaded = true;
      if (--left === 0) hooks.deregister();
      return { format: "module", source: c.utf8Slice(contents, row.at, row.at + row.length), shortCircuit: true };
    },
  });
  try {
    return await import(entry.url);
  } finally {
    hooks.deregister();
  }
}

/** What a plain import of a module in the map means, if the map knows. */
function imported(specifier, { parentURL, conditions, importAttributes }) {
  const parent = c.mapGet(rows, parentURL);
  if (parent === undefined || c.includes(conditions, "require")) return undefined;
  for (const attribute in importAttributes) if (attribute) return undefined;
  return parent.imports[specifier];
}

function isAllowed(url) {
  for (let at = 0; at < allowed.length; at++) {
    if (c.slice(url, 0, allowed[at].length) === allowed[at]) return true;
  }
  return false;
}

/** Node looks for packages in every directory above, where what a developer's machine has is not what the lockfile says. */
function confined(specifier, context, next) {
  const found = next(specifier, context);
  const { url } = found;
  if (c.slice(url, 0, 5) !== "file:" || isAllowed(url)) return found;
  const error = new c.Error(
    `Cannot find '${specifier}' in the bundle: outside it, ${url} was found, which will not be there elsewhere. ` +
      "A package belongs into the lockfile that `code: {dependencies: …}` names, a source beside the definition",
  );
  error.code = c.includes(context.conditions, "require") ? "MODULE_NOT_FOUND" : "ERR_MODULE_NOT_FOUND";
  throw error;
}

module.exports = { enter, leave, load, renew };

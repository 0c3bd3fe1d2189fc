"use strict";
// Imports where nothing can be opened: found by `resolve.cjs` among the bundle's files, loaded from memory.
//
// What the module map has (see `../module_map.py`) came when the bundle was entered; all else is asked for when it is
// needed. Node compiles, links and caches as ever: only where it would look at a disk, these hooks answer.

const Module = require("module");
const c = require("./captured.cjs");
const bundle = require("./bundle.cjs");
const datafiles = require("./datafiles.cjs");
const graph = require("./graph.cjs");
const machine = require("./machine.cjs");
const { absolute, extensionOf, parentOf, relative, urlOf } = require("./paths.cjs");
const { isRelative, makeResolver } = require("./resolve.cjs");

const { isBuiltin, registerHooks } = Module;
const { resolveImport, resolveRequire, scopeOf } = makeResolver(bundle);
const extensions = Module._extensions;
const WASM = 0x0061736d;

/** Modules of the map by URL: `{ url, at, length, imports, source }`. */
let rows = new c.Map();
let contents;
let directory = "";

let installed = false;

/** From now on imports are those of the bundle, which is seen at `path`; `map` is its module map, or empty. */
function enter(path, map) {
  directory = path;
  bundle.enter(path);
  datafiles.enter(path);
  machine.enter(path);
  rows = new c.Map();
  if (map.length) readMap(map);
  if (!installed) install();
}

function install() {
  installed = true;
  machine.install();
  datafiles.install();
  registerHooks({ resolve, load: loadModule });
  Module._resolveFilename = resolveFilename;
  Module.findPackageJSON = findPackageJSON;
  const { getBuiltinModule } = process;
  process.getBuiltinModule = (id) => {
    know(`${id}`);
    return getBuiltinModule(id);
  };
}

function readMap(map) {
  contents = map;
  const first = map.indexOf("\n") + 1;
  const second = map.indexOf("\n", first) + 1;
  const all = [];
  let at = second;
  for (const [place, length, imports] of c.parse(c.utf8Slice(map, first, second))) {
    const row = { __proto__: null, url: urlOf(`${directory}/${place}`), at, length, imports, source: undefined };
    c.mapSet(rows, row.url, row);
    all.push(row);
    at += length;
  }
  for (const row of all) {
    const imports = { __proto__: null };
    for (const [specifier, number] of row.imports) imports[specifier] = all[number];
    row.imports = imports;
  }
}

/** Import a module of the bundle by its name. */
const load = (module) => import(urlOf(`${directory}/${module}`));

/** The next import of each module evaluates it anew. False if this cannot be. */
const renew = () => graph.forget((url) => c.startsWith(url, `file://${directory}/`));

const isRequire = ({ conditions }) => c.includes(conditions, "require");

function hasAttributes(attributes) {
  for (const name in attributes) if (name) return true;
  return false;
}

function resolve(specifier, context, next) {
  const builtin = isBuiltin(specifier);
  if (builtin) know(specifier);
  if (isRequire(context)) return next(specifier, context);
  const { parentURL } = context;
  const row = hasAttributes(context.importAttributes) ? undefined : mapped(specifier, parentURL);
  if (row !== undefined) return { __proto__: null, url: row.url, format: "module", shortCircuit: true };
  if (builtin) {
    const url = c.startsWith(specifier, "node:") ? specifier : `node:${specifier}`;
    return { __proto__: null, url, format: "builtin", shortCircuit: true };
  }
  const parent = c.startsWith(`${parentURL}`, "file:") ? c.fileURLToPath(parentURL) : undefined;
  if (parent === undefined && !c.startsWith(specifier, "file:")) return next(specifier, context);
  const url = hinting(specifier, parent, () => resolveImport(specifier, parent, parentURL, context.conditions));
  if (!c.startsWith(url, "file:")) return next(url, context);
  return { __proto__: null, url, format: formatOf(c.fileURLToPath(url)), shortCircuit: true };
}

/** Who forgot what `require` would have added is told so, as Node tells it. */
function hinting(specifier, parent, action) {
  try {
    return action();
  } catch (error) {
    const wanting = error.code === "ERR_MODULE_NOT_FOUND" || error.code === "ERR_UNSUPPORTED_DIR_IMPORT";
    const found = wanting && parent !== undefined ? meant(specifier, parent) : undefined;
    if (found !== undefined && found !== specifier) {
      const hint = `\nDid you mean to import ${c.stringify(found)}?`;
      const end = c.indexOf(error.stack, "\n");
      error.stack = c.slice(error.stack, 0, end) + hint + c.slice(error.stack, end);
      error.message += hint;
    }
    throw error;
  }
}

function meant(specifier, parent) {
  try {
    const found = resolveRequire(specifier, foldersFor(specifier, { filename: parent }), parent, CONDITIONS);
    if (found === undefined) return undefined;
    if (isRelative(specifier)) return relative(parentOf(parent), found);
    const inside = `/node_modules/${c.split(specifier, "/")[0]}/`;
    const at = c.lastIndexOf(found, inside);
    return at < 0 ? urlOf(found) : c.slice(found, at + "/node_modules/".length);
  } catch {
    return undefined;
  }
}

/** Some of Node's own modules are put right before anybody sees them. */
function know(name) {
  const id = c.startsWith(name, "node:") ? c.slice(name, 5) : name;
  if (id === "os") machine.knowOs();
  else if (id === "fs/promises") datafiles.knowPromises();
}

function mapped(specifier, parentURL) {
  const parent = c.mapGet(rows, parentURL);
  return parent === undefined ? c.mapGet(rows, specifier) : parent.imports[specifier];
}

/** How Node takes a file by its name and its package; undefined where its text decides. */
function formatOf(path) {
  switch (extensionOf(path)) {
    case ".mjs":
      return "module";
    case ".cjs":
      return "commonjs";
    case ".json":
      return "json";
    case ".wasm":
      return "wasm";
    case ".node":
      return "addon";
    case ".mts":
      return "module-typescript";
    case ".cts":
      return "commonjs-typescript";
    case ".js":
    case "":
      return typeOf(path);
    case ".ts":
      return typeOf(path) && `${typeOf(path)}-typescript`;
    default:
      return undefined;
  }
}

function typeOf(path) {
  const manifest = scopeOf(parentOf(path))?.manifest;
  const type = manifest && c.hasOwn(manifest, "type") ? manifest.type : undefined;
  return type === "module" || type === "commonjs" ? type : undefined;
}

function loadModule(url, context, next) {
  const row = c.mapGet(rows, url);
  if (row !== undefined) {
    row.source ??= c.utf8Slice(contents, row.at, row.at + row.length); // kept: what is compiled again is found by it
    return { __proto__: null, format: "module", source: row.source, shortCircuit: true };
  }
  if (!c.startsWith(url, "file:")) return next(url, context);
  const path = c.fileURLToPath(url);
  const content = bundle.read(path, { kept: true });
  if (content === undefined) throw datafiles.fault("ENOENT", "open", path);
  if (isRequire(context)) {
    const source = c.utf8Slice(content, 0, content.length);
    return { __proto__: null, format: context.format ?? formatOf(path), source, shortCircuit: true };
  }
  return next(url, { format: formatOfContent(path, context.format, content), source: content });
}

function formatOfContent(path, format, content) {
  if (format !== "module" || extensionOf(path) !== "") return format;
  return content.length >= 4 && content[0] === 0 && c.readUInt32(content, 0) === WASM ? "wasm" : format;
}

/** `require` and `require.resolve`: Node's own function of this name asks the disk. */
function resolveFilename(request, parent, isMain, options) {
  if (isBuiltin(request)) return request;
  const conditions = options?.conditions ?? CONDITIONS;
  const asker = parent?.filename ?? undefined;
  const found = resolveRequire(request, foldersFor(request, parent, options?.paths), asker, conditions, c.keys(extensions));
  if (found !== undefined) return found;
  const stack = [];
  for (let cursor = parent; cursor; cursor = cursor.parent) stack[stack.length] = cursor.filename || cursor.id;
  let message = `Cannot find module '${request}'`;
  for (let at = 0; at < stack.length; at++) message += `${at ? "" : "\nRequire stack:"}\n- ${stack[at]}`;
  const error = new c.Error(message);
  error.code = "MODULE_NOT_FOUND";
  error.requireStack = stack;
  throw error;
}

/** `module.findPackageJSON()`: of a package by its name, or of the file that a path or URL names. */
function findPackageJSON(specifier, base) {
  const from = base === undefined ? `${directory}/` : c.startsWith(`${base}`, "file:") ? c.fileURLToPath(base) : `${base}`;
  const text = `${specifier}`;
  if (text[0] !== "." && text[0] !== "/" && !c.canParse(text)) {
    const name = c.exec(PACKAGE_NAME, text)?.[0];
    for (const folder of packageFolders(parentOf(from), [])) {
      if (bundle.manifest(`${folder}/${name}`) !== undefined) return `${folder}/${name}/package.json`;
    }
    const error = new c.Error(`Cannot find package '${name}' imported from ${from}`);
    error.code = "ERR_MODULE_NOT_FOUND";
    throw error;
  }
  const path = c.startsWith(text, "file:") ? c.fileURLToPath(text) : absolute(text, parentOf(from));
  const scope = scopeOf(bundle.kind(path) === bundle.FOLDER ? path : parentOf(path));
  return scope && `${scope.folder}/package.json`;
}

const PACKAGE_NAME = /^(@[^/]+\/)?[^/]+/;
const CONDITIONS = ["node", "require", "module-sync", "node-addons"];

/** Where to look: the asking file's own folder for a relative request, else each `node_modules` from there upwards. */
function foldersFor(request, parent, paths) {
  if (paths === undefined) {
    if (isRelative(request)) return [parent?.filename ? parentOf(parent.filename) || "/" : directory];
    return parent?.paths ?? packageFolders(parent?.filename ? parentOf(parent.filename) : directory, []);
  }
  const folders = [];
  for (let at = 0; at < paths.length; at++) {
    const path = absolute(`${paths[at]}`, directory);
    if (isRelative(request)) folders[folders.length] = path;
    else packageFolders(path, folders);
  }
  return folders;
}

function packageFolders(from, folders) {
  for (let at = from; at !== ""; at = parentOf(at)) {
    if (!c.endsWith(at, "/node_modules")) folders[folders.length] = `${at}/node_modules`;
  }
  return folders;
}

module.exports = { enter, load, renew };

"use strict";
// The bundle of a process that can open no files: what is in it, and what its files hold, asked for over the channel.
// See `../bundle_files.py`. Paths are absolute and plain (`paths.cjs`); what lies outside `directory` is not there.

const c = require("./captured.cjs");
const channel = require("./channel.cjs");
const { nameOf, parentOf } = require("./paths.cjs");

const NONE = 0;
const FILE = 1;
const FOLDER = 2;

let directory = "";
let manifests;
let folders;
let contents = new c.Map();

function enter(path) {
  directory = path;
  manifests = undefined;
  folders = undefined;
  contents = new c.Map();
}

const placeOf = (path) => (path === directory ? "" : c.slice(path, directory.length + 1));
const isInside = (path) => path === directory || c.startsWith(path, `${directory}/`);

function askIndex() {
  const answer = channel.ask(channel.INDEX, "");
  if (answer.type === channel.REFUSED) throw new c.Error(answer.meta);
  const index = c.parse(c.utf8Slice(answer.body, 0, answer.body.length));
  manifests = index.packages;
  folders = new c.Map();
  c.mapSet(folders, directory, index.files);
}

/** What is in the folder: sizes of files and objects for folders by name; undefined if it is none. */
function list(path) {
  if (folders === undefined) askIndex();
  let found = c.mapGet(folders, path);
  if (found !== undefined || !isInside(path)) return found;
  const above = list(parentOf(path));
  const name = nameOf(path);
  found = above !== undefined && c.hasOwn(above, name) ? above[name] : undefined;
  if (typeof found !== "object") return undefined;
  c.mapSet(folders, path, found);
  return found;
}

/** The file's size in bytes; undefined if there is no such file. */
function sizeOf(path) {
  const above = list(parentOf(path));
  const name = nameOf(path);
  return above !== undefined && c.hasOwn(above, name) && typeof above[name] === "number" ? above[name] : undefined;
}

function kind(path) {
  if (sizeOf(path) !== undefined) return FILE;
  return list(path) === undefined ? NONE : FOLDER;
}

/** What is in the folder's package.json; undefined without one, null for one that is no JSON. */
function manifest(folder) {
  if (folders === undefined) askIndex();
  const place = placeOf(folder);
  return isInside(folder) && c.hasOwn(manifests, place) ? manifests[place] : undefined;
}

/** The file's content; undefined if there is no such file. Keeps modules, not data: `kept` says which this is. */
function read(path, { kept }) {
  const known = c.mapGet(contents, path);
  if (known !== undefined) return known;
  if (!isInside(path)) return undefined;
  const answer = channel.ask(channel.FETCH, c.stringify(placeOf(path)));
  if (answer.type === channel.REFUSED) {
    if (answer.meta === "ENOENT") return undefined;
    const error = new c.Error(`${answer.meta}: the file of the bundle cannot be read, open '${path}'`);
    error.code = c.split(answer.meta, ":")[0];
    throw error;
  }
  const sent = c.parse(answer.meta);
  let first;
  for (let number = 0, at = 0; number < sent.length; number++) {
    const content = c.subarray(answer.body, at, at + sent[number][1]);
    at += sent[number][1];
    if (number === 0) first = content;
    if (number > 0 || kept) c.mapSet(contents, `${directory}/${sent[number][0]}`, content);
  }
  return first;
}

module.exports = { FILE, FOLDER, enter, isInside, kind, list, manifest, read, sizeOf };

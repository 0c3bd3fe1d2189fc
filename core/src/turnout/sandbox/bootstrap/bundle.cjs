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

function fetch(path, start) {
  const answer = channel.ask(channel.FETCH, `[${c.stringify(placeOf(path))},${start}]`);
  if (answer.type !== channel.REFUSED) return answer;
  if (answer.meta === "ENOENT") return undefined;
  const error = new c.Error(`${answer.meta}: the file of the bundle cannot be read, open '${path}'`);
  error.code = c.split(answer.meta, ":")[0];
  throw error;
}

/** The file's content; undefined if there is no such file. `kept`: it is a module, which may be wanted again. */
function read(path, { kept }) {
  const known = c.mapGet(contents, path);
  if (known !== undefined) return known;
  const size = isInside(path) ? sizeOf(path) : undefined;
  if (size === undefined) return undefined;
  const answer = fetch(path, 0);
  if (answer === undefined) return undefined;
  const sent = c.parse(answer.meta);
  const first = sent[0][1] < size ? whole(path, size, answer.body) : c.subarray(answer.body, 0, sent[0][1]);
  if (kept) c.mapSet(contents, path, first);
  for (let number = 1, at = sent[0][1]; number < sent.length; at += sent[number][1], number++) {
    c.mapSet(contents, `${directory}/${sent[number][0]}`, c.subarray(answer.body, at, at + sent[number][1]));
  }
  return first;
}

/** A large file, which comes in pieces. */
function whole(path, size, first) {
  const content = c.allocate(size);
  let done = 0;
  for (let piece = first; piece.length > 0 && done < size; piece = done < size ? fetch(path, done).body : piece) {
    c.setBytes(content, c.subarray(piece, 0, size - done), done);
    done += c.min(piece.length, size - done);
  }
  return c.subarray(content, 0, done);
}

module.exports = { FILE, FOLDER, enter, isInside, kind, list, manifest, read, sizeOf };

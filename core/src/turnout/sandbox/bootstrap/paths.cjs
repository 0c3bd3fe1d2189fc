"use strict";
// Absolute POSIX paths as text, by nothing that customer code can replace.

const c = require("./captured.cjs");

/** `path` without `.`, `..` and doubled slashes; a relative one starts in `from`. A slash at its end goes too. */
function absolute(path, from) {
  const parts = c.split(path[0] === "/" ? path : `${from}/${path}`, "/");
  let found = "";
  for (let at = 0; at < parts.length; at++) {
    if (parts[at] === "..") found = parentOf(found);
    else if (parts[at] !== "" && parts[at] !== ".") found += `/${parts[at]}`;
  }
  return found === "" ? "/" : found;
}

/** The folder that a path is in; "" for what is at the top, and for the top itself. */
function parentOf(path) {
  const cut = c.lastIndexOf(path, "/");
  return cut <= 0 ? "" : c.slice(path, 0, cut);
}

const nameOf = (path) => c.slice(path, c.lastIndexOf(path, "/") + 1);

/** `.js`, `.json`, …; "" where the name has none or is nothing else. */
function extensionOf(path) {
  const name = nameOf(path);
  const dot = c.lastIndexOf(name, ".");
  return dot <= 0 ? "" : c.slice(name, dot);
}

/** The way from a folder to a path, beginning with `./` or `../`. */
function relative(folder, path) {
  let up = "";
  let from = folder;
  while (from !== "" && !c.startsWith(path, `${from}/`)) {
    up += "../";
    from = parentOf(from);
  }
  return (up || "./") + c.slice(path, from.length + 1);
}

const urlOf = (path) => c.urlHref(c.pathToFileURL(path));

module.exports = { absolute, extensionOf, nameOf, parentOf, relative, urlOf };

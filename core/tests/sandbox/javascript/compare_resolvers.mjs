// Resolves (specifier, parent) pairs with the sandbox's resolver and with Node's own, and prints where they differ.
// Arguments: the path of `resolve.cjs`, a directory with packages. Parents and specifiers are taken from its files.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";

const [resolver, root] = process.argv.slice(2);
const { makeResolver } = createRequire(import.meta.url)(resolver);
const NAMED = /(?:\brequire\(|\bimport\(?|\bfrom)\s*["']([^"'\\\n]{1,200})["']/g;
const ODD = [
  ".", "..", "./", "../", "./nothing.js", "./nothing", "nothing", "@nobody/nothing", "@nobody", "#nothing", "#", "#a/",
  "./package.json", "../package.json", "./a%2fb.js", "fs", "node:fs", "node:nothing", "fs/promises", "test", "node:test",
  "/", "/nothing.js", "./%", "%", "a\\b", ".hidden", "lodash/", "lodash/fp.js", "lodash/nothing", "lodash/fp/../map", "x:y",
];
const manifests = new Map();
const kinds = new Map();

function cached(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

const tree = {
  kind: (path) =>
    cached(kinds, path, () => {
      const found = statSync(path, { throwIfNoEntry: false });
      return found === undefined ? 0 : found.isFile() ? 1 : found.isDirectory() ? 2 : 0;
    }),
  manifest: (folder) =>
    cached(manifests, folder, () => {
      if (tree.kind(`${folder}/package.json`) !== 1) return undefined;
      try {
        const whole = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
        if (Array.isArray(whole)) return null;
        return Object.fromEntries(["name", "main", "type", "exports", "imports"].filter((key) => key in whole).map((key) => [key, whole[key]]));
      } catch {
        return null;
      }
    }),
};
const ours = makeResolver(tree);

function outcome(action) {
  try {
    return action();
  } catch (error) {
    if (error.url !== undefined) return error.url; // what import.meta.resolve() gives for what is not there
    const message = `${error.message}`.split("\nRequire stack:")[0].split("\nDid you mean")[0];
    return `${error.name} ${error.code}: ${message}`;
  }
}

function ourRequire(specifier, parent) {
  const own = createRequire(parent);
  if (specifier === "") return own.resolve(specifier);
  const folders = own.resolve.paths(specifier);
  if (folders === null) return specifier;
  const conditions = ["node", "require", "module-sync", "node-addons"];
  const found = ours.resolveRequire(specifier, folders, parent, conditions);
  if (found !== undefined) return found;
  throw Object.assign(new Error(`Cannot find module '${specifier}'`), { code: "MODULE_NOT_FOUND" });
}

function specifiersOf(manifest) {
  const { name, exports } = manifest;
  const keys = exports && typeof exports === "object" && !Array.isArray(exports) ? Object.keys(exports) : [];
  const subpaths = keys.filter((key) => key.startsWith("./")).flatMap((key) => [key, key.replace("*", "index"), key.replace("*", "a/../b")]);
  return [name, `${name}/package.json`, `${name}/nothing`, `${name}/`, ...subpaths.map((key) => name + key.slice(1))];
}

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function* pairs() {
  const files = filesBelow(root);
  const packages = files.filter((file) => file.endsWith("/package.json")).map((file) => tree.manifest(dirname(file)));
  const named = packages.filter((manifest) => typeof manifest?.name === "string");
  const top = join(root, "step.js");
  for (const manifest of named) for (const specifier of specifiersOf(manifest)) yield [specifier, top];
  const scripts = files.filter((file) => /\.[cm]?js$/.test(file));
  const few = scripts.filter((_, at) => at % 97 === 0);
  for (const file of [top, ...few]) for (const specifier of ODD) yield [specifier, file];
  for (const file of few) for (const manifest of named.slice(0, 20)) yield [manifest.name, file];
  for (const file of scripts) {
    for (const [, specifier] of readFileSync(file, "utf8").matchAll(NAMED)) yield [specifier, file];
  }
}

const seen = new Set();
const different = [];
for (const [specifier, parent] of pairs()) {
  const key = `${specifier}\0${dirname(parent)}`;
  if (seen.has(key)) continue;
  seen.add(key);
  const url = pathToFileURL(parent).href;
  const both = [
    ["import", () => import.meta.resolve(specifier, url), () => ours.resolveImport(specifier, parent, url, ["node", "import", "module-sync", "node-addons"])],
    ["require", () => createRequire(parent).resolve(specifier), () => ourRequire(specifier, parent)],
  ];
  for (const [how, theirs, own] of both) {
    const [expected, found] = [outcome(theirs), outcome(own)];
    if (expected !== found) different.push({ how, specifier, parent: relative(root, parent), expected, found });
  }
}
console.log(JSON.stringify({ pairs: seen.size, different }));

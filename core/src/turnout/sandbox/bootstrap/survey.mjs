// Finds the ES modules that a bundle's entry modules import, and writes them down as one text: see `../module_map.py`.
// Nothing of the bundle is run: V8 parses each module for its import statements, Node's own resolver finds what they name.
// Arguments: the bundle's directory, the most bytes of source, then the entry modules. The map goes to standard output.

import { readFileSync, realpathSync, writeSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { extname, join, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { SourceTextModule } from "node:vm";

const [directory, mostBytes, ...entries] = process.argv.slice(2);
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const root = realpathSync(directory);
const layer = quietly(() => realpathSync(join(root, "node_modules")));
const rows = new Map();
const contents = [];
let bytes = 0;

function quietly(action) {
  try {
    return action();
  } catch {
    return undefined;
  }
}

/** The path in the bundle, wherever the npm layer is; undefined for what belongs to neither. */
function placeOf(path) {
  const below = (folder) => folder !== undefined && path.startsWith(folder + sep);
  if (below(layer)) return `node_modules/${path.slice(layer.length + 1)}`;
  return below(root) ? path.slice(root.length + 1) : undefined;
}

/** Whether Node takes the file for an ES module by its name and its package alone. */
function isModule(path) {
  if (extname(path) !== ".js") return extname(path) === ".mjs";
  const manifest = findPackageJSON(pathToFileURL(path));
  return manifest !== undefined && JSON.parse(readFileSync(manifest, "utf8")).type === "module";
}

const isPlain = ({ attributes, phase }) => Object.keys(attributes).length === 0 && phase !== "source";

/** A module's content and plain imports; undefined, or an error, where Node is to find its own way. */
function read(url) {
  const { protocol, search, hash } = new URL(url);
  if (protocol !== "file:" || search || hash) return undefined;
  const path = fileURLToPath(url);
  const place = placeOf(path);
  if (place === undefined || !isModule(path)) return undefined;
  const content = readFileSync(path);
  const source = utf8.decode(content);
  if (bytes + content.length > Number(mostBytes) || source.startsWith("\ufeff")) return undefined;
  const { moduleRequests } = new SourceTextModule(source, { identifier: url });
  return { place, content, specifiers: moduleRequests.filter(isPlain).map(({ specifier }) => specifier) };
}

/** The row of a module, made if it is new; undefined if the map is to lack it. */
function rowOf(url) {
  if (rows.has(url)) return rows.get(url);
  const found = quietly(() => read(url));
  const row = found && { ...found, url, number: contents.length, imports: [] };
  rows.set(url, row);
  if (row) {
    contents.push(row.content);
    bytes += row.content.length;
  }
  return row;
}

/** From the entries over all imports, each module once. */
function walk() {
  const urls = entries.map((entry) => quietly(() => pathToFileURL(realpathSync(join(root, entry))).href));
  const open = new Set(urls.filter(Boolean).map(rowOf).filter(Boolean));
  for (const row of open) {
    for (const specifier of row.specifiers) {
      const url = quietly(() => import.meta.resolve(specifier, row.url));
      const target = url && rowOf(url);
      if (!target) continue;
      row.imports.push([specifier, target.number]);
      open.add(target);
    }
  }
  return [...rows.values()].filter(Boolean);
}

const index = walk().map(({ place, content, imports }) => [place, content.length, imports]);
const map = Buffer.concat([Buffer.from(`${JSON.stringify(index)}\n`), ...contents]);
for (let done = 0; done < map.length; ) done += writeSync(1, map, done);

"use strict";
// Finds the file that a specifier means in a tree of files that Node cannot see, as Node would find it on a disk:
// https://nodejs.org/api/esm.html#resolution-algorithm-specification and https://nodejs.org/api/modules.html#all-together
//
// A tree answers `kind(path)`: 0 nothing, 1 a file, 2 a folder; and `manifest(folder)`: what is in its package.json,
// undefined without one, null for one that cannot be read.

const { isBuiltin } = require("module");
const c = require("./captured.cjs");
const { absolute, parentOf, nameOf, urlOf } = require("./paths.cjs");

const FILE = 1;
const FOLDER = 2;
const REQUIRED_NAME = /^((?:@[^/\\%]+\/)?[^./\\%][^/\\%]*)(\/.*)?$/;
const IMPORTED_NAME = /^(@[^/\\%]*\/[^/\\%]*|[^@./\\%][^/\\%]*)(\/[^]*)?$/;
const SLASH_ENCODED = /%2F|%5C/i;
const FORBIDDEN = /(^|\\|\/)((\.|%2e)(\.|%2e)?|(n|%6e|%4e)(o|%6f|%4f)(d|%64|%44)(e|%65|%45)(_|%5f)(m|%6d|%4d)(o|%6f|%4f)(d|%64|%44)(u|%75|%55)(l|%6c|%4c)(e|%65|%45)(s|%73|%53))(\\|\/|$)/i;
const INDEX_NUMBER = /^(0|[1-9][0-9]*)$/;
const STARS = /\*/g;
const EXTENSIONS = [".js", ".json", ".node"];
const LEGACY = ["", ".js", ".json", ".node", "/index.js", "/index.json", "/index.node"];

function fault(Kind, code, message, more) {
  const error = new Kind(message);
  error.code = code;
  for (const name in more) if (c.hasOwn(more, name)) error[name] = more[name];
  return error;
}

const has = (conditions, name) => (c.isArray(conditions) ? c.includes(conditions, name) : c.setHas(conditions, name));
const own = (object, name) => (object && c.hasOwn(object, name) ? object[name] : undefined);
const hrefOf = (specifier, base) => c.urlHref(new c.URL(specifier, base));

/** `exports` or `imports` as far as Node heeds them. */
function mapOf(manifest, name) {
  const map = own(manifest, name);
  return typeof map === "object" || (typeof map === "string" && name === "exports") ? (map ?? undefined) : undefined;
}

const withStar = (text, match) => c.replace(text, STARS, () => match);

function isRelative(specifier) {
  if (specifier[0] !== ".") return false;
  return (
    specifier.length === 1 || specifier[1] === "/" || (specifier[1] === "." && (specifier.length === 2 || specifier[2] === "/"))
  );
}

function makeResolver(tree) {
  /** The package that a file belongs to: `{ folder, manifest }`, or undefined. */
  function scopeOf(folder) {
    for (let at = folder; at !== ""; at = parentOf(at)) {
      if (nameOf(at) === "node_modules") return undefined;
      const manifest = tree.manifest(at);
      if (manifest === null) throw badConfig(at);
      if (manifest !== undefined) return { folder: at, manifest };
    }
    return undefined;
  }

  function badConfig(folder, base, why = "") {
    const by = base ? ` while importing ${base}` : "";
    return fault(c.Error, "ERR_INVALID_PACKAGE_CONFIG", `Invalid package config ${folder}/package.json${by}.${why ? ` ${why}` : ""}`);
  }

  const notExported = (folder, subpath, base) => {
    const by = base ? ` imported from ${base}` : "";
    return fault(
      c.Error,
      "ERR_PACKAGE_PATH_NOT_EXPORTED",
      subpath === "."
        ? `No "exports" main defined in ${folder}/package.json${by}`
        : `Package subpath '${subpath}' is not defined by "exports" in ${folder}/package.json${by}`,
    );
  };

  const badTarget = (asked, target) => {
    const kind = asked.internal ? "imports" : "exports";
    const by = asked.base ? ` imported from ${asked.base}` : "";
    const text = c.String(target);
    const hint = !asked.internal && text !== "" && !c.startsWith(text, "./");
    const shown = c.stringify(text);
    const where = asked.key === "." ? `main target ${shown} defined in` : `target ${shown} defined for '${asked.key}' in`;
    const message = `Invalid "${kind}" ${where} the package config ${asked.folder}/package.json${by}`;
    return fault(c.Error, "ERR_INVALID_PACKAGE_TARGET", message + (hint ? '; targets must start with "./"' : ""));
  };

  const badSpecifier = (request, reason, base) =>
    fault(
      c.TypeError,
      "ERR_INVALID_MODULE_SPECIFIER",
      `Invalid module "${request}" ${reason}${base ? ` imported from ${base}` : ""}`,
    );

  /** One target of `exports` or `imports` as a URL; null where it says no, undefined where no condition holds. */
  function target(value, asked) {
    if (typeof value === "string") return textTarget(value, asked);
    if (c.isArray(value)) return firstTarget(value, asked);
    if (value === null) return null;
    if (typeof value !== "object") throw badTarget(asked, value);
    const keys = c.keys(value);
    for (let at = 0; at < keys.length; at++) {
      if (c.exec(INDEX_NUMBER, keys[at]) !== null) {
        throw badConfig(asked.folder, asked.base && urlOf(asked.base), '"exports" cannot contain numeric property keys.');
      }
    }
    for (let at = 0; at < keys.length; at++) {
      if (keys[at] !== "default" && !has(asked.conditions, keys[at])) continue;
      const found = target(value[keys[at]], asked);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  function firstTarget(list, asked) {
    let last = list.length === 0 ? null : undefined;
    for (let at = 0; at < list.length; at++) {
      try {
        const found = target(list[at], asked);
        if (found === undefined) continue;
        if (found !== null) return found;
        last = null;
      } catch (error) {
        if (error.code !== "ERR_INVALID_PACKAGE_TARGET") throw error;
        last = error;
      }
    }
    if (last === null || last === undefined) return last;
    throw last;
  }

  function textTarget(value, asked) {
    const { folder, match } = asked;
    if (!c.startsWith(value, "./")) {
      if (asked.internal && value[0] !== "/" && !c.startsWith(value, "../") && !c.canParse(value)) {
        return packageUrl(match === undefined ? value : withStar(value, match), `${folder}/package.json`, asked.conditions);
      }
      throw badTarget(asked, value);
    }
    if (c.exec(FORBIDDEN, c.slice(value, 2)) !== null) throw badTarget(asked, value);
    const base = urlOf(`${folder}/package.json`);
    const url = hrefOf(value, base);
    if (!c.startsWith(url, hrefOf(".", base))) throw badTarget(asked, value);
    if (match === undefined) return url;
    if (c.exec(FORBIDDEN, match) !== null) {
      const request = withStar(asked.key, match);
      const kind = asked.internal ? "imports" : "exports";
      const reason = `request is not a valid match in pattern "${asked.key}" for the "${kind}" resolution of ${folder}/package.json`;
      throw badSpecifier(request, reason, asked.base);
    }
    return hrefOf(withStar(url, match));
  }

  /** The entry of `map` for `name`: by itself, or by the most specific pattern. */
  function entry(map, name, asked) {
    if (c.hasOwn(map, name) && c.indexOf(name, "*") < 0 && !c.endsWith(name, "/")) {
      return target(map[name], { ...asked, key: name, match: undefined });
    }
    let best = "";
    let match;
    const keys = c.keys(map);
    for (let at = 0; at < keys.length; at++) {
      const key = keys[at];
      const star = c.indexOf(key, "*");
      if (star < 0 || !c.startsWith(name, c.slice(key, 0, star)) || c.lastIndexOf(key, "*") !== star) continue;
      const end = c.slice(key, star + 1);
      if (name.length < key.length || !c.endsWith(name, end) || !isMoreSpecific(key, best)) continue;
      best = key;
      match = c.slice(name, star, name.length - end.length);
    }
    return best === "" ? undefined : target(map[best], { ...asked, key: best, match });
  }

  function isMoreSpecific(key, best) {
    const length = c.indexOf(key, "*");
    const bestLength = c.indexOf(best, "*");
    return best === "" || length > bestLength || (length === bestLength && key.length > best.length);
  }

  function exported(folder, subpath, exports, base, conditions) {
    const map = isSugar(exports, folder, base) ? { __proto__: null, ".": exports } : exports;
    const url = entry(map, subpath, { folder, base, conditions, internal: false });
    if (url === undefined || url === null) throw notExported(folder, subpath, base);
    return url;
  }

  function isSugar(exports, folder, base) {
    if (typeof exports === "string" || c.isArray(exports)) return true;
    const keys = c.keys(exports);
    const sugar = keys.length > 0 && keys[0][0] !== ".";
    for (let at = 1; at < keys.length; at++) {
      if ((keys[at][0] !== ".") !== sugar) {
        const why =
          "\"exports\" cannot contain some keys starting with '.' and some not. The exports object must either be an " +
          "object of package subpath keys or an object of main entry condition name keys only.";
        throw badConfig(folder, base && urlOf(base), why);
      }
    }
    return sugar;
  }

  function imported(name, parent, conditions) {
    if (name === "#" || c.endsWith(name, "/")) {
      throw badSpecifier(name, "is not a valid internal imports specifier name", parent);
    }
    const scope = scopeOf(parentOf(parent));
    const map = mapOf(scope?.manifest, "imports");
    const asked = scope && { folder: scope.folder, base: parent, conditions, internal: true };
    const url = map && entry(map, name, asked);
    if (url !== undefined && url !== null) return url;
    const within = scope ? ` in package ${scope.folder}/package.json` : "";
    const message = `Package import specifier "${name}" is not defined${within} imported from ${parent}`;
    throw fault(c.TypeError, "ERR_PACKAGE_IMPORT_NOT_DEFINED", message);
  }

  /** `name` and `subpath` ("." or "./…") of a bare specifier. */
  function nameAndSubpath(specifier, base) {
    const found = c.exec(IMPORTED_NAME, specifier);
    if (found === null) throw badSpecifier(specifier, "is not a valid package name", base);
    return { name: found[1], subpath: `.${found[2] ?? ""}` };
  }

  /** Where an ES module's bare specifier leads, as a URL whose file need not be there. */
  function packageUrl(specifier, parent, conditions) {
    if (isBuiltin(specifier)) return c.startsWith(specifier, "node:") ? specifier : `node:${specifier}`;
    const { name, subpath } = nameAndSubpath(specifier, parent);
    const scope = scopeOf(parentOf(parent));
    const self = mapOf(scope?.manifest, "exports");
    if (self !== undefined && own(scope.manifest, "name") === name) {
      return exported(scope.folder, subpath, self, parent, conditions);
    }
    for (let at = parentOf(parent); ; at = parentOf(at)) {
      const folder = `${at}/node_modules/${name}`;
      if (tree.kind(folder) === FOLDER) {
        const manifest = tree.manifest(folder);
        if (manifest === null) throw badConfig(folder, `"${specifier}" from ${parent}`);
        const exports = mapOf(manifest, "exports");
        if (exports !== undefined) return exported(folder, subpath, exports, parent, conditions);
        if (subpath === ".") return urlOf(legacyMain(folder, own(manifest, "main"), parent));
        return hrefOf(subpath, urlOf(`${folder}/package.json`));
      }
      if (at === "") break;
    }
    throw fault(c.Error, "ERR_MODULE_NOT_FOUND", `Cannot find package '${name}' imported from ${parent}`);
  }

  function legacyMain(folder, main, parent) {
    if (typeof main === "string") {
      for (let at = 0; at < LEGACY.length; at++) {
        const path = absolute(main + LEGACY[at], folder);
        if (tree.kind(path) === FILE) return path;
      }
    }
    for (let at = 0; at < EXTENSIONS.length; at++) {
      const path = `${folder}/index${EXTENSIONS[at]}`;
      if (tree.kind(path) === FILE) return path;
    }
    throw fault(c.Error, "ERR_MODULE_NOT_FOUND", `Cannot find package '${absolute(typeof main === "string" ? main : "index.js", folder)}' imported from ${parent}`);
  }

  /** What `import` of `specifier` means in the file `parent` (whose URL is `parentUrl`): a URL. */
  function resolveImport(specifier, parent, parentUrl, conditions) {
    let url;
    if (specifier[0] === "/" || isRelative(specifier)) url = hrefOf(specifier, parentUrl);
    else if (specifier[0] === "#") url = imported(specifier, parent, conditions);
    else url = c.canParse(specifier) ? hrefOf(specifier) : packageUrl(specifier, parent, conditions);
    return c.startsWith(url, "file:") ? finished(url, parent) : url;
  }

  function finished(href, parent) {
    const url = new c.URL(href);
    if (c.exec(SLASH_ENCODED, c.urlPathname(url)) !== null) {
      throw badSpecifier(c.urlPathname(url), 'must not include encoded "/" or "\\" characters', parent);
    }
    const path = c.fileURLToPath(url);
    const kind = tree.kind(absolute(path, "/"));
    if (kind === FOLDER) {
      const message = `Directory import '${path}' is not supported resolving ES modules imported from ${parent}`;
      throw fault(c.Error, "ERR_UNSUPPORTED_DIR_IMPORT", message, { url: href });
    }
    if (kind !== FILE || c.endsWith(path, "/")) {
      throw fault(c.Error, "ERR_MODULE_NOT_FOUND", `Cannot find module '${path}' imported from ${parent}`, { url: href });
    }
    return urlOf(path) + c.urlSearch(url) + c.urlHash(url);
  }

  const fileOrUndefined = (path) => (tree.kind(path) === FILE ? path : undefined);

  function withExtension(path, extensions) {
    for (let at = 0; at < extensions.length; at++) {
      if (tree.kind(path + extensions[at]) === FILE) return path + extensions[at];
    }
    return undefined;
  }

  function asFolder(folder, extensions, request) {
    const manifest = tree.manifest(folder);
    if (manifest === null) throw badConfig(folder);
    const main = own(manifest, "main");
    if (typeof main !== "string" || main === "") return withExtension(`${folder}/index`, extensions);
    const path = absolute(main, folder);
    const found =
      fileOrUndefined(path) ??
      withExtension(path, extensions) ??
      withExtension(`${path}/index`, extensions) ??
      withExtension(`${folder}/index`, extensions);
    if (found !== undefined) return found;
    throw fault(
      c.Error,
      "MODULE_NOT_FOUND",
      `Cannot find module '${path}'. Please verify that the package.json has a valid "main" entry`,
      { path: `${folder}/package.json`, requestPath: request },
    );
  }

  /** The file that `require` finds under `request`, which may be a folder, in `from`. */
  function fileOrFolder(request, from, extensions) {
    const path = absolute(request, from);
    const name = nameOf(request);
    const kind = tree.kind(path);
    const namesFolder = name === "" || name === "." || name === "..";
    if (!namesFolder) {
      if (kind === FILE) return path;
      const found = withExtension(path, extensions);
      if (found !== undefined) return found;
    }
    return kind === FOLDER ? asFolder(path, extensions, request) : undefined;
  }

  /** A URL that `exports` or `imports` gave, for `require`: its file. */
  function required(url, from, request, manifestPath) {
    if (c.exec(SLASH_ENCODED, url) !== null) {
      throw badSpecifier(url, 'must not include encoded "/" or "\\" characters', from);
    }
    const path = c.fileURLToPath(url);
    if (tree.kind(path) === FILE) return path;
    throw fault(c.Error, "MODULE_NOT_FOUND", `Cannot find module '${path}'`, manifestPath && { path: manifestPath });
  }

  /**
   * What `require(request)` means: a path, or undefined where nothing is found. `folders` are searched for packages
   * (`…/node_modules`) or, if the request is relative, for the file itself. `parent` is the file that asks, if one does.
   */
  function resolveRequire(request, folders, parent, conditions, extensions = EXTENSIONS) {
    const scope = parent && scopeOf(parentOf(parent));
    if (request[0] === "/") return fileOrFolder(request, "/", extensions);
    if (isRelative(request)) {
      for (let at = 0; at < folders.length; at++) {
        const found = fileOrFolder(request, folders[at], extensions);
        if (found !== undefined) return found;
      }
      return undefined;
    }
    if (request[0] === "#" && mapOf(scope?.manifest, "imports") !== undefined) {
      return required(imported(request, parent, conditions), parent);
    }
    const parts = c.exec(REQUIRED_NAME, request);
    const self = mapOf(scope?.manifest, "exports");
    if (parts && self !== undefined && own(scope.manifest, "name") === parts[1]) {
      const url = exported(scope.folder, `.${parts[2] ?? ""}`, self, parent, conditions);
      return required(url, parent, request, `${scope.folder}/package.json`);
    }
    for (let at = 0; at < folders.length; at++) {
      if (tree.kind(folders[at]) !== FOLDER) continue;
      const found = inPackages(request, parts, folders[at], conditions, extensions);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  function inPackages(request, parts, folder, conditions, extensions) {
    const home = parts && `${folder}/${parts[1]}`;
    const manifest = home ? tree.manifest(home) : undefined;
    if (manifest === null) throw badConfig(home);
    const exports = mapOf(manifest, "exports");
    if (exports === undefined) return fileOrFolder(request, folder, extensions);
    return required(exported(home, `.${parts[2] ?? ""}`, exports, undefined, conditions), null, request, `${home}/package.json`);
  }

  return { resolveImport, resolveRequire, scopeOf };
}

module.exports = { isRelative, makeResolver };

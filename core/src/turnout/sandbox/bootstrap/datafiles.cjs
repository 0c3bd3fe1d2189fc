"use strict";
// `fs` for code whose bundle is no folder of the system: reading below the bundle's directory is answered from the
// bundle, everything else by the system, which has nothing to offer where nothing can be opened.

const fs = require("fs");
const c = require("./captured.cjs");
const bundle = require("./bundle.cjs");
const { absolute } = require("./paths.cjs");

const FILE_MODE = 0o100444;
const FOLDER_MODE = 0o040555;
const BLOCK = 4096;
const FIRST_DESCRIPTOR = 1 << 30;
const READING = ["r", "rs", "sr", fs.constants.O_RDONLY];
const { Buffer } = require("buffer");
const { Stats, Dirent } = fs;
const { UV_DIRENT_FILE, UV_DIRENT_DIR } = fs.constants;
const { W_OK } = fs.constants;
const { nextTick } = process;
const promised = c.uncurry(Promise.prototype.then).bind(null, Promise.resolve());

const ERRNO = { ENOENT: -2, EBADF: -9, ENOTDIR: -20, EISDIR: -21, EROFS: -30 };
const REASON = {
  ENOENT: "no such file or directory",
  EBADF: "bad file descriptor",
  ENOTDIR: "not a directory",
  EISDIR: "illegal operation on a directory",
  EROFS: "read-only file system",
};

function fault(code, syscall, path) {
  const error = new c.Error(`${code}: ${REASON[code]}, ${syscall}${path === undefined ? "" : ` '${path}'`}`);
  error.errno = ERRNO[code];
  error.code = code;
  error.syscall = syscall;
  if (path !== undefined) error.path = path;
  return error;
}

let directory = "/";
let descriptors = FIRST_DESCRIPTOR;
/** Files that are open: `{ path, content, at }` by descriptor. */
const open = new c.Map();

/** The path in the bundle that an argument of `fs` names; undefined for what is elsewhere or names nothing. */
function inBundle(path) {
  let text = path;
  if (typeof path !== "string") {
    try {
      text = Buffer.isBuffer(path) ? c.utf8Slice(path, 0, path.length) : c.fileURLToPath(path);
    } catch {
      return undefined;
    }
  }
  if (text === "" || c.indexOf(text, "\0") >= 0) return undefined;
  const found = absolute(text, directory);
  return bundle.isInside(found) ? found : undefined;
}

function needed(path, syscall) {
  if (bundle.kind(path) === 0) throw fault("ENOENT", syscall, path);
}

const encodingOf = (options) => (typeof options === "string" ? options : options?.encoding);

function bytesOf(path, syscall) {
  needed(path, syscall);
  if (bundle.kind(path) === bundle.FOLDER) throw fault("EISDIR", "read");
  return bundle.read(path, { kept: false });
}

function checkedEncoding(options) {
  const encoding = encodingOf(options);
  if (!encoding || encoding === "buffer" || Buffer.isEncoding(encoding)) return encoding;
  const error = new c.TypeError(`The argument 'encoding' is invalid encoding. Received ${c.inspect(encoding)}`);
  error.code = "ERR_INVALID_ARG_VALUE";
  throw error;
}

/** A copy: what is read is the reader's to change. */
function copied(bytes, options) {
  const copy = c.bufferOf(bytes);
  const encoding = checkedEncoding(options);
  return encoding && encoding !== "buffer" ? copy.toString(encoding) : copy;
}

function forReading(path, flag) {
  if (flag !== undefined && flag !== null && !c.includes(READING, flag)) throw fault("EROFS", "open", path);
}

function statOf(path, syscall) {
  needed(path, syscall);
  const isFile = bundle.kind(path) === bundle.FILE;
  const size = isFile ? bundle.sizeOf(path) : BLOCK;
  const mode = isFile ? FILE_MODE : FOLDER_MODE;
  const blocks = Math.ceil(size / 512);
  const times = { atimeMs: 0, mtimeMs: 0, ctimeMs: 0, birthtimeMs: 0 };
  const plain = { dev: 0, mode, nlink: 1, uid: 0, gid: 0, rdev: 0, blksize: BLOCK, ino: 0, size, blocks, ...times };
  return Object.assign(Object.create(Stats.prototype), plain);
}

function namesOf(path, options) {
  needed(path, "scandir");
  const found = [];
  listInto(found, path, "", options);
  return found;
}

function listInto(found, path, below, options) {
  const within = bundle.list(path);
  if (within === undefined) throw fault("ENOTDIR", "scandir", path);
  for (const name of c.keys(within)) {
    const isFolder = typeof within[name] === "object";
    const kind = isFolder ? UV_DIRENT_DIR : UV_DIRENT_FILE;
    found.push(options?.withFileTypes ? new Dirent(name, kind, path) : named(below + name, options));
    if (isFolder && options?.recursive) listInto(found, `${path}/${name}`, `${below}${name}/`, options);
  }
}

const named = (text, options) => (encodingOf(options) === "buffer" ? c.bufferOf(text, "utf8") : text);

/** By name what `fs` does with a path in the bundle, as a function that returns or throws. */
const ways = {
  access(path, mode) {
    needed(path, "access");
    if (mode & W_OK) throw fault("EROFS", "access", path);
  },
  stat: (path, options) => (options?.throwIfNoEntry === false && bundle.kind(path) === 0 ? undefined : statOf(path, "stat")),
  lstat: (path, options) => (options?.throwIfNoEntry === false && bundle.kind(path) === 0 ? undefined : statOf(path, "lstat")),
  readdir: (path, options) => namesOf(path, options),
  realpath(path, options) {
    needed(path, "realpath");
    return named(path, options);
  },
  readFile(path, options) {
    checkedEncoding(options);
    forReading(path, options?.flag);
    return copied(bytesOf(path, "open"), options);
  },
  open(path, flags) {
    forReading(path, flags);
    needed(path, "open");
    const isFile = bundle.kind(path) === bundle.FILE;
    c.mapSet(open, ++descriptors, { path, content: isFile ? bytesOf(path, "open") : undefined, at: 0 });
    return descriptors;
  },
};

/** Functions that change what their first argument names, or for two of them their second, by the system call they fail in. */
const writing = {
  appendFile: "open",
  chmod: "chmod",
  chown: "chown",
  lchown: "lchown",
  lutimes: "lutime",
  mkdir: "mkdir",
  mkdtemp: "mkdtemp",
  rename: "rename",
  rm: "rm",
  rmdir: "rmdir",
  truncate: "open",
  unlink: "unlink",
  utimes: "utime",
  writeFile: "open",
};
const writingSecond = { copyFile: "copyfile", link: "link", symlink: "symlink" };

/** By name what `fs` does with a descriptor that `open` gave. */
const descriptorWays = {
  fstat: ({ path }) => statOf(path, "fstat"),
  readFile(file, options) {
    const rest = c.subarray(pieces(file), file.at);
    file.at += rest.length;
    return copied(rest, options);
  },
  read(file, target, offset, length, position) {
    if (typeof offset === "object" && offset !== null) ({ offset, length, position } = offset);
    const from = typeof position === "number" && position >= 0 ? position : typeof position === "bigint" ? Number(position) : file.at;
    const start = offset ?? 0;
    const piece = c.subarray(pieces(file), from, from + (length ?? target.byteLength - start));
    new c.Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(piece, start);
    if (typeof position !== "number" || position < 0) file.at = from + piece.length;
    return piece.length;
  },
};

function pieces(file) {
  if (file.content === undefined) throw fault("EISDIR", "read");
  return file.content;
}

const last = (list) => list[list.length - 1];

/** Put `answer(original, args)` in the place of a function that is there. */
function cover(holder, name, answer) {
  const original = holder[name];
  if (typeof original !== "function") return;
  const covered = function (...args) {
    return answer((...given) => Reflect.apply(original, this, given), args);
  };
  c.defineProperty(covered, "name", { value: name });
  for (const key of Reflect.ownKeys(original)) if (!c.hasOwn(covered, key)) covered[key] = original[key];
  c.defineProperty(holder, name, { value: covered, writable: true, configurable: true, enumerable: true });
}

/** An error names the path as it was given. */
function blaming(error, found, given) {
  if (typeof given === "string" && typeof found === "string" && error?.path === found) {
    error.path = given;
    error.message = c.replace(error.message, `'${found}'`, () => `'${given}'`);
  }
  return error;
}

/** `way(place, …)` in both styles of `fs`, for arguments in which `find` finds something. */
function coverBoth(name, find, way, { at = 0, make = (result) => [result] } = {}) {
  const answered = (found, args, rest) => {
    try {
      return way(found, ...rest);
    } catch (error) {
      throw blaming(error, found, args[at]);
    }
  };
  cover(fs, `${name}Sync`, (original, args) => {
    const found = find(args[at]);
    return found === undefined ? original(...args) : answered(found, args, args.slice(1));
  });
  cover(fs, name, (original, args) => {
    const found = find(args[at]);
    const done = last(args);
    if (found === undefined || typeof done !== "function") return original(...args);
    let results;
    try {
      results = [null, ...make(answered(found, args, args.slice(1, -1)), args)];
    } catch (error) {
      results = [error];
    }
    nextTick(done, ...results);
  });
}

/** What `way` does, in the style of `fs.promises`. */
function coverPromise(promises, name, way, at = 0) {
  cover(promises, name, (original, args) => {
    const found = inBundle(args[at]);
    if (found === undefined) return original(...args);
    return promised(() => {
      try {
        return way(found, ...args.slice(1));
      } catch (error) {
        throw blaming(error, found, args[at]);
      }
    });
  });
}

const refusing = (syscall) => (path) => {
  throw fault("EROFS", syscall, path);
};

function coverPromises(promises) {
  for (const name of ["access", "stat", "lstat", "readdir", "realpath", "readFile"]) coverPromise(promises, name, ways[name]);
  for (const name in writing) coverPromise(promises, name, refusing(writing[name]));
  for (const name in writingSecond) coverPromise(promises, name, refusing(writingSecond[name]), 1);
  coverPromise(promises, "open", (path, flags) => handleOf(ways.open(path, flags)));
}

/** As much of a `FileHandle` as reading takes. */
function handleOf(fd) {
  const file = c.mapGet(open, fd);
  const close = async () => {
    c.mapDelete(open, fd);
  };
  return {
    fd,
    close,
    [Symbol.asyncDispose]: close,
    createReadStream: (options) => fs.createReadStream(file.path, options),
    read: async (target, ...rest) => ({ bytesRead: descriptorWays.read(file, target, ...rest), buffer: target }),
    readFile: async (options) => descriptorWays.readFile(file, options),
    stat: async () => descriptorWays.fstat(file),
  };
}

const opened = (value) => (typeof value === "number" ? c.mapGet(open, value) : undefined);

function coverDescriptors() {
  coverBoth("fstat", opened, descriptorWays.fstat);
  coverBoth("read", opened, descriptorWays.read, { make: (count, args) => [count, args[1]] });
  const close = (original, args, done) => {
    if (opened(args[0]) === undefined) return original(...args);
    c.mapDelete(open, args[0]);
    if (done) nextTick(done, null);
  };
  cover(fs, "closeSync", (original, args) => close(original, args));
  cover(fs, "close", (original, args) => close(original, args, args[1]));
}

let promisesCovered = false;

/** `fs.promises` is loaded when somebody wants it: covered then. */
function knowPromises() {
  if (promisesCovered) return;
  promisesCovered = true;
  coverPromises(fs.promises);
}

/** From now on relative paths begin at `path`. */
function enter(path) {
  directory = path;
}

/** From now on the bundle's files can be read. */
function install() {
  for (const name of ["access", "stat", "lstat", "readdir", "realpath", "open"]) coverBoth(name, inBundle, ways[name]);
  for (const name in writing) coverBoth(name, inBundle, refusing(writing[name]));
  for (const name in writingSecond) coverBoth(name, inBundle, refusing(writingSecond[name]), { at: 1 });
  const fileOrOpened = (value) => opened(value) ?? inBundle(value);
  coverBoth("readFile", fileOrOpened, (found, options) =>
    typeof found === "string" ? ways.readFile(found, options) : descriptorWays.readFile(found, options),
  );
  for (const realpath of [fs.realpath, fs.realpathSync]) realpath.native = realpath;
  coverDescriptors();
  const exists = (found) => bundle.kind(found) !== 0;
  cover(fs, "existsSync", (original, args) => {
    const found = inBundle(args[0]);
    return found === undefined ? original(...args) : exists(found);
  });
  cover(fs, "exists", (original, args) => {
    const found = inBundle(args[0]);
    if (found === undefined) return original(...args);
    nextTick(args[1], exists(found));
  });
  const { get } = Object.getOwnPropertyDescriptor(fs, "promises");
  const covered = () => {
    c.defineProperty(fs, "promises", { get, configurable: true, enumerable: true });
    knowPromises();
    return fs.promises;
  };
  c.defineProperty(fs, "promises", { get: covered, configurable: true, enumerable: true });
}

module.exports = { enter, fault, install, knowPromises };

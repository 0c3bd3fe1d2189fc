// Reads the bundle's data in every way that `fs` knows, and tells what came of each.

import fs, { promises, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const here = import.meta.dirname;
const kinds = (entries) => entries.map((entry) => [entry.name, entry.isFile(), entry.parentPath]).sort();

async function* streamed(stream) {
  for await (const piece of stream) yield piece.toString();
}

function byDescriptor() {
  const descriptor = fs.openSync("data.txt");
  const target = Buffer.alloc(4);
  const counts = [fs.readSync(descriptor, target, 0, 3, 1), fs.readSync(descriptor, target, 3, 1), fs.fstatSync(descriptor).size];
  fs.closeSync(descriptor);
  return [counts, target.toString(), fs.readFileSync(fs.openSync("data.txt"), "utf8")];
}

async function byCallback() {
  const descriptor = await promisify(fs.open)(`${here}/data.txt`, "r");
  const { bytesRead, buffer } = await promisify(fs.read)(descriptor, Buffer.alloc(5), 0, 5, 0);
  await promisify(fs.close)(descriptor);
  return [bytesRead, buffer.toString()];
}

const ways = {
  text: () => readFileSync(`${here}/data.txt`, "utf8"),
  url: () => readFileSync(new URL("./data.txt", import.meta.url), { encoding: "base64" }),
  buffer: () => readFileSync(Buffer.from(`${here}/data.txt`)).toString(),
  relative: () => readFileSync("deep/../data.txt", "latin1"),
  "a copy each": () => readFileSync("data.txt").fill(0).length + readFileSync("data.txt", "utf8"),
  "by callback": () => promisify(fs.readFile)("data.txt", "utf8"),
  "by promise": () => readFile("data.txt", "utf8"),
  "by another promise": () => promises.readFile("data.txt", "utf8"),
  "by a third": () => fs.promises.readFile("data.txt", "utf8"),
  streamed: async () => (await Array.fromAsync(streamed(fs.createReadStream("data.txt", { start: 1, end: 3 })))).join(""),
  "a long stream": async () => (await Array.fromAsync(streamed(fs.createReadStream("long.bin")))).join("").length,
  "a stream of nothing": () => Array.fromAsync(streamed(fs.createReadStream("nothing"))),
  descriptor: byDescriptor,
  "descriptor by callback": byCallback,
  handle: async () => {
    const handle = await promises.open("data.txt");
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    const told = [bytesRead, buffer.toString(), (await handle.stat()).size, await (await promises.open("data.txt")).readFile("utf8")];
    await handle.close();
    return told;
  },
  closed: () => {
    const descriptor = fs.openSync("data.txt");
    fs.closeSync(descriptor);
    return fs.existsSync("data.txt");
  },
  exists: () => ["data.txt", "nothing", "deep", "data.txt/below", ".", here].map((path) => fs.existsSync(path)),
  "exists by callback": () => new Promise((done) => fs.exists("data.txt", done)),
  stat: () => [fs.statSync("data.txt").isFile(), fs.statSync("data.txt").size, fs.statSync("deep").isDirectory()],
  "stat by promise": async () => [(await promises.stat("data.txt")).size, (await promises.lstat("deep")).isSymbolicLink()],
  "stat of nothing": () => fs.statSync("nothing"),
  "stat of nothing, gently": () => [fs.statSync("nothing", { throwIfNoEntry: false })],
  list: () => fs.readdirSync("deep").sort(),
  "list with kinds": () => kinds(fs.readdirSync(`${here}/deep`, { withFileTypes: true })),
  "list of all": () => fs.readdirSync("deep", { recursive: true }).sort(),
  "list by promise": async () => (await promises.readdir("deep")).sort(),
  "list of a file": () => fs.readdirSync(`${here}/data.txt`),
  "list of nothing": () => promisify(fs.readdir)("nothing"),
  "a folder read": () => readFileSync("deep"),
  "nothing read": () => readFileSync(`${here}/nothing`),
  "nothing read by promise": () => readFile(`${here}/nothing`),
  access: () => [fs.accessSync("data.txt"), fs.accessSync("deep", fs.constants.R_OK)],
  "access to nothing": () => promises.access(`${here}/nothing`),
  real: () => [fs.realpathSync("deep/../data.txt"), fs.realpathSync.native("deep")],
  "real by promise": () => promises.realpath("deep/far"),
  folder: () => process.cwd(),
  "no path": () => readFileSync({}),
  "a path with a zero": () => readFileSync("data\0.txt"),
  "an odd encoding": () => readFileSync("data.txt", "no-encoding"),
};

export default async () => {
  const told = {};
  for (const [name, way] of Object.entries(ways)) {
    try {
      told[name] = (await way()) ?? "nothing";
    } catch (error) {
      told[name] = [error.code, error.syscall ?? "", error.path ?? "", error.message];
    }
  }
  return told;
};

"use strict";
// Runs customer code, one job after another, for a Turnout process at the other end of file descriptor 3.
// This file and its neighbours are loaded before any customer code and touch nothing global but `console` and `process.exit`.

const c = require("./captured.cjs");
const channel = require("./channel.cjs");
const consoles = require("./console.cjs");
const errors = require("./errors.cjs");
const files = require("./files.cjs");
const graph = require("./graph.cjs");
const modules = require("./modules.cjs");
const network = require("./network.cjs");
const output = require("./output.cjs");
const seal = require("./seal.cjs");
const values = require("./values.cjs");

const LONGEST_META = 512 * 1024; // characters, of up to three bytes each: the other side takes two megabytes
const loaded = new c.Map();
let bundle = "";
let loader = modules;
let virtual;
let running = false;
let startCpu = 0;
let listened = 0;

const cpuMs = () => {
  const { user, system } = c.cpuUsage();
  return (user + system) / 1000;
};

function enter(directory, mapped) {
  if (bundle === directory) return;
  bundle = directory;
  modules.enter(directory, mapped);
  c.chdir(directory);
}

/** The bundle is where nothing can be opened: from now on everything of it comes over the channel. */
function enterVirtual({ meta, body }) {
  ({ directory: bundle } = c.parse(meta));
  modules.leave();
  virtual ??= require("./virtual.cjs");
  virtual.enter(bundle, body);
  loader = virtual;
}

/** The default export of a module of the bundle. */
async function load(module) {
  const path = `${bundle}/${module}`;
  const known = c.mapGet(loaded, path);
  if (known !== undefined) return known;
  const { default: main } = await loader.load(module);
  c.mapSet(loaded, path, main);
  return main;
}

/** Import what the flow's code steps run, ahead of time. What fails here fails again, and is told, when a job needs it. */
async function prepare(order) {
  enter(order.directory, order.mapped);
  for (let at = 0; at < order.modules.length; at++) {
    try {
      await load(order.modules[at]);
    } catch {
      // the job that runs this module gets the same error
    }
  }
  channel.write(channel.PREPARED, "");
}

/**
 * Ready for another execution of the same bundle, whose modules are evaluated anew. Whatever could act in that one by itself,
 * a timer or a listener, makes the process unfit for it.
 */
function renew() {
  const left = c.activeResources().length || c.eventNames(process).length !== listened;
  c.mapClear(loaded);
  const renewed = loader.renew();
  channel.write(channel.RENEWED, renewed && !left ? "clean" : "busy");
}

function fail(kind, message, error, { last = false } = {}) {
  if (!running) return;
  running = false;
  const report = { __proto__: null, kind, message, last, network: network.used() };
  if (error !== undefined) report.error = errors.describe(error.thrown);
  let text = c.stringify(report);
  if (text.length > LONGEST_META && error !== undefined) {
    delete report.error.cause;
    delete report.error.errors;
    text = c.stringify(report);
  }
  channel.write(channel.ERROR, text);
}

/** What code sees beside its input. The signal is made when it is asked for: few need it. */
function contextOf(job, deadline) {
  let signal;
  return {
    ...job.context,
    logger: consoles.logger(),
    get signal() {
      if (!signal) {
        const controller = new AbortController();
        const left = deadline - c.now();
        c.setTimeout(() => controller.abort(), left - c.min(1000, left / 10)).unref();
        signal = controller.signal;
      }
      return signal;
    },
  };
}

async function sendResult(value, limit) {
  let written;
  try {
    written = values.write(value);
  } catch (error) {
    const tooLong = c.types.isNativeError(error) && c.indexOf(`${error.message}`, "Invalid string length") >= 0;
    if (tooLong) fail("result_too_large", "the result is longer than text can be: return a file instead");
    else fail("not_json", "the result cannot be written as JSON", { thrown: error });
    return;
  }
  if (written.text === undefined && value !== undefined) {
    fail("not_json", `the code returned a ${typeof value}, which JSON does not have`);
    return;
  }
  const text = written.text === undefined ? "null" : written.text;
  if (text.length > limit) {
    fail("result_too_large", `the result has ${text.length} characters; the limit is ${limit} bytes: return a file instead`);
    return;
  }
  let list = "";
  for (let at = 0; at < written.found.length; at++) {
    const file = await files.send(written.found[at][1]);
    list += `${at ? "," : ""}[${c.stringify(written.found[at][0])},${file}]`;
  }
  if (list.length > LONGEST_META) {
    fail("result_too_large", `the result has ${written.found.length} files: return an archive of them instead`);
    return;
  }
  if (!running) return;
  running = false;
  const header = `{"cpu_ms":${cpuMs() - startCpu},"network":${network.used()},"files":[${list}]}`;
  channel.write(channel.RESULT, header, c.bufferOf(text, "utf8"));
}

async function run({ meta, body }) {
  const job = c.parse(meta);
  const deadline = c.now() + job.timeout_ms;
  running = true;
  startCpu = cpuMs();
  consoles.allow(job.log_bytes);
  enter(job.directory, job.mapped);
  let main;
  try {
    main = await load(job.module);
  } catch (error) {
    fail("import", "", { thrown: graph.placed(error) });
    return;
  }
  if (typeof main !== "function") {
    fail("no_default_export", `${job.module} has no default export that is a function: write \`export default (input, context) => …\``);
    return;
  }
  let input;
  try {
    input = values.read(body, job.files);
  } catch (error) {
    fail("not_json", "the input cannot be read", { thrown: error });
    return;
  }
  try {
    const value = await main(input, contextOf(job, deadline));
    await sendResult(value, job.result_bytes);
  } catch (error) {
    fail("", "", { thrown: error });
  }
}

async function serve() {
  for (;;) {
    const frame = channel.read();
    if (frame.type === channel.ENTER) {
      enterVirtual(frame);
    } else if (frame.type === channel.PREPARE) {
      const order = c.parse(frame.meta);
      consoles.allow(order.log_bytes);
      await prepare(order);
    } else if (frame.type === channel.RENEW) {
      renew();
    } else {
      await run(frame);
    }
  }
}

function watchEnd() {
  let called;
  const { exit } = process;
  process.exit = function (code) {
    called = code === undefined ? c.Number(process.exitCode ?? 0) : code;
    return c.uncurry(exit)(process, code);
  };
  process.on("exit", () => {
    const message =
      called === undefined
        ? "the promise that the code returned never settled: nothing was left that could settle it"
        : `the code called process.exit(${called}): return a value or throw instead`;
    fail("crashed", message, undefined, { last: true });
  });
  process.setUncaughtExceptionCaptureCallback((error) => {
    fail("", "", { thrown: error }, { last: true });
    c.exit(1);
  });
}

consoles.install(console);
output.install();
network.watch();
watchEnd();

/** A whole job of our own, which nobody listens to: the first real one finds everything loaded and compiled. */
async function rehearse(directory) {
  const order = { directory, module: "rehearsal.mjs", mapped: false, context: {}, timeout_ms: 1000, log_bytes: 0, result_bytes: 1000, files: [] };
  await run({ meta: c.stringify(order), body: c.bufferOf('{"text":["a",1]}') });
}

/** The same where code will come over the channel, which for this once is not asked: all that is needed is in the map. */
async function rehearseVirtual() {
  const source = "import 'node:path'; export default ({ text }) => ({ text })";
  const body = c.bufferOf(`\n[["rehearsal.mjs",${source.length},[]]]\n${source}`);
  enterVirtual({ meta: '{"directory":"/rehearsal"}', body });
  await rehearse("/rehearsal");
}

// Its hooks stand before those of the bundle, but it is loaded while files can be.
const egress = process.argv[2] ? require("./egress.cjs") : undefined;
const ready = process.argv[2] ? rehearseVirtual() : rehearse(__dirname);

ready.then(() => {
  listened = c.eventNames(process).length;
  if (egress) {
    egress.install();
    seal.close(process.argv[2]);
  }
  channel.write(channel.READY, "");
  return serve();
});

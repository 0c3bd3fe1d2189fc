// The measuring process: servers and webhook sender in one, so that "sent" and "received" are read from one clock.
// Commands come as JSON lines on stdin, one at a time; each is answered by one JSON line on stdout.
import { readFileSync } from "node:fs";
import http from "node:http";
import readline from "node:readline";
import { Sink, listen } from "./servers.mjs";

const setup = JSON.parse(readFileSync(process.argv[2], "utf8"));
const sink = new Sink(setup.expected);
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const PATIENCE_MS = 120_000;

function send(url, body) {
  const text = Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", agent, headers: { "content-type": "application/json", "content-length": text.length } });
    request.on("response", (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode, body: Buffer.concat(chunks).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(text);
  });
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One webhook: resolves with its latency (sent to last POST received) and the id of its execution. */
async function once(url, run, body, posts = 1) {
  const received = sink.whenReceived(run, posts);
  const start = performance.now();
  const [answer, at] = await within(Promise.all([send(url, { run, ...body }), received]), `run ${run} of ${url}`);
  if (answer.status !== 202) throw new Error(`webhook answered ${answer.status}: ${answer.body.slice(0, 300)}`);
  return { ms: at - start, execution: JSON.parse(answer.body).execution };
}

const commands = {
  async sequence({ url, name, runs, body, posts, pause_ms = 0 }) {
    const results = [];
    for (let run = 0; run < runs; run++) {
      if (pause_ms) await new Promise((resolve) => setTimeout(resolve, pause_ms));
      results.push(await once(url, `${name}-${run}`, body, posts));
    }
    return { ms: results.map((result) => result.ms), executions: results.map((result) => result.execution) };
  },

  async throughput({ url, name, runs, concurrency }) {
    let next = 0;
    const executions = [];
    const start = performance.now();
    const worker = async () => {
      while (next < runs) executions.push((await once(url, `${name}-${next++}`, {})).execution);
    };
    await Promise.all(Array.from({ length: concurrency }, worker));
    return { elapsed_ms: performance.now() - start, executions };
  },

  async answered({ url, body }) {
    const start = performance.now();
    const answer = await within(send(url, body), url);
    return { ms: performance.now() - start, status: answer.status, body: answer.body };
  },

  async report() {
    const report = sink.report();
    sink.reset();
    return report;
  },
};

const port = await listen(sink, Buffer.from(readFileSync(setup.orders_xml)), setup.token);
console.log(JSON.stringify({ port }));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { command, ...options } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: await commands[command](options) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error?.stack ?? error) }));
  }
}
process.exit(0);

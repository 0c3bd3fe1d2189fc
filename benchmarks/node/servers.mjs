// The world around the measured system, the same for both sides: a source that serves the inputs and a sink that counts
// every POST and verifies its content. Everything is made ready beforehand, so that answering costs next to nothing.
import http from "node:http";

const ITEM_BYTES = 2048;
const DOCUMENT_BYTES = 10_000_000;

export const itemText = (item) => `item ${item}`.padEnd(12) + "x".repeat(ITEM_BYTES - 12);

function makeDocument() {
  const rows = [];
  for (let id = 0, size = 0; size < DOCUMENT_BYTES; id++) {
    const row = { id, name: `Käufer ${id}`, amount: (id * 37) % 1000, note: "n".repeat(60 + (id % 40)), codes: [id % 7, id % 11] };
    rows.push(row);
    size += Buffer.byteLength(JSON.stringify(row)) + 1;
  }
  return { name: "big", rows };
}

/** Counts POSTs by key, verifies each, and calls whoever waits for one. Times are process.hrtime milliseconds. */
export class Sink {
  constructor(expected) {
    this.expectedOrders = JSON.stringify(expected.orders);
    this.expectedTotal = expected.total;
    this.document = makeDocument();
    this.expectedRows = JSON.stringify(this.document.rows.map((row) => ({ ...row, large: row.amount >= 500 })));
    this.reset();
  }

  reset() {
    this.counts = new Map();
    this.wrong = [];
    this.waiting = new Map();
  }

  /** Resolves with the time at which `count` POSTs of the run have been received. */
  whenReceived(run, count = 1) {
    return new Promise((resolve) => this.waiting.set(run, { left: count, resolve }));
  }

  receive(workload, url, text) {
    const at = performance.now();
    const body = JSON.parse(text);
    const run = workload === "w4" ? url.searchParams.get("run") : body.run;
    const key = workload === "w2" ? `${run}/${body.item}` : run;
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    const waiting = count === 1 ? this.waiting.get(run) : undefined;
    if (waiting && --waiting.left === 0) {
      this.waiting.delete(run);
      waiting.resolve(at);
    }
    if (!this.right(workload, body)) this.wrong.push(`${workload} ${key}: ${text.slice(0, 200)}`);
  }

  right(workload, body) {
    if (workload === "w1") return JSON.stringify(body.orders) === this.expectedOrders && body.total === this.expectedTotal && Number.isInteger(body.batch);
    if (workload === "w2") return body.size === ITEM_BYTES && body.head === `item ${body.item}`.padEnd(12);
    return body.name === "big" && JSON.stringify(body.rows) === this.expectedRows;
  }

  /** What was received since the last reset: how many different POSTs, which came more than once, which were wrong. */
  report() {
    const repeated = [...this.counts].filter(([, count]) => count > 1).map(([key, count]) => `${key} ×${count}`);
    return { received: this.counts.size, repeated: repeated.slice(0, 10), wrong: this.wrong.slice(0, 3) };
  }
}

export function listen(sink, xml, token) {
  const documentBody = Buffer.from(JSON.stringify(sink.document));
  const send = (response, type, body, status = 200) =>
    response.writeHead(status, { "content-type": type, "content-length": body.length }).end(body);
  const server = http.createServer((request, response) => {
    if (request.method === "GET") {
      if (request.url === "/orders.xml") return send(response, "application/xml; charset=utf-8", xml);
      if (request.url === "/document.json") return send(response, "application/json", documentBody);
      if (request.url.startsWith("/items/")) return send(response, "text/plain; charset=utf-8", Buffer.from(itemText(request.url.slice(7))));
      return send(response, "text/plain", Buffer.from("no such thing"), 404);
    }
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    return request.on("end", () => {
      if (request.headers.authorization !== `Bearer ${token}`) return send(response, "text/plain", Buffer.from("who are you?"), 401);
      const url = new URL(request.url, "http://sink");
      const text = Buffer.concat(chunks).toString();
      sink.receive(url.pathname.slice(1), url, text);
      return send(response, "application/json", Buffer.from('{"receipt":"R-1"}'));
    });
  });
  server.keepAliveTimeout = 600_000;
  server.requestTimeout = 0;
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

// The floor of every ratio: one Node process that does the work of the workloads inline. Keep-alive fetch, no isolation,
// no durability, no history. It listens where Turnout would: POST /hooks/<workload>/main.
//
// fetch comes from the undici package, not from Node: the copy in Node 24.19 (undici 7.29) waits in a timer of more than
// 1 ms before each request on a kept connection (nodejs/undici#5731), which would make the floor slow and ratios kind.
// The dispatcher is the package's too: left alone, its fetch goes through the one that Node made first.
import http from "node:http";
import { XMLParser } from "fast-xml-parser";
import { Agent, fetch, setGlobalDispatcher } from "undici";

const [source, sink, token] = process.argv.slice(2);
setGlobalDispatcher(new Agent());
const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: "" });
const stored = new Map();
const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };

async function post(path, body) {
  const response = await fetch(`${sink}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  if (response.status !== 200) throw new Error(`the sink said ${response.status}`);
  return response.json();
}

const get = async (path) => {
  const response = await fetch(`${source}${path}`);
  if (response.status !== 200) throw new Error(`the source said ${response.status}`);
  return response;
};

async function orders({ run }) {
  const xml = await (await get("/orders.xml")).text();
  const parsed = [parser.parse(xml).orders.order].flat().map((order) => ({
    id: order.id,
    customer: order.customer,
    total: [order.line].flat().reduce((sum, line) => sum + line.quantity * line.price, 0),
  }));
  const large = parsed.filter((order) => order.total >= 100);
  const total = large.reduce((sum, order) => sum + order.total, 0);
  const batch = (stored.get("batches") ?? 0) + 1;
  stored.set("batches", batch);
  const answer = await post("/w1", { run, batch, total, orders: large });
  stored.set("last", { batch, receipt: answer.receipt });
  return { posted: large.length };
}

async function loop({ run, items }) {
  for (const item of items) {
    const text = await (await get(`/items/${item}`)).text();
    await post("/w2", { run, item, ...{ size: text.length, head: text.slice(0, 12) } });
  }
  return { items: items.length };
}

const fibonacci = (n) => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2));

function calls(steps, n) {
  let last = 0;
  for (let step = 0; step < steps; step++) last = fibonacci(n);
  return { last };
}

async function document({ run }) {
  const fetched = await (await get("/document.json")).json();
  const tagged = { ...fetched, rows: fetched.rows.map((row) => ({ ...row, large: row.amount >= 500 })) };
  const large = tagged.rows.reduce((count, row) => count + (row.large ? 1 : 0), 0);
  stored.set("large", large);
  await post(`/w4?run=${run}`, tagged);
  return { large };
}

const work = {
  w1: orders,
  w2: loop,
  "w3-short": () => calls(40, 10),
  "w3-long": () => calls(10, 33),
  w4: document,
};

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    const name = request.url.split("/")[2];
    const answer = (status, value) => {
      const body = Buffer.from(JSON.stringify(value));
      response.writeHead(status, { "content-type": "application/json", "content-length": body.length }).end(body);
    };
    const body = JSON.parse(Buffer.concat(chunks).toString() || "null");
    if (request.url.includes("wait=")) return answer(200, await work[name](body));
    answer(202, { execution: "none" });
    return work[name](body);
  });
});
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));

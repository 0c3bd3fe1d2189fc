"use strict";
// The network of code that has no sockets: Node's own clients, over the broker at the other end of a descriptor.
//
// What Node knows as a connection is a stream of frames. The broker speaks to servers, by TLS too: here an encrypted
// connection is one that the broker encrypts. Nothing here guards anything: the broker does, and the kernel.
// Nothing is loaded before the code asks for it: it is enough to know when the code imports a module of the network, or
// calls what does so within Node.

const { registerHooks } = require("module");

const builtin = process.getBuiltinModule.bind(process);

const FD = 5;
const HEAD = 9;
const LARGEST = 64 * 1024;
const WINDOW = 256 * 1024;
const OPEN = 1;
const OPENED = 2;
const DATA = 3;
const END = 4;
const CLOSE = 5;
const CREDIT = 6;
const REFUSED = 7;

const NETWORK = /^(?:node:)?(?:net|tls|http|https|http2|dns|dns\/promises|_http_agent|_http_client|_tls_wrap)$/;
const ENCRYPTED = /^(?:node:)?(?:tls|https|_tls_wrap)$/;
/** Where undici, Node's own (fetch, WebSocket) or the package, looks for another one of its kind when it is loaded. */
const DISPATCHERS = [Symbol.for("undici.globalDispatcher.1"), Symbol.for("undici.globalDispatcher.2")];

let net;
let tls;
let pipe;
let broken;
let lastNumber = 0;
let kept = 0;
const wires = new Map();
const faces = new Map();

function failure(code, message, syscall = "connect") {
  return Object.assign(new Error(message), { code, syscall });
}

// -- frames

function send(kind, number, payload) {
  if (broken) return;
  const head = Buffer.allocUnsafe(HEAD);
  head.writeUInt32BE(payload === undefined ? 0 : payload.length, 0);
  head.writeUInt32BE(number, 4);
  head[8] = kind;
  if (payload === undefined) {
    pipe.write(head);
    return;
  }
  pipe.cork();
  pipe.write(head);
  pipe.write(payload);
  pipe.uncork();
}

function open() {
  if (pipe || broken) return;
  pipe = new net.Socket({ fd: FD, readable: true, writable: true });
  pipe.unref();
  const lose = () => {
    broken ??= failure("ECONNRESET", "the sandbox has lost its connection to the network", "read");
    for (const wire of [...wires.values()]) wire.lose(broken);
  };
  pipe.on("error", lose);
  pipe.on("close", lose);
  let rest = Buffer.alloc(0);
  pipe.on("data", (data) => {
    let bytes = rest.length ? Buffer.concat([rest, data]) : data;
    while (bytes.length >= HEAD) {
      const end = HEAD + bytes.readUInt32BE(0);
      if (bytes.length < end) break;
      wires.get(bytes.readUInt32BE(4))?.take(bytes[8], bytes.subarray(HEAD, end));
      bytes = bytes.subarray(end);
    }
    rest = bytes;
  });
}

/** What lies between a socket and its frames. While one is open and not unreferenced, the event loop goes on. */
class Wire {
  constructor(socket, host, port, encrypted) {
    this.socket = socket;
    this.encrypted = encrypted;
    this.number = ++lastNumber;
    this.credit = WINDOW;
    this.owed = 0;
    this.waiting = undefined;
    this.ended = false;
    this.keeps = false;
    this.read = 0;
    this.written = 0;
    wires.set(this.number, this);
    this.keep(true);
    send(OPEN, this.number, Buffer.from(JSON.stringify({ host, port, tls: encrypted })));
  }

  keep(on) {
    if (this.keeps === on || (on && !wires.has(this.number))) return;
    this.keeps = on;
    kept += on ? 1 : -1;
    if (on && kept === 1) pipe.ref();
    if (!on && kept === 0) pipe.unref();
  }

  take(kind, payload) {
    const { socket } = this;
    socket._unrefTimer();
    if (kind === DATA) {
      this.read += payload.length;
      this.owed += payload.length;
      if (socket.push(payload)) this.grant();
    } else if (kind === CREDIT) {
      this.credit += payload.readUInt32BE(0);
      this.flush();
    } else if (kind === OPENED) {
      socket.connecting = false;
      socket.emit("connect");
      socket.emit("ready");
      if (this.encrypted) socket.emit("secureConnect");
      this.flush();
      if (!socket.destroyed) socket.read(0);
    } else if (kind === END) {
      this.ended = true;
      socket.push(null);
      socket.read(0);
    } else if (kind === REFUSED) {
      const { code, message } = JSON.parse(payload.toString());
      this.lose(failure(code, message, socket.connecting ? "connect" : "read"));
    } else if (kind === CLOSE) {
      if (this.ended) this.forget();
      else this.lose(failure("ECONNRESET", "the connection was closed", "read"));
    }
  }

  /** The code has taken in what came: more may come. */
  grant() {
    if (this.owed < WINDOW / 4 || !wires.has(this.number)) return;
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(this.owed, 0);
    this.owed = 0;
    send(CREDIT, this.number, payload);
  }

  write(chunks, done) {
    this.waiting = { chunks, done };
    this.flush();
  }

  flush() {
    if (!this.waiting || this.socket.connecting) return;
    const { chunks, done } = this.waiting;
    while (chunks.length && (this.credit > 0 || !wires.has(this.number))) {
      const piece = chunks[0].subarray(0, Math.min(this.credit, LARGEST));
      if (wires.has(this.number) && piece.length) send(DATA, this.number, piece);
      this.credit -= piece.length;
      this.written += piece.length;
      if (piece.length === chunks[0].length || !wires.has(this.number)) chunks.shift();
      else chunks[0] = chunks[0].subarray(piece.length);
    }
    if (chunks.length) return;
    this.waiting = undefined;
    this.socket._unrefTimer();
    done();
  }

  end(done) {
    if (this.socket.connecting) {
      this.socket.once("connect", () => this.end(done));
      return;
    }
    if (wires.has(this.number)) send(END, this.number);
    done();
  }

  /** The other side knows no more of it. */
  forget() {
    wires.delete(this.number);
    this.keep(false);
    this.flush();
  }

  lose(error) {
    this.forget();
    this.socket.destroy(error);
  }

  close() {
    if (!wires.has(this.number)) return;
    send(CLOSE, this.number);
    wires.delete(this.number);
    this.keep(false);
  }
}

// -- what a socket is to the code

const wire = Symbol("wire");
const port = Symbol("port");

/** How a socket that leads to the broker differs from Node's. */
const plain = {
  _read() {
    this[wire].grant();
  },
  _write(chunk, encoding, done) {
    this[wire].write([typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk], done);
  },
  _writev(parts, done) {
    const chunks = parts.map(({ chunk, encoding }) => (typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk));
    this[wire].write(chunks, done);
  },
  _final(done) {
    this[wire].end(done);
  },
  _destroy(error, done) {
    this.connecting = false;
    this[wire].close();
    this.setTimeout(0);
    done(error);
    process.nextTick(() => this.emit("close", Boolean(error)));
  },
  ref() {
    this[wire].keep(true);
    return this;
  },
  unref() {
    this[wire].keep(false);
    return this;
  },
  setNoDelay() {
    return this;
  },
  setKeepAlive() {
    return this;
  },
  resetAndDestroy() {
    return this.destroy(failure("ECONNRESET", "the connection was reset", "write"));
  },
  address() {
    return {};
  },
  get pending() {
    return this.connecting;
  },
  get readyState() {
    if (this.connecting) return "opening";
    if (this.readable && this.writable) return "open";
    if (this.readable) return "readOnly";
    return this.writable ? "writeOnly" : "closed";
  },
  get bytesRead() {
    return this[wire].read;
  },
  get bytesWritten() {
    return this[wire].written + this.writableLength;
  },
  get remoteAddress() {
    return this.destroyed ? undefined : "0.0.0.0";
  },
  get remoteFamily() {
    return this.destroyed ? undefined : "IPv4";
  },
  get remotePort() {
    return this.destroyed ? undefined : this[port];
  },
  get localAddress() {
    return this.destroyed ? undefined : "0.0.0.0";
  },
  get localPort() {
    return this.destroyed ? undefined : 0;
  },
};

/** And one that the broker encrypts: it has verified the server's certificate, or there is no connection. */
const encryptedToo = {
  get encrypted() {
    return true;
  },
  getPeerCertificate: () => ({}),
  getPeerX509Certificate: () => undefined,
  getCertificate: () => null,
  getX509Certificate: () => undefined,
  getCipher: () => ({ name: "TLS_AES_128_GCM_SHA256", standardName: "TLS_AES_128_GCM_SHA256", version: "TLSv1.3" }),
  getProtocol: () => "TLSv1.3",
  getEphemeralKeyInfo: () => ({}),
  getFinished: () => undefined,
  getPeerFinished: () => undefined,
  getSession: () => undefined,
  getSharedSigalgs: () => [],
  getTLSTicket: () => undefined,
  isSessionReused: () => false,
  setServername() {},
  setSession() {},
  setMaxSendFragment: () => true,
  setKeyCert() {},
  enableTrace() {},
  disableRenegotiation() {},
  renegotiate(options, done) {
    const error = failure("ERR_TLS_RENEGOTIATION_DISABLED", "TLS is the broker's: it is not renegotiated", "renegotiate");
    if (done) process.nextTick(done, error);
    return false;
  },
  exportKeyingMaterial() {
    throw failure("ERR_TLS_INVALID_STATE", "TLS is the broker's: there is no keying material here", "exportKeyingMaterial");
  },
};

/** The prototype of sockets like `prototype` that lead to the broker. */
function faceOf(prototype, encrypted) {
  let face = faces.get(prototype);
  if (!face) {
    face = Object.create(prototype, Object.getOwnPropertyDescriptors(plain));
    if (encrypted) Object.defineProperties(face, Object.getOwnPropertyDescriptors(encryptedToo));
    faces.set(prototype, face);
  }
  return face;
}

/** Let a socket lead to the broker. */
function lead(socket, options, encrypted) {
  const prototype = encrypted ? tls.TLSSocket.prototype : Object.getPrototypeOf(socket);
  socket.connecting = true;
  socket[port] = Number(options.port);
  if (options.path) {
    process.nextTick(() => socket.destroy(failure("EACCES", `there are no Unix sockets in the sandbox: ${options.path}`)));
    return;
  }
  const named = `${options.host ?? options.hostname ?? "localhost"}`;
  open();
  Object.setPrototypeOf(socket, faceOf(prototype, encrypted));
  socket[wire] = new Wire(socket, madeUp.nameOf(named), Number(options.port), encrypted);
  socket._host = named;
  if (broken) process.nextTick(() => socket.destroy(broken));
  socket._unrefTimer();
}

// -- Node's functions

function patchNet() {
  if (net) return;
  net = builtin("net");
  const diagnostics = builtin("diagnostics_channel").channel("net.client.socket");
  const { connect } = net.Socket.prototype;
  net.Socket.prototype.connect = function (...given) {
    if (this._handle) return connect.apply(this, given);
    const [options, done] = Array.isArray(given[0]) ? given[0] : net._normalizeArgs(given);
    if (options.port === undefined && options.path == null) return connect.apply(this, given);
    if (diagnostics.hasSubscribers) diagnostics.publish({ socket: this });
    if (done) this.once("connect", done);
    lead(this, options, false);
    return this;
  };
}

function patchTls() {
  if (tls) return;
  patchNet();
  tls = builtin("tls");
  const diagnostics = builtin("diagnostics_channel").channel("net.client.socket");
  tls.connect = function (...given) {
    const [first, done] = net._normalizeArgs(given);
    const options = { ...first, ...given.slice(1, 3).find((one) => one !== null && typeof one === "object") };
    const refusal = untunnelled(options);
    const socket = new net.Socket({ allowHalfOpen: options.allowHalfOpen, signal: options.signal });
    if (diagnostics.hasSubscribers) diagnostics.publish({ socket });
    if (done) socket.once("secureConnect", done);
    const http1 = [].concat(options.ALPNProtocols ?? []).some((name) => `${name}` === "http/1.1");
    const servername = options.servername || (net.isIP(options.host ?? "") ? false : (options.host ?? "localhost"));
    const state = { authorized: true, authorizationError: null, alpnProtocol: http1 ? "http/1.1" : false, servername };
    if (refusal) {
      process.nextTick(() => socket.destroy(refusal));
      return socket;
    }
    lead(socket, options, true);
    for (const name in state) Object.defineProperty(socket, name, { value: state[name], writable: true, configurable: true });
    if (options.timeout) socket.setTimeout(options.timeout);
    return socket;
  };
}

/** What the broker cannot do in the code's place. */
function untunnelled(options) {
  if (options.socket) return failure("EPROTONOSUPPORT", "TLS goes from the sandbox to servers alone, not through a connection or proxy");
  if (options.cert || options.key || options.pfx) {
    return failure("EPROTONOSUPPORT", "client certificates cannot be used in the sandbox: TLS is the broker's");
  }
  return undefined;
}

function patchHttp2() {
  const http2 = builtin("http2");
  http2.connect = () => {
    throw failure("EPROTONOSUPPORT", "HTTP/2 cannot be used in the sandbox: use fetch, node:http or node:https");
  };
}

/** Names are resolved by the broker, at each connection. Code that wants to see an address gets one that means the name here. */
const madeUp = {
  names: new Map(),
  addresses: new Map(),
  addressOf(name) {
    let address = this.addresses.get(name);
    if (!address) {
      const number = this.names.size + 1;
      address = `240.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`;
      this.addresses.set(name, address);
      this.names.set(address, name);
    }
    return address;
  },
  nameOf(host) {
    return this.names.get(host) ?? host;
  },
};

function patchDns() {
  const dns = builtin("dns");
  const answer = (name, options) => {
    net ?? patchNet();
    const literal = net.isIP(name);
    const found = { address: literal ? name : madeUp.addressOf(`${name}`.toLowerCase()), family: literal || 4 };
    return options && options.all ? [found] : found;
  };
  dns.lookup = function (name, options, done = options) {
    const found = answer(name, options);
    if (typeof done !== "function") throw new TypeError("dns.lookup needs a callback");
    process.nextTick(() => (Array.isArray(found) ? done(null, found) : done(null, found.address, found.family)));
    return {};
  };
  dns.promises.lookup = async (name, options) => answer(name, options);
}

/** A module of Node's is about to be loaded by the code. */
function loading(name) {
  if (!NETWORK.test(name)) return;
  if (ENCRYPTED.test(name)) patchTls();
  else patchNet();
  if (/http2$/.test(name)) patchHttp2();
  if (/dns/.test(name)) patchDns();
}

/** From now on the code reaches the network by the broker. */
function install() {
  registerHooks({
    resolve(specifier, context, next) {
      loading(specifier);
      return next(specifier, context);
    },
  });
  process.getBuiltinModule = function getBuiltinModule(name) {
    loading(`${name}`);
    return builtin(name);
  };
  for (const name of DISPATCHERS) {
    Object.defineProperty(globalThis, name, {
      configurable: true,
      get() {
        delete globalThis[name];
        patchTls();
        return undefined;
      },
    });
  }
}

module.exports = { install };

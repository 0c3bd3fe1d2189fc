"use strict";
// What was thrown, as plain data: the other side makes the customer's stack of it.

const c = require("./captured.cjs");

const LONGEST = 64 * 1024;
const DEEPEST = 4;
const MOST = 10;

/** A property that may be a getter which throws. */
function safely(object, name) {
  try {
    return object[name];
  } catch {
    return undefined;
  }
}

function text(value) {
  if (typeof value !== "string") return "";
  return value.length > LONGEST ? c.slice(value, 0, LONGEST) + "…" : value;
}

function shown(value) {
  try {
    return text(typeof value === "string" ? value : c.inspect(value, { depth: 3 }));
  } catch {
    return "something that cannot be shown";
  }
}

function isError(value) {
  return c.types.isNativeError(value) || (typeof value === "object" && value !== null && typeof safely(value, "stack") === "string");
}

/** `{ name, message, stack, cause?, errors? }` of anything that can be thrown. Without prototypes: no `toJSON` applies. */
function describe(thrown, depth = 0) {
  if (!isError(thrown)) return { __proto__: null, name: "Error", message: `thrown: ${shown(thrown)}`, stack: "" };
  const cause = safely(thrown, "cause");
  const errors = safely(thrown, "errors");
  const described = {
    __proto__: null,
    name: text(safely(thrown, "name")) || "Error",
    message: text(safely(thrown, "message")),
    stack: text(safely(thrown, "stack")),
  };
  if (depth >= DEEPEST) return described;
  if (cause !== undefined && cause !== null) described.cause = describe(cause, depth + 1);
  if (typeof errors === "object" && errors !== null && typeof safely(errors, "length") === "number") {
    described.errors = c.setPrototypeOf([], null);
    for (let at = 0; at < c.min(errors.length, MOST); at++) described.errors[at] = describe(safely(errors, at), depth + 1);
  }
  return described;
}

module.exports = { describe };

import data from "./data.json" with { type: "json" };
import { twice } from "./lib/twice.mjs";
export default async (input, context) => {
  console.debug("debug line");
  console.info("info", { a: 1 });
  console.warn("warn");
  console.error("error");
  context.logger.info("from the logger", { n: 1 });
  context.logger.warn("careful");
  return {
    input, data, twice: twice(4), keys: Object.keys(context).sort(),
    attempt: context.attempt, step: context.step, execution: typeof context.execution,
    signal: context.signal instanceof AbortSignal, aborted: context.signal.aborted,
  };
};

export default function take({ line, stock }) {
  const there = stock[line.article];
  if (there === undefined) throw new RangeError(`there is no article ${line.article}`);
  if (there < line.quantity) throw new RangeError(`${there} of ${line.article}, ${line.quantity} wanted`);
  console.debug(`${line.quantity} of ${line.article} taken`);
  return { left: there - line.quantity };
}

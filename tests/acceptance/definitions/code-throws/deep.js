function inner(value) {
  return value.missing.field;
}
export default function outer(input) {
  return inner(input);
}

// The self-test's attempts to get out, one a layer. Each returns what it got, or throws what kept it in.
import fs from "node:fs";
import util from "node:util";

const { TCP, TCPConnectWrap, constants } = process.binding("tcp_wrap");

function connect(port) {
  const socket = new TCP(constants.SOCKET);
  const failed = socket.connect(new TCPConnectWrap(), "127.0.0.1", port);
  socket.close();
  if (failed) throw Object.assign(new Error("no connection"), { code: util.getSystemErrorName(failed) });
  return "a connection was opened";
}

function exhaust() {
  const open = [];
  try {
    for (let count = 0; count < 300; count++) open.push(fs.openSync("/node"));
  } finally {
    for (const fd of open) fs.closeSync(fd);
  }
  return `${open.length} files were open at once`;
}

const attempts = {
  chroot: ({ outside }) => `${outside} was read: ${fs.readFileSync(outside).length} bytes`,
  uid: ({ pid }) => process.kill(pid, 0) && "the supervisor could be sent a signal",
  caps: () => process.setgid(1) ?? "another group was taken",
  rlimits: exhaust,
  seccomp: ({ port }) => connect(port),
  seal: () => `a file of the jail was opened: ${fs.openSync("/node")}`,
  memory: ({ bytes }) => `${Buffer.alloc(bytes, 1).length} bytes were used`,
};

/** `{ got }` or `{ refused }` for the attempt of that name. */
export default (input) => {
  try {
    return { got: attempts[input.layer](input) };
  } catch (error) {
    return { refused: error.code ?? error.message };
  }
};

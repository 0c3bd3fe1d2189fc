"""Ways to the network, to this machine's own services and to the metadata that hand out credentials."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group

_GROUP: Final[Group] = "network and metadata"
_OPEN: Final = ("seccomp", "seal")
# What Node warns of from a thread, which comes before the outcome or too late to be kept.
_NODE_WARNS: Final = r"(\nerror: .*internal/test/binding.*)?"


def _attack(
    name: str,
    code: str,
    got: str = "got connected",
    held: str = "refused EPERM",
    off: tuple[str, ...] = _OPEN,
    memory_mb: int = 64,
) -> Attack:
    stopped_by = "seccomp, chroot" if "chroot" in off else "seccomp"
    control = Control(off=off, memory_mb=memory_mb, got=got)
    return Attack(
        name=name, group=_GROUP, stopped_by=stopped_by, code=code, held=held, memory_mb=memory_mb, control=control
    )


ATTACKS: Final = (
    _attack("connect to a service on loopback by Node's TCP binding", "return kit.tcp('127.0.0.1', input.port)"),
    _attack("connect to the metadata service by Node's TCP binding", "return kit.tcp(...input.metadata)"),
    _attack("connect to a unix socket in the file system", "return kit.pipe(input.socket)", off=("chroot", *_OPEN)),
    _attack("connect to an abstract unix socket", "return kit.pipe('\\0' + input.abstract)"),
    _attack(
        "send datagrams by Node's UDP binding",
        """
            const { UDP, SendWrap } = process.binding('udp_wrap');
            const socket = new UDP();
            kit.check(socket.bind('0.0.0.0', 0, 0));
            const status = socket.send(new SendWrap(), [Buffer.from('x')], 1, input.port, '127.0.0.1', false);
            return status >= 0 ? 'sent' : kit.check(status)""",
        got="got sent",
    ),
    _attack(
        "listen for connections by Node's TCP binding",
        """
            const { TCP, constants } = process.binding('tcp_wrap');
            const server = new TCP(constants.SERVER);
            kit.check(server.bind('127.0.0.1', 0));
            kit.check(server.listen(1));
            return 'listening'""",
        got="got listening",
    ),
    _attack(
        "listen on an abstract unix socket",
        """
            const { Pipe, constants } = process.binding('pipe_wrap');
            const server = new Pipe(constants.SERVER);
            kit.check(server.bind('\\0mallory-' + process.pid));
            kit.check(server.listen(1));
            return 'listening'""",
        got="got listening",
    ),
    _attack(
        "connect by Node's internals, which a thread can ask for",
        """
            const { Worker } = require('worker_threads');
            const source = `
              const { parentPort, workerData } = require('worker_threads');
              const { internalBinding } = require('internal/test/binding');
              const { TCP, TCPConnectWrap, constants } = internalBinding('tcp_wrap');
              const request = new TCPConnectWrap();
              request.oncomplete = (status) => parentPort.postMessage(status);
              const status = new TCP(constants.SOCKET).connect(request, '127.0.0.1', workerData);
              if (status < 0) parentPort.postMessage(status)`;
            const worker = new Worker(source, { eval: true, workerData: input.port, execArgv: ['--expose-internals'] });
            kit.check(await new Promise((done, failed) => worker.on('message', done).on('error', failed)));
            return 'connected'""",
        held=f"refused EPERM{_NODE_WARNS}",
        got=f"got connected{_NODE_WARNS}",
        memory_mb=700,
    ),
    _attack(
        "look a name up by the C library",
        """
            const { getaddrinfo, GetAddrInfoReqWrap } = process.binding('cares_wrap');
            const request = new GetAddrInfoReqWrap();
            const asked = new Promise((done, failed) => {
              request.oncomplete = (error, addresses) => error ? failed(Object.assign(new Error(), { code: error.toString() })) : done(addresses[0]);
            });
            kit.check(getaddrinfo(request, 'localhost', 4, 0, 0));
            return await asked""",
        got="got 127.0.0.1",
        held="refused .*",
        off=("chroot", *_OPEN),
    ),
    _attack(
        "ask a name server of one's own, byte by byte in names",
        """
            const { Resolver } = require('dns').promises;
            const server = require('dgram').createSocket('udp4');
            const resolver = new Resolver({ timeout: 300, tries: 1 });
            const heard = new Promise((done, failed) => server.on('message', () => done('heard')).on('error', failed));
            await new Promise((done, failed) => server.bind(0, '127.0.0.1', done).on('error', failed));
            resolver.setServers([`127.0.0.1:${server.address().port}`]);
            resolver.resolve4('c2VjcmV0.example.com').catch(() => {});
            const got = await heard;
            server.close();
            return got""",
        got="got heard",
    ),
    _attack(
        "pass descriptors to the supervisor",
        """
            const { Pipe, constants } = process.binding('pipe_wrap');
            const { WriteWrap } = process.binding('stream_wrap');
            const channel = new Pipe(constants.IPC), other = new Pipe(constants.SOCKET);
            kit.check(channel.open(3));
            kit.check(other.open(1));
            const request = new WriteWrap();
            const written = new Promise((done) => { request.oncomplete = done });
            kit.check(channel.writeUtf8String(request, 'x', other));
            kit.check(await written);
            return 'passed'""",
        got="failed crashed: .*",
    ),
)

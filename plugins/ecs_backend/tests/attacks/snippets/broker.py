"""The broker, which makes the code's requests: hosts that are not the integration's, what is no request, too much of it."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import inheriting

_GROUP: Final[Group] = "broker"
_OPEN: Final = "const payload = (n) => JSON.stringify({ host: input.listed[0], port: input.listed[1], tls: false });"


def _reach(name: str, code: str, stopped_by: str, got: str = "got 200 .*", held: str = "refused EACCES") -> Attack:
    control = Control(open_broker=True, got=got)
    return Attack(name=name, group=_GROUP, stopped_by=stopped_by, code=code, held=held, control=control)


def _said(name: str, code: str, got: str, held: str) -> Attack:
    """What a socket of Node's would carry as it is: the control has one."""
    control = Control(launch=inheriting(), got=got)
    return Attack(name=name, group=_GROUP, stopped_by="requests are parsed", code=code, held=held, control=control)


ATTACKS: Final = (
    _reach("reach a service on loopback that is listed", "return kit.get(...input.closed)", "address check"),
    _reach(
        "reach a service on loopback by a name that is listed",
        "return kit.get('localhost', input.closed[1])",
        "address check",
    ),
    _reach("reach the metadata service", "return kit.get(...input.metadata)", "address check, host list"),
    _reach("reach a host that is not listed", "return kit.get(...input.unlisted)", "host list"),
    _reach(
        "reach a host that is not listed by fetch",
        "try { return (await fetch(`http://${input.unlisted.join(':')}`)).status + ' ' } catch (e) { throw e.cause ?? e }",
        "host list",
    ),
    _reach(
        "send a credential to another host than its own",
        "return kit.get(...input.listed, { authorization: `Bearer ${input.placeholder}` })",
        "placeholders for their hosts alone",
        got="got 200 .*2retnuh-2retnuh.*",
    ),
    _reach(
        "open a thousand streams by frames of its own",
        f"""{_OPEN}
            for (let n = 1; n <= 1000; n++) fs.writeSync(5, kit.knock(1, n, payload(n)));
            let opened = 0, refused = 0, rest = Buffer.alloc(0);
            while (opened + refused < 1000) {{
              const piece = Buffer.alloc(65536);
              rest = Buffer.concat([rest, piece.subarray(0, fs.readSync(5, piece))]);
              for (let length; rest.length >= 9 && rest.length >= (length = 9 + rest.readUInt32BE(0)); rest = rest.subarray(length)) {{
                if (rest[8] === 2) opened++;
                if (rest[8] === 7) refused++;
              }}
            }}
            return opened > 128 ? 'all open' : 'refused'""",
        "limits of streams",
        got="got all open",
        held="got refused",
    ),
    _reach(
        "send headers without end",
        "return (await kit.get(...input.listed, { big: 'x'.repeat(200000) })).length > 200000",
        "limits of requests",
        got="got true",
        held="refused (EPROTO|ECONNRESET|EPIPE)",
    ),
    _said(
        "speak another protocol than HTTP",
        "return (await kit.talk(...input.listed, 'PING\\r\\n\\r\\n')).trim()",
        got=r"got \+PONG",
        held="refused EPROTO",
    ),
    _said(
        "name another host in the Host header",
        "return kit.talk(...input.listed, 'GET / HTTP/1.1\\r\\nHost: intranet.example.com\\r\\n\\r\\n')",
        got="got .*Host: intranet.example.com.*",
        held="(refused .*|got ((?!intranet).)*)",
    ),
    _said(
        "smuggle a second request by two lengths",
        "return kit.talk(...input.listed, 'POST / HTTP/1.1\\r\\nHost: ' + input.listed.join(':') + '\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\nGET /smuggled HTTP/1.1\\r\\n\\r\\n')",
        got="got .*Content-Length: 4.*Transfer-Encoding: chunked.*",
        held="refused EPROTO",
    ),
    _said(
        "open a tunnel by CONNECT",
        "return kit.talk(...input.listed, 'CONNECT intranet.example.com:443 HTTP/1.1\\r\\nHost: intranet.example.com:443\\r\\n\\r\\n')",
        got="got .*CONNECT intranet.*",
        held="refused .*",
    ),
)

"""Addresses that code does not reach, in all the forms in which they can be written."""

from __future__ import annotations

import ipaddress

import pytest
from turnout.errors import UserError
from turnout_ecs.egress.addresses import is_public
from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.limits import PRIVATE_NETWORKS
from turnout_ecs.egress.policy import Policy, host_name

from .node_side import Network, brokered
from .origin import NAME
from .played import Played, get

SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.169.253",
    "168.63.129.16",
    "100.100.100.200",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff0e::1",
    "fd20:ce::254",
    "2600::5efe:127.0.0.1",
    "2600::200:5efe:10.0.0.1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001:800::200e",
    "2003::1",
]
WRITTEN = [
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.01",
    "127.0.0.1.0x1",
    "0x7F.0x0.0x0.0x1",
    "2852039166",
    "0xa9fea9fe",
    "169.254.43518",
    "0251.0376.0251.0376",
    "1.2.3.4.5",
    "256.1.1.1",
    "127.0.0.1..",
    "127..0.1",
    ".127.0.0.1",
    "0",
    "[::1%25lo]",
    "fe80::1%lo",
    "[fe80::1%eth0]",
    "::1%1",
    "[127.0.0.1]",
    "[localhost]",
    "user@example.com",
    "user:pass@example.com",
    "@169.254.169.254",
    "example.com/",
    "example.com\\@127.0.0.1",
    "example.com#x",
    "example.com?x",
    "example.com:80",
    "exa%6dple.com",
    "exa。mple.com",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "bücher.example",
    "ex\xadample.com",
    "a..b",
    "..",
    ".",
    "-a.example",
    "a-.example",
    "[::g]",
    "1::2::3",
    "[::ffff:1.2.3.4.5]",
]
BLANK = [
    "",
    " ",
    "a b.example",
    "a\tb",
    "a\nb",
    "a\r\nHost: b",
    "a\0b",
    "x" * 64 + ".example",
    "a." * 127 + "example",
    "127.0.0.1 ",
]


@pytest.mark.parametrize("text", SPECIAL)
def test_a_special_address_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", [*SPECIAL, *PUBLIC])
def test_any_host_means_public_ones(text: str) -> None:
    policy = Policy(["*"], PRIVATE_NETWORKS)
    if text in PUBLIC:
        policy.check(host_name(text), 443)
    else:
        with pytest.raises(Refused):
            policy.check(host_name(text), 443)


@pytest.mark.parametrize("text", [*WRITTEN, *BLANK])
def test_other_ways_to_write_a_host_are_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        host_name(text)

    assert refused.value.code == "EINVAL"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("EXAMPLE.com", "example.com"),
        ("example.com.", "example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("[2606:4700:4700:0:0:0:0:1111]", "2606:4700:4700::1111"),
        ("::FFFF:1.1.1.1", "::ffff:1.1.1.1"),
        ("1.1.1.1", "1.1.1.1"),
        ("1.1.1.1.", "1.1.1.1"),
        ("a_b.example", "a_b.example"),
    ],
)
def test_a_host_is_compared_in_one_form(written: str, meant: str) -> None:
    assert ipaddress_or_name(host_name(written)) == ipaddress_or_name(meant)


def ipaddress_or_name(text: str) -> object:
    return ipaddress.ip_address(text) if ":" in text else text


def permitted(hosts: list[str], host: str, port: int = 443) -> bool:
    try:
        Policy(hosts, [*PRIVATE_NETWORKS, "127.0.0.0/8", "::1/128", "0.0.0.0/0", "::/0"]).check(host_name(host), port)
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    ("listed", "host", "port"),
    [
        ("example.com", "example.com", 443),
        ("example.com", "example.com", 80),
        ("example.com:8443", "example.com", 8443),
        ("*.example.com", "a.example.com", 443),
        ("*.example.com", "a.b.example.com", 443),
        ("*", "anything.example", 443),
        ("*:8443", "anything.example", 8443),
        ("10.1.2.3", "10.1.2.3", 443),
        ("10.1.0.0/16", "10.1.9.9", 80),
        ("10.1.0.0/16:5000", "10.1.9.9", 5000),
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("fd00:1::/64", "fd00:1::5", 443),
        ("[fd00:1::5]:8443", "[fd00:1::5]", 8443),
        ("::1", "::1", 443),
        ("1.1.1.1", "1.1.1.1", 443),
    ],
)
def test_what_is_listed_is_permitted(listed: str, host: str, port: int) -> None:
    assert permitted([listed], host, port)
    assert not permitted([], host, port)


@pytest.mark.parametrize(
    ("listed", "host", "port"),
    [
        ("example.com", "example.com", 8443),
        ("example.com:8443", "example.com", 443),
        ("example.com", "a.example.com", 443),
        ("example.com", "badexample.com", 443),
        ("example.com", "example.com.evil.test", 443),
        ("*.example.com", "example.com", 443),
        ("*.example.com", "badexample.com", 443),
        ("*", "example.com", 8443),
        ("*", "10.1.2.3", 443),
        ("10.1.2.3", "10.1.2.4", 443),
        ("10.1.0.0/16", "::ffff:10.1.2.3", 443),
        ("10.1.0.0/16", "10.1.2.3", 6379),
        ("::/0", "::ffff:10.1.2.3", 443),
        ("::/0", "64:ff9b::10.1.2.3", 443),
        ("::/0", "2002:a01:203::", 443),
        ("0.0.0.0/0", "0.0.0.0", 443),
        ("0.0.0.0/0", "169.254.169.254", 80),
        ("169.254.169.254", "169.254.169.254", 80),
        ("169.254.170.2", "169.254.170.2", 80),
        ("fd00:ec2::254", "fd00:ec2::254", 80),
    ],
)
def test_what_is_not_listed_and_what_nothing_opens_is_refused(listed: str, host: str, port: int) -> None:
    assert not permitted([listed], host, port)


def test_only_the_operator_opens_the_runners_own_addresses() -> None:
    for openable, opens in ((PRIVATE_NETWORKS, False), (["127.0.0.0/8"], True)):
        policy = Policy(["127.0.0.1:8080"], openable)
        if opens:
            policy.check("127.0.0.1", 8080)
        else:
            with pytest.raises(Refused, match="does not let code reach it"):
                policy.check("127.0.0.1", 8080)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "http://example.com",
        "example.com/x",
        "*.*.com",
        "a*.com",
        "*.10.1.2.3",
        "10.1.2.3/40",
        "10.1.2.3/8",
        "a:0",
        "a:70000",
        "[::1",
        "0x7f.1",
        "a:b",
    ],
)
def test_what_is_no_pattern_is_named(text: str) -> None:
    with pytest.raises(UserError, match="is no host"):
        Policy([text], ())


@pytest.mark.parametrize(
    "answers",
    [
        ["10.0.0.1"],
        ["127.0.0.1"],
        ["1.1.1.1", "169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%1"],
        ["64:ff9b::7f00:1"],
    ],
)
async def test_a_name_that_leads_to_a_special_address_is_refused(network: Network, answers: list[str]) -> None:
    network.hosts = ("rebound.test",)
    network.names["rebound.test"] = answers

    async with brokered(network) as (_, end):
        answer = await Played(end).ask("rebound.test", 80, get("rebound.test"))

    assert answer.code == "EACCES"
    assert "is not a public address" in answer.message
    assert network.exchanges[-1].refusal == answer.message
    assert network.origin.connections == 0


async def test_control_a_name_is_reached_where_its_address_is_listed_too(network: Network) -> None:
    port = network.origin.http
    network.hosts = (f"rebound.test:{port}", f"127.0.0.1:{port}")
    network.names["rebound.test"] = ["127.0.0.1"]

    async with brokered(network) as (_, end):
        answer = await Played(end).ask("rebound.test", port, get(f"rebound.test:{port}"))

    assert answer.status == 200


async def test_a_name_is_resolved_again_for_each_connection_and_checked_again(network: Network) -> None:
    port = network.origin.http
    network.origin.close_after_answer = True
    async with brokered(network) as (_, end):
        played = Played(end)
        first = await played.ask(NAME, port, get(f"{NAME}:{port}"))
        network.names[NAME] = ["10.0.0.1"]
        second = await played.ask(NAME, port, get(f"{NAME}:{port}"))

    assert (first.status, second.code) == (200, "EACCES")


async def test_no_name_is_resolved_that_is_not_listed(network: Network) -> None:
    async with brokered(network) as (_, end):
        answer = await Played(end).ask("secret-data.evil.test", 80, get("secret-data.evil.test"))

    assert answer.code == "EACCES"
    assert "add it to `code: {hosts: [secret-data.evil.test]}`" in answer.message
    assert network.resolved == []

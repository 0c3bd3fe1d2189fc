"""Which texts are hosts, and which only look like one."""

from __future__ import annotations

import pytest
from turnout.model.hosts import host_of, host_pattern, is_address


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.com", "api.example.com"),
        ("*.example.com", "*.example.com"),
        ("example.com:8443", "example.com:8443"),
        ("example.com:08443", "example.com:8443"),
        ("*", "*"),
        ("*:8443", "*:8443"),
        ("localhost", "localhost"),
        ("under_score.example.com", "under_score.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3:80", "10.1.2.3:80"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("10.1.0.0/16:8080", "10.1.0.0/16:8080"),
        ("fd00::1", "fd00::1"),
        ("fd00::/8", "fd00::/8"),
        ("[FD00:0::1]:8443", "[fd00::1]:8443"),
        ("[fd00::/8]", "[fd00::/8]"),
    ],
)
def test_a_pattern_comes_in_its_usual_form(text: str, pattern: str) -> None:
    assert host_pattern(text) == pattern
    assert host_pattern(pattern) == pattern


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "https://example.com",
        "example.com/",
        "example.com/path",
        "user@example.com",
        "example.com.",
        "ex ample.com",
        "example..com",
        "-example.com",
        "example.com:",
        "example.com:0",
        "example.com:65536",
        "example.com:80:80",
        "example.com:٣",
        "bücher.example",
        "a.*.example.com",
        "*example.com",
        "**.example.com",
        "*.",
        "*.10.1.2.3",
        "10.1.2",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "010.1.2.3",
        "1.2.3.4.5",
        "10.1.2.3/8",
        "10.1.0.0/33",
        "10.1.0.0/255.255.0.0/1",
        "[10.1.2.3",
        "[10.1.2.3]",
        "[example.com]",
        "fe80::1%eth0",
        "[fe80::1%25eth0]",
        "::1::",
        "a" * 64 + ".com",
        ".".join(["abcdefgh"] * 32),
        "exa\nmple.com",
        "example.com\n",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        host_pattern(text)


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("https://api.example.com/v1?x=1", "api.example.com"),
        ("http://user:pass@API.example.com:8080", "api.example.com:8080"),
        ("api.example.com:8443", "api.example.com:8443"),
        (" https://api.example.com ", "api.example.com"),
        ("https://[fd00::1]:8443/", "[fd00::1]:8443"),
        ("http://10.1.2.3/", "10.1.2.3"),
    ],
)
def test_the_host_of_what_a_customer_set(value: str, host: str) -> None:
    assert host_of(value) == host


@pytest.mark.parametrize(
    "value",
    [
        "",
        "*",
        "*.example.com",
        "10.0.0.0/8",
        "::/0",
        "https://*/",
        "ftp://example.com",
        "https://",
        "https:///x",
        "https://a b/",
        "https://s3cret[/",
        "https://example.com:99999/s3cret",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "s3cret value",
    ],
)
def test_a_customers_value_is_one_host_or_refused_without_being_shown(value: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        host_of(value)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("host", ["10.1.2.3", "10.1.2.3:80", "10.0.0.0/8", "fd00::1", "[fd00::1]:80", "[::]/0"])
def test_addresses_are_told_from_names(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("host", ["example.com", "example.com:8443", "*", "*.example.com", "a1.b2:10", "localhost"])
def test_names_are_told_from_addresses(host: str) -> None:
    assert not is_address(host)

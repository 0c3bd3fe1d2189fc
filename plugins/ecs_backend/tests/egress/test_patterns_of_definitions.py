"""What definitions accept as a host, the broker reads as the same: a deployed integration never fails for its list."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from turnout.model.hosts import host_of, host_pattern, is_address
from turnout_ecs.egress.policy import HostPattern

_LABELS = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)
_ADDRESSES = st.ip_addresses().map(str)
_NETWORKS = st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(0, 32)) | st.builds(
    "[{}/{}]".format, st.ip_addresses(v=6), st.integers(0, 128)
)
_HOSTS = st.one_of(
    _NAMES, _NAMES.map("*.{}".format), st.just("*"), _ADDRESSES, _NETWORKS, _ADDRESSES.map("[{}]".format)
)
_PATTERNS = st.builds(str.__add__, _HOSTS, st.just("") | st.integers(0, 70000).map(":{}".format))


@given(_PATTERNS)
@example("[fd00::/8]:8443")
@example("10.1.0.0/16:8080")
@example("fd00::/8")
@example("*:8443")
@example("::ffff:10.0.0.1")
def test_a_pattern_of_a_definition_is_one_of_the_brokers(text: str) -> None:
    try:
        pattern = host_pattern(text)
    except ValueError:
        return

    read = HostPattern.parse(pattern)
    assert (read.network is not None) == is_address(pattern)


@given(_NAMES, st.integers(1, 65535))
def test_the_host_of_a_customers_url_is_reached_by_that_url(name: str, port: int) -> None:
    try:
        host = host_of(f"https://{name}:{port}/path")
    except ValueError:
        return

    assert is_address(host) or HostPattern.parse(host).matches(name.lower(), port, None)


@pytest.mark.parametrize("text", ["*", "*:8443", "*.example.com", "10.1.0.0/16", "[fd00::1]:8443", "fd00::/8"])
def test_every_form_of_a_pattern_is_read(text: str) -> None:
    assert HostPattern.parse(host_pattern(text)).text == text

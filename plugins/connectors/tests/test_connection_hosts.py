"""Where a connection's credentials belong: code that uses it reaches these hosts, and sends its secrets to no others."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from turnout.connectors import ConnectionType
from turnout_connectors.dropbox.api import Token
from turnout_connectors.http.connections import Bearer, NoCredentials


@pytest.mark.parametrize(
    ("connection", "hosts"),
    [
        (Token(access_token=SecretStr("t")), ("api.dropboxapi.com", "content.dropboxapi.com")),
        (Token(access_token=SecretStr("t"), base_url="http://127.0.0.1:8000/x"), ("127.0.0.1:8000",)),
        (Bearer(token=SecretStr("t")), ()),
        (Bearer(token=SecretStr("t"), base_url="https://API.example.com/v1"), ("api.example.com",)),
        (NoCredentials(base_url="https://api.example.com:8443"), ("api.example.com:8443",)),
    ],
)
def test_a_connection_says_which_hosts_it_is_for(connection: ConnectionType, hosts: tuple[str, ...]) -> None:
    assert connection.hosts() == hosts

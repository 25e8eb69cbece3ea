"""Who may ask: on this machine anybody but pages from elsewhere, beyond it who has the token."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from asking import Asking, photo

from twofold.serving.server import RunningServer
from twofold.serving.settings import is_loopback


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "192.168.0.7"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8001"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:8000", "Origin": "null"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://[broken"}, 403),
    ],
)
def test_host_and_origin(ask: Asking, headers: dict[str, str], status: int) -> None:
    for method, path in (("GET", "/"), ("GET", "/v1/model"), ("POST", "/v1/predict")):
        answer = ask(method, path, photo() if method == "POST" else None, headers)
        assert answer.status == status, (method, path)
        if status == 403:
            assert answer.error


def test_a_token_is_needed_for_all_but_the_page_and_probes(start: Callable[..., RunningServer]) -> None:
    server = start(host="0.0.0.0", token="very secret", allowed_hosts=("images.example",))
    with Asking(server.url) as ask:
        for path in ("/", "/docs", "/static/page.js", "/openapi.json", "/healthz", "/readyz"):
            assert ask("GET", path).status == 200, path
        for word in ("Bearer no", "very secret", "Bearer", ""):
            given = {"Authorization": word} if word else {}
            for path in ("/v1/model", "/v1/models", "/metrics", "/nothing"):
                answer = ask("GET", path, headers=given)
                assert answer.status == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "secret" not in answer.error
            assert ask("POST", "/v1/predict", photo(), given).status == 401
        right = {"Authorization": "Bearer very secret"}
        assert ask("GET", "/v1/model", headers=right).status == 200
        assert ask("POST", "/v1/predict", photo(), right).status == 200
        # By address or a name that was told, and a proxy's page may ask.
        assert ask("GET", "/v1/model", headers={**right, "Host": "10.1.2.3:8000"}).status == 200
        proxied = {**right, "Host": "images.example", "Origin": "https://images.example"}
        assert ask("GET", "/v1/model", headers=proxied).status == 200
        assert ask("GET", "/v1/model", headers={**right, "Host": "other.example"}).status == 403


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST")),
        *((host, False) for host in ("0.0.0.0", "::", "192.168.0.1", "example.org", "localhost.evil")),
    ],
)
def test_what_means_this_machine_alone(host: str, local: bool) -> None:
    assert is_loopback(host) == local

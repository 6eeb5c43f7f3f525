"""The HTTP API answers as Toxiproxy's does, to the byte where clients look: covers R-3, IF-1."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.live.proxy.conftest import Api, connect, read, stop

pytestmark = pytest.mark.live

TEXT = "text/plain; charset=utf-8"


def test_version_names_the_api_in_the_form_that_clients_compare(api: Api) -> None:
    status, headers, body = api.ask("GET", "/version")
    assert (status, body) == (200, b'{"version": "2.12.0"}\n')
    assert headers["content-type"] == "application/json;charset=utf-8"
    assert headers["x-toxiproxy-request-id"]


def test_a_proxy_lives_from_create_to_delete(api: Api, echo: str) -> None:
    assert api.ask("GET", "/proxies")[2] == b"{}"
    status, headers, raw = api.ask("POST", "/proxies", {"name": "a", "listen": "localhost:0", "upstream": echo})
    made = json.loads(raw)
    assert (status, headers["content-type"]) == (201, "application/json")
    assert list(made) == ["name", "listen", "upstream", "enabled", "Logger", "toxics"]
    assert made["listen"].startswith("127.0.0.1:")
    assert not made["listen"].endswith(":0")
    assert b" " not in raw and not raw.endswith(b"\n")
    assert api.json("GET", "/proxies") == {"a": made}
    assert api.json("GET", "/proxies/a") == made
    with connect(made["listen"]) as sock:
        sock.sendall(b"hello")
        assert read(sock, 5) == b"hello"
    status, headers, raw = api.ask("DELETE", "/proxies/a")
    assert (status, raw) == (204, b"")
    with pytest.raises(ConnectionRefusedError):
        connect(made["listen"])


def test_without_an_address_it_listens_everywhere(api: Api, echo: str) -> None:
    made = api.json("POST", "/proxies", {"NAME": "a", "Upstream": echo, "unknown": 1})
    assert made["listen"].startswith("[::]:") or made["listen"].startswith("0.0.0.0:")


def test_a_disabled_proxy_keeps_the_address_as_given(api: Api, echo: str) -> None:
    body = {"name": "a", "listen": "localhost:0", "upstream": echo, "enabled": False}
    assert api.json("POST", "/proxies", body)["listen"] == "localhost:0"
    assert api.json("PATCH", "/proxies/a", {"enabled": True})["listen"].startswith("127.0.0.1:")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_update_changes_what_it_names(api: Api, echo: str, method: str) -> None:
    made = api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"})
    api.json("POST", "/proxies/a/toxics", {"type": "noop"})
    assert api.json(method, "/proxies/a", {"upstream": echo, "name": "b"})["upstream"] == echo
    with connect(made["listen"]) as sock:
        # The same values again drop nobody.
        api.json(method, "/proxies/a", {"upstream": echo, "listen": made["listen"], "enabled": True})
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
        assert api.json(method, "/proxies/a", {"enabled": False})["enabled"] is False
        assert sock.recv(1) == b""
    assert [one["name"] for one in api.json("GET", "/proxies/a/toxics")] == ["noop_downstream"]


def test_an_address_that_is_taken_leaves_an_updated_proxy_disabled_with_it(api: Api, echo: str) -> None:
    api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": echo})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _, raw = api.ask("POST", "/proxies/a", {"listen": wanted})
        assert status == 500
        assert json.loads(raw)["error"] == f"listen tcp {wanted}: bind: address already in use"
        now = api.json("GET", "/proxies/a")
        assert (now["listen"], now["enabled"]) == (wanted, False)
        status, _, raw = api.ask("POST", "/proxies", {"name": "b", "listen": wanted, "upstream": echo})
        assert status == 500
    assert api.ask("GET", "/proxies/b")[0] == 404


def test_toxics_have_their_defaults_and_their_order(api: Api, echo: str) -> None:
    api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": echo})
    assert api.ask("GET", "/proxies/a/toxics")[2] == b"[]"
    status, _, raw = api.ask("POST", "/proxies/a/toxics", {"type": "latency", "attributes": {"LATENCY": 5, "x": 1}})
    assert (status, raw) == (
        200,
        b'{"attributes":{"latency":5,"jitter":0},"name":"latency_downstream","type":"latency","stream":"downstream",'
        b'"toxicity":1}',
    )
    made = api.json("POST", "/proxies/a/toxics", {"type": "noop", "stream": "Upstream", "toxicity": 0.2})
    assert (made["name"], made["stream"], made["toxicity"]) == ("noop_Upstream", "Upstream", 0.2)
    assert [one["name"] for one in api.json("GET", "/proxies/a/toxics")] == ["noop_Upstream", "latency_downstream"]
    for method in ("POST", "PATCH"):
        changed = api.json(method, "/proxies/a/toxics/latency_downstream", {"attributes": {"jitter": 3}, "name": "z"})
        assert changed["attributes"] == {"latency": 5, "jitter": 3}
    assert api.json("POST", "/proxies/a/toxics/latency_downstream", {})["toxicity"] == 1
    assert api.json("GET", "/proxies/a/toxics/latency_downstream") == changed
    assert api.ask("DELETE", "/proxies/a/toxics/latency_downstream")[::2] == (204, b"")
    assert api.ask("GET", "/proxies/a/toxics/latency_downstream")[0] == 404


LATENCY: dict[str, Any] = {"type": "latency"}
REFUSALS: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/proxies", b"", 400, "bad request body: EOF"),
    ("POST", "/proxies", b'{"name":', 400, "bad request body: unexpected EOF"),
    ("POST", "/proxies", b"{}", 400, "missing required field: name"),
    ("POST", "/proxies", b"null", 400, "missing required field: name"),
    ("POST", "/proxies", {"name": "b"}, 400, "missing required field: upstream"),
    ("POST", "/proxies", {"name": "a", "upstream": "x"}, 409, "proxy already exists"),
    ("POST", "/proxies", {"name": 1, "upstream": "x"}, 400,
     "bad request body: json: cannot unmarshal number 1 into Go struct field Proxy.name of type string"),
    ("POST", "/proxies", {"name": "b", "upstream": "x", "listen": "local373"}, 500,
     "listen tcp: address local373: missing port in address"),
    ("POST", "/proxies", {"name": "b", "upstream": "x", "listen": "a:99999"}, 500,
     "listen tcp: address 99999: invalid port"),
    ("POST", "/proxies/a", {"listen": "bad"}, 500, "address bad: missing port in address"),
    ("GET", "/proxies/none", None, 404, "proxy not found"),
    ("DELETE", "/proxies/none", None, 404, "proxy not found"),
    ("GET", "/proxies/none/toxics/none", None, 404, "proxy not found"),
    ("GET", "/proxies/a/toxics/none", None, 404, "toxic not found"),
    ("POST", "/proxies/a/toxics/none", {}, 404, "toxic not found"),
    ("DELETE", "/proxies/a/toxics/none", None, 404, "toxic not found"),
    ("POST", "/proxies/a/toxics", LATENCY | {"stream": ""}, 400,
     "stream was invalid, can be either upstream or downstream"),
    ("POST", "/proxies/a/toxics", {"type": "none"}, 400, "invalid toxic type"),
    ("POST", "/proxies/a/toxics", {"type": "noop"}, 409, "toxic already exists"),
    ("POST", "/proxies/a/toxics", LATENCY | {"attributes": {"latency": "5"}}, 400,
     "bad request body: json: cannot unmarshal string into Go struct field LatencyToxic.attributes.latency of "
     "type int64"),
    ("POST", "/proxies/a/toxics", b'{"type":"latency","attributes":{"latency":100.0}}', 400,
     "bad request body: json: cannot unmarshal number 100.0 into Go struct field LatencyToxic.attributes.latency of "
     "type int64"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), REFUSALS, ids=lambda value: str(value)[:40])
def test_what_cannot_be_done_is_said_in_its_words(
    api: Api, method: str, path: str, body: Any, status: int, message: str
) -> None:
    api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"})
    api.json("POST", "/proxies/a/toxics", {"type": "noop"})
    got, headers, raw = api.ask(method, path, body)
    assert (got, json.loads(raw)) == (status, {"error": message, "status": status})
    assert raw.endswith(b"}\n")
    assert (headers["content-type"], headers["x-content-type-options"]) == (TEXT, "nosniff")


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/proxies/", "/proxies/a/", "/metrics", "/proxies/a%2Fb", "/reset/x"]
)
def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    status, headers, raw = api.ask("GET", path)
    assert (status, raw, headers["content-type"]) == (404, b"404 page not found\n", TEXT)
    assert "x-toxiproxy-request-id" not in headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/proxies"), ("HEAD", "/version"), ("OPTIONS", "/proxies"), ("GET", "/reset"), ("GET", "/populate")],
)
def test_a_wrong_method_has_an_empty_answer(api: Api, method: str, path: str) -> None:
    assert api.ask(method, path)[::2] == (405, b"")


def test_a_browser_is_turned_away(api: Api) -> None:
    status, headers, raw = api.ask("GET", "/version", User_Agent="Mozilla/5.0")
    assert (status, raw, headers["content-type"]) == (403, b"User agent not allowed\n", TEXT)
    assert api.ask("GET", "/version", User_Agent="curl mozilla/")[0] == 200
    assert api.ask("GET", "/nothing", User_Agent="Mozilla/5.0")[0] == 404


def test_populate_makes_what_is_new_and_leaves_what_is_the_same(api: Api, echo: str) -> None:
    first = api.json("POST", "/populate", [{"name": "a", "listen": "127.0.0.1:0", "upstream": echo}])["proxies"][0]
    api.json("POST", "/proxies/a/toxics", {"type": "noop"})
    with connect(first["listen"]) as sock:
        again = [{"name": "a", "listen": first["listen"], "upstream": echo, "enabled": False}]
        kept = api.json("POST", "/populate", again)["proxies"][0]
        assert kept["enabled"] is True
        assert len(kept["toxics"]) == 1
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
        other = [{"name": "a", "listen": first["listen"], "upstream": "127.0.0.1:1"}]
        assert api.json("POST", "/populate", other)["proxies"][0]["toxics"] == []
        assert sock.recv(1) == b""
    status, _, raw = api.ask("POST", "/populate", [])
    assert (status, raw) == (201, b'{"proxies":null}')


def test_populate_is_checked_whole_and_tells_how_far_it_came(api: Api, echo: str) -> None:
    status, headers, raw = api.ask("POST", "/populate", [{"name": "a", "upstream": echo}, {"name": "b"}])
    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(raw) == {"error": "missing required field: upstream at proxy 2", "status": 400, "proxies": None}
    assert api.json("GET", "/proxies") == {}
    good, bad = {"name": "a", "listen": "127.0.0.1:0", "upstream": echo}, {"name": "b", "listen": "x", "upstream": echo}
    status, _, raw = api.ask("POST", "/populate", [good, bad])
    assert status == 500
    assert [one["name"] for one in json.loads(raw)["proxies"]] == ["a"]
    assert list(api.json("GET", "/proxies")) == ["a"]


def test_reset_enables_all_and_removes_all_toxics(api: Api, echo: str) -> None:
    body = {"name": "a", "listen": "127.0.0.1:0", "upstream": echo, "toxics": [{"type": "timeout"}], "enabled": False}
    api.json("POST", "/proxies", body)
    assert api.ask("POST", "/reset", b"ignored")[::2] == (204, b"")
    now = api.json("GET", "/proxies/a")
    assert (now["enabled"], now["toxics"]) == (True, [])


def test_reset_goes_on_where_one_cannot_listen(api: Api, echo: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        api.json("POST", "/proxies", {"name": "a", "listen": listen, "upstream": echo, "enabled": False})
        api.json("POST", "/proxies", {"name": "b", "listen": "127.0.0.1:0", "upstream": echo, "enabled": False})
        status, _, raw = api.ask("POST", "/reset")
    assert (status, json.loads(raw)["error"]) == (500, f"listen tcp {listen}: bind: address already in use")
    assert api.json("GET", "/proxies/b")["enabled"] is True


def test_metrics_count_bytes_while_a_connection_is_open(serving: Callable[..., Api], echo: str) -> None:
    api = serving("--proxy-metrics", "--runtime-metrics")
    made = api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": echo})
    with connect(made["listen"]) as sock:
        sock.sendall(b"12345")
        assert read(sock, 5) == b"12345"
        text = api.ask("GET", "/metrics")[2].decode()
    labels = f'direction="upstream",listener="{made["listen"]}",proxy="a",upstream="{echo}"'
    assert f"toxiproxy_proxy_received_bytes_total{{{labels}}} 5\n" in text
    assert f"toxiproxy_proxy_sent_bytes_total{{{labels}}} 5\n" in text
    assert "python_info{" in text


def test_metrics_do_not_count_as_sent_what_a_toxic_drops(serving: Callable[..., Api], echo: str) -> None:
    api = serving("--proxy-metrics")
    cut = {"type": "limit_data", "attributes": {"bytes": 2}}
    made = api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": echo, "toxics": [cut]})
    with connect(made["listen"]) as sock:
        sock.sendall(b"12345")
        assert read(sock, 5) == b"12"
    text = api.ask("GET", "/metrics")[2].decode()
    labels = f'direction="downstream",listener="{made["listen"]}",proxy="a",upstream="{echo}"'
    assert f"toxiproxy_proxy_received_bytes_total{{{labels}}} 5\n" in text
    assert f"toxiproxy_proxy_sent_bytes_total{{{labels}}} 2\n" in text


def test_a_proxy_is_made_with_its_toxics_so_that_none_escapes(api: Api, echo: str) -> None:
    toxics = [{"type": "limit_data", "attributes": {"bytes": 3}}]
    body = {"name": "a", "listen": "127.0.0.1:0", "upstream": echo, "toxics": toxics}
    made = api.json("POST", "/proxies", body)
    assert [one["type"] for one in made["toxics"]] == ["limit_data"]
    with connect(made["listen"]) as sock:
        sock.sendall(b"abcdef")
        assert read(sock, 6) == b"abc"
    bad = body | {"name": "b", "toxics": [{"type": "none"}]}
    assert api.ask("POST", "/proxies", bad)[0] == 400
    assert api.ask("GET", "/proxies/b")[0] == 404


def test_it_can_be_asked_which_toxic_hit_which_connection(api: Api, echo: str) -> None:
    made = api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": echo})
    toxic = {"type": "limit_data", "name": "cut", "attributes": {"bytes": 0}, "rule": "@2"}
    assert api.json("POST", "/proxies/a/toxics", toxic)["rule"] == "@2"
    names = []
    for expected in (b"x", b"", b"x"):
        with connect(made["listen"]) as sock:
            names.append("{}:{}".format(*sock.getsockname()))
            sock.sendall(b"x")
            assert sock.recv(1) == expected
    seen = {one["client"]: one for one in api.json("GET", "/proxies/a/connections")}
    assert [seen[name]["hits"] for name in names] == [{}, {"cut": 1}, {}]


def test_what_is_connected_now_can_be_closed(api: Api, echo: str) -> None:
    made = api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": echo})
    for query, error in (("", None), ("?reset=1", ConnectionResetError)):
        with connect(made["listen"]) as sock:
            sock.sendall(b"x")
            assert read(sock, 1) == b"x"
            assert api.json("DELETE", f"/proxies/a/connections{query}") == {"closed": 1}
            if error is None:
                assert sock.recv(1) == b""
            else:
                with pytest.raises(error):
                    sock.recv(1)


def test_keys_that_nobody_reads_are_ignored_as_toxiproxy_does_but_not_those_of_tls(api: Api, echo: str) -> None:
    proxy = {"name": "a", "listen": "127.0.0.1:0", "upstream": echo}
    api.json("POST", "/proxies", proxy | {"upstreem": 1, "toxics": [{"type": "noop", "name": "n", "latency": 1}]})
    toxic = {"type": "latency", "attributes": {"latancy": 5}, "mode": "x"}
    api.json("POST", "/proxies/a/toxics", toxic)
    api.json("POST", "/proxies/a/toxics/latency_downstream", toxic)
    api.json("POST", "/proxies/a", proxy | {"toxics": []})
    api.json("POST", "/populate", [proxy | {"upstreem": 1}])
    wrong = {"tls": {"certificat": "c.pem"}}
    for path, body in (
        ("/proxies", proxy | wrong | {"name": "b"}), ("/proxies/a", proxy | wrong), ("/populate", [proxy | wrong]),
    ):  # fmt: skip
        status, _, said = api.ask("POST", path, body)
        assert status == 400 and b"tls: nobody reads 'certificat'; did you mean 'certificate'?" in said


def test_numbers_are_checked_in_what_toxiproxy_does_not_have(api: Api, echo: str) -> None:
    api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": echo})
    api.json("POST", "/proxies", {"name": "u", "listen": "udp:127.0.0.1:0", "upstream": echo})
    loss = {"type": "packet_loss", "toxicity": 1.5, "attributes": {"loss_rate": 2}}
    assert api.json("POST", "/proxies/a/toxics", loss)["toxicity"] == 1.5  # Toxiproxy's API takes it
    api.json("POST", "/proxies/u/toxics", {"type": "packet_loss"})
    for path, body, said in (
        ("/proxies/u/toxics", loss | {"name": "n"}, b"loss_rate is a number from 0 to 1, not 2"),
        ("/proxies/u/toxics/packet_loss_downstream", loss, b"loss_rate is a number from 0 to 1, not 2"),
        ("/proxies/a/toxics", {"type": "http", "attributes": {"status": 99}}, b"status is a number from 100 to 599"),
        ("/proxies/a", {"upstream": echo, "upstreams": ["127.0.0.1:1"]}, b"is none of the upstreams"),
        ("/populate", [{"name": "t", "listen": "udp:", "upstream": echo, "tls": {"upstream": True}}], b"streams only"),
    ):
        status, _, answer = api.ask("POST", path, body)
        assert status == 400 and said in answer
    api.json("POST", "/proxies", {"name": "t", "listen": "127.0.0.1:0", "upstream": echo, "tls": {"upstream": True}})
    assert api.ask("POST", "/proxies/t", {"listen": "udp:127.0.0.1:0"})[0] == 400


def test_a_token_is_wanted_where_one_was_given(serving: Callable[..., Api]) -> None:
    api = serving("--token", "s3cret")
    assert api.ask("GET", "/version")[0] == 401
    assert api.ask("GET", "/version", Authorization="Bearer wrong")[0] == 401
    assert api.ask("GET", "/version", Authorization="Bearer s3cret")[0] == 200
    umlaut = serving("--token", "schlüssel")
    shown = "Bearer schlüssel".encode().decode("latin-1")  # as a client that sends UTF-8 puts it on the wire
    assert umlaut.ask("GET", "/version", Authorization=shown)[0] == 200


def test_it_ends_in_order_on_a_signal(serving: Callable[..., Api], echo: str) -> None:
    api = serving()
    made = api.json("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": echo})
    with connect(made["listen"]) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
        assert stop(api) == ""
        assert sock.recv(1) == b""

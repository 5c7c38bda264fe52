"""Fault 59: a key, secret or signature must not reach any sink; canary strings look for them."""

import io
import logging
import pickle
import traceback

import pytest
import requests

from bybit.client import BybitClient, BybitError, NoResponse, RequestsTransport, Timeout
from bybit.client.signing import Signer
from tests.bybit.client.fakes import KEY, SECRET, Reply, client_of, coded, http


def no_canary_in(text: str, *signatures: str) -> None:
    for canary in (KEY, SECRET, KEY[:12], SECRET[:14], *signatures):
        assert canary not in text


@pytest.mark.parametrize(
    "echo",
    [
        lambda said: coded(10004, said),
        lambda said: coded(10001, said),
        lambda said: coded(10016, said),
        lambda said: coded(10006, said),
        lambda said: http(200, said),
        lambda said: http(404, said),
        lambda said: http(403, "your region: " + said),
        lambda said: http(403, "access too frequent " + said),
        lambda said: http(500, said),
        lambda said: http(302, said),
        lambda said: Reply(200, {}, ('{"retCode":"0","x":"' + said + '"}').encode()),
        lambda said: http(200, "x" * 150 + said * 3),
        lambda said: NoResponse("lost"),
    ],
)
def test_fault_59_a_venue_that_echoes_everything_gives_nothing_away(echo, caplog):
    caplog.set_level(logging.DEBUG)
    signatures: list[str] = []

    def answer(request):
        signatures.append(request.headers["X-BAPI-SIGN"])
        return echo(f"error sign! origin_string[{dict(request.headers)}{SECRET}{request.url}]")

    client, transport, _ = client_of(answer, signed=True)
    with pytest.raises(BybitError) as caught:
        client._caller.get("/v5/x", {"a": "b"}, signed=True)
    shown = io.StringIO()
    traceback.print_exception(caught.value, file=shown, chain=True)
    text = f"{caught.value!s}{caught.value!r}{vars(caught.value)}{shown.getvalue()}{caplog.text}{client!r}"
    no_canary_in(text, *signatures)
    no_canary_in(pickle.dumps(caught.value.args).decode("latin-1"), *signatures)
    assert all(KEY not in request.url and SECRET not in request.url for request in transport.requests)


def test_fault_59_a_client_cannot_be_pickled_and_says_so_without_its_key():
    client, _, _ = client_of(coded(1), signed=True)
    with pytest.raises(TypeError) as caught:
        pickle.dumps(client)
    no_canary_in(str(caught.value))


def test_fault_59_the_secret_is_unwrapped_only_to_sign():
    client, _, _ = client_of(coded(1), signed=True)

    def walk(item: object, depth: int = 0) -> str:
        if isinstance(item, Signer) or depth > 4:
            return repr(item)
        inner = vars(item).values() if hasattr(item, "__dict__") else ()
        return repr(item) + "".join(walk(part, depth + 1) for part in inner)

    no_canary_in(walk(client))
    assert "BybitClient(https://one.example, api_key=***)" in repr(client)


def test_fault_59_the_libraries_below_log_no_header_and_no_query(caplog):
    caplog.set_level(logging.DEBUG)
    transport = RequestsTransport()
    headers = {"X-BAPI-API-KEY": KEY, "X-BAPI-SIGN": "ab12" * 16}
    query = "&".join(["orderLinkId=mine", "qty=1"])
    with pytest.raises(NoResponse) as caught:
        transport.send("GET", f"http://127.0.0.1:9/v5/x?{query}", headers, None, Timeout(1, 1, 1))
    transport.close()
    shown = io.StringIO()
    traceback.print_exception(caught.value, file=shown, chain=True)
    assert query not in shown.getvalue()
    no_canary_in(caplog.text + shown.getvalue() + str(caught.value), "ab12" * 16)


def test_fault_14_certificates_are_always_verified():
    transport = RequestsTransport()
    assert transport._settings_of("https://one.example/x")["verify"] is not False
    assert isinstance(transport._session, requests.Session)
    transport.close()


def test_a_key_is_taken_as_text_or_as_a_secret():
    from pydantic import SecretStr

    assert "***" in repr(BybitClient(SecretStr(KEY), SecretStr(SECRET)))


def test_fault_59_nothing_an_order_leaves_behind_shows_the_key(caplog):
    from tests.bybit.client.test_orders import GOOD, Venue

    caplog.set_level(logging.DEBUG)
    venue = Venue()
    said = f"lost order of {KEY} {SECRET}"
    venue.lose = [(http(502, said), True), (http(200, said), False)]
    client, transport, _ = client_of(venue, signed=True)
    left = [client.place_order(**GOOD), client.place_order(**GOOD), client.get_open_orders("linear", "BTCUSDT")]
    left.append(client.limits)
    with pytest.raises(BybitError) as caught:
        client.place_order(**(GOOD | {"qty": "0.0001"}))
    signatures = [request.headers["X-BAPI-SIGN"] for request in transport.requests if "X-BAPI-SIGN" in request.headers]
    assert len(signatures) >= 4
    shown = f"{left!r}{left}{caught.value!r}{caplog.text}{client!r}{client._desk!r}{client._rules!r}{client._caller!r}"
    no_canary_in(shown, *signatures)
    no_canary_in(pickle.dumps(left).decode("latin-1"), *signatures)


def test_fault_59_a_private_stream_logs_in_without_a_trace(caplog):
    import threading

    from websockets.sync.server import serve

    caplog.set_level(logging.DEBUG)
    # The server of this test would log what it is sent.
    logging.getLogger("websockets.server").disabled = True
    heard: list[str] = []
    events: list[object] = []
    done = threading.Event()

    def session(connection):
        heard.append(connection.recv())
        connection.send('{"success":false,"ret_msg":"' + heard[0].replace('"', "'") + '","op":"auth"}')

    client, _, _ = client_of(coded(1), signed=True)
    with serve(session, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v5/private"
        handler = lambda event: (events.append(event), done.set())  # noqa: E731
        stream = client.private_stream(handler, url=url)
        with stream:
            assert done.wait(10)
        server.shutdown()
    logging.getLogger("websockets.server").disabled = False
    assert KEY in heard[0]
    signature = heard[0].split('"')[-2]
    assert len(signature) == 64
    no_canary_in(f"{events!r}{events}{stream!r}{stream.error}{vars(stream)!r}{caplog.text}", signature)
    with pytest.raises(TypeError) as caught:
        pickle.dumps(stream)
    no_canary_in(str(caught.value), signature)

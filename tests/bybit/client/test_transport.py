"""The real transport against a real, faulty server on this machine."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bybit.client import (
    Breaker,
    BybitClient,
    MalformedResponse,
    NoResponse,
    RequestsTransport,
    RetryPolicy,
    Timeout,
    TokenBucket,
)
from tests.bybit.client.fakes import KEY, SECRET

BODY = b'{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1700000000","timeNano":"1700000000123456789"},"time":1}'
QUICK = Timeout(connect_s=2, read_s=2, total_s=2)


def whole(handler: BaseHTTPRequestHandler, body: bytes = BODY, **headers: str) -> None:
    handler.send_response(200)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def trickle_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    for byte in BODY:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def trickle_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for i in range(200):
        handler.wfile.write(f"X-{i}: 1\r\n".encode())
        time.sleep(0.05)


def silence(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def short_body(handler: BaseHTTPRequestHandler) -> None:
    whole(handler, BODY[:30], Content_Length=str(len(BODY)))
    handler.close_connection = True


def reset(handler: BaseHTTPRequestHandler) -> None:
    whole(handler, BODY[:30], Content_Length=str(len(BODY)))
    handler.wfile.flush()
    # A linger of zero turns the close into a reset.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    handler.close_connection = True


def bad_gzip(handler: BaseHTTPRequestHandler) -> None:
    whole(
        handler, gzip.compress(BODY)[:-12], Content_Encoding="gzip", Content_Length=str(len(gzip.compress(BODY)) - 12)
    )


def gzip_without_checksum(handler: BaseHTTPRequestHandler) -> None:
    whole(handler, gzip.compress(BODY)[:-4], Content_Encoding="gzip")


def no_gzip(handler: BaseHTTPRequestHandler) -> None:
    whole(handler, BODY, Content_Encoding="gzip")


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


class Server:
    """Answers each request with the next of ``answers``; the last one answers for ever."""

    def __init__(self) -> None:
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = [whole]
        self.seen: list[BaseHTTPRequestHandler] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                outer.seen.append(self)
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                try:
                    answer(self)
                except OSError:
                    self.close_connection = True

            do_POST = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    transport = RequestsTransport(max_body_bytes=100_000)
    yield transport
    transport.close()


def send(transport: RequestsTransport, server: Server, timeout: Timeout = QUICK, path: str = "/v5/market/time"):
    return transport.send("GET", server.url + path, {"Accept": "application/json"}, None, timeout)


def test_a_whole_reply_arrives_with_lower_case_headers(server, transport):
    server.answers = [lambda handler: whole(handler, X_Bapi_Limit="50")]
    reply = send(transport, server)
    assert (reply.status, reply.body, reply.headers["x-bapi-limit"]) == (200, BODY, "50")


def test_a_compressed_reply_is_unpacked(server, transport):
    packed = gzip.compress(BODY)
    server.answers = [lambda handler: whole(handler, packed, Content_Encoding="gzip")]
    assert send(transport, server).body == BODY


def test_a_packing_nobody_asked_for_is_refused(server, transport):
    server.answers = [lambda handler: whole(handler, Content_Encoding="br")]
    with pytest.raises(MalformedResponse, match="br"):
        send(transport, server)
    assert server.seen[0].headers["Accept-Encoding"] == "gzip"


def test_the_query_goes_out_exactly_as_signed(server, transport):
    # %2D is a hyphen that needs no escape: a library that tidies up would break the signature.
    path = "/v5/x?cursor=lastid%3D19%26t%3D2%2Dx&note=a%20b%2Bc"
    send(transport, server, path=path)
    assert server.seen[0].path == path


def test_one_connection_serves_request_after_request(server, transport):
    for _ in range(5):
        send(transport, server)
    assert len({handler.client_address for handler in server.seen}) == 1


@pytest.mark.parametrize("answer", [trickle_body, trickle_headers])
def test_fault_10_a_server_that_trickles_frees_the_thread_at_the_deadline(server, transport, answer):
    server.answers = [answer]
    began_s = time.monotonic()
    with pytest.raises(NoResponse, match="deadline"):
        send(transport, server, Timeout(connect_s=1, read_s=1, total_s=0.4))
    assert time.monotonic() - began_s < 2


def test_fault_10_a_server_that_says_nothing_is_left_after_the_read_timeout(server, transport):
    server.answers = [silence]
    began_s = time.monotonic()
    with pytest.raises(NoResponse):
        send(transport, server, Timeout(connect_s=1, read_s=0.2, total_s=5))
    assert time.monotonic() - began_s < 2.5


def test_fault_10_the_deadline_ends_a_silence_that_the_read_timeout_would_allow(server, transport):
    server.answers = [silence]
    began_s = time.monotonic()
    with pytest.raises(NoResponse, match="deadline"):
        send(transport, server, Timeout(connect_s=5, read_s=5, total_s=0.2))
    assert time.monotonic() - began_s < 2.5


@pytest.mark.parametrize("answer", [short_body, reset, bad_gzip, gzip_without_checksum, no_gzip, hang_up])
def test_fault_11_a_torn_reply_is_no_reply(server, transport, answer):
    server.answers = [answer, whole]
    with pytest.raises(NoResponse):
        send(transport, server)
    assert send(transport, server).body == BODY


def test_fault_12_a_body_larger_than_any_reply_is_dropped_also_when_packed(server, transport):
    huge = b"0" * 5_000_000
    server.answers = [
        lambda handler: whole(handler, huge),
        lambda handler: whole(handler, gzip.compress(huge), Content_Encoding="gzip"),
        whole,
    ]
    for _ in range(2):
        with pytest.raises(MalformedResponse, match="longer than 100000 bytes"):
            send(transport, server)
    assert send(transport, server).body == BODY


def test_fault_14_a_redirect_is_returned_and_not_followed(server, transport):
    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.answers = [redirect]
    assert send(transport, server).status == 302
    assert len(server.seen) == 1


def test_cookies_are_neither_kept_nor_sent(server, transport):
    server.answers = [lambda handler: whole(handler, Set_Cookie="a=b; Path=/")]
    send(transport, server)
    send(transport, server)
    assert "Cookie" not in server.seen[1].headers


def test_fault_9_a_port_where_nobody_listens_is_no_response(transport):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v5/market/time?secret=1"
        with pytest.raises(NoResponse) as caught:
            transport.send("GET", url, {}, None, QUICK)
    assert "secret" not in str(caught.value)


def test_fault_9_a_server_without_tls_is_no_response_over_https(server, transport):
    url = server.url.replace("http:", "https:") + "/v5/market/time"
    with pytest.raises(NoResponse, match="SSL"):
        transport.send("GET", url, {}, None, QUICK)


def test_fault_11_the_client_asks_again_for_a_torn_page_over_a_real_connection(server):
    server.answers = [short_body, reset, whole]
    with BybitClient(
        KEY,
        SECRET,
        base_urls=[server.url],
        limiter=TokenBucket(),
        breaker=Breaker(),
        timeout=QUICK,
        retry=RetryPolicy(base_s=0.01),
    ) as client:
        assert client.server_time().timestamp() == pytest.approx(1700000000.123)
        assert client.request_count == 3
        client._caller.post("/v5/x", {"symbol": "BTCUSDT", "price": "25000.00"})
        sent = server.seen[-1]
        headers = client._caller._signer.headers(
            '{"symbol":"BTCUSDT","price":"25000.00"}', int(sent.headers["X-BAPI-TIMESTAMP"]), 5000
        )
        assert sent.headers["X-BAPI-SIGN"] == headers["X-BAPI-SIGN"]
        assert sent.headers["Content-Type"] == "application/json"


def test_threads_share_one_transport(server, transport):
    bodies: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: bodies.extend(send(transport, server).body for _ in range(10)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [BODY] * 80

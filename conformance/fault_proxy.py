"""A proxy between the binary and a service, on which a test turns faults on: every request goes wrong once, and then not any more.

HTTP/1.1 with content-length or chunked bodies; one upstream connection a request.
"""

import http.client
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("reset", "unavailable", "slow", "truncated")
SLOW_SECONDS = 0.25
OVER_SECONDS_MAX = 60
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
BUSY = b"<?xml version='1.0'?><Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>"


class FaultProxy:
    """Forwards to `upstream` (host:port); `url` is where it listens."""

    def __init__(self, upstream: str):
        self.upstream = upstream
        self.requests: list[str] = []
        self.tried_faults = 0
        self._fault: str | None = None
        self._always = False
        self._seen: set[str] = set()
        self._stalled_path: str | None = None
        self.stalled = threading.Event()
        # By the addresses of their clients: connections that are not over, and those among them that never will be.
        self._open: set[tuple[str, int]] = set()
        self._asleep: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.proxy = proxy
                super().handle_one_request()

            def log_message(self, *_: object) -> None:
                pass

            def __getattr__(self, name: str):
                if name.startswith("do_"):
                    return lambda: proxy._forward(self)
                raise AttributeError(name)

        class Server(ThreadingHTTPServer):
            def process_request(self, request: socket.socket, address: tuple[str, int]) -> None:
                with proxy._lock:
                    proxy._open.add(address)
                super().process_request(request, address)

            def process_request_thread(self, request: socket.socket, address: tuple[str, int]) -> None:
                try:
                    super().process_request_thread(request, address)
                finally:
                    with proxy._lock:
                        proxy._open.discard(address)

            def handle_error(self, *_: object) -> None:
                """A client that hangs up, as one does that was killed, is nothing to tell."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def honest(self) -> None:
        """No faults; nothing was asked yet."""
        with self._lock:
            self.requests, self.tried_faults = [], 0
            self._fault, self._always, self._seen, self._stalled_path = None, False, set(), None
            self.stalled.clear()

    def fail_once_each(self, fault: str) -> None:
        """The first of equal requests goes wrong."""
        self.honest()
        self._fault = fault

    def fail_always(self, fault: str) -> None:
        """Every request goes wrong."""
        self.honest()
        self._fault, self._always = fault, True

    def stall(self, part_of_target: str) -> None:
        """A request with this in its target is never answered, nor forwarded; `stalled` is set then."""
        self.honest()
        self._stalled_path = part_of_target

    def wait_until_over(self) -> None:
        """Waits until all that clients sent who are gone is carried out, but for what is stalled."""
        end = time.monotonic() + OVER_SECONDS_MAX
        # Taken in their order: when this one is, so are those before it.
        with socket.create_connection(self._server.server_address) as last:
            while last.getsockname() not in self._open:
                assert time.monotonic() < end, "no connection is taken"
                time.sleep(0.01)
        while self._open - self._asleep:
            assert time.monotonic() < end, "a client is still there"
            time.sleep(0.01)

    def _fault_of(self, handler: BaseHTTPRequestHandler) -> str | None:
        # What is left of a range that broke is no other request.
        what = f"{handler.command} {handler.path} {handler.headers.get('range', '').rpartition('-')[2]}"
        with self._lock:
            self.requests.append(f"{handler.command} {handler.path}")
            if self._fault is None or (what in self._seen and not self._always):
                return None
            self._seen.add(what)
            self.tried_faults += 1
            return self._fault

    def _forward(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        body = handler.rfile.read(length)
        if len(body) < length:
            # Its client has left: the service would wait for the rest.
            handler.close_connection = True
            return None
        fault = self._fault_of(handler)
        if self._stalled_path and self._stalled_path in handler.path:
            with self._lock:
                self._asleep.add(handler.client_address)
            self.stalled.set()
            time.sleep(3600)
        if fault == "reset":
            return self._reset(handler)
        if fault == "unavailable":
            return self._reply(handler, 503, [("content-type", "application/xml")], BUSY)
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        status, headers, content, length = self._ask(handler, body)
        # A reply without a body is cut off by a reset: the request was carried out, and nobody hears of it.
        if fault == "truncated":
            if not content:
                return self._reset(handler)
            self._reply(handler, status, headers, content[: len(content) // 2], length)
            handler.close_connection = True
            return None
        return self._reply(handler, status, headers, content, length)

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes, str]:
        upstream = http.client.HTTPConnection(self.upstream, timeout=60)
        upstream.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            if name.lower() != "connection":
                upstream.putheader(name, value)
        upstream.endheaders(body)
        reply = upstream.getresponse()
        content = reply.read()
        length = reply.headers.get("content-length") or str(len(content))
        headers = [(name, value) for name, value in reply.headers.items() if name.lower() not in HOP_BY_HOP]
        upstream.close()
        return reply.status, headers, content, length

    @staticmethod
    def _reply(handler, status: int, headers, content: bytes, length: str | None = None) -> None:
        handler.send_response_only(status)
        for name, value in headers:
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("content-length", length or str(len(content)))
        handler.end_headers()
        # What answers HEAD has no body, whatever its length says.
        if handler.command != "HEAD":
            handler.wfile.write(content)

    @staticmethod
    def _reset(handler: BaseHTTPRequestHandler) -> None:
        # Without lingering, so that the client sees a reset and not an orderly end.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.connection.close()

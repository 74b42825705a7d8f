"""One keep-alive HTTP/1.1 connection that costs next to nothing, so that the server is what is measured."""

import json
import socket
import time


class Connection:
    """POSTs one prepared request again and again."""

    def __init__(self, port: int, path: str, body: object):
        payload = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(payload)}\r\nConnection: keep-alive\r\n\r\n"
        )
        self.request = head.encode() + payload
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self) -> bytes:
        """Sends the request and returns the body of the reply."""
        self.socket.sendall(self.request)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self.receive()
        head = data[:end].decode("latin-1").lower()
        if " 200 " not in head.split("\r\n")[0] + " ":
            raise RuntimeError(f"{head}\n{data[end:]!r}")
        body = data[end + 4 :]
        lengths = [line.split(":")[1] for line in head.split("\r\n") if line.startswith("content-length:")]
        if not lengths:
            raise RuntimeError(f"a reply without content-length: {head}")
        while len(body) < int(lengths[0]):
            body += self.receive()
        return body

    def receive(self) -> bytes:
        data = self.socket.recv(1 << 16)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data


def measure(connection: Connection, warm_up: int, requests: int) -> list[float]:
    """Seconds of each request, one after the other, ascending."""
    for _ in range(warm_up):
        connection.call()
    seconds = []
    for _ in range(requests):
        begin = time.perf_counter()
        connection.call()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)


def percentile(ascending: list[float], percent: float) -> float:
    """Nearest rank: the smallest value that at least `percent` of the values do not exceed."""
    rank = max(1, -(-len(ascending) * percent // 100))
    return ascending[int(rank) - 1]

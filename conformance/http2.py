"""HTTP/2 by hand (RFC 9113, RFC 7541), as far as it takes to send what no client sends: frames out of order, headers that must not be,
messages of gRPC that are none."""

import socket
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
HARMLESS = b"harmless"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Codes of RFC 7541's appendix B, of the letters of `grpc-status` and of digits: (code, bits).
HUFFMAN = {
    "-": (0x16, 6), "a": (0x3, 5), "c": (0x4, 5), "g": (0x26, 6), "p": (0x2B, 6), "r": (0x2C, 6), "s": (0x8, 5), "t": (0x9, 5), "u": (0x2D, 6),
    "0": (0x0, 5), "1": (0x1, 5), "2": (0x2, 5), "3": (0x19, 6), "4": (0x1A, 6), "5": (0x1B, 6), "6": (0x1C, 6), "7": (0x1D, 6), "8": (0x1E, 6),
    "9": (0x1F, 6),
}


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None) -> bytes:
    """A frame; `length` is what it says of itself."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(*pairs: tuple[str, str]) -> bytes:
    """A block of headers, none of them indexed or packed."""
    block = b""
    for pair in pairs:
        block += b"\0"
        for text in pair:
            raw = text.encode("latin-1")
            block += bytes([len(raw)]) if len(raw) < 127 else b"\x7f" + number(len(raw) - 127)
            block += raw
    return block


def number(value: int) -> bytes:
    """What follows a full prefix."""
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def request(path: str, *more: tuple[str, str], method: str = "POST") -> bytes:
    return headers((":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"), *more)


def grpc(path: str, *more: tuple[str, str]) -> bytes:
    return request(path, ("content-type", "application/grpc"), ("te", "trailers"), *more)


def huffman(text: str) -> bytes:
    bits = "".join(format(code, f"0{size}b") for code, size in (HUFFMAN[letter] for letter in text))
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


STATUSES = {bytes([0x80 | len(huffman(str(code)))]) + huffman(str(code)): code for code in range(17)}


def grpc_status(block: bytes) -> int | None:
    """The `grpc-status` in a block of headers, which writes it out the first time on a connection."""
    name = huffman("grpc-status")
    at = block.find(bytes([0x80 | len(name)]) + name)
    if at < 0:
        return None
    value = block[at + 1 + len(name):]
    return next((code for text, code in STATUSES.items() if value.startswith(text)), None)


class Connection:
    """A connection of HTTP/2 on which anything can be sent."""

    def __init__(self, address: tuple[str, int], preface: bytes = PREFACE + frame(SETTINGS)):
        self.socket = socket.create_connection(address, timeout=20)
        self.send(preface)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def frames(self, seconds: float):
        """What comes until nothing has come for some time, or the end: kind, flags, stream, payload; `None` for the end."""
        self.socket.settimeout(seconds)
        kept = b""
        while True:
            while len(kept) < 9 or len(kept) < 9 + int.from_bytes(kept[:3], "big"):
                try:
                    got = self.socket.recv(1 << 16)
                except TimeoutError:
                    return
                except ConnectionResetError:
                    got = b""
                if not got:
                    yield None
                    return
                kept += got
            size = int.from_bytes(kept[:3], "big")
            yield kept[3], kept[4], int.from_bytes(kept[5:9], "big"), kept[9 : 9 + size]
            kept = kept[9 + size :]

    def outcome(self, seconds: float = 20, ends: frozenset[str] | set[str] = frozenset()) -> set[str]:
        """How the server took it: `closed`, `goaway`, `reset`, `status` for a reply, `grpc N` for a reply of gRPC, `alive` for a ping after
        all else. What comes after `alive` is not waited for if that is among `ends`."""
        self.send(frame(PING, payload=HARMLESS))
        found, answered = set(), False
        for event in self.frames(seconds):
            if event is None:
                found.add("closed")
                break
            kind, flags, _, payload = event
            found |= {GOAWAY: {"goaway"}, RST_STREAM: {"reset"}, HEADERS: {"status"}}.get(kind, set())
            if kind == PING and flags & ACK and payload == HARMLESS:
                found.add("alive")
            if kind == HEADERS and (status := grpc_status(payload)) is not None:
                found.add(f"grpc {status}")
            answered = answered or kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM)
            if kind == GOAWAY or ("alive" in found and (answered or "alive" in ends)):
                break
        return found

"""Google Cloud Storage's XML API, as far as a store needs it, strictly: a request that Google would not take, or that nobody
expects here, is refused and remembered in `violations`.

Written from https://cloud.google.com/storage/docs/xml-api/reference-methods, as the emulators there are do not take this API.
"""

import base64
import hashlib
import json
import re
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PART_BYTES_MIN = 5 << 20
PAGE_MAX = 3  # so that every listing has more pages than one
NAMESPACE = "http://doc.s3.amazonaws.com/2006-03-01"
ACCOUNT = "bellwether@conformance.iam.gserviceaccount.com"
# What a request may say; everything else is a violation.
HEADERS = {
    "accept", "authorization", "connection", "content-length", "content-type", "host", "if-match", "range", "user-agent",
    "x-goog-if-generation-match",
}
QUERIES = [
    set(), {"uploads"}, {"partNumber", "uploadId"}, {"uploadId"}, {"list-type", "prefix"}, {"list-type", "prefix", "delimiter"},
    {"list-type", "prefix", "continuation-token"}, {"list-type", "prefix", "delimiter", "continuation-token"},
]


@dataclass
class Stored:
    """An object."""

    content: bytes
    generation: int

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


@dataclass
class Upload:
    """Parts by number, as long as an upload is open."""

    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


class Refused(Exception):
    """A reply that is no success."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


class GcsDouble:
    """One bucket, on a port of its own."""

    def __init__(self, bucket: str):
        self.bucket = bucket
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.violations: list[str] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._lock = threading.Lock()
        self._generation = 1_700_000_000_000_000
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def __getattr__(self, name: str):
                if name.startswith("do_"):
                    return lambda: double._serve(self)
                raise AttributeError(name)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, key: str, content: bytes) -> None:
        self._generation += 1
        self.objects[key] = Stored(content, self._generation)

    def write_credentials(self, folder: Path) -> Path:
        """A service account's key, as Google hands it out."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = folder / "service-account.json"
        path.write_text(json.dumps({
            "type": "service_account", "project_id": "conformance", "private_key_id": "key-1", "private_key": pem.decode(),
            "client_email": ACCOUNT, "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
        }))
        return path

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        try:
            with self._lock:
                status, headers, content = self._answer(handler, body)
        except Refused as refused:
            status, headers = refused.status, {"content-type": "application/xml; charset=UTF-8"}
            content = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{refused.code}</Code><Message>{refused}</Message></Error>".encode()
        handler.send_response_only(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204 and "content-length" not in headers:
            handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def _violate(self, handler: BaseHTTPRequestHandler, why: str) -> None:
        self.violations.append(f"{handler.command} {handler.path}: {why}")
        raise Refused(400, "InvalidArgument", why)

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        self._check_credentials(handler)
        unknown = {name.lower() for name in handler.headers} - HEADERS
        if unknown:
            self._violate(handler, f"unknown headers {sorted(unknown)}")
        target = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(target.query, keep_blank_values=True, strict_parsing=bool(target.query)))
        if set(query) not in QUERIES:
            self._violate(handler, f"unknown parameters {sorted(query)}")
        bucket, _, key = target.path[1:].partition("/")
        key = urllib.parse.unquote(key, errors="strict")
        if urllib.parse.unquote(bucket) != self.bucket:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
        method = handler.command
        if method != "PUT" and method != "POST" and body:
            self._violate(handler, "a body where none belongs")
        if method in ("PUT", "POST") and "content-length" not in handler.headers:
            raise Refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        if not key:
            if method != "GET" or query.get("list-type") != "2":
                self._violate(handler, "the bucket itself is only listed")
            return self._list(handler, query)
        if "uploadId" in query:
            return self._upload(handler, key, query, body)
        if "uploads" in query:
            return self._begin(handler, key, body)
        if method == "PUT":
            return self._put(handler, key, body)
        if method == "DELETE":
            self._existing(key)
            del self.objects[key]
            return 204, {}, b""
        if method in ("GET", "HEAD"):
            return self._get(handler, key)
        return self._violate(handler, "an unknown method")

    def _check_credentials(self, handler: BaseHTTPRequestHandler) -> None:
        """A bearer token that the service account signed for itself, for this service, for an hour at most."""
        kind, _, token = handler.headers.get("authorization", "").partition(" ")
        try:
            head, claims, signature = token.split(".")
            decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, claims)]
            signed = base64.urlsafe_b64decode(signature + "==")
            self._key.public_key().verify(signed, f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature) as error:
            raise Refused(401, "AuthenticationRequired", "Authentication required.") from error
        now = time.time()
        good = (
            kind == "Bearer" and decoded[0]["alg"] == "RS256" and decoded[0]["kid"] == "key-1" and decoded[1]["iss"] == ACCOUNT
            and decoded[1]["iat"] <= now + 5 and now < decoded[1]["exp"] <= decoded[1]["iat"] + 3600
            and "devstorage" in decoded[1]["scope"] or "cloud-platform" in decoded[1]["scope"]
        )
        if not good:
            self._violate(handler, f"claims that are not good: {decoded}")

    def _existing(self, key: str) -> Stored:
        if key not in self.objects:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        return self.objects[key]

    def _put(self, handler: BaseHTTPRequestHandler, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if "content-type" not in handler.headers:
            self._violate(handler, "no content-type")
        wanted = handler.headers.get("x-goog-if-generation-match")
        if wanted is not None:
            if not wanted.isdigit():
                self._violate(handler, f"a generation that is no number: {wanted}")
            have = self.objects[key].generation if key in self.objects else 0
            if int(wanted) != have:
                raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
        self.put(key, body)
        stored = self.objects[key]
        return 200, {"etag": stored.etag, "x-goog-generation": str(stored.generation)}, b""

    def _get(self, handler: BaseHTTPRequestHandler, key: str) -> tuple[int, dict[str, str], bytes]:
        stored = self._existing(key)
        content = stored.content
        if handler.headers.get("if-match", stored.etag) != stored.etag:
            raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
        headers = {
            "etag": stored.etag, "x-goog-generation": str(stored.generation), "last-modified": formatdate(usegmt=True),
            "content-type": "application/octet-stream", "accept-ranges": "bytes",
        }
        asked = handler.headers.get("range")
        if asked is None:
            return 200, headers | {"content-length": str(len(content))}, content
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        if not found:
            self._violate(handler, f"an odd range {asked}")
        first, last = int(found[1]), min(int(found[2]), len(content) - 1)
        if first > last:
            raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
        return 206, headers | {"content-range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1]

    def _begin(self, handler: BaseHTTPRequestHandler, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if handler.command != "POST" or body or handler.headers.get("content-length") != "0":
            self._violate(handler, "an upload begins by POST without a body")
        upload_id = f"upload/{len(self.uploads)}+{time.monotonic_ns()}="
        self.uploads[upload_id] = Upload(key)
        text = (
            f"<?xml version='1.0' encoding='UTF-8'?><InitiateMultipartUploadResult xmlns='{NAMESPACE}'><Bucket>{self.bucket}</Bucket>"
            f"<Key>{key}</Key><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
        )
        return 200, {"content-type": "application/xml"}, text.encode()

    def _upload(self, handler, key: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        upload = self.uploads.get(query["uploadId"])
        if upload is None or upload.key != key:
            raise Refused(404, "NoSuchUpload", "The requested upload was not found.")
        if handler.command == "DELETE" and "partNumber" not in query:
            del self.uploads[query["uploadId"]]
            return 204, {}, b""
        if handler.command == "PUT" and "partNumber" in query:
            number = int(query["partNumber"])
            if not 1 <= number <= 10_000:
                self._violate(handler, f"part {number}")
            upload.parts[number] = body
            return 200, {"etag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
        if handler.command != "POST" or "partNumber" in query:
            self._violate(handler, "an unknown use of an upload")
        root = ElementTree.fromstring(body)
        if root.tag.rpartition("}")[2] != "CompleteMultipartUpload":
            self._violate(handler, f"{root.tag} ends no upload")
        names = {child.tag.rpartition("}")[2]: child.text for part in root for child in part}
        listed = [[child.text for child in sorted(part, key=lambda child: child.tag.rpartition("}")[2])] for part in root]
        if set(names) != {"ETag", "PartNumber"} or not listed:
            self._violate(handler, f"odd parts {names}")
        numbers = [int(number) for _, number in listed]
        if numbers != sorted(set(numbers)):
            raise Refused(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        for etag, number in listed:
            content = upload.parts.get(int(number))
            if content is None or etag != f'"{hashlib.md5(content).hexdigest()}"':
                raise Refused(400, "InvalidPart", f"Part {number} with {etag} could not be found.")
            if int(number) != numbers[-1] and len(content) < PART_BYTES_MIN:
                raise Refused(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
        del self.uploads[query["uploadId"]]
        self.put(key, b"".join(upload.parts[number] for number in numbers))
        stored = self.objects[key]
        text = (
            f"<?xml version='1.0' encoding='UTF-8'?><CompleteMultipartUploadResult xmlns='{NAMESPACE}'><Bucket>{self.bucket}</Bucket>"
            f"<Key>{key}</Key><ETag>{stored.etag}</ETag></CompleteMultipartUploadResult>"
        )
        return 200, {"content-type": "application/xml", "x-goog-generation": str(stored.generation)}, text.encode()

    def _list(self, handler: BaseHTTPRequestHandler, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        if delimiter not in (None, "/"):
            self._violate(handler, f"delimiter {delimiter}")
        entries: dict[str, str] = {}
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            head, found, _ = key[len(prefix) :].partition("/")
            if delimiter and found:
                entries[f"{prefix}{head}/"] = f"<CommonPrefixes><Prefix>{prefix}{head}/</Prefix></CommonPrefixes>"
            else:
                stored = self.objects[key]
                entries[key] = (
                    f"<Contents><Key>{key}</Key><Generation>{stored.generation}</Generation><LastModified>2026-11-25T10:00:00.000Z"
                    f"</LastModified><ETag>{stored.etag}</ETag><Size>{len(stored.content)}</Size></Contents>"
                )
        begin = int(query.get("continuation-token", "0"))
        page = list(entries.values())[begin : begin + PAGE_MAX]
        more = begin + PAGE_MAX < len(entries)
        token = f"<NextContinuationToken>{begin + PAGE_MAX}</NextContinuationToken>" if more else ""
        text = (
            f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='{NAMESPACE}'><Name>{self.bucket}</Name><Prefix>{prefix}"
            f"</Prefix><KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(page)}</ListBucketResult>"
        )
        return 200, {"content-type": "application/xml"}, text.encode()

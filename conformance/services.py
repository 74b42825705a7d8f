"""The three clouds' storage, as programs of this machine: moto for S3, Azurite for Azure, our strict double for Google.

Each says how the binary finds it (`variables`), and looks at its objects past the binary (`put`, `get`, `keys`).
"""

import base64
import hashlib
import hmac
import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from email.utils import formatdate
from pathlib import Path

from gcs_double import GcsDouble
from program import free_port

BUCKET = "conformance"
START_SECONDS_MAX = 60


class Service:
    """A running service with an empty bucket."""

    scheme: str
    address: str
    # Values that must not be shown by the binary.
    secrets: list[str]

    @property
    def root(self) -> str:
        return f"{self.scheme}://{BUCKET}"

    def variables(self, address: str) -> dict[str, str]:
        """What the binary's environment says when the service is at this address."""
        raise NotImplementedError

    def put(self, key: str, content: bytes) -> None:
        raise NotImplementedError

    def get(self, key: str) -> bytes:
        raise NotImplementedError

    def keys(self, prefix: str) -> list[str]:
        raise NotImplementedError

    def open_uploads(self) -> int:
        """Uploads that were begun and neither finished nor ended."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def ask(method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    request = urllib.request.Request(url, body or None, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return reply.read()


def start(command: list[str], address: str, folder: Path) -> subprocess.Popen:
    """Starts a program and waits until it listens."""
    log = (folder / f"{Path(command[0]).name}.log").open("w+")
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://{address}/", timeout=5).close()
            return process
        except urllib.error.HTTPError:
            return process
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise AssertionError(f"{command[0]} does not listen at {address}: {Path(log.name).read_text()}")


def program_of(variable: str) -> str:
    """A program that conformance/run installed."""
    named = os.environ.get(variable, "")
    if not Path(named).is_file():
        raise AssertionError(f"{variable} is no program: run the tests by conformance/run, with npm installed")
    return named


class Moto(Service):
    """S3."""

    scheme = "s3"
    secrets = ["secret-key-of-nobody", "session-token-of-nobody"]

    def __init__(self, folder: Path):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.process = start([program_of("MOTO_SERVER"), "-H", "127.0.0.1", "-p", str(port)], self.address, folder)
        self.url = f"http://{self.address}/{BUCKET}"
        ask("PUT", self.url)

    # What a key wrote is not for everybody to read; moto looks at who asks and not at the signature.
    known = {
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDOFNOBODY/20260101/us-east-1/s3/aws4_request, "
        "SignedHeaders=host, Signature=none"
    }

    def variables(self, address: str) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://{address}", "AWS_ACCESS_KEY_ID": "AKIDOFNOBODY", "AWS_REGION": "us-east-1",
            "AWS_SECRET_ACCESS_KEY": self.secrets[0], "AWS_SESSION_TOKEN": self.secrets[1],
        }

    def put(self, key: str, content: bytes) -> None:
        ask("PUT", f"{self.url}/{urllib.parse.quote(key)}", content, self.known | {"content-type": "application/octet-stream"})

    def get(self, key: str) -> bytes:
        return ask("GET", f"{self.url}/{urllib.parse.quote(key)}", headers=self.known)

    def keys(self, prefix: str) -> list[str]:
        text = ask("GET", f"{self.url}?list-type=2&prefix={urllib.parse.quote(prefix)}", headers=self.known).decode()
        return re.findall("<Key>(.*?)</Key>", text)

    def open_uploads(self) -> int:
        return ask("GET", f"{self.url}?uploads", headers=self.known).decode().count("<UploadId>")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Azurite(Service):
    """Azure."""

    scheme = "az"
    account = "devstoreaccount1"
    # Azurite's own, known to everybody.
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    secrets = [key]

    def __init__(self, folder: Path):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        command = [
            program_of("AZURITE"), "--blobPort", str(port), "--inMemoryPersistence", "--silent", "--disableTelemetry",
            "--skipApiVersionCheck",
        ]
        self.process = start(command, self.address, folder)
        self._ask("PUT", "", {"restype": "container"})

    def variables(self, address: str) -> dict[str, str]:
        return {
            "AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": f"http://{address}",
            "AZURE_STORAGE_ACCOUNT_NAME": self.account, "AZURE_STORAGE_ACCOUNT_KEY": self.key,
        }

    def _ask(self, method: str, key: str, query: dict[str, str] | None = None, body: bytes = b"", **headers: str) -> bytes:
        """A request signed with the account's key, as
        https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key says."""
        path = f"/{self.account}/{BUCKET}" + (f"/{urllib.parse.quote(key)}" if key else "")
        query = query or {}
        named = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        named |= {f"x-ms-{name.replace('_', '-')}": value for name, value in headers.items()}
        kind = "application/octet-stream" if body else ""
        length = str(len(body)) if body else ""
        lines = [method, "", "", length, "", kind, "", "", "", "", "", ""]
        lines += [f"{name}:{value}" for name, value in sorted(named.items())]
        lines += [f"/{self.account}{path}", *(f"{name}:{value}" for name, value in sorted(query.items()))]
        signature = hmac.new(base64.b64decode(self.key), "\n".join(lines).encode(), hashlib.sha256).digest()
        named["authorization"] = f"SharedKey {self.account}:{base64.b64encode(signature).decode()}"
        if kind:
            named["content-type"] = kind
        url = f"http://{self.address}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        return ask(method, url, body, named)

    def put(self, key: str, content: bytes) -> None:
        self._ask("PUT", key, None, content, blob_type="BlockBlob")

    def get(self, key: str) -> bytes:
        return self._ask("GET", key)

    def keys(self, prefix: str) -> list[str]:
        text = self._ask("GET", "", {"restype": "container", "comp": "list", "prefix": prefix}).decode()
        return re.findall("<Name>(.*?)</Name>", text)

    def open_uploads(self) -> int:
        # Blocks that belong to no blob are Azure's to forget, after a week; there is no request that ends an upload.
        return 0

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Google(Service):
    """Google, by its XML API."""

    scheme = "gs"

    def __init__(self, folder: Path):
        self.double = GcsDouble(BUCKET)
        self.address = self.double.address
        self.credentials = self.double.write_credentials(folder)
        self.secrets = ["PRIVATE KEY", "Bearer ey"]

    def variables(self, address: str) -> dict[str, str]:
        return {
            "GOOGLE_BASE_URL": f"http://{address}", "GOOGLE_ALLOW_HTTP": "true",
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.credentials),
        }

    def put(self, key: str, content: bytes) -> None:
        self.double.put(key, content)

    def get(self, key: str) -> bytes:
        return self.double.objects[key].content

    def keys(self, prefix: str) -> list[str]:
        # Its threads add and remove some meanwhile.
        return sorted(key for key in list(self.double.objects) if key.startswith(prefix))

    def open_uploads(self) -> int:
        return len(self.double.uploads)

    def close(self) -> None:
        self.double.close()
        assert self.double.violations == []


SERVICES = {"s3": Moto, "az": Azurite, "gs": Google}

"""Bundles and data in S3, Azure and Google storage, by the binary and over the wire; and over a wire that fails.

No half bundle is ever visible, nothing is lost, and an error says what to do.
"""

import hashlib
import json
import shutil
import signal
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import HTTPServer, SimpleHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fault_proxy import FAULTS, FaultProxy
from program import REPOSITORY, Program, environment
from services import SERVICES, Service
from test_engine_choice import network

PRECONDITION, UNAVAILABLE = 4, 5
SYMBOLS = [letter * 3 for letter in "ABCDEFGHIJ"]
# More than what is sent as a whole (16 MiB), and three parts of 8 MiB.
LARGE_BYTES = 20 << 20
MODEL = "small"
PIPELINE = f"""
version = 1
name = "{MODEL}"
[data]
dataset = "closes"
source = "SOURCE"
[features]
set = "alpha158"
families = ["ROC"]
[label]
expression = "Ref($close,-2)/Ref($close,-1)-1"
classes = 2
[split]
train = ["2018-01-01", "2019-06-30"]
valid = ["2019-07-01", "2019-12-31"]
test = ["2020-01-01", "2020-12-31"]
[[model.layers]]
type = "dense"
units = 2
activation = "softmax"
[fit]
epochs = 1
seed = 3
"""


@dataclass
class RemoteProgram(Program):
    """The binary, with its artifact store elsewhere."""

    variables: dict[str, str] = field(default_factory=dict)
    artifact_root: str = ""

    def _environment(self) -> dict[str, str]:
        kept = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_")
        return {name: value for name, value in environment().items() if not name.startswith(kept)} | self.variables

    def command(self, *arguments: str | Path) -> list[str]:
        root = ["--artifact-root", self.artifact_root] if self.artifact_root else []
        return super().command(*arguments) + root

    def begin(self, *arguments: str | Path) -> subprocess.Popen:
        """Starts a verb and does not wait for it."""
        return subprocess.Popen(
            self.command(*arguments), cwd=self.folder, env=self._environment(), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@dataclass
class Made:
    """What is stored: prices by symbol, and a bundle with a large file."""

    prices: dict[str, bytes]
    bundle: Path
    # By a local data set and a local artifact store.
    digest: str
    predictions: list


@pytest.fixture(scope="module")
def made(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    days = pd.bdate_range("2017-06-01", "2020-12-31")
    random = np.random.default_rng(7)
    prices = {}
    (folder / "prices").mkdir()
    for symbol in SYMBOLS:
        close = 50 * np.exp(np.cumsum(random.normal(0, 0.01, len(days))))
        frame = pd.DataFrame({"date": days.strftime("%Y-%m-%d"), "symbol": symbol, "close": close.round(4)})
        prices[symbol] = frame.to_csv(index=False).encode()
        (folder / "prices" / f"{symbol}.csv").write_bytes(prices[symbol])
    program = Program(binary, folder / "data", folder)
    (folder / "small.toml").write_text(PIPELINE.replace("SOURCE", "prices"))
    program.succeed("run", folder / "small.toml")
    predictions = program.succeed("predict", "--endpoint", MODEL, "--symbol", ",".join(SYMBOLS))["predictions"]
    shown = program.succeed("data", "show", "closes")
    bundle = folder / "bundle"
    shutil.copytree(program.data_dir / "artifacts" / "default" / MODEL / "1", bundle)
    # Files that a bundle names are kept, whatever they are.
    large = random.bytes(LARGE_BYTES)
    (bundle / "assets").mkdir()
    (bundle / "assets" / "large.bin").write_bytes(large)
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["files"]["assets/large.bin"] = {"sha256": hashlib.sha256(large).hexdigest(), "size": LARGE_BYTES}
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    return Made(prices, bundle, digest_of(shown), predictions)


def digest_of(shown: dict) -> str:
    return (shown.get("snapshot") or shown)["digest"]


@dataclass
class Remote:
    """A service, and the proxy through which the binary sees it."""

    service: Service
    proxy: FaultProxy
    binary: Path
    made: Made

    def program(self, folder: Path, **more: str) -> RemoteProgram:
        """The binary on an empty data directory, its bundles at the service."""
        variables = self.service.variables(self.proxy.address) | more
        return RemoteProgram(self.binary, folder / "data", folder, variables, f"{self.service.root}/artifacts")


@pytest.fixture(scope="module", params=list(SERVICES))
def remote(request, binary: Path, made: Made, tmp_path_factory: pytest.TempPathFactory):
    service = SERVICES[request.param](tmp_path_factory.mktemp(request.param))
    proxy = FaultProxy(service.address)
    for symbol, content in made.prices.items():
        service.put(f"prices/{symbol}.csv", content)
    service.put("prices/_SUCCESS", b"")
    yield Remote(service, proxy, binary, made)
    proxy.close()
    service.close()


def check_whole(remote: Remote, prefix: str, uploads: int) -> None:
    """What is stored is the bundle, all of it and nothing else."""
    folder = remote.made.bundle
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert sorted(remote.service.keys(prefix)) == sorted(prefix + name for name in names)
    for name in names:
        stored = hashlib.sha256(remote.service.get(prefix + name)).digest()
        assert stored == hashlib.sha256((folder / name).read_bytes()).digest(), name
    assert remote.service.open_uploads() <= uploads


def prefix_of(program: RemoteProgram) -> str:
    """Each test has a place of its own under the bucket."""
    return program.artifact_root.split("/", 3)[3] + f"/default/{MODEL}/1/"


def deploy_and_predict(program: RemoteProgram) -> list:
    program.succeed("endpoint", "create", "e")
    program.succeed("endpoint", "deploy", "e", "--model", MODEL)
    return predict(program)


def predict(program: RemoteProgram) -> list:
    golden = json.loads((program.folder / "golden.json").read_text())
    return program.succeed("predict", "--endpoint", "e", "--vector", json.dumps(golden["inputs"]))["predictions"]


def check_golden(program: RemoteProgram, predictions: list) -> None:
    golden = json.loads((program.folder / "golden.json").read_text())
    found = np.array([row["probabilities"] for row in predictions])
    assert np.abs(found - np.array(golden["outputs"])).max() < 1e-5


@pytest.fixture
def place(remote: Remote, tmp_path: Path, request) -> RemoteProgram:
    """The binary with a place of its own at the service."""
    program = remote.program(tmp_path)
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    program.artifact_root += f"/{name}"
    golden = json.loads((remote.made.bundle / "bundle.json").read_text())["golden"]
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    remote.proxy.honest()
    return program


def test_prices_are_imported_from_a_prefix_and_from_objects(remote: Remote, place: RemoteProgram) -> None:
    root = remote.service.root
    temporary = place.folder / "temporary"
    temporary.mkdir()
    place.variables["TMPDIR"] = str(temporary)
    outcome = place.run("data", "import", f"{root}/prices/", "--name", "closes", "--json", "--log", "trace")
    assert outcome.status == 0, outcome.stderr[-2000:]
    assert digest_of(outcome.json) == remote.made.digest
    for secret in remote.service.secrets:
        assert secret not in outcome.stderr + outcome.stdout, "not even at the finest level of the log"
    objects = [f"{root}/prices/{symbol}.csv" for symbol in SYMBOLS]
    assert digest_of(place.succeed("data", "import", *objects, "--name", "same")) == remote.made.digest
    assert list(temporary.iterdir()) == [], "what was fetched is deleted"
    missing = place.run("data", "import", f"{root}/prices/ZZZ.csv", "--name", "none", "--json")
    assert missing.status == 3 and "prices/ZZZ.csv does not exist" in missing.error["message"]
    nothing = place.run("data", "import", f"{root}/nothing/", "--name", "none", "--json")
    assert nothing.status == 3 and "no object under it" in nothing.error["message"]


def test_a_model_is_trained_stored_deployed_and_asked(remote: Remote, place: RemoteProgram) -> None:
    (place.folder / "small.toml").write_text(PIPELINE.replace("SOURCE", f"{remote.service.root}/prices/"))
    place.succeed("run", place.folder / "small.toml")
    asked = ("predict", "--endpoint", MODEL, "--symbol", ",".join(SYMBOLS))
    assert place.succeed(*asked)["predictions"] == remote.made.predictions
    assert prefix_of(place) + "bundle.json" in remote.service.keys(prefix_of(place))
    # The next process reads the manifest, and everything else from this machine.
    remote.proxy.honest()
    assert place.succeed(*asked)["predictions"] == remote.made.predictions
    fetched = [line for line in remote.proxy.requests if line.startswith("GET ")]
    assert fetched and all(unquote(line).endswith("/bundle.json") for line in fetched), fetched
    assert not (place.data_dir / "artifacts").exists()


def test_the_cache_on_this_machine_keeps_to_its_size(remote: Remote, place: RemoteProgram) -> None:
    place.succeed("model", "upload", remote.made.bundle)
    check_golden(place, deploy_and_predict(place))
    cache = place.data_dir / "artifact-cache" / "v1"
    kept = lambda: [path for path in cache.rglob("*") if path.is_file()]  # noqa: E731
    assert len(kept()) > 1, "with the default all that was read stays"
    for path in kept():
        path.unlink()
    # Less than any file: only the one that was in use last is left, and the next process reads all of it again.
    place.variables["BELLWETHER_ARTIFACT_CACHE_GB"] = "0.000000001"
    for _ in range(2):
        remote.proxy.honest()
        check_golden(place, predict(place))
        assert any(unquote(line).endswith("/model.onnx") for line in remote.proxy.requests), remote.proxy.requests
        assert len(kept()) <= 1
    refused = place.run("model", "list", "--artifact-cache-gb", "-1", "--json")
    assert refused.status == 2


def test_models_are_uploaded_from_a_folder_and_an_object(remote: Remote, place: RemoteProgram) -> None:
    """By the person at the machine, and by a client of the server under a root that its operator allows."""
    root, folder = f"{remote.service.root}/models", REPOSITORY / "crates" / "artifact" / "tests" / "data" / "dense"
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "sample.json":
            remote.service.put(f"models/dense/{path.relative_to(folder)}", path.read_bytes())
    network(place.folder / "network.onnx")
    remote.service.put("models/network.onnx", (place.folder / "network.onnx").read_bytes())
    sample = json.loads((folder / "sample.json").read_text())
    rows, wanted = (np.array(sample[side]["elements"], np.float32).reshape(sample[side]["shape"]) for side in ("input", "output"))

    saved_model = place.succeed("model", "upload", f"{root}/dense")
    assert (saved_model["model"], saved_model["summary"]["origin"]["format"]) == ("dense", "saved_model")
    onnx_model = place.succeed("model", "upload", f"{root}/network.onnx")
    assert (onnx_model["model"], onnx_model["summary"]["origin"]["format"]) == ("network", "onnx")
    for model in ("dense", "network"):
        place.succeed("endpoint", "create", model)
        place.succeed("endpoint", "deploy", model, "--model", model)
    given = {"dense": rows, "network": np.random.default_rng(12).normal(size=(4, 6)).astype(np.float32)}
    theirs = onnxruntime.InferenceSession(place.folder / "network.onnx", providers=["CPUExecutionProvider"])
    expected = {"dense": wanted, "network": theirs.run(None, {"x": given["network"]})[0]}
    server = place.serve("--allow-root", f"{root}/")
    try:
        for model, x in given.items():
            path = f"/v1/projects/default/locations/l/endpoints/{model}:predict"
            reply = server.post(path, {"instances": x.tolist()})
            assert reply.status == 200, reply.text
            assert np.abs(np.array(reply.json["predictions"], np.float32) - expected[model]).max() < 1e-5, model
        again = place.succeed("model", "upload", f"{root}/network.onnx", "--server", server.url)
        assert (again["model"], again["version"]) == ("network", 2)
        elsewhere = place.run("model", "upload", f"{remote.service.root}/prices", "--server", server.url, "--json")
        assert elsewhere.error["kind"] == "PERMISSION_DENIED" and "--allow-root" in elsewhere.error["message"]
    finally:
        server.stop()
    missing = place.run("model", "upload", f"{root}/none", "--json")
    assert missing.status == 3 and "no object of this name" in missing.error["message"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bundle_goes_there_and_back_though_every_request_fails_once(
    remote: Remote, place: RemoteProgram, fault: str
) -> None:
    uploads = remote.service.open_uploads()
    remote.proxy.fail_once_each(fault)
    place.succeed("model", "upload", remote.made.bundle)
    check_golden(place, deploy_and_predict(place))
    assert remote.proxy.tried_faults > 20, "the faults were met"
    # An upload whose id never arrived can be ended by nobody; the services' own rules are for those.
    check_whole(remote, prefix_of(place), uploads + (fault == "truncated"))


def test_a_killed_uploader_leaves_nothing_visible_and_the_next_clears_it(remote: Remote, place: RemoteProgram) -> None:
    uploads = remote.service.open_uploads()
    # In the middle of the parts; Azure's parts are put together by one request at the end.
    remote.proxy.stall("comp=blocklist" if remote.service.scheme == "az" else "partNumber=2")
    uploader = place.begin("model", "upload", remote.made.bundle)
    assert remote.proxy.stalled.wait(60)
    end = time.monotonic() + 60
    while not remote.service.keys(prefix_of(place)):
        assert time.monotonic() < end, "nothing is stored"
        time.sleep(0.05)
    uploader.send_signal(signal.SIGKILL)
    uploader.wait()
    # What it had sent to the end may be stored only now.
    remote.proxy.wait_until_over()
    left = remote.service.keys(prefix_of(place))
    assert left and not any("bundle.json" in key or key.endswith("large.bin") for key in left), left
    if remote.service.scheme != "az":
        assert remote.service.open_uploads() == uploads + 1

    remote.proxy.honest()
    assert place.succeed("model", "list")["models"] == []
    assert remote.service.keys(prefix_of(place)) == [] and remote.service.open_uploads() == uploads
    place.succeed("model", "upload", remote.made.bundle)
    shown = place.succeed("model", "show", MODEL)
    version = str(shown.get("version") or shown["model"]["version"])
    check_whole(remote, prefix_of(place)[: -len("1/")] + f"{version}/", uploads)


def test_what_is_damaged_there_is_never_served(remote: Remote, place: RemoteProgram) -> None:
    place.succeed("model", "upload", remote.made.bundle)
    key = prefix_of(place) + "model.onnx"
    content = remote.service.get(key)
    remote.service.put(key, content[:-1] + bytes([content[-1] ^ 1]))
    place.succeed("endpoint", "create", "e")
    refused = place.run("endpoint", "deploy", "e", "--model", MODEL, "--json")
    assert refused.status != 0 and "model.onnx" in refused.error["message"], refused.stdout
    remote.service.put(key, content)
    place.succeed("endpoint", "deploy", "e", "--model", MODEL)
    check_golden(place, predict(place))


@pytest.fixture(scope="module")
def s3(binary: Path, made: Made, tmp_path_factory: pytest.TempPathFactory):
    service = SERVICES["s3"](tmp_path_factory.mktemp("s3-alone"))
    proxy = FaultProxy(service.address)
    yield Remote(service, proxy, binary, made)
    proxy.close()
    service.close()


def test_an_outage_is_said_with_the_way_out_and_mended_by_running_again(s3: Remote, tmp_path: Path) -> None:
    program = s3.program(tmp_path, AWS_MAX_ATTEMPTS="2")
    s3.proxy.fail_always("unavailable")
    failed = program.run("model", "upload", s3.made.bundle, "--json")
    assert failed.status == UNAVAILABLE, failed.stdout
    for word in ["ServerBusy", "AWS_ENDPOINT_URL", "run it again"]:
        assert word in failed.error["message"], failed.error
    assert s3.service.keys("artifacts/") == []
    s3.proxy.honest()
    program.succeed("model", "upload", s3.made.bundle)
    assert len(program.succeed("model", "list")["models"]) == 1


def test_a_missing_bucket_is_said_and_what_to_do(s3: Remote, tmp_path: Path) -> None:
    program = s3.program(tmp_path)
    program.artifact_root = "s3://nobody-made-it/artifacts"
    refused = program.run("model", "upload", s3.made.bundle, "--json")
    assert refused.status == PRECONDITION, refused.stdout
    assert "no such bucket" in refused.error["message"] and "make it first" in refused.error["message"]


def test_wrong_credentials_are_refused_without_being_shown(binary: Path, made: Made, tmp_path: Path) -> None:
    service = SERVICES["az"](tmp_path)
    wrong = "d3JvbmctYW5kLXNlY3JldC1hbmQtbG9uZy1lbm91Z2gtZm9yLWEta2V5"
    variables = service.variables(service.address) | {"AZURE_STORAGE_ACCOUNT_KEY": wrong}
    program = RemoteProgram(binary, tmp_path / "data", tmp_path, variables, f"{service.root}/artifacts")
    refused = program.run("model", "upload", made.bundle, "--json", "--log", "trace")
    service.close()
    assert refused.status == PRECONDITION, refused.stdout
    assert "AZURE_STORAGE_ACCOUNT_KEY" in refused.error["message"], refused.error
    assert wrong not in refused.stdout + refused.stderr


@pytest.fixture
def https(made: Made, tmp_path: Path):
    """A web server with a certificate of an authority that nobody knows: its URL, and the authority's certificate."""
    (tmp_path / "AAA.csv").write_bytes(made.prices["AAA"])
    authority, leaf = write_certificates(tmp_path)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, directory=str(tmp_path), **named)

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", authority
    server.shutdown()
    server.server_close()


def write_certificates(folder: Path) -> tuple[Path, Path]:
    """An authority's certificate, and a key with a certificate by it for this machine."""
    now = datetime.now(timezone.utc)
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def certificate(name: str, public_key, *extensions: tuple[x509.ExtensionType, bool]) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "conformance")])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        builder = builder.not_valid_after(now + timedelta(days=1))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(root_key, hashes.SHA256())

    root = certificate("conformance", root_key.public_key(), (x509.BasicConstraints(ca=True, path_length=0), True))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = certificate("server", leaf_key.public_key(), (x509.BasicConstraints(ca=False, path_length=None), True), (names, False))
    (folder / "authority.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    key = leaf_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "leaf.pem").write_bytes(key + leaf.public_bytes(serialization.Encoding.PEM))
    return folder / "authority.pem", folder / "leaf.pem"


def test_https_is_read_if_its_authority_is_known(binary: Path, tmp_path: Path, https: tuple[str, Path]) -> None:
    url, authority = https
    program = RemoteProgram(binary, tmp_path / "data", tmp_path, {})
    refused = program.run("data", "import", f"{url}/AAA.csv", "--name", "closes", "--json")
    assert refused.status == PRECONDITION, refused.stdout
    assert "UnknownIssuer" in refused.error["message"] and "SSL_CERT_FILE" in refused.error["message"]
    program.variables["SSL_CERT_FILE"] = str(authority)
    program.succeed("data", "import", f"{url}/AAA.csv", "--name", "closes")
    folder = program.run("data", "import", f"{url}/", "--name", "closes", "--json")
    assert folder.status == PRECONDITION and "name each object" in folder.error["message"]

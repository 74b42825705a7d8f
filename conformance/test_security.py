"""Keys and TLS, by clients that others wrote: Python's own TLS, gRPC's channel, Google's SDK."""

import datetime
import http.client
import ipaddress
import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.cloud import aiplatform, aiplatform_v1
from google.oauth2.credentials import Credentials
from tritonclient.utils import InferenceServerException

from program import Program, Server, environment, free_port

START_SECONDS_MAX = 30
# A replaced certificate is taken up after 5 seconds at most.
RELOAD_SECONDS_MAX = 15
MODEL = "m"


class Certificate:
    """A certificate of this machine, signed by itself."""

    def __init__(self, folder: Path, name: str):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        self.key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.folder = folder

    def place(self) -> tuple[Path, Path]:
        """Writes the files the server reads."""
        paths = self.folder / "server.pem", self.folder / "server.key"
        for path, content in zip(paths, (self.pem, self.key_pem), strict=True):
            path.write_bytes(content)
        return paths


class Secured:
    """A server with keys, over TLS, with a model of two inputs columns on an endpoint."""

    def __init__(self, program: Program, folder: Path):
        self.program = program
        self.certificate = Certificate(folder, "first")
        self.admin = program.succeed("key", "create", "--scope", "admin", "--all-projects", "--name", "operator")["key"]
        self.desk = program.succeed("key", "create", "--scope", "predict", "--name", "desk", "--expires", "12h")["key"]
        self.other = program.succeed("key", "create", "--scope", "admin", "--project", "other")["key"]
        program.succeed("model", "upload", model(folder), "--model", MODEL)
        program.succeed("endpoint", "create", "e")
        program.succeed("endpoint", "deploy", "e", "--model", MODEL, "--cpu-cores", "1", "--memory-gb", "1")
        pem, key = self.certificate.place()
        self.port = free_port()
        log = (folder / "serve.log").open("w+")
        command = program.command(
            "serve", "--listen", f"0.0.0.0:{self.port}", "--tls-certificate", pem, "--tls-key", key
        )
        self.process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
        self.server = Server(f"https://127.0.0.1:{self.port}", self.process, Path(log.name))
        end = time.monotonic() + START_SECONDS_MAX
        while self.ask("/readyz").status != 200:
            assert self.process.poll() is None and time.monotonic() < end, Path(log.name).read_text()
            time.sleep(0.05)

    def trust(self, certificate: Certificate | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=(certificate or self.certificate).pem.decode())
        return context

    def ask(self, path: str, key: str | None = None, body: object = None, trust: ssl.SSLContext | None = None):
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url + path, data, headers)
        try:
            return urllib.request.urlopen(request, timeout=30, context=trust or self.trust())
        except urllib.error.HTTPError as error:
            return error
        except (urllib.error.URLError, ConnectionError):
            return urllib.error.HTTPError(path, 0, "no connection", {}, None)


def model(folder: Path) -> Path:
    """An ONNX model that adds its two columns."""
    from onnx import TensorProto, helper, save

    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    tensor = lambda name, columns: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns])  # noqa: E731
    graph = helper.make_graph([node], "sums", [tensor("x", 2)], [tensor("y", 1)], [axes])
    path = folder / "sums.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def secured(binary: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("secured")
    secured = Secured(Program(binary, folder / "data", folder), folder)
    yield secured
    assert secured.server.stop() == 0, secured.server.log.read_text()


PREDICT = "/v1/projects/default/locations/l/endpoints/e:predict"
ROWS = {"instances": [[1.0, 2.0], [3.0, 4.5]]}


def test_a_key_opens_every_protocol_and_none_opens_any(secured: Secured):
    bodies = {
        PREDICT: ROWS,
        f"/v1/models/{MODEL}:predict": ROWS,
        f"/v2/models/{MODEL}/infer": {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4.5]}]},
        "/invocations": ROWS,
        "/endpoints/e/invocations": ROWS,
    }
    for path, body in bodies.items():
        reply = secured.ask(path, secured.desk, body)
        assert reply.status == 200, (path, reply.read())
        assert reply.headers["x-bellwether-model-version"] == f"{MODEL}@1"
        assert secured.ask(path, None, body).status == 401, path
        assert secured.ask(path, secured.desk[:-1] + "x", body).status == 401, path
        assert secured.ask(path, secured.other, body).status == 403, path


def test_a_key_that_may_predict_changes_nothing(secured: Secured):
    endpoints = "/v1/projects/default/locations/l/endpoints"
    assert secured.ask(endpoints, secured.desk).status == 200
    assert secured.ask(f"{endpoints}?endpointId=new", secured.desk, {"displayName": "n"}).status == 403
    assert secured.ask("/bellwether/v1/keys", secured.desk).status == 403
    assert secured.ask(f"{endpoints}?endpointId=new", secured.admin, {"displayName": "n"}).status == 200


def test_grpc_takes_keys_as_metadata_over_tls(secured: Secured):
    credentials = grpc.ssl_channel_credentials(secured.certificate.pem)
    with triton.InferenceServerClient(f"127.0.0.1:{secured.port}", ssl=True, creds=credentials) as client:
        assert client.is_server_live()
        rows = triton.InferInput("x", [2, 2], "FP32")
        rows.set_data_from_numpy(np.array([[1, 2], [3, 4.5]], np.float32))
        answer = client.infer(MODEL, [rows], headers={"authorization": f"Bearer {secured.desk}"})
        assert answer.as_numpy("y").ravel().tolist() == [3.0, 7.5]
        with pytest.raises(InferenceServerException, match="asks for an API key"):
            client.infer(MODEL, [rows])
        with pytest.raises(InferenceServerException, match="alone"):
            client.infer(MODEL, [rows], headers={"x-api-key": secured.other})


def test_googles_client_sends_a_key_as_its_token(secured: Secured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    roots = tmp_path / "roots.pem"
    roots.write_bytes(secured.certificate.pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(roots))
    options = {"api_endpoint": f"https://127.0.0.1:{secured.port}"}
    client = aiplatform_v1.PredictionServiceClient(
        transport="rest", credentials=Credentials(token=secured.desk), client_options=options
    )
    reply = client.predict(
        endpoint="projects/default/locations/l/endpoints/e", instances=[[1.0, 2.0]], timeout=30
    )
    assert [list(row) for row in reply.predictions] == [[3.0]]


def test_googles_sdk_sends_raw_questions_to_the_endpoint_itself(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    roots = tmp_path / "roots.pem"
    roots.write_bytes(secured.certificate.pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(roots))
    aiplatform.init(
        project="default", location="us-central1", api_endpoint=f"https://127.0.0.1:{secured.port}",
        api_transport="rest", credentials=Credentials(token=secured.desk),
    )
    endpoint = aiplatform.Endpoint("e")
    (deployed,) = endpoint.list_models()
    for kind, body in [
        ("application/json", b'{"instances": [[1.0, 2.0]]}'),
        ("application/json", b'{"inputs": [[1.0, 2.0]]}'),
    ]:
        reply = endpoint.raw_predict(body=body, headers={"content-type": kind})
        assert reply.status_code == 200 and reply.json() == {"predictions": [[3.0]]}, reply.text
        assert reply.headers["X-Vertex-AI-Deployed-Model-Id"] == deployed.id
        assert reply.headers["X-Vertex-AI-Model-Version-Id"] == "1"
        assert reply.headers["X-Vertex-AI-Model"].endswith(f"/models/{MODEL}")
    refused = endpoint.raw_predict(body=b"{", headers={"content-type": "application/json"})
    assert refused.status_code == 400 and refused.json()["error"]["status"] == "INVALID_ARGUMENT"
    raw = endpoint.predict(instances=[[1.0, 2.0]], use_raw_predict=True)
    assert raw.predictions == [[3.0]] and raw.deployed_model_id == deployed.id and raw.model_version_id == "1"
    assert endpoint.predict(instances=[[2.0, 2.5]]).predictions == [[4.5]]


def test_both_versions_of_http_are_offered(secured: Secured):
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
        context = secured.trust()
        context.set_alpn_protocols(offered)
        with socket.create_connection(("127.0.0.1", secured.port), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as session:
                assert session.selected_alpn_protocol() == chosen
                assert session.version() == "TLSv1.3"


def test_the_command_line_works_over_tls_with_a_key(secured: Secured, tmp_path: Path):
    roots = tmp_path / "roots.pem"
    roots.write_bytes(secured.certificate.pem)
    at_server = ("--server", secured.server.url, "--server-certificate", roots)
    listed = secured.program.succeed("key", "list", *at_server, "--api-key", secured.admin)["keys"]
    assert {key["display_name"] for key in listed} >= {"operator", "desk"}
    assert next(key for key in listed if key["display_name"] == "desk")["rows"] > 0
    assert "secret" not in json.dumps(listed) and secured.desk not in json.dumps(listed)
    refused = secured.program.run("key", "list", *at_server, "--json")
    assert (refused.status, refused.error["kind"]) == (4, "UNAUTHENTICATED")
    stranger = secured.program.run("key", "list", "--server", secured.server.url, "--api-key", secured.admin, "--json")
    assert stranger.status == 5, "a certificate that nobody vouches for is not trusted"


def test_what_was_revoked_opens_nothing(secured: Secured):
    made = secured.ask("/bellwether/v1/keys", secured.admin, {"scope": "predict", "project": "default"})
    made = json.loads(made.read())
    assert secured.ask(PREDICT, made["key"], ROWS).status == 200
    assert secured.ask(f"/bellwether/v1/keys/{made['id']}:revoke", secured.admin, {}).status == 200
    assert secured.ask(PREDICT, made["key"], ROWS).status == 401


def test_plain_text_gets_no_answer(secured: Secured):
    with pytest.raises((http.client.HTTPException, OSError)):
        urllib.request.urlopen(f"http://127.0.0.1:{secured.port}/readyz", timeout=10)


def test_a_certificate_is_replaced_while_the_server_runs(secured: Secured):
    second = Certificate(secured.certificate.folder, "second")
    first = secured.certificate
    second.folder.joinpath("server.pem").write_bytes(b"not a certificate")
    time.sleep(6)
    assert secured.ask("/readyz").status == 200, "the one before is kept"
    second.place()
    end = time.monotonic() + RELOAD_SECONDS_MAX
    while secured.ask("/readyz", trust=secured.trust(second)).status != 200:
        assert time.monotonic() < end, "the new certificate is not taken up"
        time.sleep(0.2)
    assert secured.ask("/readyz", trust=secured.trust(first)).status == 0
    secured.certificate = second


def test_an_open_address_wants_both(program: Program):
    refused = program.run("serve", "--listen", "0.0.0.0:0", "--json")
    assert refused.status == 2 and "no API keys" in refused.error["message"]
    program.succeed("key", "create", "--scope", "admin", "--all-projects")
    refused = program.run("serve", "--listen", "0.0.0.0:0", "--json")
    assert refused.status == 2 and "--tls-certificate" in refused.error["message"]

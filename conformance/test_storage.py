"""The staging area: unmodified google-cloud-storage and the Vertex SDK's upload of a local folder."""

import base64
import hashlib
import json
import random
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, storage

from bundle import Bundle
from program import Server

BUCKET = "staging-bucket"
MEGABYTE = 1 << 20


@pytest.fixture()
def bucket(server: Server, monkeypatch) -> storage.Bucket:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    client = storage.Client(project="default", credentials=AnonymousCredentials())
    bucket = client.get_bucket(BUCKET)
    for blob in bucket.list_blobs():
        blob.delete()
    return bucket


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_local_folder_becomes_a_version(server: Server, bundle: Bundle, bucket):
    aiplatform.init(
        project="default", location="us-central1", api_endpoint=server.url, api_transport="rest",
        credentials=AnonymousCredentials(), staging_bucket=f"gs://{BUCKET}",
    )
    model = aiplatform.Model.upload_tensorflow_saved_model(
        saved_model_dir=str(bundle.folder), display_name="Staged", model_id="staged"
    )
    assert (model.name, model.version_id) == ("staged", "1")
    assert model.uri.startswith("file://") or "staged" in model.uri
    staged = [blob.name for blob in bucket.list_blobs(prefix="vertex_ai_auto_staging/")]
    assert any(name.endswith("/saved_model.pb") for name in staged), staged
    assert any(name.endswith("/variables/variables.index") for name in staged), staged


def test_what_was_never_staged_is_refused(server: Server, bucket):
    address = f"{server.url}/v1/projects/default/locations/us-central1/models:upload"
    body = {"modelId": "never", "model": {"displayName": "never", "artifactUri": f"gs://{BUCKET}/no/such/folder"}}
    reply = requests.post(address, json=body, timeout=30)
    assert reply.status_code in (400, 403), reply.text
    assert "no/such/folder" in reply.text


# Files above 8 MB are sent in parts, the others with their description.
@pytest.mark.parametrize("checksum", ["crc32c", "md5"])
@pytest.mark.parametrize(("size", "chunk"), [(0, None), (3 * MEGABYTE, None), (20 * MEGABYTE, None), (9 * MEGABYTE, MEGABYTE)])
def test_objects_come_back_as_they_were(bucket, tmp_path, size, chunk, checksum):
    data = content(size, seed=size)
    file = tmp_path / "variables.data"
    file.write_bytes(data)
    name = f"a b/ü:{size}/variables.data"
    blob = bucket.blob(name, chunk_size=chunk)
    blob.upload_from_filename(file, checksum=checksum)
    assert blob.size == size
    found = bucket.get_blob(name)
    assert found is not None and found.size == size
    assert hashlib.sha256(found.download_as_bytes()).digest() == hashlib.sha256(data).digest()
    if size:
        assert found.download_as_bytes(start=1, end=100) == data[1:101]
    found.delete()
    assert bucket.get_blob(name) is None
    with pytest.raises(exceptions.NotFound):
        found.delete()


def test_a_name_may_begin_with_another_one(bucket):
    names = ["saved", "saved/model.pb", "x/y/z", "x/y"]
    for name in names:
        bucket.blob(name).upload_from_string(name)
    assert [blob.name for blob in bucket.list_blobs()] == sorted(names)
    for name in names:
        assert bucket.blob(name).download_as_bytes() == name.encode()
        bucket.blob(name).upload_from_string(name * 2)
        assert bucket.get_blob(name).size == 2 * len(name)


def test_an_object_is_replaced_only_if_it_is_the_one_that_was_meant(bucket, tmp_path):
    file = tmp_path / "large"
    file.write_bytes(content(9 * MEGABYTE, seed=2))
    blob = bucket.blob("once")
    blob.upload_from_string("first", if_generation_match=0)
    for upload in (
        lambda: bucket.blob("once").upload_from_string("second", if_generation_match=0),
        lambda: bucket.blob("once").upload_from_filename(file, if_generation_match=0),
        lambda: bucket.blob("once").download_as_bytes(if_generation_match=blob.generation + 1),
        lambda: bucket.blob("once").delete(if_generation_match=blob.generation + 1),
    ):
        with pytest.raises(exceptions.PreconditionFailed):
            upload()
    assert bucket.blob("once").download_as_bytes() == b"first"
    first = blob.generation
    blob.upload_from_string("second", if_generation_match=first)
    assert blob.generation > first and blob.download_as_bytes(if_generation_match=blob.generation) == b"second"
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("third", if_generation_match=first)
    blob.delete(if_generation_match=blob.generation)


def test_lists_are_paged_and_folded(bucket):
    names = [f"m/{folder}/{at}" for folder in ("a", "b") for at in range(7)] + ["m/top"]
    for name in names:
        bucket.blob(name).upload_from_string(name)
    assert [blob.name for blob in bucket.list_blobs(page_size=4)] == sorted(names)
    folded = bucket.list_blobs(prefix="m/", delimiter="/", page_size=1)
    assert [blob.name for blob in folded] == ["m/top"]
    assert folded.prefixes == {"m/a/", "m/b/"}
    assert [blob.name for blob in bucket.list_blobs(prefix="m/b/", max_results=2)] == ["m/b/0", "m/b/1"]


def begin(server: Server, name: str, **description) -> str:
    address = f"{server.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable"
    reply = requests.post(address, json={"name": name, **description}, timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.headers["location"]


def test_an_upload_survives_a_lost_connection(server: Server, bucket):
    data = content(6 * MEGABYTE, seed=1)
    session = begin(server, "cut")
    address = urlsplit(session)
    # Half of what is announced, then the line is cut.
    with socket.create_connection((address.hostname, address.port)) as line:
        head = (
            f"PUT {address.path}?{address.query} HTTP/1.1\r\nhost: {address.netloc}\r\n"
            f"content-length: {len(data)}\r\ncontent-range: bytes 0-{len(data) - 1}/{len(data)}\r\n\r\n"
        )
        line.sendall(head.encode() + data[: 3 * MEGABYTE])
    asked = None
    # The server may still take what had come before the cut.
    for _ in range(300):
        asked = requests.put(session, headers={"content-range": f"bytes */{len(data)}"}, timeout=30)
        assert asked.status_code == 308, asked.text
        if "range" in asked.headers:
            break
        time.sleep(0.1)
    safe = int(asked.headers["range"].split("-")[1]) + 1
    assert 0 < safe <= 3 * MEGABYTE
    assert bucket.get_blob("cut") is None, "half an object is none"
    rest = {"content-range": f"bytes {safe}-{len(data) - 1}/{len(data)}"}
    done = requests.put(session, data=data[safe:], headers=rest, timeout=30)
    assert done.status_code == 200, done.text
    assert bucket.get_blob("cut").download_as_bytes() == data


def test_damage_is_refused(server: Server, bucket):
    wrong = base64.b64encode(b"\0\0\0\1").decode()
    session = begin(server, "damaged", crc32c=wrong)
    reply = requests.put(session, data=b"bytes", headers={"content-range": "bytes 0-4/5"}, timeout=30)
    assert reply.status_code == 400 and "send them again" in reply.text
    assert bucket.get_blob("damaged") is None
    announced = {"name": "damaged", "md5Hash": base64.b64encode(hashlib.md5(b"others").digest()).decode()}
    body = f"--x\r\ncontent-type: application/json\r\n\r\n{json.dumps(announced)}\r\n--x\r\n\r\nbytes\r\n--x--"
    reply = requests.post(
        f"{server.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart", data=body,
        headers={"content-type": "multipart/related; boundary=x"}, timeout=30,
    )
    assert reply.status_code == 400 and "MD5" in reply.text
    assert bucket.get_blob("damaged") is None
    boundary = f"--x\r\ncontent-type: application/json\r\n\r\n{json.dumps({'name': 'cut-off'})}\r\n--x\r\n\r\nbytes"
    reply = requests.post(
        f"{server.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart", data=boundary,
        headers={"content-type": "multipart/related; boundary=x"}, timeout=30,
    )
    assert reply.status_code == 400 and "cut off" in reply.text

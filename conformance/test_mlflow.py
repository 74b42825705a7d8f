"""MLflow's scoring protocol and SageMaker's path of `bellwether serve`: pandas and pyarrow in, the answers of TensorFlow for the same SavedModel out."""

import io
import shutil
import urllib.error
import urllib.request

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest

from bundle import PROBABILITY_TOLERANCE, Bundle, difference
from conftest import Quickstart
from program import Program, Reply, Server

STREAM = "application/vnd.apache.arrow.stream"
ENDPOINT = "/endpoints/sp500-deciles/invocations"


@pytest.fixture(scope="module")
def frame(bundle: Bundle) -> pd.DataFrame:
    return pd.DataFrame(bundle.random_rows(250, seed=11), columns=bundle.feature_names)


@pytest.fixture(scope="module")
def expected(frame: pd.DataFrame, tensorflow) -> np.ndarray:
    return tensorflow(frame.to_numpy(np.float32))


def predictions(reply: Reply) -> np.ndarray:
    assert reply.status == 200, reply.text
    return np.array(reply.json["predictions"])


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[np.random.default_rng(1).permutation(frame.columns)]


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records"])
def test_dataframes_as_pandas_writes_them(server: Server, frame, expected, form):
    body = f'{{"{form}": {shuffled(frame).to_json(orient=form.removeprefix("dataframe_"), double_precision=15)}}}'
    reply = server.post(ENDPOINT, body.encode())
    assert difference(predictions(reply), expected) <= PROBABILITY_TOLERANCE
    assert reply.headers["x-bellwether-model-version"].startswith("sp500-deciles@")
    assert reply.headers["x-amzn-invoked-production-variant"]


def test_tensors_with_and_without_a_name(server: Server, frame, expected):
    rows = frame.to_numpy().astype(float).tolist()
    for body in ({"instances": rows}, {"inputs": rows}, {"inputs": {"features": rows}, "params": {}}):
        assert difference(predictions(server.post(ENDPOINT, body)), expected) <= PROBABILITY_TOLERANCE


def test_csv_as_pandas_writes_it(server: Server, frame, expected):
    reply = server.post(ENDPOINT, shuffled(frame).to_csv(index=False).encode(), "text/csv")
    assert difference(predictions(reply), expected) <= PROBABILITY_TOLERANCE


def ask_by_stream(server: Server, table: pa.Table, accept: str = STREAM, path: str = ENDPOINT) -> tuple[dict, bytes]:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    headers = {"content-type": STREAM, "accept": accept}
    request = urllib.request.Request(server.url + path, sink.getvalue(), headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return dict(reply.headers), reply.read()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_stream_of_columns_is_answered_with_a_stream(server: Server, frame, expected, dtype):
    table = pa.Table.from_pandas(shuffled(frame).astype(dtype), preserve_index=False)
    headers, body = ask_by_stream(server, table)
    assert headers["content-type"] == STREAM
    found = pa.ipc.open_stream(body).read_all()
    assert found.column_names == ["probabilities"]
    rows = np.array(found["probabilities"].to_pylist())
    assert difference(rows, expected) <= PROBABILITY_TOLERANCE


def test_a_stream_of_rows_in_one_column(server: Server, frame, expected):
    rows = pa.FixedSizeListArray.from_arrays(pa.array(frame.to_numpy(np.float32).ravel()), frame.shape[1])
    headers, body = ask_by_stream(server, pa.table({"anything": rows}))
    found = np.array(pa.ipc.open_stream(body).read_all()["probabilities"].to_pylist())
    assert difference(found, expected) <= PROBABILITY_TOLERANCE


@pytest.fixture(scope="module")
def doubling(binary, tmp_path_factory: pytest.TempPathFactory):
    """A model that others made: two numbers a row, without names, and twice as large in the answer."""
    folder = tmp_path_factory.mktemp("doubling")
    of_rows = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    two = onnx.helper.make_tensor("two", onnx.TensorProto.FLOAT, [], [2.0])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Mul", ["x", "two"], ["y"])], "g", of_rows[:1], of_rows[1:], [two])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    program = Program(binary, folder / "data", folder)
    program.succeed("model", "upload", folder / "model.onnx", "--model", "doubling")
    program.succeed("endpoint", "create", "doubling")
    program.succeed("endpoint", "deploy", "doubling", "--model", "doubling")
    server = program.serve()
    yield server
    assert server.stop() == 0, server.log.read_text()


def doubled(server: Server, table: pa.Table) -> np.ndarray:
    _, body = ask_by_stream(server, table, path="/invocations")
    return np.array(pa.ipc.open_stream(body).read_all()["y"].to_pylist())


def test_a_filtered_frame_goes_without_its_index(doubling: Server):
    frame = pd.DataFrame({"a": [1.0, -2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    for kept in [frame, frame[frame["a"] > 0], frame.set_index(pd.Index(["x", "y", "z"], name="key"))]:
        table = pa.Table.from_pandas(kept)
        assert np.array_equal(doubled(doubling, table), 2 * kept.to_numpy())
    assert table.column_names == ["a", "b", "key"]


@pytest.mark.parametrize("type_of", [pa.list_, pa.large_list, lambda item: pa.list_(item, 2)])
def test_lists_of_any_type_are_rows(doubling: Server, type_of):
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    table = pa.table({"x": pa.array(rows, type_of(pa.float32()))})
    assert np.array_equal(doubled(doubling, table), 2 * np.array(rows))
    of_frame = pa.Table.from_pandas(pd.DataFrame({"x": rows})[1:])
    assert np.array_equal(doubled(doubling, of_frame), 2 * np.array(rows[1:]))
    ragged = pa.table({"x": pa.array([[1.0], [2.0, 3.0, 4.0]], pa.list_(pa.float32()))})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        doubled(doubling, ragged)


def test_infinities_go_through_a_model_of_others(doubling: Server):
    rows = np.array([[-np.inf, 1.0], [np.nan, np.inf]])
    table = pa.table({"a": pa.array(rows[:, 0]), "b": pa.array(rows[:, 1])})
    assert np.array_equal(doubled(doubling, table), 2 * rows, equal_nan=True)
    reply = doubling.post("/v1/models/doubling:predict", b'{"instances": [[-Infinity, 1], [NaN, Infinity]]}')
    assert reply.status == 200, reply.text
    assert np.array_equal(np.array(reply.json["predictions"]), 2 * rows, equal_nan=True)


def test_a_compressed_stream_is_refused_with_the_way_out(server: Server, frame):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    reply = server.post(ENDPOINT, sink.getvalue(), STREAM)
    assert reply.status == 400 and "must not be compressed" in reply.json["message"]


def test_columns_that_lack_and_types_that_are_not_read(server: Server, frame):
    lacking = frame.drop(columns=frame.columns[0]).rename(columns={frame.columns[1]: "odd"})
    reply = server.post(ENDPOINT, f'{{"dataframe_split": {lacking.to_json(orient="split")}}}'.encode())
    assert reply.status == 400 and reply.json["error_code"] == "BAD_REQUEST"
    assert f"Model is missing inputs ['{frame.columns[0]}', '{frame.columns[1]}']" in reply.json["message"]
    assert "extra inputs: ['odd']" in reply.json["message"]
    reply = server.post(ENDPOINT, b"<rows/>", "application/xml")
    assert reply.status == 415 and "Got 'application/xml'" in reply.text
    reply = server.post("/endpoints/nobody/invocations", {"inputs": [[1]]})
    assert reply.status == 404 and reply.headers["x-amzn-errortype"] == "ValidationError"


def test_invocations_ask_the_model_that_was_named(quickstart: Quickstart, tmp_path, frame, expected):
    data = shutil.copytree(quickstart.program.data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("*lock*"))
    server = Program(quickstart.program.binary, data, tmp_path).serve("--default-model", "sp500-deciles")
    try:
        for path in ("/ping", "/health"):
            reply = server.get(path)
            assert (reply.status, reply.text) == (200, "\n")
        reply = server.post("/invocations", {"inputs": frame.to_numpy().astype(float).tolist()})
        assert difference(predictions(reply), expected) <= PROBABILITY_TOLERANCE
    finally:
        assert server.stop() == 0

"""The unmodified google-cloud-aiplatform SDK against `bellwether serve`, over plain HTTP."""

import shutil
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform
from google.cloud.aiplatform.utils import ModelClientWithOverride
from google.cloud.aiplatform_v1.types import DeployModelResponse
from onnx import TensorProto, helper

from bundle import PROBABILITY_TOLERANCE, Bundle, difference
from conftest import Quickstart
from program import Server

LOCATION = "us-central1"
LAST_DATE = "2022-12-28"


@pytest.fixture(scope="module", autouse=True)
def sdk(server: Server):
    aiplatform.init(
        project="default", location=LOCATION, api_endpoint=server.url, api_transport="rest",
        credentials=AnonymousCredentials(),
    )


def upload(model_id: str, folder: Path, **version) -> aiplatform.Model:
    """Uploads with the SDK's service client: `Model.upload` sends local folders by way of a GCS bucket."""
    client = aiplatform.initializer.global_config.create_client(client_class=ModelClientWithOverride)
    operation = client.upload_model(
        request={
            "parent": f"projects/default/locations/{LOCATION}",
            **({} if "parent_model" in version else {"model_id": model_id}),
            "model": {"display_name": model_id, "artifact_uri": f"file://{folder}"},
            **version,
        }
    )
    answer = operation.result(timeout=60)
    return aiplatform.Model(f"{answer.model}@{answer.model_version_id}")


@pytest.fixture(scope="module")
def model(bundle: Bundle, allowed_folder: Path) -> aiplatform.Model:
    folder = shutil.copytree(bundle.folder, allowed_folder / "uploaded")
    return upload("uploaded", folder)


@pytest.fixture(scope="module")
def endpoint(model: aiplatform.Model) -> aiplatform.Endpoint:
    endpoint = aiplatform.Endpoint.create(display_name="by-sdk", endpoint_id="by-sdk")
    endpoint.deploy(model, deployed_model_display_name="uploaded", machine_type="n1-standard-2")
    return endpoint


def answers(prediction) -> np.ndarray:
    return np.array(prediction.predictions, np.float64)


def test_upload_makes_version_1(model: aiplatform.Model):
    assert model.name == "uploaded" and model.version_id == "1"
    assert "default" in model.version_aliases
    assert model.resource_name.startswith(f"projects/default/locations/{LOCATION}/models/uploaded")


def test_models_are_listed_and_got(model: aiplatform.Model):
    listed = {found.name: found for found in aiplatform.Model.list()}
    assert {"uploaded", "sp500-deciles"} <= set(listed)
    assert listed["sp500-deciles"].version_id == "2"
    assert aiplatform.Model("sp500-deciles@1").version_id == "1"
    assert aiplatform.Model("uploaded@default").version_id == "1"


def test_an_endpoint_is_created_and_deployed_to(endpoint: aiplatform.Endpoint):
    (deployed,) = endpoint.list_models()
    assert endpoint.traffic_split == {deployed.id: 100}
    assert deployed.dedicated_resources.machine_spec.machine_type == "n1-standard-2"
    assert deployed.model.split("/")[-1].split("@")[0] == "uploaded"
    assert {"by-sdk", "sp500-deciles"} <= {found.name for found in aiplatform.Endpoint.list()}


def test_1000_random_vectors_are_answered_as_tensorflow_does(endpoint, bundle: Bundle, tensorflow):
    rows = bundle.random_rows(1000, seed=5)
    instances = [[None if np.isnan(x) else float(x) for x in row] for row in rows]
    reply = endpoint.predict(instances=instances)
    assert difference(answers(reply), tensorflow(rows)) <= PROBABILITY_TOLERANCE
    (deployed,) = endpoint.list_models()
    assert reply.deployed_model_id == deployed.id and reply.model_version_id == "1"
    assert "models/uploaded" in reply.model_resource_name


def test_symbols_are_answered_as_their_vectors(endpoint, bundle: Bundle):
    inputs, outputs = bundle.golden()
    rows = [
        (row["symbol"], vector, out)
        for row, vector, out in zip(bundle.manifest["golden"]["rows"], inputs, outputs)
        if row["date"] == LAST_DATE
    ]
    assert len(rows) == 20
    parameters = {"as_of": LAST_DATE}
    by_symbol = endpoint.predict(instances=[{"symbol": symbol} for symbol, _, _ in rows], parameters=parameters)
    by_vector = endpoint.predict(instances=[vector.astype(float).tolist() for _, vector, _ in rows])
    by_name = endpoint.predict(instances=[{"features": vector.astype(float).tolist()} for _, vector, _ in rows])
    assert answers(by_symbol).tolist() == answers(by_vector).tolist() == answers(by_name).tolist()
    assert difference(answers(by_vector), np.array([out for _, _, out in rows])) <= PROBABILITY_TOLERANCE


def test_symbols_on_past_dates_are_answered_from_the_prices_of_then(endpoint, bundle, features, tensorflow):
    random = np.random.default_rng(9)
    for date in random.choice(features["AAPL"].loc["2019-01-01":"2022-06-30"].index, 5, replace=False):
        day = f"{np.datetime64(date, 'D')}"
        rows = np.stack([features[s].loc[date, bundle.feature_names].to_numpy(np.float32) for s in features])
        reply = endpoint.predict(instances=[{"symbol": s} for s in features], parameters={"as_of": day})
        # Features from another order of additions; the model smooths the rest.
        assert difference(answers(reply), tensorflow(rows)) <= 1e-4, day


def test_a_date_without_a_bar_is_answered_from_the_bar_before(endpoint):
    friday, sunday = (
        endpoint.predict(instances=[{"symbol": "AAPL"}], parameters={"as_of": day}) for day in ("2022-06-17", "2022-06-19")
    )
    assert answers(friday).tolist() == answers(sunday).tolist()
    other = endpoint.predict(instances=[{"symbol": "AAPL"}], parameters={"as_of": "2022-06-16"})
    assert answers(friday).tolist() != answers(other).tolist()


@pytest.mark.parametrize(
    ("instances", "parameters", "error", "words"),
    [
        ([[0.1, 0.2]], None, exceptions.BadRequest, ["2", "75"]),
        ([{"symbol": "APPL"}], None, (exceptions.BadRequest, exceptions.NotFound), ["APPL", "AAPL"]),
        ([{"symbl": "AAPL"}], None, exceptions.BadRequest, ["symbl", "symbol"]),
        ([{"symbol": "AAPL"}], {"as_of": "1980-01-02"}, exceptions.BadRequest, ["1980-01-02", "1990-"]),
        ([{"symbol": "AAPL"}], {"as_of": "tomorrow"}, exceptions.BadRequest, ["tomorrow"]),
        ([{"symbol": "AAPL"}], {"asof": LAST_DATE}, exceptions.BadRequest, ["asof", "as_of"]),
    ],
)
def test_a_bad_request_is_refused_with_the_way_out(endpoint, instances, parameters, error, words):
    with pytest.raises(error) as refused:
        endpoint.predict(instances=instances, parameters=parameters)
    for word in words:
        assert word in str(refused.value)


def test_what_does_not_exist_is_not_found():
    with pytest.raises(exceptions.NotFound) as missing:
        aiplatform.Endpoint("no-such-endpoint").predict(instances=[[0.0] * 75])
    assert "no-such-endpoint" in str(missing.value)
    with pytest.raises(exceptions.NotFound) as missing:
        aiplatform.Model("sp500-deciles@99").version_id
    assert "99" in str(missing.value)


def test_a_folder_that_was_not_allowed_is_refused(quickstart: Quickstart, tmp_path: Path):
    folder = shutil.copytree(quickstart.bundle_folder, tmp_path / "elsewhere")
    with pytest.raises((exceptions.Forbidden, exceptions.BadRequest)) as refused:
        upload("elsewhere", folder)
    assert "allow" in str(refused.value)
    assert "elsewhere" not in {found.name for found in aiplatform.Model.list()}


def test_lists_are_filtered_and_ordered(model, endpoint):
    listed = aiplatform.Model.list(filter='display_name="uploaded"', order_by="create_time desc")
    assert [found.name for found in listed] == ["uploaded"]
    names = [found.display_name for found in aiplatform.Model.list(order_by="display_name desc")]
    assert names == sorted(names, reverse=True) and len(names) >= 2
    model.update(labels={"team": "quant"})
    assert [found.name for found in aiplatform.Model.list(filter="labels.team=quant AND NOT labels.desk:*")] == ["uploaded"]
    assert aiplatform.Model.list(filter='create_time>"2100-01-01T00:00:00Z"') == []
    endpoints = aiplatform.Endpoint.list(
        filter="display_name=by-sdk OR endpoint=sp500-deciles", order_by="display_name desc"
    )
    assert [found.name for found in endpoints] == ["sp500-deciles", "by-sdk"]
    with pytest.raises(exceptions.BadRequest, match="at character 14"):
        aiplatform.Model.list(filter="display_name=")
    with pytest.raises(exceptions.BadRequest, match="orderBy"):
        aiplatform.Model.list(order_by="colour")


def test_versions_are_listed(model):
    versions = aiplatform.models.ModelRegistry("sp500-deciles").list_versions()
    assert [version.version_id for version in versions] == ["1", "2"]
    newest = aiplatform.models.ModelRegistry("sp500-deciles").list_versions(filter="version_id>1")
    assert [version.version_id for version in newest] == ["2"]


def test_a_deployment_is_changed_in_its_place(endpoint: aiplatform.Endpoint):
    (before,) = endpoint.list_models()
    rows = [[0.0] * 75]
    answered = answers(endpoint.predict(instances=rows))
    client = endpoint.api_client

    def mutate(machine_type: str, paths: list[str]):
        deployed = {
            "id": before.id,
            "dedicated_resources": {"machine_spec": {"machine_type": machine_type}, "min_replica_count": 1},
        }
        operation = client.mutate_deployed_model(
            request={"endpoint": endpoint.resource_name, "deployed_model": deployed, "update_mask": {"paths": paths}}
        )
        return operation.result(timeout=60).deployed_model

    assert mutate("n1-standard-4", ["dedicated_resources.machine_spec.machine_type"]).id == before.id
    (after,) = endpoint.list_models()
    assert after.dedicated_resources.machine_spec.machine_type == "n1-standard-4"
    assert answers(endpoint.predict(instances=rows)).tolist() == answered.tolist()
    mutate("c2-standard-60", ["dedicated_resources.min_replica_count"])
    assert endpoint.list_models()[0].dedicated_resources.machine_spec.machine_type == "n1-standard-4", "not in the mask"
    with pytest.raises(exceptions.BadRequest, match="n1-standard has 1, 2, 4"):
        mutate("n1-standard-3", ["dedicated_resources"])
    mutate("n1-standard-2", ["dedicated_resources"])


def test_traffic_moves_between_versions_and_back(endpoint: aiplatform.Endpoint):
    (first,) = endpoint.list_models()
    endpoint.deploy(
        aiplatform.Model("sp500-deciles@1"), deployed_model_display_name="second", machine_type="n1-standard-2",
        traffic_percentage=0,
    )
    (second,) = (found.id for found in endpoint.list_models() if found.id != first.id)
    for split in ({first.id: 0, second: 100}, {first.id: 100, second: 0}):
        endpoint.update(traffic_split=split)
        assert endpoint.traffic_split == {id: share for id, share in split.items()}
        answering = max(split, key=split.get)
        assert endpoint.predict(instances=[[0.0] * 75]).deployed_model_id == answering
    endpoint.undeploy(deployed_model_id=second)


def test_operations_are_polled_listed_and_deleted(server: Server):
    endpoint = aiplatform.Endpoint.create(display_name="polled", endpoint_id="polled")
    client = endpoint.api_client
    operation = client.update_endpoint_long_running(
        request={"endpoint": {"name": endpoint.resource_name, "display_name": "polled", "labels": {"a": "b"}}}
    )
    assert operation.result(timeout=60).labels == {"a": "b"}
    name = operation.operation.name
    again = client.get_operation({"name": name})
    assert again.done and again.name == name
    listed = client.list_operations({"name": endpoint.resource_name})
    assert name in {found.name for found in listed.operations}
    client.cancel_operation({"name": name})
    client.delete_operation({"name": name})
    with pytest.raises(exceptions.NotFound):
        client.get_operation({"name": name})


def test_every_kind_of_operation_is_read_again(endpoint: aiplatform.Endpoint, model: aiplatform.Model):
    """The SDK's reader of operations refuses fields it does not know, which its other readers pass over."""
    client = endpoint.api_client
    deployed = {
        "model": model.resource_name,
        "dedicated_resources": {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1},
    }
    deploying = client.deploy_model(endpoint=endpoint.resource_name, deployed_model=deployed)
    answered = deploying.result(timeout=60).deployed_model
    name = deploying.operation.name
    for polled in (client.get_operation({"name": name}), client.wait_operation({"name": name})):
        response = DeployModelResponse.pb(DeployModelResponse())
        assert polled.done and polled.response.Unpack(response)
        assert DeployModelResponse.wrap(response).deployed_model == answered
    endpoint.undeploy(deployed_model_id=answered.id)
    client.update_endpoint_long_running(
        request={"endpoint": {"name": endpoint.resource_name, "display_name": "by-sdk", "labels": {"a": "b"}}}
    )
    kinds = set()
    for listed in client.list_operations({"name": f"projects/default/locations/{LOCATION}"}).operations:
        assert listed.done and listed.HasField("response") != listed.HasField("error")
        kinds.add(listed.metadata.TypeName().rsplit(".", 1)[-1])
    changes = ["UploadModel", "CreateEndpoint", "DeployModel", "UndeployModel", "UpdateEndpoint"]
    assert {f"{change}OperationMetadata" for change in changes} <= kinds


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_and_says_why(model, bundle, quickstart, server, allowed_folder):
    endpoint = aiplatform.Endpoint.create(display_name="swapped", endpoint_id="swapped")
    endpoint.deploy(model, machine_type="n1-standard-2")
    answered = answers(endpoint.predict(instances=[[0.0] * 75])).tolist()
    damaged = upload("damaged", shutil.copytree(bundle.folder, allowed_folder / "damaged"))
    (quickstart.program.data_dir / "artifacts" / "default" / "damaged" / "1" / "model.onnx").write_bytes(b"damaged")
    show = ("endpoint", "show", "swapped", "--server", server.url)
    assert "failed_attempt" not in quickstart.program.succeed(*show)

    with pytest.raises(exceptions.BadRequest, match="model.onnx") as refused:
        endpoint.deploy(damaged, machine_type="n1-standard-2")
    client = endpoint.api_client
    newest = client.list_operations({"name": endpoint.resource_name}).operations[0]
    assert newest.done and not newest.HasField("response")
    assert newest.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert newest.error.message and newest.error.message in str(refused.value)
    for polled in (client.get_operation({"name": newest.name}), client.wait_operation({"name": newest.name})):
        assert polled == newest
    # The SDK passes over what we add to an endpoint.
    (serving,) = aiplatform.Endpoint("swapped").list_models()
    assert serving.model_version_id == "1" and serving.model.endswith("/models/uploaded")
    assert answers(endpoint.predict(instances=[[0.0] * 75])).tolist() == answered
    attempt = requests.get(f"{server.url}/v1/{endpoint.resource_name}", timeout=60).json()["failedAttempt"]
    assert (attempt["operation"], attempt["error"]["message"]) == (newest.name, newest.error.message)
    shown = quickstart.program.succeed(*show)["failed_attempt"]
    assert (shown["attempt"], shown["model"], shown["reason"]) == ("deploy", "damaged@1", newest.error.message)
    assert shown["operation"] == newest.name.rsplit("/", 1)[-1] and shown["deployment"] != serving.id
    text = quickstart.program.run(*show).stdout
    assert f"deploy of damaged@1 as {shown['deployment']} failed at {shown['time']}" in text and shown["reason"] in text

    endpoint.deploy(model, machine_type="n1-standard-2")
    assert "failed_attempt" not in quickstart.program.succeed(*show)
    assert client.get_operation({"name": newest.name}).error == newest.error, "what failed stays an operation"
    endpoint.undeploy_all()


@pytest.fixture(scope="module")
def integers(allowed_folder: Path) -> aiplatform.Endpoint:
    """A model that adds up the integers it is given, of 64 bits and of 32, each by itself."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    kinds = {"a": (TensorProto.INT64, 2), "b": (TensorProto.INT32, 3)}
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", [name, "axes"], [f"{name}_sum"], keepdims=0) for name in kinds],
        "integers",
        [helper.make_tensor_value_info(name, kind, ["n", width]) for name, (kind, width) in kinds.items()],
        [helper.make_tensor_value_info(f"{name}_sum", kind, ["n"]) for name, (kind, _) in kinds.items()],
        [axes],
    )
    path = allowed_folder / "integers.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    endpoint = aiplatform.Endpoint.create(display_name="integers", endpoint_id="integers")
    endpoint.deploy(upload("integers", path), machine_type="n1-standard-2")
    return endpoint


def test_integers_arrive_as_doubles_and_are_taken_as_integers(integers: aiplatform.Endpoint):
    largest = 2**31 - 1
    reply = integers.predict(instances=[{"a": [1, 2], "b": [1, 2, 3]}, {"a": [largest, 0], "b": [-(2**31), 0, largest]}])
    assert reply.predictions == [{"a_sum": 3, "b_sum": 6}, {"a_sum": largest, "b_sum": -1}]
    for wrong, words in [
        ({"a": [1, 2], "b": [1, 2, 3.5]}, r"b\[2\] must be an integer \(int32\), got 3.5"),
        ({"a": [1, 2], "b": [1, 2, 2**31]}, r"b\[2\] must be an integer \(int32\)"),
        ({"a": [1, 2**53 + 2], "b": [1, 2, 3]}, r"a\[1\] must be an integer, written without point and exponent beyond 2\^53"),
    ]:
        with pytest.raises(exceptions.BadRequest, match=words):
            integers.predict(instances=[wrong])


def test_a_model_is_renamed_whichever_version_is_at_hand(allowed_folder: Path, bundle: Bundle):
    folder = shutil.copytree(bundle.folder, allowed_folder / "named")
    first = upload("named", folder)
    second = upload("named", folder, parent_model=first.resource_name)
    registry = first.versioning_registry
    registry.add_version_aliases(["default"], "2")
    assert (first.version_id, second.version_id) == ("1", "2")

    aiplatform.Model("named@1").update(display_name="new", description="what it is", labels={"team": "quant"})
    assert {aiplatform.Model(f"named{version}").display_name for version in ("", "@1", "@2")} == {"new"}
    registry.add_version_aliases(["default"], "1")
    again = aiplatform.Model("named")
    assert (again.version_id, again.display_name, again.description) == ("1", "new", "what it is")
    assert again.labels == {"team": "quant"}

    registry.update_version("2", version_description="the second", labels={"stage": "test"})
    described = {version.version_id: version.version_description for version in registry.list_versions()}
    assert described == {"1": "", "2": "the second"}
    newer = aiplatform.Model("named@2")
    assert (newer.display_name, newer.labels) == ("new", {"team": "quant", "stage": "test"})
    assert aiplatform.Model("named@1").labels == {"team": "quant"}
    assert again.create_time == newer.create_time == first.create_time
    assert newer.version_create_time > again.version_create_time
    assert (newer.resource_name, newer.versioned_resource_name) == (again.resource_name, f"{again.resource_name}@2")

    client = first.api_client
    for name, field in [("named@1", "display_name"), ("named", "version_description")]:
        change = {"name": f"projects/default/locations/{LOCATION}/models/{name}", field: "x"}
        with pytest.raises(exceptions.BadRequest, match="in a request of its own"):
            client.update_model(model=change, update_mask={"paths": [field]})
    change = {"name": f"{first.resource_name}@-", "display_name": "newest"}
    assert client.update_model(model=change, update_mask={"paths": ["display_name"]}).display_name == "newest"
    first.delete()


def test_who_has_read_an_older_state_overwrites_nothing(allowed_folder: Path, bundle: Bundle):
    model = upload("contended", shutil.copytree(bundle.folder, allowed_folder / "contended"))
    endpoint = aiplatform.Endpoint.create(display_name="contended", endpoint_id="contended", description="one of two")
    described = lambda: aiplatform.Endpoint("contended").gca_resource
    assert described().description == "one of two"
    endpoint = endpoint.update(description="the only one")
    assert (described().description, described().display_name) == ("the only one", "contended")
    for mine, theirs in [(model, aiplatform.Model("contended")), (endpoint, aiplatform.Endpoint("contended"))]:
        theirs.update(display_name="theirs")
        with pytest.raises(exceptions.Conflict, match="read it again"):
            mine.update(display_name="mine")
        mine = type(mine)("contended")
        assert mine.display_name == "theirs"
        mine.update(display_name="mine", labels={"a": "b"})
        mine.update(display_name="mine again")
        assert type(mine)("contended").display_name == "mine again"
    endpoint.delete()
    model.delete()


def test_a_page_goes_on_where_the_one_before_ended_and_nowhere_else():
    client = aiplatform.initializer.global_config.create_client(client_class=ModelClientWithOverride)
    parent = f"projects/default/locations/{LOCATION}"
    whole = [found.name for found in client.list_models(request={"parent": parent})]
    paged = client.list_models(request={"parent": parent, "page_size": 1})
    assert [found.name for found in paged] == whole and len(whole) >= 2
    token = client.list_models(request={"parent": parent, "page_size": 1}).next_page_token
    endpoints = aiplatform.Endpoint("by-sdk").api_client
    for ask in (
        lambda: client.list_models(request={"parent": parent, "page_token": "zzz"}),
        lambda: endpoints.list_endpoints(request={"parent": parent, "page_token": token}),
    ):
        with pytest.raises(exceptions.BadRequest, match="page token"):
            ask()
    with pytest.raises(exceptions.BadRequest, match="which is no field here"):
        client.list_models(request={"parent": parent, "read_mask": {"paths": ["bogus"]}})


def test_a_deployment_of_no_replicas_is_refused(endpoint: aiplatform.Endpoint, model: aiplatform.Model, server: Server):
    deployed = {"model": model.resource_name, "dedicatedResources": {"machineSpec": {}, "minReplicaCount": 0}}
    address = f"{server.url}/v1/{endpoint.resource_name}:deployModel"
    answer = requests.post(address, json={"deployedModel": deployed}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "minReplicaCount" in answer.json()["error"]["message"]


def test_what_is_not_offered_is_said_clearly(endpoint: aiplatform.Endpoint):
    with pytest.raises(exceptions.MethodNotImplemented, match="Explain"):
        endpoint.explain(instances=[[0.0] * 75])


def test_undeploy_takes_it_out_of_service(endpoint, model):
    (before,) = endpoint.list_models()
    endpoint.undeploy(deployed_model_id=before.id)
    assert endpoint.list_models() == []
    with pytest.raises((exceptions.BadRequest, exceptions.NotFound)):
        endpoint.predict(instances=[[0.0] * 75])
    endpoint.deploy(model, machine_type="n1-standard-2")
    (after,) = endpoint.list_models()
    assert after.id != before.id
    assert answers(endpoint.predict(instances=[[0.0] * 75])).shape == (1, 10)

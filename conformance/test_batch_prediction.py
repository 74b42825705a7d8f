"""Batch predictions by the unmodified google-cloud-aiplatform SDK, and files of rows by the command line, compared with TensorFlow."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, storage
from google.cloud.aiplatform.compat.types import job_state
from pyarrow import parquet

from bundle import PROBABILITY_TOLERANCE, Bundle, difference
from program import Program, Server

LOCATION = "us-central1"
LAST_DATE = "2022-12-28"
SECONDS_MAX = 300
# A large job takes a few seconds: a busy machine may let it end before the test gets to it.
TRIES_MAX = 5


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> storage.Bucket:
    return bucket_of(server, monkeypatch)


def bucket_of(server: Server, monkeypatch: pytest.MonkeyPatch) -> storage.Bucket:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    aiplatform.init(
        project="default", location=LOCATION, api_endpoint=server.url, api_transport="rest",
        credentials=AnonymousCredentials(), staging_bucket="gs://rows",
    )
    return storage.Client(project="default", credentials=AnonymousCredentials()).bucket("rows")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK waits for seconds between two looks at a job."""
    monkeypatch.setattr("google.cloud.aiplatform.jobs._JOB_WAIT_TIME", 0.2, raising=False)
    monkeypatch.setattr("google.cloud.aiplatform.jobs._LOG_WAIT_TIME", 0.2, raising=False)


def numbers(row: np.ndarray) -> list[float | None]:
    return [None if np.isnan(x) else float(x) for x in row]


def lines(bucket: storage.Bucket, job: aiplatform.BatchPredictionJob, kind: str) -> list[dict]:
    """The documents of the files of a job that begin so."""
    prefix = job.output_info.gcs_output_directory.removeprefix(f"gs://{bucket.name}/")
    blobs = [blob for blob in bucket.list_blobs(prefix=prefix) if blob.name.split("/")[-1].startswith(kind)]
    return [json.loads(line) for blob in blobs for line in blob.download_as_text().splitlines()]


def test_the_sdk_has_a_file_answered_as_tensorflow_does(bucket: storage.Bucket, bundle: Bundle, tensorflow):
    rows = bundle.random_rows(3000, seed=8)
    names = bundle.feature_names
    forms = [
        lambda row: numbers(row),
        lambda row: {"features": numbers(row)},
        lambda row: dict(reversed(list(zip(names, numbers(row))))),
    ]
    instances = [forms[n % 3](row) for n, row in enumerate(rows)]
    half = len(instances) // 2
    for name, part in [("a", instances[:half]), ("b", instances[half:])]:
        bucket.blob(f"in/{name}.jsonl").upload_from_string("".join(json.dumps(one) + "\n" for one in part))
    job = aiplatform.BatchPredictionJob.create(
        job_display_name="by-sdk", model_name="sp500-deciles@2", gcs_source="gs://rows/in/*",
        gcs_destination_prefix="gs://rows/out", labels={"team": "quant"}, machine_type="n1-standard-2",
    )
    assert job.state == job_state.JobState.JOB_STATE_SUCCEEDED, job.error
    assert (job.completion_stats.successful_count, job.completion_stats.failed_count) == (3000, 0)
    assert job.output_info.gcs_output_directory.startswith("gs://rows/out/prediction-sp500-deciles-")
    assert not job.partial_failures
    assert job.gca_resource.model.endswith("models/sp500-deciles@2")
    answers = lines(bucket, job, "prediction.results")
    assert [answer["instance"] for answer in answers] == instances
    assert difference(np.array([answer["prediction"] for answer in answers]), tensorflow(rows)) <= PROBABILITY_TOLERANCE
    files = [blob.name.split("/")[-1] for blob in job.iter_outputs()]
    assert files == ["prediction.results-00000-of-00001"]


def test_instances_that_are_wrong_are_told_apart(bucket: storage.Bucket, bundle: Bundle):
    inputs, outputs = bundle.golden()
    good = {row["symbol"]: out for row, out in zip(bundle.manifest["golden"]["rows"], outputs) if row["date"] == LAST_DATE}
    instances = [{"symbol": symbol} for symbol in good] + [{"symbol": "NOBODY"}, [1.0], "text"]
    text = "".join(json.dumps(one) + "\n" for one in instances) + "{broken\n"
    bucket.blob("symbols.jsonl").upload_from_string(text)
    model = aiplatform.Model("sp500-deciles")
    job = model.batch_predict(
        job_display_name="symbols", gcs_source="gs://rows/symbols.jsonl", gcs_destination_prefix="gs://rows/symbols",
        model_parameters={"as_of": LAST_DATE},
    )
    assert job.state == job_state.JobState.JOB_STATE_SUCCEEDED, job.error
    assert (job.completion_stats.successful_count, job.completion_stats.failed_count) == (len(good), 4)
    assert "4 of" in job.partial_failures[0].message
    answers = lines(bucket, job, "prediction.results")
    assert [answer["instance"]["symbol"] for answer in answers] == list(good)
    found = np.array([answer["prediction"] for answer in answers])
    assert difference(found, np.array(list(good.values()))) <= PROBABILITY_TOLERANCE
    errors = lines(bucket, job, "prediction.errors_stats")
    assert [error["instance"] for error in errors] == [{"symbol": "NOBODY"}, [1.0], "text", "{broken"]
    assert all(error["error"]["code"] == 3 for error in errors)
    assert "NOBODY" in errors[0]["error"]["message"] and "line 22" in errors[1]["error"]["message"]


def test_a_csv_file_is_answered(bucket: storage.Bucket, bundle: Bundle, tensorflow):
    rows = bundle.random_rows(200, seed=9)
    frame = pd.DataFrame(rows.astype(np.float64), columns=bundle.feature_names)
    bucket.blob("rows.csv").upload_from_string(frame.to_csv(index=False))
    job = aiplatform.BatchPredictionJob.create(
        job_display_name="csv", model_name="sp500-deciles", instances_format="csv",
        gcs_source="gs://rows/rows.csv", gcs_destination_prefix="gs://rows/csv",
    )
    answers = lines(bucket, job, "prediction.results")
    assert len(answers[0]["instance"]) == len(bundle.feature_names)
    assert difference(np.array([answer["prediction"] for answer in answers]), tensorflow(rows)) <= PROBABILITY_TOLERANCE


def test_jobs_are_listed_cancelled_and_deleted(bucket: storage.Bucket):
    bucket.blob("many.jsonl").upload_from_string('{"symbol": "AAPL"}\n' * 500_000)
    ended = (job_state.JobState.JOB_STATE_SUCCEEDED, job_state.JobState.JOB_STATE_CANCELLED)
    for attempt in range(TRIES_MAX):
        job = aiplatform.BatchPredictionJob.submit(
            job_display_name="many", model_name="sp500-deciles", gcs_source="gs://rows/many.jsonl",
            gcs_destination_prefix=f"gs://rows/many-{attempt}",
        )
        end = time.monotonic() + SECONDS_MAX
        while job.state not in (job_state.JobState.JOB_STATE_RUNNING, job_state.JobState.JOB_STATE_SUCCEEDED):
            assert time.monotonic() < end, job.state
            time.sleep(0.002)
        assert job.name in [found.name for found in aiplatform.BatchPredictionJob.list()]
        assert job.name not in [found.name for found in aiplatform.CustomJob.list()]
        try:
            job.cancel()
        except exceptions.BadRequest:
            assert job.state == job_state.JobState.JOB_STATE_SUCCEEDED
        while job.state not in ended:
            assert time.monotonic() < end, job.state
            time.sleep(0.05)
        if job.state == job_state.JobState.JOB_STATE_CANCELLED:
            break
    assert job.state == job_state.JobState.JOB_STATE_CANCELLED
    assert not list(bucket.list_blobs(prefix=f"many-{attempt}/"))
    found = aiplatform.BatchPredictionJob(job.resource_name)
    found.delete()
    with pytest.raises(exceptions.NotFound):
        aiplatform.BatchPredictionJob(job.resource_name)


def is_stopped_amid(folder: Path) -> bool:
    """Whether the process of a job was stopped after it had answered two parts of its rows and before it had ended."""
    journal, report = folder / "answers.jsonl.partial" / "journal.jsonl", folder / "report.json"

    def parts() -> int:
        try:
            return len(journal.read_text().splitlines())
        except FileNotFoundError:
            return 0

    end = time.monotonic() + SECONDS_MAX
    while parts() < 2 and not report.exists():
        assert time.monotonic() < end, "no part"
        time.sleep(0.002)
    try:
        os.killpg(int((folder / "pid").read_text()), signal.SIGSTOP)
    except (FileNotFoundError, ProcessLookupError):
        assert report.exists(), "it ended without a report"
        return False
    return not report.exists()


def test_a_job_outlives_the_death_of_its_server_and_of_its_process(copied: Program, monkeypatch: pytest.MonkeyPatch):
    server = copied.serve()
    bucket = bucket_of(server, monkeypatch)
    days = [f"2022-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    source = [json.dumps({"symbol": "AAPL", "as_of": days[n % len(days)], "n": n}) for n in range(400_000)]
    bucket.blob("many.jsonl").upload_from_string("\n".join(source))
    for attempt in range(TRIES_MAX):
        job = aiplatform.BatchPredictionJob.submit(
            job_display_name="many", model_name="sp500-deciles", gcs_source="gs://rows/many.jsonl",
            gcs_destination_prefix=f"gs://rows/many-{attempt}",
        )
        folder = copied.data_dir / "jobs" / "default" / job.name
        # Stopped first, so that it cannot end while its server dies.
        if is_stopped_amid(folder):
            break
        with suppress(FileNotFoundError, ProcessLookupError):
            os.killpg(int((folder / "pid").read_text()), signal.SIGCONT)
    else:
        pytest.fail("every job ended before it was stopped")
    server.process.kill()
    server.process.wait()
    os.killpg(int((folder / "pid").read_text()), signal.SIGKILL)

    again = copied.serve()
    bucket = bucket_of(again, monkeypatch)
    job = aiplatform.BatchPredictionJob(job.resource_name)
    end = time.monotonic() + SECONDS_MAX
    while job.state not in (job_state.JobState.JOB_STATE_SUCCEEDED, job_state.JobState.JOB_STATE_FAILED):
        assert time.monotonic() < end, job.state
        time.sleep(0.2)
    assert job.state == job_state.JobState.JOB_STATE_SUCCEEDED, job.error
    assert job.completion_stats.successful_count == len(source)
    assert "going on after" in again.get(f"/v1/{job.resource_name.replace('batchPredictionJobs', 'customJobs')}/logs").json["text"]
    instances = [answer["instance"]["n"] for answer in lines(bucket, job, "prediction.results")]
    assert instances == list(range(len(source))), "a row twice, missing, or out of order"
    assert again.stop() == 0


def test_what_is_not_there_or_not_offered_is_refused(bucket: storage.Bucket):
    def create(**changes):
        asked = {
            "job_display_name": "x", "model_name": "sp500-deciles", "gcs_source": "gs://rows/in/a.jsonl",
            "gcs_destination_prefix": "gs://rows/x",
        }
        return aiplatform.BatchPredictionJob.submit(**(asked | changes))

    for changes, error, said in [
        ({"gcs_source": "gs://rows/none.jsonl"}, exceptions.NotFound, "none.jsonl"),
        ({"model_name": "sp500-deciles@77"}, exceptions.NotFound, "77"),
        ({"instances_format": "tf-record"}, exceptions.BadRequest, "jsonl and csv"),
        ({"predictions_format": "csv"}, exceptions.BadRequest, "jsonl"),
        ({"gcs_source": None, "bigquery_source": "bq://p.d.t"}, exceptions.BadRequest, "jsonl and csv"),
        ({"generate_explanation": True}, exceptions.MethodNotImplemented, "generateExplanation"),
    ]:
        with pytest.raises(error) as refused:
            create(**changes)
        assert said in str(refused.value), changes


def test_a_parquet_file_is_answered_by_the_command_line_as_tensorflow_does(server, quickstart, bundle, tensorflow, tmp_path):
    rows = bundle.random_rows(20_000, seed=10)
    frame = pd.DataFrame(rows, columns=bundle.feature_names)
    frame.insert(0, "id", np.arange(len(frame)) + 10**12)
    frame[frame.columns[::-1]].to_parquet(tmp_path / "rows.parquet", row_group_size=3000)
    written = tmp_path / "answers.parquet"
    # The server holds the data directory, so the model is asked there.
    report = quickstart.program.succeed(
        "predict", "--model", "sp500-deciles@2", "--input", tmp_path / "rows.parquet", "--out", written, "--keep", "id",
        "--server", server.url,
    )
    assert (report["rows"], report["model_version"]) == (20_000, 2)
    answers = pd.read_parquet(written)
    assert parquet.read_schema(written).metadata[b"bellwether.model_version"] == b"sp500-deciles@2"
    assert answers["id"].tolist() == frame["id"].tolist()
    found = np.stack(answers["probabilities"].to_numpy())
    assert difference(found, tensorflow(rows)) <= PROBABILITY_TOLERANCE

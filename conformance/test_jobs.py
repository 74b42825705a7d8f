"""Jobs by the unmodified google-cloud-aiplatform SDK: queued, awaited, listed, cancelled, deleted."""

import time

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform
from google.cloud.aiplatform.compat.types import job_state

from program import REPOSITORY, Program, Server

LOCATION = "us-central1"
SECONDS_MAX = 300
# A part of the features, so that it is the jobs that take the time.
PIPELINE = (REPOSITORY / "examples" / "sp500-deciles.toml").read_text()
PIPELINE = PIPELINE.replace('set = "alpha158"', 'set = "alpha158"\nfamilies = ["ROC"]')


@pytest.fixture
def server(program: Program):
    server: Server = program.serve()
    aiplatform.init(
        project="default", location=LOCATION, api_endpoint=server.url, api_transport="rest",
        credentials=AnonymousCredentials(), staging_bucket="gs://unused",
    )
    yield server
    assert server.stop() == 0, server.log.read_text()


def submit(name: str, pipeline: str, *args: str) -> aiplatform.CustomJob:
    pool = {
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": 1,
        "container_spec": {
            "image_uri": "bellwether", "args": list(args or ["train"]), "env": [{"name": "PIPELINE", "value": pipeline}],
        },
    }
    job = aiplatform.CustomJob(display_name=name, worker_pool_specs=[pool], labels={"team": "quant"})
    job.submit()
    return job


def wait(job: aiplatform.CustomJob, *states: job_state.JobState) -> None:
    end = time.monotonic() + SECONDS_MAX
    while job.state not in states:
        assert time.monotonic() < end, f"{job.state}: {job.error}"
        time.sleep(0.2)


def test_the_sdk_queues_awaits_lists_cancels_and_deletes(server: Server):
    short = PIPELINE.replace("epochs = 10 ", "epochs = 1 ")
    first = submit("short", short)
    endless = submit("endless", PIPELINE.replace("epochs = 10 ", "epochs = 100000 "))
    # It waits for the short one, which may have ended by now on a busy machine.
    waiting, ahead = endless.state, first.state
    assert waiting in (job_state.JobState.JOB_STATE_QUEUED, job_state.JobState.JOB_STATE_PENDING) or (
        (waiting, ahead) == (job_state.JobState.JOB_STATE_RUNNING, job_state.JobState.JOB_STATE_SUCCEEDED)
    )

    wait(first, job_state.JobState.JOB_STATE_SUCCEEDED, job_state.JobState.JOB_STATE_FAILED)
    assert first.state == job_state.JobState.JOB_STATE_SUCCEEDED, first.error
    assert first.start_time <= first.end_time and first.labels == {"team": "quant"}
    model = aiplatform.Model("sp500-deciles@1")
    assert model.labels == {"job": first.name}

    wait(endless, job_state.JobState.JOB_STATE_RUNNING)
    listed = {job.name: job.display_name for job in aiplatform.CustomJob.list()}
    assert listed == {first.name: "short", endless.name: "endless"}
    endless.cancel()
    wait(endless, job_state.JobState.JOB_STATE_CANCELLED)

    found = aiplatform.CustomJob.get(first.resource_name)
    container = found.job_spec.worker_pool_specs[0].container_spec
    assert container.env[0].name == "PIPELINE" and container.env[0].value == short
    found.delete()
    with pytest.raises(exceptions.NotFound):
        aiplatform.CustomJob.get(first.resource_name)


def test_a_search_and_a_fit_from_what_it_found(server: Server):
    short = PIPELINE.replace("epochs = 10 ", "epochs = 1 ")
    search = short + '\n[search]\nmethod = "grid"\n[search.space]\n"fit.seed" = [1, 2]\n'
    job = submit("search", search, "search")
    wait(job, job_state.JobState.JOB_STATE_SUCCEEDED, job_state.JobState.JOB_STATE_FAILED)
    assert job.state == job_state.JobState.JOB_STATE_SUCCEEDED, job.error
    labels = aiplatform.Model("sp500-deciles@1").labels
    assert labels["job"] == job.name and labels["trials"] == "2"

    more = submit("more", short, "train", "--from", "sp500-deciles")
    wait(more, job_state.JobState.JOB_STATE_SUCCEEDED, job_state.JobState.JOB_STATE_FAILED)
    assert more.state == job_state.JobState.JOB_STATE_SUCCEEDED, more.error
    container = aiplatform.CustomJob.get(more.resource_name).job_spec.worker_pool_specs[0].container_spec
    assert list(container.args) == ["train", "--from", "sp500-deciles@1"]
    assert aiplatform.Model("sp500-deciles@2").labels["job"] == more.name
    with pytest.raises(exceptions.NotFound):
        submit("none", short, "train", "--from", "sp500-deciles@9")


def test_a_pipeline_with_local_files_is_refused(server: Server):
    with pytest.raises(exceptions.BadRequest) as refused:
        submit("local", PIPELINE.replace('"builtin:sp500-20"', '["prices.csv"]'))
    assert "prices.csv" in str(refused.value) and "datasetId" in str(refused.value)

"""Versions of the model that ours serves: another one uploaded, and put into service while it is asked."""

from serving_engines import MODEL, bellwether
from serving_load import Started


def upload(running: Started) -> None:
    """The same file as version 2; the server is told, since it owns the data directory."""
    bellwether("model", "upload", running.onnx, "--model", MODEL, *server(running), key=running.launch.admin_key)


def swap(running: Started, version: int) -> None:
    """All traffic to another version, then the one before is taken out."""
    key = running.launch.admin_key
    deployed = bellwether("endpoint", "deploy", MODEL, "--model", f"{MODEL}@{version}", "--cpu-cores", 1, *server(running), key=key)
    for old in deployed["endpoint"]["deployments"]:
        if old["id"] != deployed["deployment"]:
            bellwether("endpoint", "undeploy", MODEL, "--deployment", old["id"], *server(running), key=key)


def server(running: Started) -> list[str]:
    return ["--server", f"http://127.0.0.1:{running.launch.port}"]

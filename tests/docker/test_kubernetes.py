"""docker/kubernetes: manifests that Kubernetes takes, and files that agree with each other, the images and uv.lock."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from jobs.settings import load

DOCKER = Path(__file__).parents[2] / "docker"
FOLDER = DOCKER / "kubernetes"
MANIFESTS = {
    f"{file.name}: {told['kind']} {told['metadata'].get('name', '')}": told
    for file in (FOLDER / "executor-pod.yaml", FOLDER / "rbac.yaml")
    for told in yaml.safe_load_all(file.read_text(encoding="utf-8"))
}
VALUES = yaml.safe_load((FOLDER / "airflow-values.yaml").read_text(encoding="utf-8"))
SPARK = tomllib.loads((FOLDER / "spark-conf.toml").read_text(encoding="utf-8"))["spark"]
CONF = SPARK["conf"]
PROJECT = tomllib.loads((DOCKER.parent / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_manifests_are_valid(name: str) -> None:
    told = json.loads(json.dumps(MANIFESTS[name]))
    if told["kind"] == "Pod":  # Spark adds it
        told["spec"]["containers"][0]["image"] = "shelfmates-spark"
    kubernetes_validate.validate(told, "1.33", strict=True)


def of_kind(kind: str) -> list[Any]:
    return [told for told in MANIFESTS.values() if told["kind"] == kind]


def test_accounts_are_those_that_are_used() -> None:
    named = {told["metadata"]["name"] for told in of_kind("ServiceAccount")}
    assert CONF["spark.kubernetes.authenticate.executor.serviceAccountName"] in named
    (binding,) = of_kind("RoleBinding")
    (bound,) = binding["subjects"]
    assert bound["name"] in named
    assert binding["roleRef"]["name"] == of_kind("Role")[0]["metadata"]["name"]


def test_paths_are_those_of_the_images() -> None:
    for key in ("spark.kubernetes.executor.podTemplateFile",):
        assert (DOCKER.parent / Path(CONF[key]).relative_to("/opt/shelfmates")).is_file()


def test_the_example_of_keys_has_all_that_are_asked_for() -> None:
    text = (FOLDER / "airflow-values.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"name: shelfmates-keys\n\s+key: (\S+)", text)) | {"connection", "fernet-key", "api-secret-key", "jwt-secret"}
    lines = (FOLDER / "keys.env.example").read_text(encoding="utf-8").splitlines()
    assert {line.partition("=")[0] for line in lines if not line.startswith("#")} == asked


def test_the_example_of_connections_can_be_read() -> None:
    lines = (FOLDER / "connections.env.example").read_text(encoding="utf-8").splitlines()
    (connection,) = [line for line in lines if not line.startswith("#")]
    name, _, told = connection.partition("=")
    assert (name, json.loads(told)["conn_type"]) == ("AIRFLOW_CONN_SHELFMATES_S3", "aws")


def test_settings_with_it_load(tmp_path: Path) -> None:
    """[spark] of docker/shelfmates.toml replaced, as the runbook says."""
    ours = (DOCKER / "shelfmates.toml").read_text(encoding="utf-8")
    text = ours[: ours.index("[spark]")] + (FOLDER / "spark-conf.toml").read_text(encoding="utf-8")
    file = tmp_path / "shelfmates.toml"
    file.write_text(text, encoding="utf-8")
    assert load(file, environment={}).spark.conf == CONF


def test_variables_that_spark_asks_for_are_given() -> None:
    asked = set(re.findall(r"\$\{env:(\w+)\}", json.dumps(CONF)))
    assert asked
    assert asked <= {told["name"] for told in yaml.safe_load(VALUES["extraEnv"])}


def test_airflow_is_that_of_the_lock() -> None:
    (pinned,) = [told for told in PROJECT["dependency-groups"]["airflow"] if told.startswith("apache-airflow==")]
    assert pinned == f"apache-airflow=={VALUES['airflowVersion']}"
    assert VALUES["executor"] == "KubernetesExecutor"


def test_nobody_is_let_in_by_default() -> None:
    assert VALUES["createUserJob"]["enabled"] is False
    assert VALUES["postgresql"]["enabled"] is False  # its password is in the chart


@pytest.mark.parametrize("part", ["scheduler", "dagProcessor", "triggerer"])
def test_nothing_runs_that_only_airflows_own_image_has(part: str) -> None:
    assert VALUES[part]["logGroomerSidecar"]["enabled"] is False  # bash /clean-logs

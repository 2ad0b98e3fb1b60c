"""docker/README.md: what it names is there."""

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from jobs.object_store import HADOOP
from jobs.toolchain import DELTA_JARS

DOCKER = Path(__file__).parents[2] / "docker"
TEXT = (DOCKER / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", TEXT, re.MULTILINE | re.DOTALL)
SERVICES = {name for file in DOCKER.glob("compose*.yaml") for name in yaml.safe_load(file.read_text(encoding="utf-8"))["services"]}


def of_kind(kind: str) -> list[str]:
    return [text for found, text in BLOCKS if found == kind]


def test_services_are_those_of_compose() -> None:
    named = set(re.findall(r"docker compose (?:exec|run --rm) ([a-z][\w-]*)", TEXT))
    assert named
    assert named <= SERVICES


def test_files_are_there() -> None:
    links = {urlsplit(link).path for link in re.findall(r"\]\(([^)#\s]+)", TEXT)}
    named = set(re.findall(r"`((?:kubernetes/|compose|\w+\.Dockerfile|\.env\.)[\w./-]*)`", TEXT))
    not_ours = {"compose.override.yaml", "kubernetes/keys.env", "kubernetes/connections.env"}  # the reader's own
    assert [name for name in sorted(links | named - not_ours) if not (DOCKER / name).exists()] == []


def test_headings_that_are_linked_to_are_there() -> None:
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in TEXT.splitlines() if line.startswith("#")}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings


def test_blocks_of_settings_and_of_compose_can_be_read() -> None:
    assert of_kind("toml")
    for text in of_kind("toml"):
        tomllib.loads(text)
    for text in of_kind("yaml"):
        assert set(yaml.safe_load(text).get("services", {})) <= SERVICES


@pytest.mark.parametrize("text", of_kind("python"))
def test_blocks_of_python_can_be_compiled(text: str) -> None:
    compile(text, "README.md", "exec")


def test_versions_are_those_of_the_program() -> None:
    (delta,) = [f"{organisation}:{name}:{version}" for organisation, name, version in DELTA_JARS if name.startswith("delta-spark_")]
    assert f"{delta},org.apache.hadoop:hadoop-aws:{HADOOP}" in TEXT


def test_lines_are_short_enough() -> None:
    files = [file for file in [*DOCKER.iterdir(), *DOCKER.glob("kubernetes/*")] if file.is_file()]
    long = [
        f"{file.name}:{number}"
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 140 and not line.startswith("|")  # a row of a table can't be broken
    ]
    assert long == []

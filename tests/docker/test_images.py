"""The Dockerfiles: the same Python and Java in both, versions as in uv.lock and the program, no root, no secrets."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from jobs import toolchain
from jobs.settings import load

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
FILES = {file.name.partition(".")[0]: file.read_text(encoding="utf-8") for file in DOCKER.glob("*.Dockerfile")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKED = {package["name"]: package["version"] for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]}
IMAGES = ("airflow", "spark")


def test_there_are_two() -> None:
    assert sorted(FILES) == sorted(IMAGES)


def test_both_begin_with_the_same_python() -> None:
    """Spark refuses workers of another minor version than the driver's."""
    bases = {base for text in FILES.values() for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE)}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases.pop())


@pytest.mark.parametrize("image", IMAGES)
def test_the_program_runs_as_nobody_who_may_do_more(image: str) -> None:
    template = yaml.safe_load((DOCKER / "kubernetes" / "executor-pod.yaml").read_text(encoding="utf-8"))
    user = template["spec"]["securityContext"]["runAsUser"]
    assert user > 0
    assert re.findall(r"^USER (\S+)", FILES[image], re.MULTILINE) == [str(user)]
    assert f"useradd --uid {user} " in FILES[image]


@pytest.mark.parametrize("image", IMAGES)
def test_java_is_that_of_set_up(image: str) -> None:
    assert f" {toolchain.JAVA_PACKAGE} " in FILES[image]


@pytest.mark.parametrize("image", IMAGES)
def test_no_key_is_built_in(image: str) -> None:
    names = re.findall(r"^(?:ARG|ENV) +(\w+)|^ +(\w+)=", FILES[image], re.MULTILINE)
    assert names
    assert not [name for name in (first or second for first, second in names) if re.search("KEY|SECRET|PASSWORD|TOKEN", name)]


@pytest.mark.parametrize("image", IMAGES)
def test_the_builder_gets_what_is_copied_and_no_more(image: str) -> None:
    ignored = [line for line in (DOCKER / f"{image}.Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert ignored[0] == "*"
    copied = {
        source.partition("/")[0] for sources in re.findall(r"^COPY (.+) \S+$", FILES[image], re.MULTILINE) for source in sources.split()
    }
    kept = {line.removeprefix("!").partition("/")[0] for line in ignored if line.startswith("!")}
    assert {source for source in copied if not source.startswith("--")} == kept
    of_docker = [line for line in ignored if line.startswith("!docker")]
    assert all(re.fullmatch(r"!docker/(kubernetes/)?[\w*]+\.(py|sh|toml|yaml)", line) for line in of_docker), "what .gitignore has are keys"


def test_folders_that_are_written_to_are_there() -> None:
    settings = load(DOCKER / "shelfmates.toml", environment={})
    made = re.search(r"install --directory --owner shelfmates (.+) \\$", FILES["airflow"], re.MULTILINE)
    assert made
    assert {Path(settings.validate_.docs).name, Path(settings.search.index).name} <= set(made[1].split())
    assert "install --directory --owner shelfmates work" in FILES["spark"]


def test_packages_that_are_left_out_are_locked() -> None:
    """And each of them is PyTorch's alone."""
    left_out = re.search(r"^cpu\) left_out=\((.+)\) ;;$", (DOCKER / "packages.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert left_out
    assert set(left_out[1].split()) <= {name for name in LOCKED if name.startswith(("cuda-", "nvidia-", "triton"))}


def test_celery_is_one_that_airflows_executor_can_import() -> None:
    """5.7 has no `celery.backends.database.retry` any more, which the provider 3.26 wants."""
    assert LOCKED["celery"].startswith("5.6.") or LOCKED["apache-airflow-providers-celery"] > "3.26.0"


def test_groups_and_extras_are_the_projects() -> None:
    for text in FILES.values():
        assert set(re.findall(r"--group (\S+)", text)) <= set(PROJECT["dependency-groups"])
        assert set(re.findall(r"--extra (\S+)", text)) <= set(PROJECT["project"]["optional-dependencies"])


def test_one_version_everywhere() -> None:
    """Of the program: pyproject.toml's."""
    version = PROJECT["project"]["version"]
    texts = {file.name: file.read_text(encoding="utf-8") for file in [*DOCKER.glob("*"), *DOCKER.glob("kubernetes/*")] if file.is_file()}
    told = {
        (name, found)
        for name, text in texts.items()
        for found in re.findall(r"shelfmates-(?:airflow|spark):(\d[\d.]*\d)|VERSION(?::-|=)([\d.]+)", text)
    }
    assert told
    assert {first or second for _, (first, second) in told} == {version}

"""docker/compose*.yaml: services that are watched, images that are pinned, and secrets that nobody has by default."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.settings import load
from tests.cluster.services import VARIABLE, filled

DOCKER = Path(__file__).parents[2] / "docker"
FILES = sorted(DOCKER.glob("compose*.yaml"))
EXAMPLE = (DOCKER / ".env.example").read_text(encoding="utf-8")
ONE_SHOT, ENDED = {"restart": "no"}, "service_completed_successfully"


def parsed(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def variables() -> set[tuple[str, str, str]]:
    """Name, what follows if it is not set (-, ? or nothing), and the default or the complaint, of all that is no comment."""
    lines = [line for file in FILES for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    found = [match.groups(default="") for line in lines for match in VARIABLE.finditer(line)]
    return {(name, kind.removeprefix(":"), other) for _, name, kind, other in found if name}


COMPOSE = parsed(DOCKER / "compose.yaml")["services"]
ALL = {(file.name, name): told for file in FILES for name, told in parsed(file)["services"].items()}
OWN = {key: told for key, told in ALL.items() if key[0] == "compose.yaml" or key[1] not in COMPOSE}  # others are laid over these


@pytest.mark.parametrize(("name", "kind", "default"), sorted(variables()))
def test_each_variable_is_in_the_example(name: str, kind: str, default: str) -> None:
    if kind == "?":
        assert re.search(rf"^{name}=$", EXAMPLE, re.MULTILINE), "to be filled in"
    else:
        told = re.search(rf"^# {name}=(\S*)", EXAMPLE, re.MULTILINE)
        assert told is not None
        assert told[1] == default, "the example tells the default"


def test_the_example_holds_nothing_else() -> None:
    known = {name for name, _, _ in variables()} | {"COMPOSE_FILE"}
    assert set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", EXAMPLE, re.MULTILINE)) == known


def test_no_secret_has_a_default() -> None:
    secrets = {(name, kind) for name, kind, _ in variables() if re.search("PASSWORD|SECRET|KEY", name)}
    assert secrets
    assert {kind for _, kind in secrets} == {"?"}


@pytest.mark.parametrize(("file", "name"), sorted(OWN))
def test_each_service_is_watched(file: str, name: str) -> None:
    """By a health check, or, if it ends by itself, by those that wait for its end."""
    told = OWN[file, name]
    if "extends" in told:
        told = COMPOSE[told["extends"]["service"]] | told
    waiting = [other for other in COMPOSE.values() if other.get("depends_on", {}).get(name, {}).get("condition") == ENDED]
    assert "test" in told.get("healthcheck", {}) or (told["restart"] == "no" and waiting)


@pytest.mark.parametrize(("file", "name"), sorted(ALL))
def test_images_are_pinned(file: str, name: str) -> None:
    """Ours by VERSION; others by a tag that names a release to its last figure, as far as it has one."""
    image = ALL[file, name].get("image")
    assert image or name in COMPOSE or "extends" in ALL[file, name]
    if image:
        assert re.search(r":(\$\{VERSION:-[\d.]+\}(-cuda)?|v?\d+\.\d+(\.\d+)?(-\w+)?)$", image)


def test_keys_of_the_store_are_where_they_are_needed() -> None:
    """As variables: to tasks they come with a connection."""
    have = {name for (_, name), told in ALL.items() if any(key.startswith("AWS_SECRET") for key in told.get("environment", {}))}
    assert have == {"api-server", "bucket"}


def test_ports_are_not_open_to_other_machines() -> None:
    ports = [port for told in ALL.values() for port in told.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_overlays_name_services_that_there_are() -> None:
    for (_, name), told in ALL.items():
        for needed in told.get("depends_on", {}):
            assert any(other == needed for _, other in ALL), f"{name} waits for {needed}"


def test_settings_are_those_of_a_generated_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for where feeds lie."""
    ours = load(DOCKER / "shelfmates.toml", environment={})
    generated = load(DOCKER.parent / "jobs" / "example.toml", environment={})
    assert set(ours.sources) == set(generated.sources)
    for name, source in ours.sources.items():
        assert source.path == f"s3://shelfmates/feeds/{{date}}/{name}.csv"
        assert source.model_copy(update={"path": generated.sources[name].path}) == generated.sources[name]


def test_settings_lie_in_the_bucket_of_compose() -> None:
    environment = COMPOSE["scheduler"]["environment"]
    assert load(DOCKER / "shelfmates.toml", environment={}).lake.root == filled(environment["SHELFMATES__LAKE__ROOT"], {})
    assert environment["SHELFMATES_SETTINGS"] == "/opt/shelfmates/docker/shelfmates.toml"

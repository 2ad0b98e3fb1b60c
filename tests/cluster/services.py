"""What docker/compose.yaml and the Dockerfiles say, for hosts that are no containers: commands, variables, volumes, health checks."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import yaml

from tests.cluster.hosts import SYSTEM_PATH, Mount

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker" / "compose.yaml"
# $$, ${NAME}, ${NAME:-default}, ${NAME:?what is said without it}
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:?[-?])([^{}]*))?\})")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class ComposeError(Exception):
    """What compose.yaml asks for cannot be had here."""


@dataclass(frozen=True)
class Health:
    """`patience`: seconds after which compose gives the service up."""

    test: tuple[str, ...]
    patience: float


@dataclass(frozen=True)
class Service:
    """`image` without its version; `entry` and `environment` are those of the Dockerfile and of compose.yaml together."""

    name: str
    image: str
    version: str
    entry: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    volumes: tuple[str, ...] = ()
    health: Health | None = None
    needs: Mapping[str, str] = field(default_factory=dict)  # service -> condition


def services(values: Mapping[str, str]) -> dict[str, Service]:
    """All services by name, those first that others need; `values` is what an `.env` file would hold."""
    whole = filled(yaml.safe_load(FILE.read_text(encoding="utf-8")), values)
    found = {name: _service(name, told) for name, told in whole["services"].items()}
    order: list[str] = []
    while len(order) < len(found):
        ready = [name for name in found if name not in order and set(found[name].needs) <= set(order)]
        if not ready:
            raise ComposeError(f"{', '.join(set(found) - set(order))} wait for each other, or for a service that is not there")
        order += ready
    return {name: found[name] for name in order}


def one_shots(found: Mapping[str, Service]) -> set[str]:
    """Services that end by themselves, and have to before others begin."""
    return {
        needed for service in found.values() for needed, condition in service.needs.items() if condition == "service_completed_successfully"
    }


def filled(told: Any, values: Mapping[str, str]) -> Any:
    """The same with every variable of a text replaced. Raises ComposeError for one that has to be set and is not."""
    if isinstance(told, dict):
        return {key: filled(value, values) for key, value in told.items()}
    if isinstance(told, list):
        return [filled(value, values) for value in told]
    return VARIABLE.sub(lambda found: _value(found, values), told) if isinstance(told, str) else told


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    dollar, name, kind, other = found.groups()
    if dollar:
        return "$"
    value = values.get(name, "")
    if value or not kind or (name in values and not kind.startswith(":")):
        return value
    if kind.endswith("?"):
        raise ComposeError(f"{name} is not set: {other}")
    return other


def _service(name: str, told: Mapping[str, Any]) -> Service:
    image, _, version = told["image"].rpartition(":")
    built = dockerfile(ROOT / told["build"]["dockerfile"]) if "build" in told else Image()
    health = told.get("healthcheck")
    return Service(
        name=name,
        image=image,
        version=version,
        entry=tuple(_words(told["entrypoint"])) if "entrypoint" in told else built.entry,
        command=tuple(_words(told.get("command", ()))),
        environment=built.environment | {key: str(value) for key, value in told.get("environment", {}).items()},
        volumes=tuple(told.get("volumes", ())),
        health=Health(_test(health["test"]), _patience(health)) if health else None,
        needs={needed: how["condition"] for needed, how in told.get("depends_on", {}).items()},
    )


def _words(command: str | Sequence[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def _test(test: Sequence[str]) -> tuple[str, ...]:
    kind, *words = test
    return ("/bin/sh", "-c", *words) if kind == "CMD-SHELL" else tuple(words)


def _patience(health: Mapping[str, Any]) -> float:
    return _seconds(health.get("start_period", "0s")) + health.get("retries", 3) * _seconds(health.get("interval", "30s"))


def _seconds(text: str) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([smh])", text))


@dataclass(frozen=True)
class Image:
    environment: dict[str, str] = field(default_factory=dict)
    entry: tuple[str, ...] = ()


def dockerfile(file: Path) -> Image:
    """The variables and the entry point of the last stage."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    environment: dict[str, str] = {}
    entry: tuple[str, ...] = ()
    for instruction in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = instruction.strip().partition(" ")
        if word == "FROM":
            environment, entry = {"PATH": SYSTEM_PATH}, ()
        elif word == "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                environment[name] = Template(value).safe_substitute(environment)
        elif word == "ENTRYPOINT":
            entry = tuple(json.loads(rest))
    return Image({"HOME": "/root", "LANG": "C.UTF-8"} | environment, entry)


def mount_of(volume: str, folder: Path) -> Mount | None:
    """A volume, of those in the folder where it has a name; None where it has none, and lies in the root of the host."""
    source, _, rest = volume.partition(":")
    target, _, options = rest.partition(":")
    if not target:
        return None
    lies = (FILE.parent / source).resolve() if source.startswith((".", "/")) else folder / source
    return Mount(lies, target, writable="ro" not in options.split(","))

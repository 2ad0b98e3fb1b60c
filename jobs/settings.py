"""The only configuration: `shelfmates.toml`, with overrides from the environment. Frozen; unknown keys are refused.

An override is named by its path, levels apart by two underscores: `SHELFMATES__NEIGHBOURS__K=20`. Its value is read as TOML where it
is TOML, else as text. Relative paths are relative to the folder of the settings file, so a command works from anywhere.
"""

import difflib
import hashlib
import os
import tomllib
from collections.abc import Mapping
from operator import eq
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from jobs.errors import SettingsError
from jobs.feeds import Interactions, Source
from jobs.section import Section
from jobs.sections import (
    Audit,
    Bundles,
    Clean,
    Duplicates,
    Embed,
    Lake,
    Maintenance,
    Neighbours,
    PricePositions,
    Recommendations,
    Search,
    Spark,
    Substitutes,
    Validate,
    Weigh,
)

OVERRIDE_PREFIX = "SHELFMATES__"
DEFAULT_FILE = "shelfmates.toml"


def _is_source_name(name: str) -> str:
    if not name or ":" in name or "/" in name:
        raise ValueError("a source name is part of every item_id, so it can't be empty or hold ':' or '/'")
    return name


class Settings(Section):
    sources: dict[Annotated[str, AfterValidator(_is_source_name)], Source] = Field(min_length=1)
    interactions: Interactions | None = None
    lake: Lake = Lake()
    validate_: Validate = Field(default=Validate(), alias="validate")
    clean: Clean = Clean()
    weigh: Weigh = Weigh()
    embed: Embed = Embed()
    neighbours: Neighbours = Neighbours()
    search: Search = Search()
    audit: Audit = Audit()
    duplicates: Duplicates = Duplicates()
    price_positions: PricePositions = PricePositions()
    substitutes: Substitutes = Substitutes()
    recommendations: Recommendations = Recommendations()
    bundles: Bundles = Bundles()
    maintenance: Maintenance = Maintenance()
    spark: Spark = Spark()

    @model_validator(mode="after")
    def _what_the_sources_have(self) -> Self:
        across = self.neighbours.across == "source"
        for field in self.neighbours.block_by:
            lacking = [name for name, source in self.sources.items() if field not in {"source", "currency", *source.columns.mapped()}]
            if lacking and (across or len(lacking) == len(self.sources)):  # in other sources an item without one has next to nobody
                raise ValueError(f"'neighbours.block_by' asks for {field!r}: set sources.{lacking[0]}.columns.{field}")
        if across and len(self.sources) == 1:
            raise ValueError("'neighbours.across' asks for neighbours from other sources, and there is only one source")
        return self

    @model_validator(mode="after")
    def _interactions_are_of_a_source(self) -> Self:
        if self.interactions is not None:
            named, several = self.interactions.source, len(self.sources) > 1
            if named is not None and named not in self.sources:
                raise ValueError(f"'interactions.source' is {named!r}, and there are {', '.join(self.sources)}")
            if self.interactions.columns.event is None and self.interactions.purchases != ("purchase",):
                raise ValueError("'interactions.purchases' names kinds of event, and no column tells them: set interactions.columns.event")
            if named is not None and not several:
                raise ValueError("'interactions.source' tells sources apart, and there is only one: leave it out")
        return self

    @model_validator(mode="after")
    def _interactions_are_kept_as_long_as_they_are_read(self) -> Self:
        kept = self.maintenance.interactions
        if self.interactions is not None and kept is not None and kept < self.interactions.days:
            raise ValueError(f"'maintenance.interactions' keeps {kept} days, and 'interactions.days' reads {self.interactions.days}")
        return self

    @model_validator(mode="after")
    def _feeds_are_kept_as_long_as_they_are_compared(self) -> Self:
        kept, compared = self.maintenance.raw_items, self.audit.unchanged_days_max
        if kept is not None and kept <= compared:
            raise ValueError(
                f"'maintenance.raw_items' keeps {kept} days, and 'audit.unchanged_days_max' compares feeds over {compared} and one"
            )
        return self

    @property
    def fingerprint(self) -> str:
        """12 hex digits that change with any setting."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()[:12]


def load(file: str | Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from `file` (else $SHELFMATES_SETTINGS, else ./shelfmates.toml) with the environment's overrides.

    Raises SettingsError, listing every fault at once, each with its file and key.
    """
    path = Path(file or environment.get("SHELFMATES_SETTINGS") or DEFAULT_FILE).absolute()
    if not path.is_file():
        raise SettingsError(
            f"no settings file at {path}",
            "write one, or name another with --settings (`shelfmates generate` writes an example beside its feeds)",
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}", "mend the line named") from error
    origins = _override(values, environment)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults = [_fault(path, origins, detail) for detail in error.errors()]
        raise SettingsError(
            "\n".join(faults), "mend each key named; jobs/sections.py and jobs/feeds.py have all of them with their defaults"
        ) from error
    return _absolute(settings, path.parent)


def _override(values: dict[str, Any], environment: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Writes the environment's overrides into `values`, which this module has just parsed; returns which key came from which variable."""
    origins: dict[tuple[str, ...], str] = {}
    sections = tuple(f"{OVERRIDE_PREFIX[:-1]}{section.upper()}_" for section in _known_keys(()))
    for variable, text in sorted(environment.items()):
        if variable.startswith(sections):
            meant = variable.replace("_", "__", 1)
            raise SettingsError(f"{variable} is no override: between keys stand two underscores", f"write {meant}, or unset {variable}")
        if not variable.startswith(OVERRIDE_PREFIX):
            continue
        keys = tuple(variable.removeprefix(OVERRIDE_PREFIX).lower().split("__"))
        level = values
        for key in keys[:-1]:
            level = level.setdefault(key, {})
            if not isinstance(level, dict):
                raise SettingsError(f"{variable} names a key below {key!r}, which holds a value", f"unset {variable}")
        level[keys[-1]] = _toml_or_text(text)
        origins[keys] = variable
    return origins


def _toml_or_text(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _fault(path: Path, origins: dict[tuple[str, ...], str], detail: Any) -> str:
    keys = tuple(str(part) for part in detail["loc"] if part != "[key]")
    overriding = [variable for of, variable in origins.items() if keys and all(map(eq, of, keys))]  # the key, one above it or below
    origin = ", ".join(overriding) or str(path)
    name = ".".join(keys)
    if detail["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(keys[-1], _known_keys(keys[:-1]), n=1, cutoff=0.5)
        meant = f"did you mean {nearest[0]!r}?" if nearest else f"known here: {', '.join(_known_keys(keys[:-1]))}"
        return f"{origin}: unknown key {name!r}; {meant}"
    if detail["type"] == "missing":
        return f"{origin}: {name!r} is missing"
    found = detail["input"]
    shown = f", found {found!r}" if isinstance(found, str | int | float | bool) else ""
    expected = {
        "tuple_type": 'expected a list, ["…"]',
        "model_type": "expected a table, { key = … }",
        "dict_type": "expected a table, { key = … }",
    }
    said = expected.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
    said += shown
    return f"{origin}: {name!r}: {said}" if name else f"{origin}: {said}"


def _known_keys(keys: tuple[str, ...]) -> list[str]:
    """The keys that the section at `keys` may hold; a mapping with free keys (sources) passes any name."""
    kind: Any = Settings
    for key in keys:
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            arguments = [a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)]
            kind = arguments[-1] if arguments else kind
            continue
        by_key = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
        kind = by_key.get(key)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        kind = next((a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)), None)
    return [field.alias or name for name, field in kind.model_fields.items()] if kind else []


def _absolute(settings: Settings, folder: Path) -> Settings:
    """The same settings with every local path made absolute against `folder`; addresses with a scheme (s3a://, jdbc:) stay."""

    def at(path: str) -> str:
        return path if "://" in path or path.startswith("jdbc:") else os.path.normpath(folder / Path(path).expanduser())

    embed, interactions = settings.embed, settings.interactions
    return settings.model_copy(
        update={
            "lake": settings.lake.model_copy(update={"root": at(settings.lake.root)}),
            "sources": {name: source.model_copy(update={"path": at(source.path)}) for name, source in settings.sources.items()},
            "validate_": settings.validate_.model_copy(update={"docs": at(settings.validate_.docs)}),
            "search": settings.search.model_copy(update={"index": at(settings.search.index)}),
            "embed": embed.model_copy(update={"model": at(embed.model)}) if embed.model else embed,
            "interactions": interactions.model_copy(update={"path": at(interactions.path)}) if interactions else None,
        }
    )

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
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from jobs.errors import SettingsError
from jobs.tables import PARTS

OVERRIDE_PREFIX = "SHELFMATES__"
DEFAULT_FILE = "shelfmates.toml"

Share = Annotated[float, Field(ge=0, le=1)]


def _is_source_name(name: str) -> str:
    if not name or ":" in name or "/" in name:
        raise ValueError("a source name is part of every item_id, so it can't be empty or hold ':' or '/'")
    return name


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lake(_Section):
    """Where the tables live."""

    root: str = "build/lake"


class Columns(_Section):
    """Which column of the source holds what. Only `id` and `title` must be there."""

    id: str
    title: str
    description: str | None = None
    brand: str | None = None
    category: str | None = None
    price: str | None = None
    currency: str | None = None
    gtin: str | None = None
    model: str | None = None
    image: str | None = None
    availability: str | None = None  # pieces in stock, or a word: in stock, ausverkauft, https://schema.org/OutOfStock

    def mapped(self) -> dict[str, str]:
        """Field of the program -> column of the source, for the fields that are mapped."""
        return {field: column for field, column in self if column is not None}


class Deleted(_Section):
    """How a feed of changes says that a product is gone: a column, and what it holds then."""

    column: str
    values: Annotated[tuple[str, ...], Field(min_length=1)]


class Feed(_Section):
    """Where the files of a feed are, and how they are written."""

    path: str  # may hold {date}, and * for several files
    format: Literal["csv", "json", "jsonl", "parquet"] = "csv"
    encoding: str = "utf-8"
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'  # empty: quotes are ordinary characters


class Source(Feed):
    """One feed of products, and what its columns mean."""

    path: str  # may hold {date}, and * for several files; for jdbc the URL
    format: Literal["csv", "json", "jsonl", "parquet", "delta", "jdbc"] = "csv"  # type: ignore[assignment]  # two more
    decimal: Literal["auto", ".", ","] = "auto"  # decimal mark of prices; auto reads 1.234,50 and 1,234.50 alike
    currency: str | None = None  # of prices that name none
    price_unit: Literal["major", "minor"] = "major"  # minor: prices are in cents
    table: str | None = None  # jdbc only: table or query in brackets
    mode: Literal["full", "changes"] = "full"  # a file is the whole catalogue, or what has changed since the last one
    deleted: Deleted | None = None  # of a feed of changes: the rows that take a product out
    missing: Literal["hold", "last"] = "hold"  # a night without its files ends with an error, or goes on with the rows of its last night
    columns: Columns
    attributes: tuple[str, ...] = ()  # further columns to keep, as patterns: "attr_*"

    @staticmethod
    def key(name: str) -> str:
        """Of the source in the settings."""
        return f"sources.{name}"

    @property
    def needed(self) -> dict[str, str]:
        """Key below the source's own -> column that it names, of all that a file with a header has to have."""
        deleted = {"deleted.column": self.deleted.column} if self.deleted else {}
        return {f"columns.{field}": column for field, column in self.columns.mapped().items()} | deleted

    @property
    def in_every_file(self) -> dict[str, str]:
        """As `needed`, of what some row has in a file whose rows name their own columns; of changes a title may be absent."""
        return {"columns.id": self.columns.id} | ({"columns.title": self.columns.title} if self.mode == "full" else {})

    @property
    def may_be_empty(self) -> bool:
        """A file without rows says that nothing has changed."""
        return self.mode == "changes"

    @model_validator(mode="after")
    def _feeds_that_can_be(self) -> Self:
        if self.mode == "changes" and (self.format in ("delta", "jdbc") or "{date}" not in self.path):
            raise ValueError("a feed of changes is read in the order of its nights: its path has to hold {date}, and lead to files")
        if self.missing == "last" and self.format in ("delta", "jdbc"):
            raise ValueError("'missing' is of files: a table that is not there is an error")
        if self.deleted and self.mode == "full":
            raise ValueError("a feed of the whole catalogue leaves out what is gone: 'deleted' is for mode = \"changes\"")
        return self


class InteractionColumns(_Section):
    user: str
    item: str
    time: str  # ISO 8601, or seconds since 1970; UTC where it names no zone
    event: str | None = None  # none: every row is a purchase
    order: str | None = None  # of events that belong to one basket; none: those of a user on one day
    quantity: str | None = None  # none: 1


class Interactions(Feed):
    """What people do with products: one row an event."""

    columns: InteractionColumns
    source: str | None = None  # whose ids `item` holds, where there are several sources; none: they are item_ids as in the tables
    events: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=lambda: {"view": 0.3, "cart": 0.7, "purchase": 1.0}
    )  # kinds of event, and what each weighs for a person's taste; others are quarantined
    purchases: tuple[str, ...] = ("purchase",)  # kinds of event by which a product is had, and after which it is not recommended
    days: Annotated[int, Field(ge=1)] = 90  # that are looked back
    quarantine_max: Share = 0.5  # of a night's rows; above it the feed is suspect and the stage fails

    @staticmethod
    def key(name: str) -> str:
        return name

    @property
    def needed(self) -> dict[str, str]:
        return {f"columns.{field}": column for field, column in self.columns if column is not None}

    @property
    def in_every_file(self) -> dict[str, str]:
        return {f"columns.{field}": getattr(self.columns, field) for field in ("user", "item", "time")}

    @property
    def may_be_empty(self) -> bool:
        """A night without events is a quiet one."""
        return True

    @model_validator(mode="after")
    def _purchases_are_events(self) -> Self:
        if unknown := sorted(set(self.purchases) - set(self.events)):
            raise ValueError(f"'purchases' names {unknown[0]!r}, which is none of the events: give it a weight in 'events'")
        return self


AnyFeed = Source | Interactions


class RowRule(_Section):
    """A catalogue's own reason to quarantine a row: a Spark SQL predicate over the parsed row."""

    reason: str
    when: str


class Validate(_Section):
    title_min: Annotated[int, Field(ge=1)] = 2  # characters; shorter titles name nothing
    title_max: Annotated[int, Field(ge=1)] = 1000  # characters; longer ones are descriptions in the wrong column
    price_max: Annotated[float, Field(gt=0)] = 1_000_000
    zero_price: Literal["missing", "quarantine"] = "missing"  # in most feeds 0 means "not given"
    rules: tuple[RowRule, ...] = ()
    quarantine_max: Share = 0.5  # of a source's rows; above it the whole feed is suspect and the night is held
    drift: Literal["warn", "fail"] = (
        "warn"  # columns new, gone or of another type since the last published night: told, or they hold the night
    )
    docs: str = "build/data_docs"  # folder of the Data Docs page


class Clean(_Section):
    brands: dict[str, str] = Field(default_factory=dict)  # spelling in any case -> brand
    category_separator: str = ">"


class Embed(_Section):
    model: str | None = None  # folder of a sentence-transformers model; none: the all-MiniLM-L6-v2 that is installed with the program
    fields: tuple[Literal["title", "brand", "category", "description", "model"], ...] = ("title",)  # long descriptions drown titles
    max_characters: Annotated[int, Field(ge=1)] = 2000  # of a text; an encoder of 256 tokens reads no further, others may
    batch_tokens: Annotated[int, Field(ge=256)] | None = None  # padded tokens in one forward pass; none: what suits the device


class Weigh(_Section):
    """What is compared by how it is spelt, beside the title."""

    fields: tuple[Literal["brand", "category", "description", "model"], ...] = ("brand", "model", "description")
    max_characters: Annotated[int, Field(ge=1)] = 1000  # of all fields: what decides stands in front
    edition: Annotated[int, Field(ge=1)] = 1  # raise it to have the lexicon counted anew, as after a first feed that was not the shop's

    @property
    def reading(self) -> str:
        """What a lexicon has been counted of."""
        edition = f"; edition {self.edition}" if self.edition > 1 else ""
        return f"{', '.join(('title', *self.fields))}; {self.max_characters} characters{edition}"


class Weights(_Section):
    """What each channel weighs in the similarity; they are scaled to a sum of 1. One that weighs 0 is not looked at (texts are
    embedded all the same)."""

    semantic: Annotated[float, Field(ge=0)] = 2.0
    lexical: Annotated[float, Field(ge=0)] = 2.0
    codes: Annotated[float, Field(ge=0)] = 1.0
    price: Annotated[float, Field(ge=0)] = 0.0
    category: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.semantic + self.lexical:
            raise ValueError("semantic and lexical both weigh 0, and by the others alone nothing is found: give one of them a weight")
        return self

    @property
    def scaled(self) -> tuple[float, ...]:
        """Of PARTS, in their order, with a sum of 1."""
        weights = [getattr(self, part) for part in PARTS]
        return tuple(weight / sum(weights) for weight in weights)


class Neighbours(_Section):
    k: Annotated[int, Field(ge=1, le=1000)] = 10
    slack: Annotated[int, Field(ge=0)] = 5  # further pairs kept per item, so that deletions leave k
    block_by: tuple[Literal["source", "category", "brand", "currency"], ...] = ()  # pairs never cross these
    across: Literal["source"] | None = None  # "source": only neighbours from other sources
    weights: Weights = Weights()
    # nodes one task searches: by estimate 12 kB each, of 384 dimensions and k + slack of 15 (200 bytes more for each further one)
    cell_rows: Annotated[int, Field(ge=1000)] = 200_000
    increments: bool = False  # bring the last published night's lists up to date where little has changed, instead of making all anew
    full_days: Annotated[int, Field(ge=1)] = 30  # ... for so many days: what a search has missed stays missed until all are made anew
    recall_sample: Annotated[int, Field(ge=1)] = 1000  # items checked against exact search every night
    seed: int = 0


class Search(_Section):
    """What `similar` keeps on this machine to answer at once."""

    index: str = "build/search"  # folder, on a disk that is quick to read: 0.5 GB for 100,000 products with descriptions


class Audit(_Section):
    """Bounds that hold a night back."""

    target_recall: Share = 0.95
    rows_ratio_min: Share = 0.5  # products with neighbours, against the last published night
    rows_ratio_max: Annotated[float, Field(ge=1)] = 2.0
    unchanged_days_max: Annotated[int, Field(ge=0)] = 7  # a source whose files have been the same for longer is warned of
    missing_days_max: Annotated[int, Field(ge=0)] = 3  # rows that stand in for a missing source (`missing = "last"`) may be so old
    churn_max: Share = 0.5  # share of the last night's pairs that may be lost, of products whose text is the same
    shift_max: Share = 0.2  # of the similarities' distribution, against the last published night: Kolmogorov and Smirnov's distance
    coverage_min: Share = 0.9  # share of items with all the neighbours they could have


class Duplicates(_Section):
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5  # mean probability, over all pairs of two groups, from which they are one
    least: Annotated[float, Field(gt=0, le=1)] = 0.05  # pairs that are less probable are not kept


class PricePositions(_Section):
    """What an item's price is held against: the prices of its neighbours in the same currency."""

    similarity_min: Share = 0.5  # of a neighbour that is compared
    peers_min: Annotated[int, Field(ge=2)] = 3  # priced neighbours without which nothing is called an outlier
    outlier_ratio: Annotated[float, Field(gt=1)] = 3.0  # to the median, or its inverse; where neighbours differ much, more


class Substitutes(_Section):
    n: Annotated[int, Field(ge=1, le=100)] = 5  # for an item, at most
    similarity_min: Share = 0.5
    price_band: Annotated[float, Field(gt=0)] = 0.3  # how much dearer or cheaper, as a share of the item's price
    gone_days: Annotated[int, Field(ge=1)] = 14  # days for which items that are in no feed any more are given substitutes


class Recommendations(_Section):
    n: Annotated[int, Field(ge=1, le=1000)] = 10  # for a person, at most
    half_life: Annotated[float, Field(gt=0)] = 30.0  # days, after which an event counts half
    balance: Annotated[float, Field(gt=0, le=1)] = 0.9  # 1: the best as they are; less: products of one list are less alike


class Bundles(_Section):
    n: Annotated[int, Field(ge=1, le=100)] = 5  # for an item, at most
    baskets_min: Annotated[int, Field(ge=2)] = 5  # that held both
    users_min: Annotated[int, Field(ge=3)] = 5  # who bought both: what fewer people did could tell who they are
    lift_min: Annotated[float, Field(gt=1)] = 1.5  # how much oftener both were bought together than by chance, at least by what is certain
    basket_items_max: Annotated[int, Field(ge=2)] = 50  # a basket of more is a wholesaler's: everything in it goes with everything


SAFE_DAYS = 7  # Delta's own bound


def _no_reader_needs(days: int) -> int:
    if days < SAFE_DAYS:
        raise ValueError(
            f"readers go on with the files of the version they began with, and a writer's are in no version yet: keep {SAFE_DAYS} days"
        )
    return days


FOR_EVER = "for ever"
Days = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(lambda days: None if days == FOR_EVER else days)]


class Maintenance(_Section):
    """For how many days each table keeps its nights, or "for ever". Those that a coming night may read are kept in any case."""

    raw_items: Days = 35  # a month of nights that can be run again, and a week in which somebody asks for it
    quarantined_items: Days = 90  # suppliers are slow to mend, and it is little
    clean_items: Days = 35  # as long as what it is made of; vectors of texts that are in none of it are removed
    staged_neighbours: Days = 14  # read again by the next night, and by who asks why one was held
    neighbours: Days = 400  # the same season of the year before
    audit_results: Days = 400  # what was published can be accounted for
    claims: Days = 90
    runs: Days = 400
    matches: Days = 35  # what groups of duplicates were made of
    duplicates: Days = 400
    price_positions: Days = 400  # how a price has moved against others in a year
    substitutes: Days = 35
    interactions: Days = 400  # the same season of the year before; [interactions] days are read
    quarantined_interactions: Days = 35
    recommendations: Days = 14
    bundles: Days = 35
    vacuum_days: Annotated[int, AfterValidator(_no_reader_needs)] = SAFE_DAYS  # until files that were replaced or forgotten are removed


class Spark(_Section):
    master: str = "local[*]"  # under spark-submit the submit's own master wins
    conf: dict[str, str] = Field(default_factory=dict)


class Settings(_Section):
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
        raise SettingsError("\n".join(faults), "mend each key named; jobs/settings.py has all of them with their defaults") from error
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

"""The sections of the settings that say where feeds are, how they are written and what they mean."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jobs.section import Section, Share


class Columns(Section):
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


class Deleted(Section):
    """How a feed of changes says that a product is gone: a column, and what it holds then."""

    column: str
    values: Annotated[tuple[str, ...], Field(min_length=1)]


class Feed(Section):
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
    def tells(self) -> bool:
        """Errors may tell what stands in a file."""
        return True

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


class InteractionColumns(Section):
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
    )  # kinds of event, and what each weighs for a person's taste (of views a few in a hundred end in a purchase); others are quarantined
    purchases: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "purchase",
    )  # kinds of event by which a product is had, and after which it is not recommended
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
    def tells(self) -> bool:
        """No error tells what stands in a file: it may name a person, and would go to logs and to `runs`."""
        return False

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

"""The sections of the settings that say how a night is worked on, and what is made of it; each is named after its stage or tables."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from jobs.section import Section, Share
from jobs.tables import PARTS


class Lake(Section):
    """Where the tables live."""

    root: str = "build/lake"
    single_writer: bool = False  # true: in S3 no second driver ever writes beside one; then a store need not refuse what is there already


class RowRule(Section):
    """A catalogue's own reason to quarantine a row: a Spark SQL predicate over the parsed row."""

    reason: str
    when: str


class Validate(Section):
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


class Clean(Section):
    brands: dict[str, str] = Field(default_factory=dict)  # spelling in any case -> brand
    category_separator: str = ">"


class Embed(Section):
    model: str | None = None  # folder of a sentence-transformers model; none: the all-MiniLM-L6-v2 that is installed with the program
    fields: tuple[Literal["title", "brand", "category", "description", "model"], ...] = ("title",)  # long descriptions drown titles
    max_characters: Annotated[int, Field(ge=1)] = 2000  # of a text; an encoder of 256 tokens reads no further, others may
    batch_tokens: Annotated[int, Field(ge=256)] | None = None  # padded tokens in one forward pass; none: what suits the device


class Weigh(Section):
    """What is compared by how it is spelt, beside the title."""

    fields: tuple[Literal["brand", "category", "description", "model"], ...] = ("brand", "model", "description")
    max_characters: Annotated[int, Field(ge=1)] = 1000  # of all fields: what decides stands in front
    edition: Annotated[int, Field(ge=1)] = 1  # raise it to have the lexicon counted anew, as after a first feed that was not the shop's

    @property
    def reading(self) -> str:
        """What a lexicon has been counted of."""
        edition = f"; edition {self.edition}" if self.edition > 1 else ""
        return f"{', '.join(('title', *self.fields))}; {self.max_characters} characters{edition}"


class Weights(Section):
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


class Neighbours(Section):
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


class Search(Section):
    """What `similar` keeps on this machine to answer at once."""

    index: str = "build/search"  # folder, on a disk that is quick to read: 0.5 GB for 100,000 products with descriptions


class Audit(Section):
    """Bounds that hold a night back."""

    target_recall: Share = 0.95
    rows_ratio_min: Share = 0.5  # products with neighbours, against the last published night
    rows_ratio_max: Annotated[float, Field(ge=1)] = 2.0
    unchanged_days_max: Annotated[int, Field(ge=0)] = 7  # a source whose files have been the same for longer is warned of
    missing_days_max: Annotated[int, Field(ge=0)] = 3  # rows that stand in for a missing source (`missing = "last"`) may be so old
    churn_max: Share = 0.5  # share of the last night's pairs that may be lost, of products whose text is the same
    shift_max: Share = 0.2  # of the similarities' distribution, against the last published night: Kolmogorov and Smirnov's distance
    coverage_min: Share = 0.9  # share of items with all the neighbours they could have


class Duplicates(Section):
    # rows of one source are one product where nothing tells them apart; "similar": sources list a product many times, as marketplaces do
    within: Literal["identical", "similar"] = "identical"
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5  # mean probability, over all pairs of two groups, from which they are one
    least: Annotated[float, Field(gt=0, le=1)] = 0.05  # pairs that are less probable are not kept


class PricePositions(Section):
    """What an item's price is held against: the prices of its neighbours in the same currency."""

    similarity_min: Share = 0.5  # of a neighbour that is compared
    peers_min: Annotated[int, Field(ge=2)] = 3  # priced neighbours without which nothing is called an outlier
    outlier_ratio: Annotated[float, Field(gt=1)] = 3.0  # to the median, or its inverse; where neighbours differ much, more


class Substitutes(Section):
    n: Annotated[int, Field(ge=1, le=100)] = 5  # for an item, at most
    similarity_min: Share = 0.5
    price_band: Annotated[float, Field(gt=0)] = 0.3  # how much dearer or cheaper, as a share of the item's price
    gone_days: Annotated[int, Field(ge=1)] = 14  # days for which items that are in no feed any more are given substitutes


class Recommendations(Section):
    n: Annotated[int, Field(ge=1, le=1000)] = 10  # for a person, at most
    half_life: Annotated[float, Field(gt=0)] = 30.0  # days, after which an event counts half
    balance: Annotated[float, Field(gt=0, le=1)] = 0.95  # 1: the best as they are; so, products of a list are a quarter less alike


class Bundles(Section):
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


class Maintenance(Section):
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


# names of properties that hold keys; Spark's own pattern knows those of Hadoop for S3, but neither Amazon's variables nor other stores'
SECRET = (
    r"(?i)secret|password|passphrase|token|credential|connection[._-]?string|\.sas\."
    r"|(access|account|private|encryption|user|api|storage|provided)[._-]?key(?!size|gen)"
)
# names of places where keys are, of who gives them, of whether and when somebody is asked for them, and of what is named like one
NO_SECRET = (
    r"(?i)(provider|provider\.mapping|provider\.type|file|path|enabled|\.renewal\.credentials|renewalRatio|retryWait|pullSecrets"
    r"|tokenSecret\.(name|itemKey)|tokenConfRegex|token\.binding|token\.server\.url|ssl\.rpc\.privateKey|secretBitLength"
    r"|TOKENIZERS_PARALLELISM|APPLICATION_CREDENTIALS)$"
    r"|(driver|executor)\.(secretKeyRef|secrets)\.|token\.provider\.type\.|account\.keyprovider\."
)


class Spark(Section):
    master: str = "local[*]"  # under spark-submit the submit's own master wins
    conf: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _no_keys(self) -> Self:
        if keys := [name for name in self.conf if re.search(SECRET, name) and not re.search(NO_SECRET, name)]:
            raise ValueError(
                f"{', '.join(keys)}: a key in settings is in command lines too; give it by environment, connection or spark-defaults.conf"
            )
        return self

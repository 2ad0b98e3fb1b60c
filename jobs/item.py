"""One source row -> one parsed item, by the source's settings. Both stages that look at rows parse them here, so they cannot disagree.

About 20 µs a row with a title, a description and a price, twice that where text is long. What the values are worth is not judged here.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from fnmatch import translate
from functools import cache, lru_cache, partial
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from jobs import availability, price, text
from jobs.errors import ContractError
from jobs.feeds import Source
from jobs.sections import Clean, Weigh
from jobs.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_GTIN_LENGTHS = (8, 12, 13, 14)


class Item(NamedTuple):
    """What one row says. Text is cleaned, `id` and `image` only trimmed; None is what the row does not give."""

    id: str | None
    title: str | None
    description: str | None
    brand: str | None
    category: str | None
    price: Decimal | None
    currency: str | None
    price_fault: str | None
    gtin: str | None
    model: str | None
    image: str | None
    in_stock: bool | None
    attributes: dict[str, str]
    content: str  # SHA-256 of all the above: rows of one id with the same content are duplicates, others contradict each other
    repaired: bool  # the title needed more than its white space put right


Parse = Callable[[Mapping[str, str | None]], Item]

# the parsed row as Spark and as Arrow see it: where it came from, the item, and the text that the encoder reads
PARSED_DDL = (
    "source string, file string, row bigint, fault string, id string, title string, description string, brand string, category string, "
    "price decimal(18,2), currency string, price_fault string, gtin string, model string, image string, in_stock boolean, "
    "attributes map<string,string>, "
    "content string, repaired boolean, text string"
)
KEY = ["source", "file", "row"]  # of a raw row, within its night
BLANK = sha256(b"").hexdigest()  # content_hash of an item without text: embed gives it the zero vector, which is near nothing
_ARROW = {"price": pa.decimal128(18, 2), "in_stock": pa.bool_(), "attributes": pa.map_(pa.string(), pa.string()), "repaired": pa.bool_()}
_ITEM_FIELDS = [pa.field(name, _ARROW.get(name, pa.string())) for name in Item._fields]


def parsed(raw: "DataFrame", settings: Settings) -> "DataFrame":
    """Rows of raw_items -> rows of PARSED_DDL. A feed of one file lies in one piece: it is dealt out again, so that every core parses."""
    dealt = raw.select(*KEY, "fault", "values").repartition(*KEY)
    return dealt.mapInArrow(partial(parse_batches, settings=settings), PARSED_DDL)


def parse_batches(batches: Iterable[pa.RecordBatch], settings: Settings) -> Iterator[pa.RecordBatch]:
    """Batches of raw_items -> batches of PARSED_DDL, row for row."""
    parsers = {name: parser(source, settings.clean) for name, source in settings.sources.items()}
    fields, limit = settings.embed.fields, settings.embed.max_characters
    kept = ("source", "file", "row", "fault")
    for batch in batches:
        rows = zip(batch["source"].to_pylist(), batch["values"].to_pylist(), strict=True)
        items = [_parser_of(source, parsers)(dict(values)) for source, values in rows]
        columns = [pa.array([row[i] for row in items], field.type) for i, field in enumerate(_ITEM_FIELDS)]
        texts = pa.array([text_of(row, fields, limit) for row in items], pa.string())
        yield pa.RecordBatch.from_arrays([*(batch[name] for name in kept), *columns, texts], [*kept, *Item._fields, "text"])


def id_sql(settings: Settings) -> str:
    """Spark SQL of an item_id over parsed rows: ids of several sources are told apart by the source's name."""
    return "concat(source, ':', id)" if len(settings.sources) > 1 else "id"


def all_fields_sql(weigh: Weigh) -> str:
    """Spark SQL of everything that is compared by its spelling, over rows of clean_items: the title, unless the description begins with it,
    and the other fields."""
    title = "if(startswith(lower(description), lower(title)), NULL, title)" if "description" in weigh.fields else "title"
    return f"left(concat_ws(' ', {', '.join([title, *weigh.fields])}), {weigh.max_characters})"


def text_of(item: Item, fields: Iterable[str], limit: int) -> str | None:
    """What the encoder reads of an item: the fields that it has, else its title."""
    return text.joined([getattr(item, field) for field in fields], limit) or item.title


def parser(source: Source, clean: Clean) -> Parse:
    """The function that parses the rows of one source, its patterns and aliases made ready once."""
    columns = source.columns
    brands = {name.casefold(): brand for name, brand in clean.brands.items()}
    separator = text.clean(clean.category_separator) or clean.category_separator
    is_attribute = _matcher(source.attributes, frozenset(columns.mapped().values()))

    given = lru_cache(maxsize=65536)(text.given)  # brands, categories and attributes say the same few things again and again
    available = lru_cache(maxsize=1024)(availability.parse)

    def parse(values: Mapping[str, str | None]) -> Item:
        def of(column: str | None) -> str | None:
            return values.get(column) if column is not None else None

        brand = given(of(columns.brand))
        parsed = price.parse(of(columns.price), _trimmed(of(columns.currency)) or source.currency, source.decimal, source.price_unit)
        attributes = {name: cleaned for name in values if is_attribute(name) and (cleaned := given(values[name]))}
        fields = (
            _trimmed(of(columns.id)),
            text.given(of(columns.title)),
            text.given(of(columns.description)),
            brands.get(brand.casefold(), brand) if brand else None,
            _category(of(columns.category), separator),
            *parsed,
            _gtin(of(columns.gtin)),
            text.given(of(columns.model)),
            next((address for value in _several(of(columns.image)) if (address := _trimmed(value))), None),
            available(of(columns.availability)),
        )
        # cleaned text never is "None" and holds no control character, so two different rows never join to the same text
        content = sha256("\x1f".join(map(str, chain(fields, *sorted(attributes.items())))).encode(errors="surrogatepass")).hexdigest()
        return Item(
            *fields, attributes, content, repaired=fields[1] is not None and fields[1] != " ".join((of(columns.title) or "").split())
        )

    return parse


def is_gtin(digits: str) -> bool:
    """Whether the digits have the length and the check digit of a GTIN (EAN, UPC), by the GS1 General Specifications, section 7.9."""
    if len(digits) not in _GTIN_LENGTHS or not (digits.isascii() and digits.isdigit()) or not digits.strip("0"):
        return False
    return (sum(map(int, digits[-1::-2])) + 3 * sum(map(int, digits[-2::-2]))) % 10 == 0


def _parser_of(source: str, parsers: Mapping[str, Parse]) -> Parse:
    if source not in parsers:
        raise ContractError(
            f"raw_items holds rows of source {source!r}, which the settings do not name", "run `shelfmates ingest` with these settings"
        )
    return parsers[source]


def _matcher(patterns: Iterable[str], mapped: frozenset[str]) -> Callable[[str], bool]:
    """Whether a column is kept as an attribute: a pattern names it and no field is made of it. Every row asks for the same few columns."""
    pattern = re.compile("|".join(map(translate, patterns)) or r"(?!)")
    return cache(lambda column: column not in mapped and pattern.match(column) is not None)


def _trimmed(value: str | None) -> str | None:
    return (value.strip() or None) if value else None


def _several(value: str | None) -> list[str]:
    """The scalars of a JSON array, as text; any other value alone."""
    if value is None:
        return []
    if value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            return [value]
        return [str(one) for one in found if one is not None]
    return [value]


def _category(value: str | None, separator: str) -> str | None:
    paths = [cleaned for one in _several(value) if (cleaned := text.given(one))]
    levels = [level for path in paths for part in path.split(separator) if (level := part.strip())]
    return " > ".join(levels) or None


def _gtin(value: str | None) -> str | None:
    digits = (one.strip().replace(" ", "").replace("-", "") for one in _several(value))
    return next((one for one in digits if is_gtin(one)), None)

"""Why two items of a published night are neighbours, or are not: their similarity and its parts, what they share, where they differ, and
the place of each in the other's list.

Everything is computed from the night's items, as `neighbours` has computed it; what is published is told beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from jobs import snapshot, sql, term
from jobs.errors import SettingsError
from jobs.explanation import Explanation, Shared, explained
from jobs.settings import Settings
from jobs.snapshot import Snapshot

FIELDS = ("title", "brand", "category", "price", "currency", "gtin", "model", "description", "source")  # that are put side by side
ROUNDING = 2e-5  # of what is published of a large night, whose vectors travel in 16 bits a number
MOST = 12  # words, or codes, that are told
WIDTH = 44  # characters of a field
NOTHING = "–"
ATTRIBUTE = "attribute "  # before the name of one
BEFORE = 12  # characters before the first that differs
BLANK = "␣"  # the boundary of a word in an n-gram


@dataclass(frozen=True)
class Field:
    """What the two items have in one field or attribute, None where one has nothing."""

    name: str
    mine: str | None
    theirs: str | None

    @property
    def same(self) -> bool:
        return self.mine == self.theirs


@dataclass(frozen=True)
class Listed:
    """Where one item stands in the published list of the other: its rank and similarity, None where it does not; how long the list is."""

    item_id: str
    of: str
    rank: int | None
    similarity: float | None
    length: int


@dataclass(frozen=True)
class Explained:
    """Two items of a night."""

    night: date
    item_ids: tuple[str, str]
    explanation: Explanation
    fields: tuple[Field, ...]
    listed: tuple[Listed, Listed]


def explain(settings: Settings, mine: str, theirs: str, night: date | None = None) -> Explained:
    """Raises SettingsError for an id that the night does not know, and for one that is given twice; else as `snapshot.of_night`."""
    if mine == theirs:
        raise SettingsError(f"both items are {mine}", "give the ids of two")
    of = snapshot.of_night(settings, night)
    items = of.items(mine, theirs)
    for item_id in (mine, theirs):
        if item_id not in items["item_id"].to_pylist():
            raise _unknown(of, item_id)
    items = items.take(pa.array([items["item_id"].to_pylist().index(item_id) for item_id in (mine, theirs)]))
    vectors = of.vectors(items["content_hash"])
    found = explained(vectors, of.columns(items), of.reading(vectors.shape[1]))
    return Explained(of.night, (mine, theirs), found, _fields(of, mine, theirs), (_listed(of, theirs, mine), _listed(of, mine, theirs)))


def _unknown(of: Snapshot, item_id: str) -> SettingsError:
    ((example,),) = sql.rows(of.connection, "SELECT min(item_id) FROM clean_items WHERE snapshot_date = ?", of.night)
    return SettingsError(
        f"the night {of.night} knows no item {item_id!r}; its ids read like {example!r}",
        "find one with `shelfmates similar`, or name another night with --date",
    )


def _fields(of: Snapshot, mine: str, theirs: str) -> tuple[Field, ...]:
    """Those of FIELDS, and the attributes, that either item has."""
    query = f"SELECT {', '.join(FIELDS)}, attributes FROM clean_items WHERE snapshot_date = ? AND item_id = ?"
    both = []
    for item_id in (mine, theirs):
        ((*values, attributes),) = sql.rows(of.connection, query, of.night, item_id)
        told = {name: str(value) for name, value in zip(FIELDS, values, strict=True) if value is not None}
        both.append(told | {f"{ATTRIBUTE}{name}": value for name, value in sorted(dict(attributes).items())})
    names = list(dict.fromkeys([*both[0], *both[1]]))
    order = sorted(names, key=lambda name: FIELDS.index(name) if name in FIELDS else len(FIELDS))
    return tuple(Field(name, both[0].get(name), both[1].get(name)) for name in order)


def _listed(of: Snapshot, item_id: str, listing: str) -> Listed:
    query = """SELECT max(rank) FILTER (neighbour_id = $1), max(similarity) FILTER (neighbour_id = $1), count(*)
        FROM neighbours WHERE snapshot_date = $2 AND item_id = $3"""
    ((rank, similarity, length),) = sql.rows(of.connection, query, item_id, of.night, listing)
    return Listed(item_id, listing, rank, similarity, length)


def told(of: Explained) -> str:
    """The explanation in lines."""
    return "\n".join(_lines(of))


def _lines(of: Explained) -> Iterator[str]:
    found, (mine, theirs) = of.explanation, of.item_ids
    yield f"{mine} and {theirs}, night {of.night}"
    yield f"similarity {'none: nothing that both have can be compared' if found.similarity is None else f'{found.similarity:.4f}'}"
    for listed in of.listed:
        yield f"  {place(listed, found.similarity)}"
    yield f"\n{'channel':<12}{'part':>8}{'set to':>9}{'weighs':>9}{'gives':>9}"
    for channel in found.channels:
        if channel.setting:
            part = NOTHING if channel.part is None else f"{channel.part:.4f}"
            yield f"{channel.name:<12}{part:>8}{channel.setting:>9.3f}{channel.weight:>9.3f}{channel.contribution:>9.4f}"
    if len(found.spellings) > 1:
        yield f"lexical is of {found.better}: " + ", ".join(f"{name} {value:.4f}" for name, value in found.spellings.items())
    yield from _shares("what carries the lexical part", found.words)
    yield from _shares("what carries the codes", found.codes)
    width = max(len(field.name) for field in of.fields)
    yield f"\n{'':2}{'':<{width}}  {cut(mine, WIDTH):<{WIDTH}}  {cut(theirs, WIDTH)}"
    for field in of.fields:
        one, other = shown(field, WIDTH)
        yield f"{'=' if field.same else '≠'} {field.name:<{width}}  {one:<{WIDTH}}  {'' if field.same else other}".rstrip()


def _shares(title: str, shares: tuple[Shared, ...]) -> Iterator[str]:
    if not shares:
        return
    yield f"\n{title}"
    for shared in shares[:MOST]:
        grams = f"  {' '.join(gram.replace(term.BOUNDARY, BLANK) for gram in shared.grams)}" if shared.mine != shared.theirs else ""
        yield f"{shared.share:>7.1%}  {name(shared)}{grams}"
    if rest := sum(shared.share for shared in shares[MOST:]):
        yield f"{rest:>7.1%}  {len(shares) - MOST} others"


def name(shared: Shared) -> str:
    return shared.mine if shared.mine == shared.theirs else f"{shared.mine} ~ {shared.theirs}"


def place(listed: Listed, similarity: float | None) -> str:
    """Where an item stands in the other's list, and whether it was published with another similarity."""
    if not listed.length:
        return f"{listed.of} has no published list"
    if listed.rank is None or listed.similarity is None:
        return f"{listed.item_id} is not among the {listed.length} of {listed.of}"
    other = similarity is None or abs(listed.similarity - similarity) > ROUNDING
    note = f", published with {listed.similarity:.4f}: items or settings have changed since" if other else ""
    return f"{listed.item_id} is number {listed.rank} of {listed.length} of {listed.of}{note}"


def shown(field: Field, width: int) -> tuple[str, str]:
    """Both values in so many characters: where these are too few for the place in which they differ, from shortly before it on."""
    mine, theirs = field.mine or NOTHING, field.theirs or NOTHING
    alike = next((at for at, (one, other) in enumerate(zip(mine, theirs, strict=False)) if one != other), min(len(mine), len(theirs)))
    start = min(alike - BEFORE, max(len(mine), len(theirs)) - width + 1)
    if field.same or alike < width - BEFORE or start < 1:
        return cut(mine, width), cut(theirs, width)
    return cut(f"…{mine[start:]}", width), cut(f"…{theirs[start:]}", width)


def cut(value: str, width: int) -> str:
    return value if len(value) <= width else f"{value[: width - 1]}…"

"""A catalogue made by rule: two sources that overlap, night after night, dirty at a stated rate, with the truth of it all.

Same arguments, same bytes, in any process and on any machine. Every row is a function of (seed, its place, the night), so memory does not
grow with the catalogue, shoppers apart; about 15,000 rows/s on one core. What lies in the folder afterwards:

    shelfmates.toml             settings for these feeds, commented
    feeds/<date>/{shop,market}.csv   each night a full feed
    truth/dirt-<date>.csv       which row (1 = the first under the header) is dirty how, what must become of it, and the clean values
    truth/changes-<date>.csv    from the second night on: what differs from the night before, dirt apart
    truth/matches.csv           the market's product and the same one at the shop, as of the last night

With shoppers, also what they do at the shop, what they like, and what goes together (see `traffic`), and in the last column of each feed
what is in stock (see `stock`).

Ids in the truth are the lake's item_ids. What products exist stands in `assortment`, how sources list them in `offer`, dirt in `dirt`.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from jobs import stock
from jobs.chance import MILLION, spread
from jobs.csv_table import Write, table
from jobs.dialect import DIALECTS, MARKET, SHOP, Dialect
from jobs.dirt import Kind, soiled
from jobs.errors import SettingsError
from jobs.history import Life, life, listed
from jobs.offer import Record, first_night, own_id, record, shop_ordinal
from jobs.traffic import Orders, Traffic, write_night, write_truth

ITEMS_MIN = 100  # below, the market has too few products to compare
ITEMS_MAX = 10_000_000  # ids and GTINs are unique up to here, with room for additions
USERS_MAX = 10_000_000
EVENTS_EACH = 5  # a visit a night
PROGRESS_SECONDS = 3.0

_DIRT_COLUMNS = ("source", "row", "id", "kind", "expected", "title", "price", "currency", "gtin")


@dataclass(frozen=True)
class Feed:
    """What was written for one source and one night. `dirty` and `changes` count products by kind."""

    date: date
    source: str
    rows: int
    dirty: dict[str, int]
    changes: dict[str, int]

    def __str__(self) -> str:
        changes = "".join(f", {count:,} {'repriced' if kind == 'price' else kind}" for kind, count in sorted(self.changes.items()))
        return f"generate: {self.date} {self.source} {self.rows:,} rows, {sum(self.dirty.values()):,} dirty{changes}"


@dataclass(frozen=True)
class Summary:
    """What was written. As text: a line a feed, and where it lies."""

    folder: Path
    feeds: tuple[Feed, ...]
    matches: int
    interactions: tuple[int, ...] = ()  # of each night

    def __str__(self) -> str:
        lines = [str(feed) for feed in self.feeds]
        if self.interactions:
            lines.append(f"generate: {sum(self.interactions):,} interactions in {len(self.interactions)} nights")
        return "\n".join([*lines, f"generate: {self.matches:,} true matches, settings in {self.folder / 'shelfmates.toml'}"])


@dataclass(frozen=True)
class _Catalogue:
    """The arguments, checked. Shares are in parts per million."""

    items: int
    seed: int
    dirt: int
    change: int
    stocked: bool  # feeds tell what is in stock

    def ordinals(self, dialect: Dialect, night: int) -> Sequence[int]:
        """Every product the source has listed by that night. The market lists the newest first, so places tell nothing about matches."""
        ordinals = range(listed(first_night(dialect, self.items), self.change, night))
        return ordinals[::-1] if dialect is MARKET else ordinals

    def life(self, dialect: Dialect, ordinal: int, night: int) -> Life | None:
        return life(f"{self.seed} {dialect.source}", first_night(dialect, self.items), self.change, ordinal, night)

    def item_id(self, dialect: Dialect, ordinal: int) -> str:
        return f"{dialect.source}:{own_id(dialect, self.seed, ordinal)}"

    def header(self, dialect: Dialect) -> tuple[str, ...]:
        return (*dialect.columns.values(), *([stock.COLUMNS[dialect.source]] if self.stocked else ()))

    def stock(self, dialect: Dialect, ordinal: int, night: int) -> tuple[str, ...]:
        """What stands in the last column, if the feeds have it."""
        return (stock.written(dialect, self.seed, ordinal, night),) if self.stocked else ()

    def dirt_rank(self, dialect: Dialect, ordinal: int) -> int | None:
        """Which of the source's dirty products this one is, or None for most. Dirt sticks to a product from night to night."""
        return spread(f"{self.seed} {dialect.source} dirt", self.dirt, ordinal)

    def keeps(self, dialect: Dialect, ordinal: int, night: int) -> bool:
        """Whether the source lists the product that night, in a row that need not be quarantined."""
        now = self.life(dialect, ordinal, night)
        if now is None or now.event == "deleted":
            return False
        rank = self.dirt_rank(dialect, ordinal)
        return rank is None or soiled(record(dialect, self.seed, ordinal, now), dialect, self.seed, rank).kind.expected != "quarantined"


def generate(
    folder: Path,
    items: int,
    nights: int,
    start: date,
    seed: int = 0,
    dirt: float = 0.02,
    change: float = 0.01,
    users: int = 0,
    events: int | None = None,
) -> Summary:
    """Writes the catalogue into `folder`, over what was there of its nights.

    `items` counts the shop's products on the first night; the market lists a quarter as many, 60 % of them the shop's. `dirt` is the share
    of products that are listed with a fault, `change` the share that differs from one night to the next: added, changed, deleted and
    repriced in equal parts. `users` shop there, and together do about `events` things a night, EVENTS_EACH of them if that is not told.
    Raises SettingsError on an impossible argument, a folder that cannot be written, or one with settings that are not the catalogue's.
    """
    events = users * EVENTS_EACH if events is None else events
    _check(items, nights, start, dirt, change, users, events)
    catalogue = _Catalogue(items, seed, round(dirt * MILLION), round(change * MILLION), stocked=users > 0)
    settings = folder / "shelfmates.toml"
    try:
        if settings.exists() and settings.read_text(encoding="utf-8") not in (_settings(stocked=True), _settings(stocked=False)):
            raise SettingsError(
                f"{settings} is there, and is not the catalogue's", "name another folder with --out, or move that file away"
            )
        (folder / "truth").mkdir(parents=True, exist_ok=True)
        settings.write_text(_settings(stocked=catalogue.stocked), encoding="utf-8")
        feeds = [feed for night in range(nights) for feed in _write_night(folder, catalogue, night, start + timedelta(days=night))]
        matches = _write_matches(folder / "truth" / "matches.csv", catalogue, nights - 1)
        interactions = (
            _write_interactions(folder, catalogue, Traffic(seed, items, catalogue.change, nights, users, events), start) if users else ()
        )
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be written: {error}", "name a folder that this user may write, on a disk with room"
        ) from error
    return Summary(folder, tuple(feeds), matches, interactions)


def _settings(*, stocked: bool) -> str:
    """Of the catalogue; where there are shoppers, with what is in stock and what they do."""
    found = Path(__file__).with_name("example.toml").read_text(encoding="utf-8")
    if not stocked:
        return found
    for dialect in DIALECTS:
        image = f'image = "{dialect.columns["image"]}"\n'
        found = found.replace(image, f'{image}availability = "{stock.COLUMNS[dialect.source]}"\n')
    return found + Path(__file__).with_name("example_shoppers.toml").read_text(encoding="utf-8")


def _check(items: int, nights: int, start: date, dirt: float, change: float, users: int, events: int) -> None:
    faults = []
    if not ITEMS_MIN <= items <= ITEMS_MAX:
        faults.append(f"items is {items:,}, expected {ITEMS_MIN} to {ITEMS_MAX:,}")
    if not 1 <= nights <= (date.max - start).days:
        faults.append(f"nights is {nights:,}, expected 1 or more, all before the year 10000")
    faults += [
        f"{name} is {share}, expected a share from 0 to 1" for name, share in (("dirt", dirt), ("change", change)) if not 0 <= share <= 1
    ]
    if not 0 <= users <= USERS_MAX:
        faults.append(f"users is {users:,}, expected 0 to {USERS_MAX:,}")
    if events < 0 or (events and not users):
        faults.append(f"events is {events:,}, expected 0 or more, and none without users")
    if faults:
        raise SettingsError(f"no such catalogue: {'; '.join(faults)}", "give `shelfmates generate` values within these bounds")


def _write_night(folder: Path, catalogue: _Catalogue, night: int, day: date) -> list[Feed]:
    feeds, truth = folder / "feeds" / day.isoformat(), folder / "truth"
    feeds.mkdir(parents=True, exist_ok=True)
    changes = _write_changes(truth / f"changes-{day}.csv", catalogue, night) if night else {}
    with table(truth / f"dirt-{day}.csv", _DIRT_COLUMNS) as tell:
        return [
            Feed(
                day,
                dialect.source,
                *_write_feed(feeds / f"{dialect.source}.csv", catalogue, dialect, night, tell),
                changes.get(dialect.source, {}),
            )
            for dialect in DIALECTS
        ]


def _write_feed(path: Path, catalogue: _Catalogue, dialect: Dialect, night: int, tell: Write) -> tuple[int, dict[str, int]]:
    """Writes one file and tells what is dirty in it. Returns how many rows it has and how many products of every kind of dirt."""
    row, dirty = 0, Counter[str]()
    with table(path, catalogue.header(dialect), dialect.encoding, dialect.separator, dialect.newline) as write:
        for ordinal in _announced(catalogue.ordinals(dialect, night), f"{path.parent.name} {dialect.source}"):
            now = catalogue.life(dialect, ordinal, night)
            if now is None or now.event == "deleted":
                continue
            sound = record(dialect, catalogue.seed, ordinal, now)
            rank = catalogue.dirt_rank(dialect, ordinal)
            if rank is None:
                row += 1
                write((*sound.values(), *catalogue.stock(dialect, ordinal, night)))
                continue
            soil = soiled(sound, dialect, catalogue.seed, rank)
            dirty[soil.kind.name] += 1
            for copy, values in enumerate(soil.rows):
                row += 1
                is_cut = len(values) < len(sound)
                write(values.values() if is_cut else (*values.values(), *catalogue.stock(dialect, ordinal, night)))
                if copy or soil.kind.expected != "folded":
                    tell((dialect.source, str(row), catalogue.item_id(dialect, ordinal), *_truth(soil.kind, sound, dialect)))
    return row, dict(dirty)


def _truth(kind: Kind, sound: Record, dialect: Dialect) -> tuple[str, ...]:
    """Kind and outcome of a dirty row and, where cleaning must restore it, what its fields are then."""
    if kind.expected != "cleaned":
        return kind.name, kind.expected, "", "", "", ""
    clean = {"currency": dialect.currency} | sound | {"price": dialect.plain(sound["price"])} | kind.clean
    return kind.name, kind.expected, clean["title"], clean["price"], clean["currency"] if clean["price"] else "", clean["gtin"]


def _write_changes(path: Path, catalogue: _Catalogue, night: int) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    with table(path, ("id", "kind")) as tell:
        for dialect in DIALECTS:
            kinds = Counter[str]()
            for ordinal in catalogue.ordinals(dialect, night):
                now = catalogue.life(dialect, ordinal, night)
                if now is not None and now.event is not None:
                    kinds[now.event] += 1
                    tell((catalogue.item_id(dialect, ordinal), now.event))
            counts[dialect.source] = dict(kinds)
    return counts


def _write_matches(path: Path, catalogue: _Catalogue, night: int) -> int:
    """Pairs of which both rows can be published that night. Returns how many."""
    pairs = 0
    shop = catalogue.ordinals(SHOP, night)
    with table(path, ("query_id", "match_id")) as tell:
        for ordinal in catalogue.ordinals(MARKET, night):
            match = shop_ordinal(catalogue.seed, ordinal)
            if match is None or match not in shop:
                continue
            if catalogue.keeps(MARKET, ordinal, night) and catalogue.keeps(SHOP, match, night):
                pairs += 1
                tell((catalogue.item_id(MARKET, ordinal), catalogue.item_id(SHOP, match)))
    return pairs


def _write_interactions(folder: Path, catalogue: _Catalogue, traffic: Traffic, start: date) -> tuple[int, ...]:
    """What is done at the shop every night, beside its feed, and the truth of it. Returns how many things were done each night."""
    orders, counts = Orders(), list[int]()
    for night in range(traffic.nights):
        day = start + timedelta(days=night)
        counts.append(write_night(folder / "feeds" / day.isoformat() / "interactions.csv", traffic, night, day, orders))
    kept = bytes(catalogue.keeps(SHOP, ordinal, traffic.nights - 1) for ordinal in catalogue.ordinals(SHOP, traffic.nights - 1))
    write_truth(folder / "truth", traffic, orders, kept)
    return tuple(counts)


def _announced(ordinals: Sequence[int], what: str) -> Iterator[int]:
    """The ordinals, with a line now and then for whoever waits."""
    said = time.monotonic()
    for done, ordinal in enumerate(ordinals):
        if done % 1000 == 0 and time.monotonic() - said > PROGRESS_SECONDS:
            print(f"generate: {what} {done:,} of {len(ordinals):,} rows", flush=True)
            said = time.monotonic()
        yield ordinal

"""What the explorer tells of what is made of a published night, for JSON: a page of a table, and what there is of one product."""

from dataclasses import dataclass
from datetime import date

from shelfmates.explorer.answers import Row, has_products, items_of, rows, value
from shelfmates.explorer.lake_cache import LakeCache, NotThereError, Part


@dataclass(frozen=True)
class Listing:
    """A table of decisions that a stage makes, in the order in which it is looked through. `of_item`: the SQL condition of the rows that
    concern one."""

    stage: str
    select: str
    of_item: str = "decided.item_id = $1"

    def part(self, table: str, night: date) -> Part:
        return Part(table, f"SELECT *, row_number() OVER () AS place FROM ({self.select})", night)


FEW = 4  # people whose number is not told
LISTINGS = {
    "duplicates": Listing(
        "deduplicate",
        "SELECT group_id, item_id, survivor, match_probability, NULL::VARCHAR AS other_id FROM source "
        "ORDER BY group_id, survivor DESC, item_id",
        "decided.group_id IN (SELECT group_id FROM decided WHERE item_id = $1)",
    ),
    "price_positions": Listing(
        "position",
        "SELECT item_id, peers, median, gap, percentile, outlier, cause, NULL::VARCHAR AS other_id FROM source "
        "ORDER BY outlier DESC, abs(ln(greatest(1 + gap, 1e-9))) DESC, item_id",
    ),
    "substitutes": Listing(
        "substitute", "SELECT item_id, rank, substitute_id AS other_id, similarity, reason, last_listed FROM source ORDER BY item_id, rank"
    ),
    "bundles": Listing(
        "bundle", "SELECT item_id, rank, other_id, baskets, users, lift, confidence FROM source ORDER BY lift_low DESC, item_id, rank"
    ),
    # of products: what is recommended to whom is no one's business here, nor what only a few get
    "recommendations": Listing(
        "recommend",
        f"SELECT item_id, nullif(greatest(count(*) FILTER (user_id <> 'anyone'), {FEW}), {FEW}) AS people, "
        "min(rank) FILTER (user_id = 'anyone') AS rank_for_anyone, NULL::VARCHAR AS other_id FROM source "
        "GROUP BY item_id ORDER BY people DESC NULLS LAST, rank_for_anyone, item_id",
    ),
}
DONE = Part("runs", "SELECT DISTINCT snapshot_date, stage FROM source WHERE outcome = 'ok'")
_WITH_TITLES = """SELECT decided.* EXCLUDE (place), i.title, i.source, i.price, i.currency,
        o.title AS other_title, o.price AS other_price, o.currency AS other_currency
    FROM decided LEFT JOIN items i ON i.item_id = decided.item_id LEFT JOIN items o ON o.item_id = decided.other_id
    WHERE {} ORDER BY place"""


def page(cache: LakeCache, night: date, table: str, skip: int, count: int) -> Row:
    """The rows from `skip` on, and how many there are; `made` is false where nobody has made the table for the night. Raises NotThereError
    for another table."""
    if table not in LISTINGS:
        raise NotThereError(f"there is no list of {table}; there are {', '.join(LISTINGS)}")
    has_products(cache, night)
    if night not in cache.nights(table):
        with cache.reading(done=DONE) as connection:
            made = value(connection, "SELECT count(*) > 0 FROM done WHERE snapshot_date = $1 AND stage = $2", night, LISTINGS[table].stage)
        return {"night": night, "made": made, "found": 0, "skip": skip, "rows": []}
    with cache.reading(decided=LISTINGS[table].part(table, night), items=items_of(night)) as connection:
        found = value(connection, "SELECT count(*) FROM decided")
        shown = rows(connection, _WITH_TITLES.format("place > $1 AND place <= $2"), skip, skip + count)
    return {"night": night, "made": True, "found": found, "skip": skip, "rows": shown}


def of_item(cache: LakeCache, night: date, item_id: str) -> Row:
    """By table, what there is of one product; no key for a table that the night has nothing of."""
    has_products(cache, night)
    found: Row = {}
    for table, listing in LISTINGS.items():
        if night in cache.nights(table):
            with cache.reading(decided=listing.part(table, night), items=items_of(night)) as connection:
                found[table] = rows(connection, _WITH_TITLES.format(listing.of_item), item_id)
    return found

"""Which published night's lists can be brought up to date (`carried`), instead of making all of them anew, and what has changed since."""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import fusion
from jobs.carried import Since
from jobs.lake import Lake
from jobs.night import Night
from jobs.sections import Neighbours
from jobs.tables import STAGED_NEIGHBOURS

# Of the items, and of all: where more have to be compared with everything, a full search is faster. Of 123,730 products on 2 cores it took
# 75 s; 56 s with .05 % of them changed, 59 s with .5 %, 82 s with 5 %.
SHARE, MOST = 0.03, 20_000
FEWEST = 20_000  # items of a night that is worth it: the lists of fewer are found sooner than compared with the last night's


@dataclass(frozen=True)
class Base:
    """A published night, when its lists were last all made anew, what has changed since, and how many items are gone or read otherwise."""

    night: Night
    made_on: date
    since: Since
    removed: int


@dataclass(frozen=True)
class Read:
    """What was read of a night's items: item_id, block, and a print of all that was read, cached; how many there are, by block and source;
    a checksum of all, in any order."""

    prints: DataFrame
    items: dict[str, dict[str, int]]
    checksum: str

    @classmethod
    def of(cls, items: DataFrame) -> "Read":
        """items: rows of `nodes.items_of`."""
        of_item = F.xxhash64("item_id", "block", "source", "content_hash", *fusion.READ).alias("print")
        prints = items.select("item_id", "block", "source", of_item).persist()
        sums = F.count("*").alias("items"), F.sum(F.col("print").cast("decimal(38,0)")).alias("sum")
        by_block, checksum = defaultdict[str, dict[str, int]](dict), 0
        for block, source, count, total in prints.groupBy("block", "source").agg(*sums).collect():
            by_block[block][source] = count
            checksum += int(total)
        return cls(prints, dict(by_block), str(checksum))


def fingerprint(how: Neighbours, model_id: str, lexicon_id: str) -> str:
    """12 hex digits that change with all that decides a list, but for the items: lists of one fingerprint can continue each other."""
    decided = [fusion.VERSION, model_id, lexicon_id, how.weights.scaled, how.k, how.slack, how.block_by, how.across]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:12]


def most(items: int) -> int:
    """How many of the items may be compared with everything."""
    return min(int(SHARE * items), MOST)


def stamp(lake: Lake, night: Night) -> Any:
    """What is stored with all lists of the night, if there are any: run_id, fingerprint, items_read, made_on."""
    return lake.read(STAGED_NEIGHBOURS, night).select("run_id", "fingerprint", "items_read", "made_on").head()


def refusal(staged: Any, last: Night, night: Night, fingerprint: str, items_read: str, full_days: int) -> str | None:
    """Why the last night's lists cannot be continued, if they cannot. staged: their `stamp`. items_read: `checksum` of its items as they
    are now."""
    if staged is not None and staged["fingerprint"] != fingerprint:
        return f"{last.date} was made with another encoder, lexicon or other settings"
    if staged is None or staged["run_id"] != last.run_id or staged["items_read"] != items_read:
        return f"items or lists of {last.date} are not those that were published any more"
    if staged["made_on"] is None:
        return f"{last.date} does not tell when its lists were last all made anew"
    if (night.date - staged["made_on"]).days >= full_days:
        return f"they were last on {staged['made_on']}, {(night.date - staged['made_on']).days} days ago"
    return None


def between(then: DataFrame, now: DataFrame, most: int) -> tuple[list[str], int] | None:
    """From the prints of two nights: ids of the items that are new or read otherwise now, and how many are not read as they were. None if
    there are more than `most`."""
    before, after = then.select("item_id", F.col("print").alias("before")), now.select("item_id", F.col("print").alias("after"))
    unlike = before.join(after, "item_id", "full_outer").where("NOT (before <=> after)").limit(most + 1)
    rows = unlike.select("item_id", F.isnotnull("after").alias("changed"), F.isnotnull("before").alias("removed")).collect()
    if len(rows) > most:
        return None
    return [row["item_id"] for row in rows if row["changed"]], sum(row["removed"] for row in rows)

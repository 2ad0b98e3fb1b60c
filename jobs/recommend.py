"""Interactions and published neighbours -> `recommendations`: for everyone who did something of late, products that are likely to please.

What pleases the same people is told by what people did, and where little is known of that, by what products are like (`affinity`, `taste`):
so a product reaches people in its first night. None is recommended that the person has bought in the nights that are kept, that cannot be
had, or that the shop whose interactions these are does not list. Of whom nothing is known gets what is popular, under the user_id `anyone`.

All is done on the driver, in arrays: 100,000 products, 50,000 users and 2,000,000 events take about 2 GB.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from expectations import recommendations
from expectations.suite import load_ahead, measured
from jobs.affinity import affinities
from jobs.decisions import ANYONE, RECOMMENDATIONS
from jobs.downstream import audited, interactions, of_people, published, put
from jobs.feeds import Interactions
from jobs.graph import Graph, both_ways
from jobs.interest import Interests, exposure, weights_of
from jobs.interest import interests as cares
from jobs.kernel import NONE
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.sections import Recommendations
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS
from jobs.taste import KINDS, Owned, ranking, recommended


@dataclass(frozen=True)
class Shop:
    """n items by id, those of the catalogue and those that are gone, and m people by pseudonym, both in order: what people care for and
    have bought, which items are alike, which can be had (n,), and for how much of the time that counts each has been there (n,)."""

    items: pa.Array
    people: pa.Array
    of: Interests
    owned: Owned
    alike: Graph
    available: npt.NDArray[np.bool_]
    exposure: npt.NDArray[np.float64]


def done(lake: Lake, night: Night, how: Interactions) -> pa.Table:
    """What people did in the days before: user_id, item_id, event, its age in days at the end of the night."""
    ends = datetime.combine(night.date + timedelta(days=1), time.min, UTC)
    seconds = F.lit(ends).cast("double") - F.col("happened_at").cast("double")
    rows = interactions(lake, night, how.days).where(F.col("event").isin(*how.events))
    return rows.select("user_id", "item_id", "event", (seconds / 86_400).alias("age")).toArrow()


def purchases(lake: Lake, night: Night, how: Interactions) -> pa.Table:
    """What people who did something of late have ever bought, as far as nights are kept: user_id, item_id."""
    of_late = interactions(lake, night, how.days).where(F.col("event").isin(*how.events)).select("user_id")
    bought = interactions(lake, night).where(F.col("event").isin(*how.purchases))
    return bought.join(of_late, "user_id", "left_semi").select("user_id", "item_id").distinct().toArrow()


def days_known(lake: Lake, night: Night, items: pa.Array, events: pa.Table) -> npt.NDArray[np.float64]:
    """(n,) since how many days each has been there by the end of the night, at least: so long ago it was in a night that is kept, or
    somebody did something with it."""
    first = (
        lake.read(CLEAN_ITEMS, F.col("snapshot_date") <= F.lit(night.date)).groupBy("item_id").agg(F.min("snapshot_date").alias("first"))
    )
    listed = first.select("item_id", (F.date_diff(F.lit(night.date), "first") + 1).cast("double").alias("days")).toArrow()
    found = np.ones(len(items))
    for names, days in ((listed["item_id"], listed["days"]), (events["item_id"], events["age"])):
        at = pc.index_in(names, items)
        np.maximum.at(found, at.drop_null().to_numpy(), days.filter(at.is_valid()).to_numpy())
    return found


def links(pairs: pa.Table, items: pa.Array) -> Graph:
    """Published pairs as a graph over the items; those of an item that is not there are left out."""
    one, other = (pc.index_in(pairs[name], items) for name in ("item_id", "neighbour_id"))
    there = pc.and_(one.is_valid(), other.is_valid()).to_numpy()
    ones, others = (column.to_numpy()[there].astype(np.int32) for column in (one, other))
    order = np.argsort(ones, kind="stable")
    bounds = np.searchsorted(ones[order], np.arange(len(items) + 1)).astype(np.int64)
    return both_ways(bounds, others[order], np.clip(pairs["similarity"].to_numpy()[there][order], 0, 1).astype(np.float32))


def cared_for(events: pa.Table, people: pa.Array, items: pa.Array, weights: Mapping[str, float], half_life: float) -> Interests:
    """What people care for; one more, who comes last, did nothing."""
    who, what = (
        pc.index_in(events[name], values).to_numpy().astype(np.int32) for name, values in (("user_id", people), ("item_id", items))
    )
    weighed = weights_of(events["event"].to_numpy().astype(str), weights)
    return cares(who, what, weighed, events["age"].to_numpy(), count=len(people) + 1, half_life=half_life)


def owned(bought: pa.Table, people: pa.Array, items: pa.Array) -> Owned:
    """What people have bought of the items; one more, who comes last, has nothing."""
    who, what = (pc.index_in(bought[name], values) for name, values in (("user_id", people), ("item_id", items)))
    known = pc.and_(who.is_valid(), what.is_valid())
    whose, which = (column.filter(known).to_numpy().astype(np.int64) for column in (who, what))
    pairs = np.unique(whose * len(items) + which)
    bounds = np.searchsorted(pairs, np.arange(len(people) + 2, dtype=np.int64) * len(items)).astype(np.int64)
    return Owned(bounds, (pairs % len(items)).astype(np.int32))


def shop_of(lake: Lake, night: Night, how: Interactions, half_life: float) -> Shop:
    neighbours, catalogue = published(lake, night)
    of_shop = F.lit(True) if how.source is None else F.col("source") == how.source  # others sell the same, which people may have by now
    sold = catalogue.select("item_id", (F.coalesce("in_stock", F.lit(True)) & of_shop).alias("available")).toArrow()
    events = done(lake, night, how)
    people = events["user_id"].combine_chunks().unique().sort()
    items = pa.concat_arrays([sold["item_id"].combine_chunks(), events["item_id"].combine_chunks()]).unique().sort()
    of, bought = cared_for(events, people, items, how.events, half_life), owned(purchases(lake, night, how), people, items)
    available = np.zeros(len(items), dtype=np.bool_)
    available[pc.index_in(sold["item_id"], items).to_numpy()] = sold["available"].to_numpy()
    alike = links(neighbours.select("item_id", "neighbour_id", "similarity").toArrow(), items)
    return Shop(items, people, of, bought, alike, available, exposure(days_known(lake, night, items, events), half_life))


def lists(shop: Shop, how: Recommendations, threads: int) -> pa.Table:
    """One row a recommendation, as `recommendations` has them; those for `anyone` beside those of the people."""
    graph, popular = affinities(shop.of, shop.alike, shop.exposure, threads=threads), ranking(shop.of, len(shop.items))
    given = shop.of, graph, shop.alike, shop.owned, shop.available, popular
    found = recommended(*given, how.n, balance=how.balance, threads=threads)
    user, place = np.nonzero(found.positions != NONE)
    because, kinds = found.reasons[user, place], np.array([KINDS[kind] for kind in sorted(KINDS)])
    return pa.table(
        {
            "user_id": pa.concat_arrays([shop.people, pa.array([ANYONE])]).take(user),
            "rank": (place + 1).astype(np.int32),
            "item_id": shop.items.take(found.positions[user, place]),
            "score": found.scores[user, place].astype(np.float64),
            "reason": kinds[found.kinds[user, place]],
            "because_id": shop.items.take(pa.array(because, mask=because == NONE)),
        }
    )


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    if settings.interactions is None:
        return Counts(0, 0, "recommendations", note="the settings have no section [interactions]", idle=True)
    load_ahead()
    how = settings.recommendations
    lake = of_people(lake)
    shop = shop_of(lake, night, settings.interactions, how.half_life)
    rows = spark.createDataFrame(lists(shop, how, spark.sparkContext.defaultParallelism)).persist()
    figures = measured(rows, recommendations.FIGURES)
    warnings = audited(lake, RECOMMENDATIONS, night, recommendations.suite(how.n), figures)
    put(lake, RECOMMENDATIONS, rows, night)
    lake.fence()
    rows.unpersist()
    told = figures[0] if figures else {"rows": 0.0, "users": 0.0, "popular_share": 0.0}
    note = [
        f"for {told['users']:,.0f} users",
        f"{told['popular_share']:.1%} for being popular",
        *warnings,
    ]
    return Counts(len(shop.of.items), int(told["rows"]), "recommendations", {"users": told["users"]}, note=", ".join(note))

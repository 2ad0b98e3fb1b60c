"""Interactions and published neighbours -> `recommendations`: for everyone who did something of late, products that are likely to please.

What pleases the same people is told by what people did, and where little is known of that, by what products are like (`affinity`, `taste`):
so a product reaches people in its first night. None is recommended that the person has bought, that cannot be had, or that is not in the
catalogue. Of whom nothing is known gets what is popular, under the user_id `anyone`.

All is done on the driver, in arrays: 100,000 products, 50,000 users and 2,000,000 events take about 2 GB.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from expectations import recommendations
from expectations.suite import load_ahead, measured
from jobs.affinity import affinities
from jobs.decisions import ANYONE, INTERACTIONS, RECOMMENDATIONS
from jobs.downstream import published, put
from jobs.feeds import Interactions
from jobs.graph import Graph, Positions, both_ways
from jobs.interest import Interests, exposure, interests, weights_of
from jobs.kernel import NONE
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS
from jobs.taste import KINDS, Owned, Recommendations, ranking, recommended


@dataclass(frozen=True)
class Events:
    """What people did: user_id, item_id, event, age in days and whether it is a purchase, a row an event; users and items by position in
    `users` and `items`, both in order."""

    users: pa.Array
    items: pa.Array
    who: Positions
    what: Positions
    table: pa.Table

    @classmethod
    def of(cls, table: pa.Table, catalogue: pa.Array) -> "Events":
        """Items are those of the catalogue, and those that people did something with and that are gone."""
        users = pc.unique(table["user_id"].combine_chunks()).sort()
        items = pc.unique(pa.concat_arrays([catalogue, table["item_id"].combine_chunks()])).sort()
        who, what = (
            pc.index_in(table[name], values).to_numpy().astype(np.int32) for name, values in (("user_id", users), ("item_id", items))
        )
        return cls(users, items, who, what, table)

    def interests(self, how: Interactions, half_life: float) -> Interests:
        weights = weights_of(self.table["event"].to_numpy(zero_copy_only=False).astype(str), how.events)
        return interests(self.who, self.what, weights, self.table["age"].to_numpy(), count=len(self.users), half_life=half_life)

    def owned(self) -> Owned:
        """What each has bought; and of `anyone`, who comes last, nothing."""
        bought = self.table["bought"].to_numpy(zero_copy_only=False)
        pairs = np.unique(self.who[bought].astype(np.int64) * len(self.items) + self.what[bought])
        bounds = np.searchsorted(pairs, np.arange(len(self.users) + 1, dtype=np.int64) * len(self.items))
        return Owned(np.append(bounds, bounds[-1]).astype(np.int64), (pairs % len(self.items)).astype(np.int32))


def done(lake: Lake, night: Night, how: Interactions) -> DataFrame:
    """What people did in the days before: user_id, item_id, event, its age in days at the end of the night, whether it is a purchase."""
    since = F.col("snapshot_date") > F.lit(night.date - timedelta(days=how.days))
    ends = datetime.combine(night.date + timedelta(days=1), time.min, UTC)
    seconds = F.lit(ends).cast("double") - F.col("happened_at").cast("double")
    rows = lake.read(INTERACTIONS, since & (F.col("snapshot_date") <= F.lit(night.date))).where(F.col("event").isin(*how.events))
    bought = F.col("event").isin(*how.purchases)
    return rows.select("user_id", "item_id", "event", (seconds / 86_400).alias("age"), bought.alias("bought"))


def days_listed(lake: Lake, night: Night) -> pa.Table:
    """item_id and for how many days the catalogue has had it by the end of the night, of the nights that are kept."""
    first = (
        lake.read(CLEAN_ITEMS, F.col("snapshot_date") <= F.lit(night.date)).groupBy("item_id").agg(F.min("snapshot_date").alias("first"))
    )
    return first.select("item_id", (F.date_diff(F.lit(night.date), "first") + 1).cast("double").alias("days")).toArrow()


def links(pairs: pa.Table, items: pa.Array) -> Graph:
    """Published pairs as a graph over the items; those of an item that is not there are left out."""
    one, other = (pc.index_in(pairs[name], items) for name in ("item_id", "neighbour_id"))
    there = pc.and_(one.is_valid(), other.is_valid()).to_numpy()
    ones, others = (column.to_numpy()[there].astype(np.int32) for column in (one, other))
    order = np.argsort(ones, kind="stable")
    bounds = np.searchsorted(ones[order], np.arange(len(items) + 1)).astype(np.int64)
    return both_ways(bounds, others[order], np.clip(pairs["similarity"].to_numpy()[there][order], 0, 1).astype(np.float32))


def rows_of(found: Recommendations, users: pa.Array, items: pa.Array) -> pa.Table:
    """One row a recommendation, as `recommendations` has them."""
    user, place = np.nonzero(found.positions != NONE)
    because = found.reasons[user, place]
    kinds = np.array([KINDS[kind] for kind in sorted(KINDS)])
    return pa.table(
        {
            "user_id": users.take(user),
            "rank": (place + 1).astype(np.int32),
            "item_id": items.take(found.positions[user, place]),
            "score": found.scores[user, place].astype(np.float64),
            "reason": kinds[found.kinds[user, place]],
            "because_id": items.take(pa.array(because, mask=because == NONE)),
        }
    )


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    how, wanted = settings.interactions, settings.recommendations
    if how is None:
        return Counts(0, 0, "recommendations", note="the settings have no section [interactions]")
    load_ahead()
    neighbours, items = published(lake, night)
    catalogue = items.select("item_id", (F.coalesce("in_stock", F.lit(True))).alias("available")).toArrow()
    events = Events.of(done(lake, night, how).toArrow(), catalogue["item_id"].combine_chunks())
    alike = links(neighbours.select("item_id", "neighbour_id", "similarity").toArrow(), events.items)
    threads = spark.sparkContext.defaultParallelism
    of = events.interests(how, wanted.half_life)
    listed, available = np.ones(len(events.items)), np.zeros(len(events.items), dtype=np.bool_)
    known = days_listed(lake, night)
    at = pc.index_in(known["item_id"], events.items)
    listed[at.drop_null().to_numpy()] = known["days"].to_numpy()[at.is_valid().to_numpy()]
    available[pc.index_in(catalogue["item_id"], events.items).to_numpy()] = catalogue["available"].to_numpy(zero_copy_only=False)
    graph = affinities(of, alike, exposure(listed, wanted.half_life), threads=threads)
    with_anyone = Interests(np.append(of.bounds, of.bounds[-1]), of.items, of.values)
    popular = ranking(of, len(events.items))
    found = recommended(with_anyone, graph, alike, events.owned(), available, popular, wanted.n, balance=wanted.balance, threads=threads)
    users = pa.concat_arrays([events.users, pa.array([ANYONE])])
    rows = spark.createDataFrame(rows_of(found, users, events.items)).persist()
    figures = measured(rows, recommendations.FIGURES)
    warnings = put(lake, RECOMMENDATIONS, rows, night, recommendations.suite(wanted.n), figures)
    rows.unpersist()
    told = figures[0] if figures else {"rows": 0.0, "users": 0.0, "popular_share": 0.0}
    note = [
        f"for {told['users'] - 1:,.0f} users",
        f"{told['popular_share']:.1%} of them for being popular",
        *(f"warned of {w}" for w in warnings),
    ]
    return Counts(len(events.table), int(told["rows"]), "recommendations", {"users": told["users"]}, note=", ".join(note))

"""Whether the recommendations are right: the last purchase of each shopper of a generated catalogue, told from what was done before.

    make bench-recommend                  20,000 products, 10,000 shoppers, four weeks; then what a large shop takes

Shoppers of known taste (`jobs.shopper`) look and buy, and the catalogue changes every night: a hundredth of it is new. Of each shopper who
bought in the second half of the time the last purchase of a product that he had not bought before is held out (leave-last-out), and ten
products are recommended from what all did in the nights before: nothing of the day itself is known, neither the purchase's own view nor its
basket. What is not on sale that night, or was bought before, nobody recommends.

hit: the share of purchases that are among the ten. NDCG: the mean of 1 / log2(1 + rank), 0 beyond the ten (Järvelin and Kekäläinen, 2002).
`new`: of products that have been listed for less than a week; `today`: of those listed that night. In the last night, `alike`: mean
similarity of two products of one list; `sold`: products that are recommended to anyone, as a share of all.

popularity: what was done most, of late. co-occurrence: item-based cosine on the same histories (Deshpande and Karypis, 2004); shrunk: the
same, a pair that few tell of counting less. content: neighbours alone, here by spelling. ours: `jobs.affinity` and `jobs.taste`. the truth:
what each is most likely to look at, by his taste: all that can be known (`likely`).

Prints a table, and what scoring takes; writes build/bench/recommend.json.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs import fusion, knn, lexicon, script
from jobs.affinity import affinities, cosines
from jobs.dialect import SHOP
from jobs.feeds import Interactions
from jobs.graph import Graph, both_ways
from jobs.history import Life, first_listed
from jobs.interest import Interests, exposure, interests, weights_of
from jobs.kernel import NONE
from jobs.offer import record
from jobs.pool import workers
from jobs.sections import Recommendations
from jobs.shopper import DAY, NEW_DAYS
from jobs.taste import Owned, ranking, recommended
from jobs.traffic import Traffic
from tests.benchmarks.likely import best
from tests.benchmarks.vectors import FOLDER

K = 10
HOW, EVENTS = Recommendations(), Interactions.model_fields["events"].get_default(call_default_factory=True)  # the program's defaults
LISTED = 20  # neighbours of an item
SPELLING = np.array([0, 2 / 3, 1 / 3, 0, 0], dtype=np.float32)
CHANGE = 40_000  # parts per million a night, a quarter of them new products
NIGHTS = 28
LARGE = {"items": 100_000, "users": 50_000, "events": 2_000_000}

Ints = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Log:
    """Events (e,): who, what, the weight of its kind, the night and the second of it, and whether it is a purchase."""

    users: Ints
    items: Ints
    weights: npt.NDArray[np.float32]
    nights: Ints
    seconds: Ints
    bought: npt.NDArray[np.bool_]

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> "Log":
        return Log(*(getattr(self, field.name)[rows] for field in fields(self)))

    def interests(self, night: int, count: int) -> Interests:
        return interests(
            self.users, self.items, self.weights, night - self.nights - self.seconds / DAY, count=count, half_life=HOW.half_life
        )


@dataclass(frozen=True)
class Known:
    """The night before a purchase: what all care for, links by content, for how long each item has been listed."""

    of: Interests
    links: Graph
    exposure: Numbers

    def nothing(self) -> Graph:
        return cosines(self.of, len(self.links), beside=0)

    def ours(self) -> Graph:
        return affinities(self.of, self.links, self.exposure)


SYSTEMS: dict[str, tuple[Callable[[Known], Graph], float]] = {  # what is recommended for what, and the balance of a list
    "popularity": (Known.nothing, 1),
    "co-occurrence": (lambda known: cosines(known.of, len(known.links), doubt=1e-9), 1),
    "co-occurrence, shrunk": (lambda known: cosines(known.of, len(known.links)), 1),
    "content": (lambda known: known.links, 1),
    "ours, not diversified": (Known.ours, 1),
    "ours": (Known.ours, HOW.balance),
}
TRUTH = "the truth"


def logged(traffic: Traffic) -> Log:
    done = [(user, item, kind, night, second) for night in range(traffic.nights) for user, _, kind, item, second, _ in traffic.done(night)]
    users, items, kinds, nights, seconds = (np.array(column) for column in zip(*done, strict=True))
    users, items, nights, seconds = (column.astype(np.int32) for column in (users, items, nights, seconds))
    return Log(users, items, weights_of(kinds, EVENTS), nights, seconds, kinds == "purchase")


def pairs(log: Log) -> npt.NDArray[np.int64]:
    return log.users.astype(np.int64) << 32 | log.items


def held_out(log: Log, since: int) -> Log:
    """Each user's last purchase of what he had not bought before, if it was made in that night or later; by user."""
    bought = log[np.lexsort((log.seconds, log.nights))]
    bought = bought[bought.bought]
    firsts = bought[np.sort(np.unique(pairs(bought), return_index=True)[1])]
    last = len(firsts.users) - 1 - np.unique(firsts.users[::-1], return_index=True)[1]
    return firsts[last[firsts.nights[last] >= since]]


def neighbours(traffic: Traffic, count: int, threads: int) -> Graph:
    """Of products by the spelling of their titles, brands and categories."""
    records = [record(SHOP, traffic.seed, ordinal, Life(0, 0, None)) for ordinal in range(count)]
    every = pa.array([f"{row['title']} {row['brand']} {row['category']}" for row in records])
    columns = {name: pa.nulls(count, kind) for name, kind in fusion.READ.items()}
    columns |= {"title": pa.array([row["title"] for row in records]), "fields": every}
    reading = fusion.Reading(SPELLING, lexicon.counted(every), script.weights({}), 1)
    of = fusion.items(np.zeros((count, 1), dtype=np.float32), columns, reading, threads)
    met = knn.candidates(fusion.signatures(of, SPELLING), 2 * LISTED, threads=threads)
    with workers(threads) as pool:
        near = fusion.settled(of, SPELLING, met.order, met.positions, LISTED, pool)
    listed = near.positions != NONE
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(listed.sum(axis=1))])
    return both_ways(bounds, near.positions[listed], near.similarities[listed])


def of_users(of: Interests, users: Ints) -> Interests:
    kept = np.isin(np.repeat(np.arange(len(of)), np.diff(of.bounds)), users)
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.diff(of.bounds)[users])])
    return Interests(bounds, of.items[kept], of.values[kept])


def owned_by(past: Log, users: Ints) -> Owned:
    bought = np.unique(pairs(past[past.bought]))
    bought = bought[np.isin(bought >> 32, users)]
    bounds = np.searchsorted(bought >> 32, np.append(users, 2**31)).astype(np.int64)
    return Owned(bounds, (bought & 0xFFFF_FFFF).astype(np.int32))


def alike(found: npt.NDArray[Any], links: Graph) -> float:
    """The mean similarity of two items of one list, 0 of those that are not linked."""
    one, two = (found[:, place].ravel() for place in np.triu_indices(K, 1))
    keys = links.rows.astype(np.int64) * len(links) + links.items
    asked = one.astype(np.int64) * len(links) + two
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return float(np.where(keys[at] == asked, links.values[at], 0).mean())


@dataclass(frozen=True)
class Asked:
    """The purchases of one night, by user: what is known before it, what can be sold, what the users own, how old the products are."""

    night: int
    targets: Log
    known: Known
    on_sale: npt.NDArray[np.bool_]
    owned: Owned
    ages: Ints


def asked(traffic: Traffic, log: Log, links: Graph) -> Iterator[Asked]:
    """Of the second half of the nights."""
    targets, ordinals = held_out(log, traffic.nights // 2), np.arange(len(links))
    listed = np.array([first_listed(traffic.items, traffic.change, ordinal) for ordinal in ordinals.tolist()])
    for night in np.unique(targets.nights).tolist():
        some, past, day = targets[targets.nights == night], log[log.nights < night], traffic.day(night)
        known = Known(past.interests(night, traffic.users), links, exposure(np.float64(night) - listed, HOW.half_life))
        ages = np.where(listed[some.items] > 0, night - listed[some.items], NIGHTS + NEW_DAYS)
        on_sale = (ordinals < day.listed) & ~np.isin(ordinals, list(day.gone))
        yield Asked(night, some, known, on_sale, owned_by(past, some.users), ages)


def recommendations(of: Asked, system: str, threads: int) -> npt.NDArray[Any]:
    graph_of, balance = SYSTEMS[system]
    known, popular = of.known, ranking(of.known.of, len(of.on_sale))
    given = of_users(known.of, of.targets.users), graph_of(known), known.links, of.owned, of.on_sale, popular
    return recommended(*given, K, balance=balance, threads=threads).positions


def figures(system: str, ranks: npt.NDArray[Any], ages: Ints) -> dict[str, Any]:
    """ranks: of the purchase in the list, 0 where it is not in it."""
    row: dict[str, Any] = {"system": system}
    for name, some in (("all", ages >= 0), ("new", ages < NEW_DAYS), ("today", ages == 0)):
        gain = np.where(ranks > 0, 1 / np.log2(1 + np.maximum(ranks, 1)), 0)
        row |= {f"hit_{name}": float((ranks[some] > 0).mean()), f"ndcg_{name}": float(gain[some].mean()), f"n_{name}": int(some.sum())}
    return row


def measured(traffic: Traffic, threads: int) -> list[dict[str, Any]]:
    log = logged(traffic)
    links = neighbours(traffic, traffic.day(traffic.nights - 1).listed, threads)
    print(f"  {len(log.users):,} events, {len(links):,} products", flush=True)
    nights, rows = list(asked(traffic, log, links)), []
    ages = np.concatenate([of.ages for of in nights])
    for system in [*SYSTEMS, TRUTH]:
        ranks = []
        for of in nights:
            if system == TRUTH:
                found = best(traffic, of.night, of.targets.users, of.owned, of.on_sale, K)
            else:
                found = recommendations(of, system, threads)
            hit = found == of.targets.items[:, None]
            ranks.append(np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0))
        row = figures(system, np.concatenate(ranks), ages)
        rows.append(row | {"alike": alike(found, links), "sold": len(np.unique(found)) / int(nights[-1].on_sale.sum())})
        print("  " + line(rows[-1]), flush=True)
    return rows


COLUMNS = ("hit_all", "ndcg_all", "hit_new", "ndcg_new", "hit_today", "alike", "sold")


def line(row: dict[str, Any]) -> str:
    return f"{row['system']:24}" + "".join(f"{row[name]:10.4f}" for name in COLUMNS)


def seconds(items: int, users: int, events: int, threads: int) -> dict[str, float]:
    """What each part takes in a large shop: events by chance, a few products being popular, and LISTED neighbours of each, at random."""
    chance, took, began = np.random.default_rng(0), {}, 0.0

    def done(part: str) -> None:
        nonlocal began
        took[part] = time.perf_counter() - began
        began = time.perf_counter()

    popular = np.arange(1, items + 1) ** -0.8
    what = chance.choice(items, events, p=popular / popular.sum()).astype(np.int32)
    who, weights = chance.integers(0, users, events).astype(np.int32), chance.choice([0.3, 0.7, 1], events).astype(np.float32)
    lists = chance.integers(0, items, items * LISTED).astype(np.int32), chance.random(items * LISTED, dtype=np.float32)
    began = time.perf_counter()
    links = both_ways(np.arange(items + 1, dtype=np.int64) * LISTED, *lists)
    done("links")
    of = interests(who, what, weights, chance.random(events) * HOW.half_life, count=users, half_life=HOW.half_life)
    done("interests")
    graph = affinities(of, links, np.ones(items), threads=threads)
    done("affinities")
    owned = Owned(np.zeros(users + 1, dtype=np.int64), np.empty(0, dtype=np.int32))
    recommended(of, graph, links, owned, np.ones(items, dtype=np.bool_), ranking(of, items), K, balance=HOW.balance, threads=threads)
    done("scoring")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=14_000, help="in a night")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, {given.threads} in use", flush=True)
    rows = measured(Traffic(given.seed, given.items, CHANGE, NIGHTS, given.users, given.events), given.threads)
    took = seconds(**LARGE, threads=given.threads)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "recommend.json").write_text(json.dumps({"quality": rows, "seconds": took}, indent=1), encoding="utf-8")
    print(f"{'system':24}" + "".join(f"{name.replace('_', ' '):>10}" for name in COLUMNS))
    print("\n".join(line(row) for row in rows))
    print("purchases: " + ", ".join(f"{name} {rows[0][f'n_{name}']:,}" for name in ("all", "new", "today")))
    print(f"{LARGE}: " + ", ".join(f"{part} {took[part]:.1f} s" for part in took))


if __name__ == "__main__":
    main()

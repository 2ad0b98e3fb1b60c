"""What the explorer tells, as plain values for JSON: nights, products and their neighbours, refused rows, audits, and what differs between
two nights.

A night that is held, or not published yet, shows what is staged, and says so: who releases it should see it before. Raises NotThereError
for a table, a night or a product that there is not.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from shelfmates.explorer.lake_cache import LakeCache, NotThereError, Part

PAGE = 50  # rows of a page
MOST = 200  # that anybody gets at once
WORDS = 40  # of a search that are looked for: more than titles have
FIELDS = ("title", "description", "brand", "category", "price", "currency", "gtin", "model", "image", "attributes")  # of a product

# of a night: others work on no night, or on one that is published
STAGES = ("prepare", "ingest", "validate", "clean", "weigh", "embed", "neighbours", "audit", "publish")

RUNS = Part("runs", f"SELECT * EXCLUDE (versions) FROM source WHERE stage IN {STAGES} ORDER BY started_at")
MADE = Part("runs", f"SELECT snapshot_date, run_id, max(started_at) AS made_at FROM source WHERE stage NOT IN {STAGES} GROUP BY ALL")
CHECKS = Part("audit_results", "SELECT * FROM source ORDER BY snapshot_date")
# tables that are made of a night once it is published
DECISIONS = ("matches", "duplicates", "price_positions", "substitutes", "interactions", "recommendations", "bundles")
OVERRIDES = Part("overrides", "SELECT * FROM source ORDER BY released_at")

Row = dict[str, Any]

# of every stage of the last run of each of these nights the last try
LAST_RUNS = """WITH last AS (SELECT snapshot_date, max_by(run_id, started_at) AS run_id FROM runs GROUP BY ALL)
    SELECT * FROM runs SEMI JOIN last USING (snapshot_date, run_id) WHERE list_contains($1, snapshot_date)
    QUALIFY row_number() OVER (PARTITION BY snapshot_date, stage ORDER BY started_at DESC) = 1"""


def items_of(night: date) -> Part:
    return Part("clean_items", "SELECT * EXCLUDE (snapshot_date, text, content_hash) FROM source ORDER BY item_id", night)


def words_in(text: str) -> str:
    """The SQL that gives the words of a SQL text, without case and accents; some may be blank."""
    return rf"string_split_regex(lower(strip_accents({text})), '[^\p{{L}}\p{{N}}]+')"


def words_of(night: date) -> Part:
    """word, item_id: what products are searched by."""
    words = words_in("concat_ws(' ', title, brand, model, gtin, item_id)")
    each = f"SELECT unnest({words}) AS word, item_id FROM source"
    return Part("clean_items", f"SELECT DISTINCT word, item_id FROM ({each}) WHERE word <> '' ORDER BY word", night)


def refused_in(night: date) -> Part:
    return Part("quarantined_items", "SELECT * EXCLUDE (snapshot_date) FROM source ORDER BY source, file, row", night)


def pairs_of(cache: LakeCache, night: date) -> tuple[Part, bool]:
    """The night's pairs, and whether they are published; of those that are staged, and kept still, as many of an item as would be."""
    columns = "SELECT item_id, rank, neighbour_id, similarity, parts FROM source"
    stages = cache.memoised(last_stages, night, runs=RUNS)
    staged = [stage for stage in stages if stage["stage"] == "neighbours" and stage["outcome"] == "ok"]
    published = night in cache.nights("neighbours") and state(stages) != "held"
    if published or not staged or night not in cache.nights("staged_neighbours"):
        return Part("neighbours", f"{columns} ORDER BY item_id, rank", night), True
    k = int(dict(staged[0]["figures"])["k"])
    return Part("staged_neighbours", f"{columns} WHERE rank <= {k} ORDER BY item_id, rank", night), False


def last_stages(connection: Any, night: date) -> list[Row]:
    """Those of the night's last run."""
    return rows(connection, f"{LAST_RUNS} ORDER BY started_at", [night])


def has_products(cache: LakeCache, *nights: date) -> None:
    """Raises NotThereError unless all have."""
    known = cache.nights("clean_items")
    for night in nights:
        if night not in known:
            raise NotThereError(
                f"there are no products of {night}: it was not cleaned yet, or [maintenance] of the settings has let them go"
            )


def rows(connection: Any, query: str, *values: Any) -> list[Row]:
    found = connection.execute(query, values)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def value(connection: Any, query: str, *values: Any) -> Any:
    """The one value of the one row of a query."""
    return connection.execute(query, values).fetchone()[0]


def nights(cache: LakeCache, count: int) -> list[Row]:
    """The newest nights, oldest first: of the last run of each its state, its stages and its figures."""
    return cache.memoised(strip, count, runs=RUNS, checks=CHECKS, overrides=OVERRIDES)


def strip(connection: Any, count: int) -> list[Row]:
    """The nights of `runs`, `checks` and `overrides`."""
    newest = rows(connection, "SELECT DISTINCT snapshot_date FROM runs ORDER BY ALL DESC LIMIT ?", count)
    stages = rows(connection, f"{LAST_RUNS} ORDER BY snapshot_date, started_at", [row["snapshot_date"] for row in newest])
    checks = rows(connection, """SELECT run_id, snapshot_date, "check", grade, passed, figure FROM checks""")
    released = rows(connection, "SELECT snapshot_date, run_id, who, why FROM overrides")
    published = dict(connection.execute("SELECT snapshot_date, true FROM runs WHERE stage = 'publish' AND outcome = 'ok'").fetchall())
    found = dict[date, Row]()
    for stage in stages:
        night = found.setdefault(stage["snapshot_date"], {"night": stage["snapshot_date"], "run_id": stage["run_id"], "stages": []})
        night["stages"].append({name: stage[name] for name in ("stage", "started_at", "seconds", "outcome", "rows_out", "peak_memory_mb")})
        night |= figures(stage)
    judged = {(check["snapshot_date"], check["run_id"], check["check"]): check for check in checks}
    for check in judged.values():
        night = found.get(check["snapshot_date"], {})
        if night.get("run_id") == check["run_id"]:
            if check["check"] == "night: churn":
                night["churn"] = check["figure"]
            if check["grade"] == "fail" and not check["passed"] and check["check"].partition(":")[0] not in DECISIONS:
                night.setdefault("broken", []).append(check["check"])
    release = {(row["snapshot_date"], row["run_id"]): row for row in released}
    for night in found.values():
        night["released"] = release.get((night["night"], night["run_id"]))
        night["state"] = state(night["stages"])
        night["published"] = night["night"] in published
    return list(found.values())


def figures(stage: Mapping[str, Any]) -> Row:
    """What the strip shows of a stage's row in `runs`."""
    told = {
        "validate": {"quarantined": stage["rows_out"], "quarantined_share": stage["rows_out"] / max(1, stage["rows_in"] or 0)},
        "clean": {"items": stage["rows_out"]},
        "embed": {"new_vectors": stage["rows_out"]},
        "neighbours": {"recall": dict(stage["figures"]).get("recall")},
    }
    return told.get(stage["stage"], {}) if stage["outcome"] == "ok" else {}


def state(stages: Sequence[Mapping[str, Any]]) -> str:
    """published, held, failed, audited or unfinished: as the last of the stages ended, which are in the order in which they began."""
    last = stages[-1]
    if last["outcome"] != "ok":
        return "held" if last["outcome"].startswith("HeldError") else "failed"
    return {"publish": "published", "audit": "audited"}.get(last["stage"], "unfinished")


def audit(cache: LakeCache, night: date) -> Row:
    """Every check of the night's last run, those that hold it first, with the release if there was one; and those of what was made of the
    night since, by any run, of each check the newest."""
    with cache.reading(runs=RUNS, made=MADE, checks=CHECKS, overrides=OVERRIDES) as connection:
        last = value(connection, "SELECT max_by(run_id, started_at) FROM runs WHERE snapshot_date = ?", night)
        if last is None:
            raise NotThereError(f"no run has worked on {night}")
        checks = rows(
            connection,
            """SELECT "check", grade, passed, figure, bound, reason FROM checks LEFT JOIN made USING (snapshot_date, run_id)
            WHERE snapshot_date = $1 AND (run_id = $2 OR list_contains($3, split_part("check", ': ', 1)))
            QUALIFY row_number() OVER (PARTITION BY "check" ORDER BY made_at DESC NULLS LAST) = 1 ORDER BY passed, grade, "check" """,
            night,
            last,
            list(DECISIONS),
        )
        released = rows(connection, "SELECT who, why, released_at FROM overrides WHERE snapshot_date = ? AND run_id = ?", night, last)
    return {"night": night, "run_id": last, "checks": checks, "releases": released}


def search(cache: LakeCache, night: date, text: str, skip: int, count: int) -> Row:
    """Products of which every word of the text begins a word of title, brand, model, GTIN or id; all products without a text. Where there
    are none, those whose title holds the text as it stands."""
    has_products(cache, night)
    shown = "SELECT item_id, source, title, brand, category, price, currency, image FROM items WHERE"
    with cache.reading(items=items_of(night), words=words_of(night)) as connection:
        words = value(connection, f"SELECT list_filter({words_in('?')}, lambda word: word <> '')", text)[:WORDS]
        each = " INTERSECT ".join("SELECT item_id FROM words WHERE word >= ? AND word < ? || chr(1114111)" for _ in words)
        chosen, among = (f"item_id IN ({each})", f"({each})") if words else ("?", "items WHERE ?")
        values: list[object] = [bound for word in words for bound in (word, word)] or [not text.strip()]
        total = value(connection, f"SELECT count(DISTINCT item_id) FROM {among}", *values)
        if not total and text.strip():
            chosen, values = "contains(lower(title), lower(?))", [text.strip()]
            total = value(connection, f"SELECT count(*) FROM items WHERE {chosen}", *values)
        order = "length(title), title, item_id" if text.strip() else "item_id"
        found = rows(connection, f"{shown} {chosen} ORDER BY {order} LIMIT {count} OFFSET {skip}", *values)
    return {"night": night, "found": total, "skip": skip, "items": found}


def item(cache: LakeCache, night: date, item_id: str, before: date | None) -> Row:
    """A product with its neighbours and the parts of each similarity; with a night before, what its list had then and has not now."""
    has_products(cache, night, *([before] if before else []))
    pairs, published = pairs_of(cache, night)
    near = """SELECT rank, neighbour_id AS item_id, similarity, parts, title, brand, category, price, currency, image, source
        FROM pairs LEFT JOIN items ON items.item_id = neighbour_id WHERE pairs.item_id = ? ORDER BY rank"""
    with cache.reading(items=items_of(night), pairs=pairs) as connection:
        mine = rows(connection, "SELECT * FROM items WHERE item_id = ?", item_id)
        if not mine:
            raise NotThereError(f"the night of {night} has no product {item_id}")
        neighbours = rows(connection, near, item_id)
    gone: list[Row] = []
    if before:
        with cache.reading(items=items_of(before), pairs=pairs_of(cache, before)[0]) as connection:
            last = rows(connection, near, item_id)
        listed, had = ({row["item_id"] for row in of} for of in (neighbours, last))
        gone = [row for row in last if row["item_id"] not in listed]
        for row in neighbours:
            row["new"] = row["item_id"] not in had
    return {"night": night, "published": published, "item": mine[0], "neighbours": neighbours, "gone": gone}


def quarantine(cache: LakeCache, night: date, reason: str | None, source: str | None, skip: int, count: int) -> Row:
    """How many rows were refused, by reason and by source, and a page of them as they came."""
    chosen = "WHERE ($1::VARCHAR IS NULL OR list_contains(reasons, $1)) AND ($2::VARCHAR IS NULL OR source = $2)"
    with cache.reading(refused=refused_in(night)) as connection:
        each = "SELECT unnest(reasons) AS reason, source FROM refused"
        counted = f"SELECT reason, source, count(*) AS rows FROM ({each}) GROUP BY ALL"
        reasons = rows(connection, f"{counted} ORDER BY rows DESC, reason, source")
        total = value(connection, f"SELECT count(*) FROM refused {chosen}", reason, source)
        page = f"SELECT * FROM refused {chosen} ORDER BY source, file, row LIMIT {count} OFFSET {skip}"
        found = rows(connection, page, reason, source)
    for row in found:
        row["values"] = json.loads(row["values"])
    return {"night": night, "reasons": reasons, "found": total, "skip": skip, "rows": found}


def changes(cache: LakeCache, before: date, after: date) -> Row:
    """What differs between two nights: products that came, went and changed, and whose lists changed most."""
    has_products(cache, before, after)
    (then, _), (now, _) = pairs_of(cache, before), pairs_of(cache, after)
    told = cache.memoised(differing, was=items_of(before), items=items_of(after), had=then, has=now)
    return {"before": before, "after": after, **told}


def differing(connection: Any) -> Row:
    """Of the products `was` and `items`, and their pairs `had` and `has`."""
    differ = ", ".join(f"count_if(was.{name} IS DISTINCT FROM items.{name}) AS {name}" for name in FIELDS)
    (counts,) = rows(connection, f"SELECT count(*) AS both, {differ} FROM was JOIN items USING (item_id)")
    first = f"count(*) OVER () AS found FROM {{}} USING (item_id) ORDER BY item_id LIMIT {PAGE}"
    came, went = (rows(connection, f"SELECT item_id, title, {first.format(of)}") for of in ("items ANTI JOIN was", "was ANTI JOIN items"))
    moved = rows(
        connection,
        f"""WITH lost AS (SELECT item_id, count(*) AS lost FROM had ANTI JOIN has USING (item_id, neighbour_id)
            SEMI JOIN items USING (item_id) GROUP BY item_id)
        SELECT item_id, title, lost, sum(lost) OVER () AS pairs, count(*) OVER () AS found
        FROM lost JOIN items USING (item_id) ORDER BY lost DESC, item_id LIMIT {PAGE}""",
    )
    pairs = value(connection, "SELECT count(*) FROM had SEMI JOIN items USING (item_id)")
    lists = listed(moved) | {"pairs": pairs, "lost": int(moved[0]["pairs"]) if moved else 0}
    return {"both": counts.pop("both"), "changed": counts, "came": listed(came), "went": listed(went), "lists": lists}


def listed(found: list[Row]) -> Row:
    """The first rows of many, and how many there are."""
    shown = [{name: of for name, of in row.items() if name not in ("found", "pairs")} for row in found]
    return {"found": found[0]["found"] if found else 0, "rows": shown}


def day(text: str) -> date:
    """Raises ValueError unless it is a day as YYYY-MM-DD."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError(f"{text!r} is not a date, YYYY-MM-DD")
    return date.fromisoformat(text)

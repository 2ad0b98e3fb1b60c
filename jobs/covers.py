"""Covers of the blocks that are too large for one cell: made of a random sample of nodes, judged by the true neighbours of another."""

from collections.abc import Iterable

from pyspark.sql import functions as F

from jobs import cells, fusion, sample
from jobs.errors import ContractError
from jobs.nodes import NAME, known_items, read, sampled
from jobs.recall import nearest_of_sample
from jobs.session import at_once
from jobs.work import Work

# shares of what the target allows to miss: because signatures are sketches, the same in every cell; by the search of one cell; of a covered
# block in all. What is left keeps the interval of what is measured above the target.
SKETCH_MISSES, SEARCH_MISSES, COVER_MISSES = 0.3, 0.6, 0.8
SAMPLE = 20_000  # vectors of a large block, from which its cells are made: 30 MB
ASKED = 500  # of these, whose true neighbours tell how far its cells have to overlap; others tell the recall


def cover_of(work: Work, block: str) -> tuple[cells.Cover, dict[str, sample.Vectors]]:
    """The cover of one block, and the true similarities of the sampled items in it."""
    nodes, vectors, reading, how = work.nodes.where(F.col("block") == block), work.vectors, work.reading, work.how
    asked = [row for row in work.asked if row["block"] == block]
    chosen, others = at_once(
        nodes.select(F.expr(NAME).alias("name")).orderBy(F.xxhash64("name", F.lit(how.seed)), "name").limit(SAMPLE).collect,
        lambda: sampled(nodes, ASKED, how.seed + 1),  # the recall is not measured by the items that the cover was chosen by
    )
    names, rows = [row["name"] for row in chosen], {row["item_id"]: row for row in [*asked, *others]}
    known = known_items(nodes, vectors, [*names, *rows])
    if lacking := {*names, *rows} - known.keys():
        raise ContractError(f"item {min(lacking)} has no vector of this encoder", "run clean and embed for this date first")

    def signatures(of: Iterable[str]) -> sample.Vectors:
        return fusion.signatures(read([known[name] for name in of], reading), reading.weights)

    of_block = signatures(names)
    own = read([known[item] for item in rows], reading)
    found = dict(zip(rows, nearest_of_sample(nodes, vectors, list(rows.values()), own, reading, how), strict=True))
    full = {row["item_id"]: near for row in others if len(near := found[row["item_id"]][0]) == how.k}
    known |= known_items(nodes, vectors, (name for near in full.values() for name in near))
    theirs = signatures(name for near in full.values() for name in near).reshape(-1, how.k, of_block.shape[1])
    target, missed = 1 - COVER_MISSES * work.misses, (SKETCH_MISSES * work.misses, SEARCH_MISSES * work.misses)
    cover = cells.cover(of_block, work.sizes[block], how.cell_rows, signatures(full), theirs, target, missed, how.seed)
    return cover, {row["item_id"]: found[row["item_id"]][1] for row in asked}


def covers_of(work: Work) -> tuple[dict[str, cells.Cover], dict[str, sample.Vectors]]:
    """The cover of every block that is too large for one cell, and the true similarities of the sampled items in these."""
    covers: dict[str, cells.Cover] = {}
    true: dict[str, sample.Vectors] = {}
    for block in sorted(block for block, size in work.sizes.items() if size > work.how.cell_rows):
        covers[block], known = cover_of(work, block)
        true |= known
        print(f"neighbours: {work.sizes[block]:,} nodes{f' of block {block}' if block else ''} in {covers[block]}", flush=True)
    return covers, true

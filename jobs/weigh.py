"""Counts the lexicon: in how many texts of the catalogue each term stands, which decides what it weighs.

A lexicon is kept, so that a product has the same similarities tomorrow whatever else is sold by then. Only of a catalogue that has half or
twice as many texts as all that were counted it is counted anew. Of several that fit a night the first is used, so that it does not matter
which other nights have run by then. Nights at work at once that find none each count one; the first is everyone's, and only chance decides
whose it is, since none can wait for a night that may never come. What a term is is decided in `lexicon`. Five seconds for 100,000 short
texts, most of them Spark's own.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs import lexicon
from jobs.errors import ContractError
from jobs.item import all_fields_sql
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, LEXICONS

if TYPE_CHECKING:
    import pyarrow as pa

COUNTED = "channel string, bucket int, texts int"


def counted(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """From rows of text to COUNTED rows: the buckets that a task has met."""
    import pyarrow as pa

    grams, codes = (np.zeros(lexicon.BUCKETS, dtype=np.int32) for _ in range(2))
    for batch in batches:
        found = lexicon.counted(batch["text"])
        grams += found.grams
        codes += found.codes
    for channel, frequencies in (("grams", grams), ("codes", codes)):
        buckets = np.flatnonzero(frequencies).astype(np.int32)
        # perhaps no text has a code: of an empty list Arrow would guess another type
        named = pa.array([channel] * len(buckets), pa.string())
        yield pa.RecordBatch.from_pydict({"channel": named, "bucket": buckets, "texts": frequencies[buckets]})


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    reading = settings.weigh.reading
    texts = lake.read(CLEAN_ITEMS, night).select(F.expr(all_fields_sql(settings.weigh)).alias("text")).distinct().persist()
    total = texts.count()
    if total == 0:
        raise ContractError(f"clean_items has no rows for {night.date}", "run ingest, validate and clean for this date first")
    kept = lake.read(LEXICONS, lexicon.fitting_sql(reading, total)).orderBy(*lexicon.FIRST).select("lexicon_id", "texts").head()
    if kept is not None:
        texts.unpersist()
        return Counts(total, 0, "lexicons", note=f"{kept['lexicon_id']} of {kept['texts']:,} texts stays")
    frequencies = {channel: np.zeros(lexicon.BUCKETS, dtype="<i4") for channel in ("grams", "codes")}
    rows = texts.mapInArrow(counted, COUNTED).groupBy("channel", "bucket").agg(F.sum("texts").cast("int").alias("texts")).toArrow()
    for channel, of in frequencies.items():
        mine = rows.filter(pc.equal(rows["channel"], channel))
        of[mine["bucket"].to_numpy()] = mine["texts"].to_numpy()
    texts.unpersist()
    grams, codes = (of.tobytes() for of in frequencies.values())
    lexicon_id = hashlib.sha256(b"\n".join([lexicon.named(reading).encode(), str(total).encode(), grams, codes])).hexdigest()[:12]
    lake.append(LEXICONS, lake.frame(LEXICONS, [(lexicon_id, datetime.now(UTC), lexicon.named(reading), total, grams, codes)]), night)
    return Counts(total, 1, "lexicons", note=f"{lexicon_id} of {total:,} texts")

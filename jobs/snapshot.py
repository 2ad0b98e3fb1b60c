"""A published night as the lake has it, read without Spark: its items, their vectors, and how they were read.

What decides a similarity is what `neighbours` has read: the same columns, the first lexicon that fits, the weights of the settings.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs import encoder, fusion, lexicon, script, sql
from jobs.address import delta_table
from jobs.block import odd_size
from jobs.errors import ContractError, SettingsError
from jobs.fusion import Reading, Vectors
from jobs.item import BLANK, all_fields_sql
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NO_LEXICON = ""


@dataclass(frozen=True)
class Snapshot:
    """One published night, with the encoder whose vectors its neighbours have."""

    connection: "DuckDBPyConnection"
    settings: Settings
    night: date
    folder: Path
    model_id: str

    @cached_property
    def lexicon_id(self) -> str:
        """Of the lexicon that `neighbours` has used. Raises ContractError where there is none that fits."""
        if not any(self.settings.neighbours.weights.scaled[1:3]):
            return NO_LEXICON
        fields, reading = all_fields_sql(self.settings.weigh), self.settings.weigh.reading
        ((texts,),) = sql.rows(self.connection, f"SELECT count(DISTINCT {fields}) FROM clean_items WHERE snapshot_date = $1", self.night)
        fitting = f"SELECT lexicon_id FROM lexicons WHERE {lexicon.fitting_sql(reading, texts)} ORDER BY {', '.join(lexicon.FIRST)} LIMIT 1"
        if not (found := sql.rows(self.connection, fitting)):
            raise ContractError(f"there is no lexicon of {reading} for {texts:,} texts", "run weigh for this date first")
        return str(found[0][0])

    @property
    def key(self) -> str:
        """12 hex digits that change with all that decides what is compared: the files of the night's items, the encoder, the lexicon, the
        settings of how they are read."""
        table = delta_table(f"{self.settings.lake.root.rstrip('/')}/{CLEAN_ITEMS.name}")
        files = sorted(table.file_uris(file_pruning_predicate=[("snapshot_date", "=", self.night.isoformat())]))
        how = self.settings.weigh.reading, self.settings.neighbours.weights.scaled, fusion.VERSION, lexicon.VERSION
        return hashlib.sha256(json.dumps([files, self.model_id, self.lexicon_id, how]).encode()).hexdigest()[:12]

    def reading(self, dimension: int) -> Reading:
        weights = np.array(self.settings.neighbours.weights.scaled, dtype=np.float32)
        scripts = script.weights(script.known_to(self.folder) if weights[0] and weights[1] else {})
        if self.lexicon_id == NO_LEXICON:
            return Reading(weights, lexicon.counted(pa.array([], pa.string())), scripts, dimension)
        wanted = "SELECT texts, grams, codes FROM lexicons WHERE lexicon_id = $1 LIMIT 1"
        ((texts, *counts),) = sql.rows(self.connection, wanted, self.lexicon_id)
        return Reading(weights, lexicon.Lexicon(texts, *(np.frombuffer(count, dtype="<i4") for count in counts)), scripts, dimension)

    def items(self, *item_ids: str) -> pa.Table:
        """Of the items, or of all that have a text, by id: item_id, content_hash, the columns of clean_items that are shown, `fields`."""
        columns = "item_id, content_hash, title, brand, category, price, currency, description, model"
        among = f"item_id IN ({', '.join('?' * len(item_ids))})" if item_ids else f"content_hash <> '{BLANK}'"
        query = f"SELECT {columns}, {all_fields_sql(self.settings.weigh)} AS fields FROM clean_items WHERE snapshot_date = ? AND {among}"
        # as in the lists, ids in the order of their bytes
        return sql.table(self.connection, f"{query} ORDER BY item_id", self.night, *item_ids)

    def vectors(self, content_hashes: pa.Array) -> Vectors:
        """(n, d) float32. Raises ContractError where one is missing, or of another size than most."""
        self.connection.register("asked", pa.table({"content_hash": content_hashes.unique()}))
        query = "SELECT content_hash, vector FROM item_vectors WHERE model_id = ? AND content_hash IN (SELECT content_hash FROM asked)"
        stored = sql.table(self.connection, query, self.model_id)
        self.connection.unregister("asked")
        place = pc.index_in(content_hashes, stored["content_hash"])
        if place.null_count:
            raise ContractError(
                f"{place.null_count:,} of {len(place):,} items of {self.night} have no vector of {self.model_id}",
                "run embed for this date first",
            )
        packed = pa.concat_arrays(stored["vector"].cast(pa.large_binary()).chunks)
        sizes = pc.binary_length(packed).to_numpy()
        size = int(np.median(sizes))
        if (odd := np.flatnonzero(sizes != size)).size:
            raise odd_size(f"with the text {stored['content_hash'][int(odd[0])]}", int(sizes[odd[0]]), size)
        start = np.frombuffer(packed.buffers()[1], dtype=np.int64)[packed.offset]
        whole = np.frombuffer(packed.buffers()[2], dtype="<f4", count=len(packed) * size // 4, offset=start)
        found: Vectors = whole.reshape(len(packed), size // 4)[place.to_numpy()]
        return found

    def columns(self, items: pa.Table) -> pa.Table:
        """The columns of `fusion.READ` of rows of `items`, as `nodes.columns_read` makes them."""
        weights = self.settings.neighbours.weights
        none, nothing, zero = pa.nulls(len(items), pa.string()), pa.array([""] * len(items)), pa.array([0.0] * len(items))
        spelt = weights.lexical + weights.codes > 0
        read = {
            "title": items["title"] if spelt else none,
            "fields": items["fields"] if spelt else none,
            "price": pc.fill_null(items["price"].cast(pa.float64()), 0.0) if weights.price else zero,
            "currency": pc.fill_null(items["currency"], "") if weights.price else nothing,
            "category": pc.fill_null(items["category"], "") if weights.category else nothing,
        }
        return pa.table({name: read[name] for name in fusion.READ}, schema=pa.schema(list(fusion.READ.items()))).combine_chunks()

    def columns_of_title(self, title: str) -> pa.Table:
        """The same of an item of which nothing is known but its title."""
        fields, text = title[: self.settings.weigh.max_characters], pa.nulls(1, pa.string())
        told = {"title": [title], "fields": [fields], "price": pa.nulls(1, pa.float64()), "currency": text, "category": text}
        return self.columns(pa.table(told))


def of_night(settings: Settings, night: date | None = None) -> Snapshot:
    """The night, or the newest published. Raises as `sql.published_night`; ContractError where its items are
    forgotten, SettingsError where its vectors are those of another encoder than the settings'."""
    connection = sql.connect(settings)
    night = sql.published_night(connection, settings.lake.root, night)
    ((stored,),) = sql.rows(connection, "SELECT any_value(model_id) FROM neighbours WHERE snapshot_date = $1", night)
    if not sql.rows(connection, "SELECT 1 FROM clean_items WHERE snapshot_date = $1 LIMIT 1", night):
        raise ContractError(f"clean_items has no items of {night} any more", "name a later night with --date, or run this one again")
    folder = encoder.folder_of(settings.embed.model)
    if (own := encoder.model_id(folder)) != stored:
        raise SettingsError(
            f"the neighbours of {night} are made of vectors of {stored}, and embed.model is {own}",
            f"set embed.model to the folder of {stored}, or run embed neighbours audit publish for this date",
        )
    return Snapshot(connection, settings, night, folder, own)

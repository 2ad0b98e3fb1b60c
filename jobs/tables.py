"""Every table of the lake, declared once; those of `decisions` stand there."""

from jobs.decisions import DECISIONS
from jobs.table import SNAPSHOT_DATE, Column, Table

_SOURCE_ROW = (
    SNAPSHOT_DATE,
    Column("source", "string", "name of the source in the settings", required=True),
    Column("file", "string", "address of the file the row came from", required=True),
    Column("row", "bigint", "position in the file, 1 for the first row after any header", required=True),
)

RAW_ITEMS = Table(
    "raw_items",
    "one source row as received",
    (
        *_SOURCE_ROW,
        Column("file_sha256", "string", "fingerprint of the file's bytes, as stored", required=True),
        Column("fault", "string", "what was wrong with the row's shape, e.g. 7 fields under a header of 5"),
        Column("values", "map<string,string>", "every value as it came, by the source's own column names", required=True),
    ),
    key=("snapshot_date", "source", "file", "row"),
    partition=("snapshot_date",),
)

QUARANTINED_ITEMS = Table(
    "quarantined_items",
    "one rejected row, with every reason",
    (
        *_SOURCE_ROW,
        Column("item_id", "string", "id of the product, where the row gives one"),
        Column("reasons", "array<string>", "why the row was refused: one sentence a reason, never empty", required=True),
        Column("values", "string", "the original row as JSON", required=True),
    ),
    key=("snapshot_date", "source", "file", "row"),
    partition=("snapshot_date",),
    checks=(("has_a_reason", "size(reasons) > 0"),),
)

CLEAN_ITEMS = Table(
    "clean_items",
    "one product of one night",
    (
        SNAPSHOT_DATE,
        Column("item_id", "string", "id of the product; <source>:<id> where there are several sources", required=True),
        Column("source", "string", "name of the source in the settings", required=True),
        Column("title", "string", "name of the product, cleaned", required=True),
        Column("description", "string", "longer text, cleaned"),
        Column("brand", "string", "brand, normalised"),
        Column("category", "string", "category path, normalised: levels separated by ' > '"),
        Column("price", "decimal(18,2)", "price in `currency`; null where the source gives none"),
        Column("currency", "string", "ISO 4217 code of `price`"),
        Column("gtin", "string", "EAN or UPC, digits only"),
        Column("model", "string", "the maker's model number"),
        Column("image", "string", "address of a picture"),
        Column("in_stock", "boolean", "whether it can be had; null where the source does not say"),
        Column("attributes", "map<string,string>", "every further attribute the source's settings name", required=True),
        Column("text", "string", "what the encoder reads", required=True),
        Column("content_hash", "string", "SHA-256 of `text`: the key of its vector", required=True),
        Column("folded", "int", "further rows with this id and the same content, folded into this one", required=True),
    ),
    key=("snapshot_date", "item_id"),
    partition=("snapshot_date",),
)

ITEM_VECTORS = Table(
    "item_vectors",
    "one text under one model; the same text may have been stored by two runs at once, and readers take either",
    (
        Column("model_id", "string", "name and fingerprint of the encoder", required=True),
        Column("content_hash", "string", "SHA-256 of the text", required=True),
        Column("dimension", "int", "number of float32 values in `vector`", required=True),
        Column("vector", "binary", "unit vector, little-endian float32", required=True),
    ),
    key=("model_id", "content_hash"),
    partition=("model_id",),
    checks=(("vector_has_its_dimension", "length(vector) = 4 * dimension"),),
)

PARTS = ("semantic", "lexical", "codes", "price", "category")  # channels of a similarity
_PARTS = f"struct<{','.join(f'{part}:float' for part in PARTS)}>"

_NEIGHBOUR = (
    SNAPSHOT_DATE,
    Column("item_id", "string", "the product", required=True),
    Column("rank", "int", "1 for the nearest", required=True),
    Column("neighbour_id", "string", "the similar product", required=True),
    Column("similarity", "float", "weighted mean of the parts, -1 to 1", required=True),
    Column("parts", _PARTS, "similarity by each channel; null where it does not count", required=True),
    Column("model_id", "string", "encoder of the semantic part", required=True),
    Column("run_id", "string", "run that computed the pair", required=True),
)

STAGED_NEIGHBOURS = Table(
    "staged_neighbours",
    "one directed pair of one night before its audit, k + slack an item; never read by users",
    (
        *_NEIGHBOUR,
        Column("fingerprint", "string", "of all but the items that decides a list: nights of one fingerprint continue each other"),
        Column("items_read", "string", "checksum of the night's items as they were read for it"),
        Column("made_on", "date", "the night whose lists were last all made anew; increments carry it on"),
    ),
    key=("snapshot_date", "item_id", "rank"),
    partition=("snapshot_date",),
    checks=(("not_its_own_neighbour", "item_id <> neighbour_id"),),
    properties=(("delta.dataSkippingNumIndexedCols", "0"),),  # whole nights are read: statistics would be a quarter of the write
)

LEXICONS = Table(
    "lexicons",
    "the document frequencies of one lexicon",
    (
        Column("lexicon_id", "string", "fingerprint of the counts and of what was read", required=True),
        Column("counted_at", "timestamp", "when it was counted, UTC; of those that fit a night the first is used", required=True),
        Column("reading", "string", "what was read, and how", required=True),
        Column("texts", "bigint", "texts that were read, each once", required=True),
        Column("grams", "binary", "texts that each bucket of n-grams is in, little-endian int32", required=True),
        Column("codes", "binary", "texts that each bucket of codes is in, little-endian int32", required=True),
    ),
    key=("lexicon_id",),
)

NEIGHBOURS = Table(
    "neighbours",
    "one directed pair of one published night",
    _NEIGHBOUR,
    key=("snapshot_date", "item_id", "rank"),
    partition=("snapshot_date",),
    checks=(("not_its_own_neighbour", "item_id <> neighbour_id"),),
)

CURRENT_NEIGHBOURS = Table(
    "current_neighbours",
    "latest published pair",
    _NEIGHBOUR[1:-1],
    key=("item_id", "rank"),
    properties=(("delta.enableChangeDataFeed", "true"),),
)

AUDIT_RESULTS = Table(
    "audit_results",
    "one check of one run",
    (
        SNAPSHOT_DATE,
        Column("run_id", "string", "the run that was checked", required=True),
        Column("check", "string", "name of the check", required=True),
        Column("grade", "string", "fail holds the night, warn only tells", required=True),
        Column("passed", "boolean", "whether the figure met its bound", required=True),
        Column("figure", "double", "what was measured; null where there was nothing to measure"),
        Column("bound", "string", "what the figure had to meet, e.g. >= 0.95", required=True),
        Column("reason", "string", "why the check exists and what a failure means", required=True),
    ),
    key=("snapshot_date", "run_id", "check"),
    partition=("snapshot_date",),
)

CLAIMS = Table(
    "claims",
    "one process that has worked on one night",
    (
        SNAPSHOT_DATE,
        Column("run_id", "string", "the run it worked for", required=True),
        Column("token", "string", "the process, told from every other", required=True),
        Column("begins", "boolean", "whether it began the night, with ingest; else it went on with what the run had done", required=True),
        Column("claimed_at", "timestamp", "when, UTC: the newest has the night", required=True),
        Column("process", "string", "its machine and number, for people", required=True),
    ),
    key=("snapshot_date", "token"),
    partition=("snapshot_date",),
)

OVERRIDES = Table(
    "overrides",
    "one held night that was released by a person",
    (
        SNAPSHOT_DATE,
        Column("run_id", "string", "the run that was released", required=True),
        Column("who", "string", "the person", required=True),
        Column("why", "string", "the reason that was given", required=True),
        Column("released_at", "timestamp", "when, UTC", required=True),
        Column("checks", "array<string>", "the checks that held it: each with its figure and bound", required=True),
    ),
    key=("snapshot_date", "run_id", "released_at"),
)

RUNS = Table(
    "runs",
    "one stage of one run, once for every time it was started",
    (
        SNAPSHOT_DATE,
        Column("run_id", "string", "the run", required=True),
        Column("stage", "string", "the stage", required=True),
        Column("started_at", "timestamp", "when the stage began, UTC", required=True),
        Column("seconds", "double", "how long it worked, start-up apart", required=True),
        Column("outcome", "string", "ok, or what the error found", required=True),
        Column("rows_in", "bigint", "rows read"),
        Column("rows_out", "bigint", "rows written"),
        Column("peak_memory_mb", "double", "largest resident size of the driver, its JVM and its Python workers so far"),
        Column("figures", "map<string,double>", "every further figure, by name", required=True),
        Column("versions", "map<string,string>", "versions of the program's parts, and the settings' fingerprint", required=True),
    ),
    key=("run_id", "stage", "started_at"),
    partition=("snapshot_date",),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        RAW_ITEMS,
        QUARANTINED_ITEMS,
        CLEAN_ITEMS,
        ITEM_VECTORS,
        LEXICONS,
        STAGED_NEIGHBOURS,
        NEIGHBOURS,
        CURRENT_NEIGHBOURS,
        AUDIT_RESULTS,
        CLAIMS,
        OVERRIDES,
        RUNS,
        *DECISIONS.values(),
    )
}

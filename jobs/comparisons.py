"""Published pairs with what two products agree on: how far each stands out in the other's list, titles, numbers, codes, prices, brand,
model number and GTIN.

Each comparison has levels, UNKNOWN and then the more they agree the higher, as `match` judges them.
"""

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.match import UNKNOWN

FIELDS = ("source", "price", "currency", "brand", "gtin", "model", "text_hash")
READ = ("words", "numbers", "codes", "own_codes")
BOUNDS: Mapping[str, tuple[float, ...]] = {
    "margin": (-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2),
    "words": (0.7, 0.8, 0.9, 0.98),
    "price": (0.5, 0.75, 0.9, 0.98),  # the lower over the higher
}
NEAREST = 1 + BOUNDS["margin"].index(0.0) + 1  # level of the margin from which each is the other's nearest
SIZES = {**{name: len(bounds) + 1 for name, bounds in BOUNDS.items()}, "numbers": 3, "codes": 3, "brand": 2, "model": 2, "gtin": 2}

_WORD, _NUMBER = r"[\p{L}\p{M}\p{N}]+(?:[.,]\p{N}+)?", r"\d+(?:[.,]\d+)?"
_NO_LETTER = r"[^\p{L}\p{M}\p{N}]"
_WITH_DIGIT = r"[^\s,;()\[\]|]*\d[^\s,;()\[\]|]*"
_CODE_LENGTHS = 4, 40  # letters; shorter ones are sizes and counts


def bare(text: Column) -> Column:
    """Its letters and digits alone: people write DSC-W120, DSC W120 and dscw120."""
    return F.regexp_replace(F.lower(text), _NO_LETTER, "")


def hashed(values: Column) -> Column:
    """An array with a number for each value: joins carry it in a quarter of the bytes."""
    return F.transform(values, lambda value: F.xxhash64(value))


def read(items: DataFrame) -> DataFrame:
    """Items with what is compared of them, words and codes as hashes. text_hash: of all that is said of one; codes: model numbers and the
    like, of all texts; own_codes: those of them that another source's item has too, and no source has twice."""
    numbers = F.transform(F.regexp_extract_all("title", F.lit(_NUMBER), F.lit(0)), lambda of: F.translate(of, ",", ".").cast("double"))
    with_digit = F.regexp_extract_all(F.concat_ws(" ", "title", "model", "description"), F.lit(_WITH_DIGIT), F.lit(0))
    codes = F.filter(F.transform(with_digit, bare), lambda code: F.length(code).between(*_CODE_LENGTHS))
    of_title = F.regexp_extract_all(F.lower("title"), F.lit(_WORD), F.lit(0))
    told = {"words": hashed(of_title), "numbers": numbers, "codes": hashed(codes)}
    found = items.withColumns({name: F.array_distinct(values) for name, values in told.items()})
    bears = found.select("item_id", "source", F.explode("codes").alias("code"))
    items_of, sources_of = F.count("*"), F.count_distinct("source")
    own = bears.groupBy("code").agg(items_of.alias("items"), sources_of.alias("sources")).where("items > 1 AND items = sources")
    by_item = bears.join(own, "code").groupBy("item_id").agg(F.collect_list("code").alias("own_codes"))
    spelt = {
        "model": F.nullif(bare(F.col("model")), F.lit("")),
        "gtin": F.lpad("gtin", 14, "0"),  # a UPC is an EAN without its zero
        "text_hash": F.xxhash64("title", "description", "category", F.array_sort(F.map_entries("attributes"))),
    }
    return found.withColumns(spelt).join(by_item, "item_id", "left")


def level(value: Column, bounds: tuple[float, ...]) -> Column:
    """1 and the bounds that the value reaches; UNKNOWN where there is none."""
    reached = reduce(Column.__add__, (F.when(value >= bound, 1).otherwise(0) for bound in bounds), F.lit(1))
    return F.when(value.isNull(), UNKNOWN).otherwise(reached)


def unseen(listed: DataFrame) -> DataFrame:
    """item_id and `unseen`, the most that the similarity of what its list does not show can be: the least there, where the list is full."""
    longest = listed.agg(F.max("rank").alias("longest"))
    each = listed.groupBy("item_id").agg(F.max("rank").alias("last"), F.min("similarity").alias("least"))
    full = F.when(F.col("last") == F.col("longest"), F.col("least"))
    return each.crossJoin(F.broadcast(longest)).select("item_id", F.coalesce(full, F.lit(0.0)).alias("unseen"))


def equal(one: Column, other: Column) -> Column:
    """2 where both are given and the same, 1 where they differ."""
    return F.when(one.isNull() | other.isNull(), UNKNOWN).when(F.lower(one) == F.lower(other), 2).otherwise(1)


def sides(neighbours: DataFrame, items: DataFrame, most: DataFrame) -> DataFrame:
    """Every directed pair with its place in the list of its item among those of the neighbour's source, and `next`, the highest similarity
    there that is not its own, or what it is at most. most: `unseen` of the neighbours."""
    sources = items.select(F.col("item_id").alias("neighbour_id"), F.col("source").alias("of"))
    listed = neighbours.select("item_id", "neighbour_id", "rank", "similarity").join(sources, "neighbour_id")
    by = Window.partitionBy("item_id", "of").orderBy("rank")
    whole = by.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    first, second = F.first("similarity").over(whole), F.nth_value("similarity", 2).over(whole)
    placed = listed.withColumn("place", F.row_number().over(by)).withColumn("first", first).withColumn("second", second)
    after = F.when(F.col("place") == 1, F.coalesce("second", "unseen")).otherwise(F.col("first"))
    return placed.join(most, "item_id").withColumn("next", after)


def pairs(neighbours: DataFrame, items: DataFrame) -> DataFrame:
    """One row a pair that either lists: item_id before other_id, similarity, what both say of each field, the level of every comparison.
    items: as `read` gives them."""
    most = unseen(neighbours)
    directed = sides(neighbours, items, most)
    forward = F.col("item_id") < F.col("neighbour_id")
    of_pair = {
        "place": F.max(F.when(forward, F.col("place"))),
        "other_place": F.max(F.when(~forward, F.col("place"))),
        "next": F.max(F.when(forward, F.col("next"))),
        "other_next": F.max(F.when(~forward, F.col("next"))),
        "similarity": F.max("similarity"),
    }
    one, other = F.least("item_id", "neighbour_id").alias("item_id"), F.greatest("item_id", "neighbour_id").alias("other_id")
    both = directed.groupBy(one, other).agg(*(column.alias(name) for name, column in of_pair.items()))
    fields = items.select("item_id", *FIELDS, *READ)
    others = fields.select(F.col("item_id").alias("other_id"), *(F.col(name).alias(f"other_{name}") for name in (*FIELDS, *READ)))
    nearest = directed.groupBy("item_id", "of").agg(F.max("first").alias("nearest"))  # of a list that lacks the other
    found = (
        both.join(fields, "item_id")
        .join(others, "other_id")
        .join(nearest.select("item_id", F.col("of").alias("other_source"), F.col("nearest")), ["item_id", "other_source"], "left")
        .join(
            nearest.select(F.col("item_id").alias("other_id"), F.col("of").alias("source"), F.col("nearest").alias("other_nearest")),
            ["other_id", "source"],
            "left",
        )
        .join(most, "item_id", "left")
        .join(most.select(F.col("item_id").alias("other_id"), F.col("unseen").alias("other_unseen")), "other_id", "left")
    )
    alone = {
        f"{of}{name}_alone": F.size(F.array_except(f"{of}{name}", f"{against}{name}"))
        for name in ("words", "numbers")
        for of, against in (("", "other_"), ("other_", ""))
    }
    # each once, and not for every bound that it is held against
    compared = found.withColumns(alone).withColumn("shared_words", shared_words())
    return compared.select("*", *(column.alias(f"{name}_level") for name, column in levels().items())).drop(
        *alone, "shared_words", *(f"{of}{name}" for of in ("", "other_") for name in READ)
    )


def levels() -> dict[str, Column]:
    """The comparisons of a pair, in the order of SIZES."""
    col = F.col
    after = F.when(col("place").isNull(), F.coalesce("nearest", "unseen")).otherwise(col("next"))
    other_after = F.when(col("other_place").isNull(), F.coalesce("other_nearest", "other_unseen")).otherwise(col("other_next"))
    margin = col("similarity") - F.greatest(F.coalesce(after, F.lit(0.0)), F.coalesce(other_after, F.lit(0.0)))
    prices = [col(name).cast("double") for name in ("price", "other_price")]
    comparable = col("currency").eqNullSafe(col("other_currency")) & prices[0].isNotNull() & prices[1].isNotNull()
    ratio = F.when(comparable, F.least(*prices) / F.greatest(*prices))
    return {
        "margin": level(margin, BOUNDS["margin"]),
        "words": level(col("shared_words"), BOUNDS["words"]),
        "price": level(ratio, BOUNDS["price"]),
        "numbers": numbers(),
        "codes": codes(),
        **{name: equal(col(name), col(f"other_{name}")) for name in ("brand", "model", "gtin")},
    }


def shared_words() -> Column:
    """1 where one title has all words of the other, less for what each has alone; null where one has none."""
    some = (F.size("words") > 0) & (F.size("other_words") > 0)
    return F.when(some, 1 - F.least("words_alone", "other_words_alone") / (F.size("words") + F.col("other_words_alone")))


def numbers() -> Column:
    """3 where the titles have the same numbers, 2 where one tells more than the other, 1 where each has some that the other lacks."""
    ours, theirs = F.col("numbers_alone") > 0, F.col("other_numbers_alone") > 0
    nothing = (F.size("numbers") == 0) & (F.size("other_numbers") == 0)
    return F.when(nothing, UNKNOWN).when(ours & theirs, 1).when(ours | theirs, 2).otherwise(3)


def codes() -> Column:
    """3 where they share a code that is theirs alone, 2 where they share another, 1 where they have none in common."""
    none = (F.size("codes") == 0) | (F.size("other_codes") == 0)
    return (
        F.when(none, UNKNOWN)
        .when(F.arrays_overlap("own_codes", "other_own_codes"), 3)
        .when(F.arrays_overlap("codes", "other_codes"), 2)
        .otherwise(1)
    )

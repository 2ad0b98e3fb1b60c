"""The tables of what is decided by the published neighbours, each made by a stage of its own after the night is published."""

from jobs.table import SNAPSHOT_DATE, Column, Table

# of tables that hold people's pseudonyms: else the log would keep some of them, as the least and greatest values of files
_NO_STATISTICS = (("delta.dataSkippingNumIndexedCols", "0"),)

MATCHES = Table(
    "matches",
    "one pair of products that may be one",
    (
        SNAPSHOT_DATE,
        Column("item_id", "string", "the product whose id comes first", required=True),
        Column("other_id", "string", "the other one", required=True),
        Column("match_probability", "double", "that they are one, 0 to 1", required=True),
        Column("similarity", "float", "as published in neighbours", required=True),
        Column("levels", "map<string,int>", "how far they agree in each comparison; 0 where they cannot be compared", required=True),
        Column("run_id", "string", "run that judged the pair", required=True),
    ),
    key=("snapshot_date", "item_id", "other_id"),
    partition=("snapshot_date",),
)

DUPLICATES = Table(
    "duplicates",
    "one product of a group that is probably one",
    (
        SNAPSHOT_DATE,
        Column("group_id", "string", "the first id of the group", required=True),
        Column("item_id", "string", "the product", required=True),
        Column("survivor", "boolean", "whether it is the one that is to stay", required=True),
        Column("match_probability", "double", "mean probability that it and another one of the group are one", required=True),
        Column("merged", "map<string,string>", "of the survivor: its fields, and where it lacks one the next best's"),
        Column("run_id", "string", "run that made the group", required=True),
    ),
    key=("snapshot_date", "item_id"),
    partition=("snapshot_date",),
)

PRICE_POSITIONS = Table(
    "price_positions",
    "one priced product of one night, against its neighbours",
    (
        SNAPSHOT_DATE,
        Column("item_id", "string", "the product", required=True),
        Column("price", "decimal(18,2)", "its price", required=True),
        Column("currency", "string", "ISO 4217 code of the price; null where the source gives none"),
        Column("peers", "int", "neighbours with a price in the same currency, 1 or more", required=True),
        Column("median", "decimal(18,2)", "middle price of the peers", required=True),
        Column("gap", "double", "how far the price lies from the median, as a share of it; -0.1 is 10 % cheaper", required=True),
        Column("percentile", "double", "share of the peers that are cheaper, those of the same price by half", required=True),
        Column("outlier", "boolean", "whether the price is so far from the peers' that it is probably wrong", required=True),
        Column("cause", "string", "of an outlier, the likely one: pack size, decimal point, currency; null where none fits"),
        Column("run_id", "string", "run that compared the price", required=True),
    ),
    key=("snapshot_date", "item_id"),
    partition=("snapshot_date",),
)

SUBSTITUTES = Table(
    "substitutes",
    "one product that can be had in place of one that cannot",
    (
        SNAPSHOT_DATE,
        Column("item_id", "string", "the product that is out of stock, or in no feed any more", required=True),
        Column("rank", "int", "1 for the best", required=True),
        Column("substitute_id", "string", "the product that can be had", required=True),
        Column("similarity", "float", "as published in neighbours, on the last night that had both", required=True),
        Column("price_ratio", "double", "its price over that of the other; null where one has none in the same currency"),
        Column("last_listed", "date", "the last night that had the product: this one, unless it is in no feed any more", required=True),
        Column("reason", "string", "in words: what both share, and how the prices compare", required=True),
        Column("run_id", "string", "run that chose it", required=True),
    ),
    key=("snapshot_date", "item_id", "rank"),
    partition=("snapshot_date",),
    checks=(("not_its_own_substitute", "item_id <> substitute_id"),),
)

USER_KEYS = Table(
    "user_keys",
    "one user's pseudonym; two runs at once may give one user two, and readers take the first",
    (
        Column(
            "person",
            "string",
            "keyed hash of the user's id; without this row nobody finds the pseudonym",
            required=True,
        ),
        Column("user_id", "string", "the pseudonym: 32 random hex digits", required=True),
        Column("created_at", "timestamp", "when it was given, UTC", required=True),
    ),
    key=("person",),
    properties=_NO_STATISTICS,
)

INTERACTIONS = Table(
    "interactions",
    "one event of one night: a person did something with a product",
    (
        SNAPSHOT_DATE,
        Column("user_id", "string", "pseudonym of the person", required=True),
        Column("item_id", "string", "the product; it need not be in the catalogue any more", required=True),
        Column("event", "string", "what was done: one of [interactions] events of the settings", required=True),
        Column("happened_at", "timestamp", "when, UTC", required=True),
        Column("order_number", "int", "which of the person's orders of that night it belongs to, from 1; null where the feed gives none"),
        Column("quantity", "int", "pieces", required=True),
        Column("folded", "int", "further rows that say the same, folded into this one", required=True),
    ),
    key=("snapshot_date", "user_id", "item_id", "event", "happened_at", "order_number", "quantity"),
    partition=("snapshot_date",),
    properties=_NO_STATISTICS,
)

QUARANTINED_INTERACTIONS = Table(
    "quarantined_interactions",
    "one rejected row of the interactions, with every reason",
    (
        SNAPSHOT_DATE,
        Column("file", "string", "address of the file the row came from", required=True),
        Column("row", "bigint", "position in the file, 1 for the first row after any header", required=True),
        Column("user_id", "string", "pseudonym of the person, where the row gives one"),
        Column("reasons", "array<string>", "why the row was refused: one sentence a reason, never empty", required=True),
        Column("values", "string", "the row as JSON, without user and order; empty where its fields cannot be told apart", required=True),
    ),
    key=("snapshot_date", "file", "row"),
    partition=("snapshot_date",),
    checks=(("has_a_reason", "size(reasons) > 0"),),
    properties=_NO_STATISTICS,
)

BUNDLES = Table(
    "bundles",
    "one product that is bought together with another",
    (
        SNAPSHOT_DATE,
        Column("item_id", "string", "the product", required=True),
        Column("rank", "int", "1 for what most surely goes with it", required=True),
        Column("other_id", "string", "the product that is bought with it", required=True),
        Column("baskets", "bigint", "baskets that held both", required=True),
        Column("users", "bigint", "people who bought both in one basket", required=True),
        Column("confidence", "double", "share of the baskets with the first that held the other too", required=True),
        Column("lift", "double", "how much oftener they are bought together than by chance", required=True),
        Column("lift_low", "double", "the lift that is certain: the lower end of its 95 % interval", required=True),
        Column("run_id", "string", "run that counted them", required=True),
    ),
    key=("snapshot_date", "item_id", "rank"),
    partition=("snapshot_date",),
    checks=(("not_its_own_bundle", "item_id <> other_id"),),
)

RECOMMENDATIONS = Table(
    "recommendations",
    "one product for one person",
    (
        SNAPSHOT_DATE,
        Column("user_id", "string", "pseudonym of the person; `anyone` of those of whom nothing is known", required=True),
        Column("rank", "int", "1 for the best", required=True),
        Column("item_id", "string", "the product", required=True),
        Column(
            "score",
            "double",
            "how much it is likely to please, beside what else this person gets; 0 of what is only popular",
            required=True,
        ),
        Column("reason", "string", "history: of what the person did; popular: of what everybody does", required=True),
        Column("because_id", "string", "the product of the person's own that told most; null of what is only popular"),
        Column("run_id", "string", "run that recommended it", required=True),
    ),
    key=("snapshot_date", "user_id", "rank"),
    partition=("snapshot_date",),
    properties=_NO_STATISTICS,
)

DECISIONS: dict[str, Table] = {
    table.name: table
    for table in (
        MATCHES,
        DUPLICATES,
        PRICE_POSITIONS,
        SUBSTITUTES,
        USER_KEYS,
        INTERACTIONS,
        QUARANTINED_INTERACTIONS,
        RECOMMENDATIONS,
        BUNDLES,
    )
}
OF_PEOPLE = (INTERACTIONS, QUARANTINED_INTERACTIONS, RECOMMENDATIONS)  # tables with a user_id, beside the keys themselves
ANYONE = "anyone"  # user_id of the recommendations for those of whom nothing is known; a pseudonym has 32 digits

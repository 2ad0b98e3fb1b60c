"""Every stage by its name, with what it does. A stage is a file of this folder; its name is that of the task and of the command."""

# of a night, in their order
STAGES = {
    "prepare": "create the tables, once",
    "ingest": "read the source files of the date, every value as it came",
    "validate": "quarantine broken rows with their reasons; hold the night if a whole feed is suspect",
    "clean": "normalise what is valid and fold exact duplicates",
    "weigh": "count how rare each n-gram and code is, unless that is known",
    "embed": "compute the vectors that are not in the lake yet",
    "neighbours": "find the k most similar items of every item, and measure the recall",
    "audit": "check the night against its bounds; hold it if one graded fail is broken",
    "publish": "make the audited night visible, one commit a table",
}

# of what a published night is for: each makes tables of its own; of them only `interactions` are read by others
DOWNSTREAM = {
    "deduplicate": "find the rows that are one product, and which of them is to stay",
    "position": "hold every price against those of the neighbours, and name the likely cause where it is far off",
    "substitute": "find what can be had in place of products that are out of stock, or in no feed any more",
    "collect": "read what people did with products on that day, under pseudonyms; quarantine what is no event",
    "recommend": "find for everyone who did something of late what is likely to please, new products too",
    "bundle": "find what is bought together, and is no substitute for each other",
}

MAINTENANCE = "maintain"
ERASURE = "erase"  # a second half of maintenance, on request
OF_NO_NIGHT = {MAINTENANCE, ERASURE, *DOWNSTREAM}  # they change nothing of a night's own: nobody claims it for them

"""The nightly program: stages (verbs) over tables, pure libraries (nouns) beneath them."""

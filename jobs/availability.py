"""Whether a product can be had, out of what feeds write: a number of pieces, a word, a boolean, or an address of schema.org."""

import re
from decimal import Decimal, InvalidOperation

# without case, and without what stands between letters: "In stock", "in_stock" and "https://schema.org/InStock" are one
_WORDS_OF_YES = """
    instock available availablenow true yes y limitedavailability onlineonly instoreonly lowstock auflager verfügbar vorrätig lieferbar
    sofortlieferbar ja enstock disponible oui enexistencia sí si disponibile disponível sì opvoorraad leverbaar dostępny tak skladem ilager
    有货 在庫あり
"""
_WORDS_OF_NO = """
    outofstock soldout unavailable notavailable discontinued false no n backorder backordered preorder presale temporarilyunavailable
    ausverkauft nichtverfügbar nichtauflager nichtvorrätig nichtlieferbar vergriffen nein rupturedestock enrupturedestock épuisé
    indisponible nondisponible non agotado sinexistencias nodisponible esaurito nondisponibile esgotado indisponível nietopvoorraad
    uitverkocht nee niedostępny brak nie vyprodáno slutsåld 缺货 在庫なし
"""
_YES, _NO = frozenset(_WORDS_OF_YES.split()), frozenset(_WORDS_OF_NO.split())
_BETWEEN = re.compile(r"[\W_]+")


def parse(text: str | None) -> bool | None:
    """None where the feed does not say, or says what is not known here."""
    if text is None:
        return None
    try:
        return Decimal(text.strip(" <>=+").replace(",", ".")) > 0  # "10+", ">5"
    except InvalidOperation:
        word = _BETWEEN.sub("", text.rstrip("/").rpartition("/")[2]).casefold()
    return True if word in _YES else False if word in _NO else None

"""Product text as people wrote it, out of what feeds make of it: markup, entities, mojibake, control characters and odd widths are gone.

`clean` is idempotent and linear in the text's length. It costs 1 µs for a plain ASCII title and about 20 µs for one that needs more.
Words are never judged, translated or respelled here.
"""

import re
import unicodedata
from collections.abc import Sequence
from html import unescape
from html.entities import html5

from ftfy import fix_encoding
from ftfy.badness import is_bad

# what programs write where there is nothing
MISSING = frozenset({"", "-", "--", "n/a", "#n/a", "null", "none", "nan"})
NAMES = frozenset({"Nan"})  # an infant milk; programs that mean "not a number" write nan or NaN

_ROUNDS = 8  # an entity may hide a tag, or another entity; text nested deeper was made to
_INLINE = "a|abbr|b|bdi|big|cite|code|del|em|font|i|ins|kbd|mark|q|s|samp|small|span|strike|strong|sub|sup|tt|u|var"
_BLOCK = (
    "address|article|aside|blockquote|body|br|button|center|dd|div|dl|dt|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|iframe|img|"
    "input|label|li|link|main|meta|nav|object|ol|option|p|pre|script|section|select|style|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul"
)
# only names of HTML are tags, so "<5 kg>" and "a < b" stay; no pattern looks past the next angle bracket, so none is quadratic
_CODE = re.compile(r"<(script|style)(?:\s[^<>]*)?>[^<]*</\1\s*>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK})(?:\s[^<>]*)?/?>|<![^<>]*>", re.IGNORECASE)

_AMPERSANDS = re.compile(r"&(?:amp;|#0{0,5}38;|#x0{0,4}26;)+", re.IGNORECASE)
# without its semicolon "&copy" is as likely the tail of an address, and "&para" the head of a word
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

# controls that are not white space, surrogates, and the characters without width; the two joiners stay where scripts spell with them
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
    "|(?<![\u0620-\u06ff\u0750-\u077f\u08a0-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff])[\u200c\u200d]"
)
# whatever ftfy's detector finds holds one of these; most European text holds none, and asking costs a tenth
_SUSPECT = re.compile("[^\x00-\x7f]{2}|[\x80-\x9fÂÃŒœ]")

# what NFKC would harm: it writes TM into the word, ´ apart from it, 101/2 for 10½ and 37.5o for 37.5º
_FRAGILE = re.compile("[™℠®´º¼-¾⅐-⅞]")
_MARK_IN_WORD = re.compile(r"[™℠®]+(?=\w)")
_MARKS = str.maketrans({"™": None, "℠": None, "®": None, "´": "'"})
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_DEGREE = re.compile(r"(?<=\d)º")


def clean(text: str | None) -> str | None:
    """The text on one line, in Unicode's NFKC form, without anything that is not seen; None where nothing is left."""
    if text is None:
        return None
    if text.isascii() and text.isprintable() and "&" not in text and "<" not in text:
        return " ".join(text.split()) or None
    for _ in range(_ROUNDS):
        before, text = text, _cleaned_once(text)
        if text == before:
            return text or None
    return _cleaned_once(text.replace("&", " ").replace("<", " ")) or None


def given(text: str | None) -> str | None:
    """The cleaned text; None also where it only says that there is none, as in "N/A"."""
    cleaned = clean(text) if text else None
    return None if not cleaned or (len(cleaned) <= 4 and cleaned.lower() in MISSING and cleaned not in NAMES) else cleaned


def joined(parts: Sequence[str | None], limit: int) -> str:
    """The parts that are there, a line each, cut at `limit` characters. A part that begins another one, or repeats it, is left out:
    many descriptions begin with the title."""
    kept: list[str] = []
    present = [part for part in parts if part]
    folded = [part.casefold() for part in present]
    for i, part in enumerate(present):
        begins_other = any(other.startswith(folded[i]) and (other != folded[i] or j < i) for j, other in enumerate(folded) if j != i)
        if not begins_other:
            kept.append(part)
    return "\n".join(kept)[:limit].rstrip()


def _cleaned_once(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(_decoded, _AMPERSANDS.sub("&", text))
    if "<" in text:
        text = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", _CODE.sub(" ", text)))
    if not text.isascii():
        if _SUSPECT.search(text) and is_bad(text):
            text = fix_encoding(text)
        if _FRAGILE.search(text):
            text = _DEGREE.sub("°", _FRACTION.sub(" ", _MARK_IN_WORD.sub(" ", text))).translate(_MARKS)
        text = unicodedata.normalize("NFKC", text).replace("\u2044", "/").replace("\u0e4d\u0e32", "\u0e33")  # Thai sara am is one letter
    if not text.isprintable():
        text = _UNSEEN.sub("", text)
    return " ".join(text.split())


def _decoded(entity: re.Match[str]) -> str:
    name = entity[0][1:]
    return unescape(entity[0]) if name[0] == "#" else html5.get(name, entity[0])

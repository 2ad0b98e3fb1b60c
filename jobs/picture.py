"""The picture of an explanation: what every channel gives, what carries it, and the two items side by side."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import SettingsError
from jobs.explain import ATTRIBUTE, Explained, cut, place, shown
from jobs.explanation import Shared

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Paul Tol's "muted" colours, told apart by the colour-blind too
COLOURS = {"semantic": "#332288", "lexical": "#44aa99", "codes": "#cc6677", "price": "#999933", "category": "#88ccee"}
INK, FAINT, DIFFERENT = "#222222", "#8a8a8a", "#a3341f"
WIDTH = 11.0  # inches
LINE = 0.3  # inches that a row of anything takes
IDS = 40  # characters of an item_id
MOST = 7  # words, or codes, that are drawn
CHARACTERS = 54  # of a field, in half the width
COLUMNS = (0.015, 0.15, 0.58)  # where the names of fields, and what either item has, begin
STYLE: Any = {"font.size": 9, "text.parse_math": False, "text.color": INK, "axes.labelcolor": INK, "xtick.color": FAINT, "ytick.color": INK}


def drawn(of: Explained, file: Path) -> None:
    """Writes the picture. Raises SettingsError where it cannot be written."""
    try:
        draw(of, file)
    except (OSError, ValueError) as error:  # ValueError: a suffix that is no kind of picture
        raise SettingsError(f"the picture {file} cannot be written: {error}", "name another file, like why.png") from error


def draw(of: Explained, file: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    found = of.explanation
    carried = max(len(found.words[:MOST]) + len(found.codes[:MOST]) + 2, 6)
    rows = [3.4, carried + 1.5, len(of.fields) + 2.0]
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a script that the font lacks is drawn as boxes
        figure = Figure(figsize=(WIDTH, LINE * sum(rows)), layout="constrained", dpi=150)
        head, middle, table = figure.subfigures(3, 1, height_ratios=rows, squeeze=False)[:, 0]
        _head(head.add_axes((0, 0, 1, 1)), of)
        left, right = middle.subplots(1, 2, width_ratios=[1, 1])
        _channels(left, of)
        _shares(right, of)
        _fields(table.add_axes((0, 0, 1, 1)), of)
        figure.savefig(file)


def _head(axes: "Axes", of: Explained) -> None:
    axes.axis("off")
    similarity = of.explanation.similarity
    said = "nothing that both have can be compared" if similarity is None else f"similarity {similarity:.3f}"
    axes.text(0.015, 0.86, said, fontsize=17, fontweight="bold", va="top")
    axes.text(0.015, 0.30, "  and  ".join(cut(item_id, IDS) for item_id in of.item_ids), fontsize=10, va="center", color=FAINT)
    for line, listed in enumerate(of.listed):
        axes.text(0.985, 0.80 - 0.25 * line, cut(place(listed, similarity), 2 * IDS), ha="right", va="center", color=FAINT)
    axes.text(0.985, 0.30, f"night {of.night}", ha="right", va="center", color=FAINT)


def _channels(axes: "Axes", of: Explained) -> None:
    """Of each channel what it could give at most, and what it gives."""
    shown = [channel for channel in of.explanation.channels if channel.setting]
    for row, channel in enumerate(shown):
        colour = COLOURS[channel.name]
        axes.barh(row, channel.weight, color=colour, alpha=0.18, height=0.62)
        axes.barh(row, channel.contribution, color=colour, height=0.62)
        said = "nothing to compare" if channel.part is None else f"{channel.part:.3f} × {channel.weight:.3f} = {channel.contribution:.3f}"
        axes.text(max(channel.weight, 0) + 0.015, row, said, va="center")
    most = max(channel.weight for channel in shown) or 1.0
    axes.set_xlim(min(0.0, *(channel.contribution for channel in shown)), most + 0.62 * max(most, 0.4))
    axes.set_yticks(range(len(shown)), [channel.name for channel in shown])
    axes.invert_yaxis()
    axes.set_title("what each channel gives: part × weight", loc="left", fontsize=10)
    axes.set_xlabel("share of the similarity; pale: at most", color=FAINT, fontsize=8)
    _bare(axes)


def _shares(axes: "Axes", of: Explained) -> None:
    """The words that carry the lexical part, and the codes."""
    found = of.explanation
    bars = [*_kept(found.words, "lexical"), *_kept(found.codes, "codes")]
    better = f" (of {found.better})" if len(found.spellings) > 1 else ""
    axes.set_title(f"what carries lexical{better} and codes", loc="left", fontsize=10)
    if not bars:
        axes.axis("off")
        axes.text(0, 0.8, "they share no n-gram and no code", transform=axes.transAxes, color=FAINT)
        return
    for row, (_, share, kind) in enumerate(bars):
        axes.barh(row, share, color=COLOURS[kind], height=0.62)
        axes.text(share + 0.01, row, "< 1%" if share < 0.005 else f"{share:.0%}", va="center")
    axes.set_yticks(range(len(bars)), [label for label, *_ in bars])
    axes.set_xlim(0, 1.12)
    axes.invert_yaxis()
    axes.set_xlabel("share of the part: green of lexical, red of codes", color=FAINT, fontsize=8)
    _bare(axes)


def _kept(shares: tuple[Shared, ...], kind: str) -> list[tuple[str, float, str]]:
    """Labels and shares of the first, and of all others together."""
    found = [(_label(shared), shared.share, kind) for shared in shares[:MOST]]
    rest = sum(shared.share for shared in shares[MOST:])
    return found + ([(f"{len(shares) - MOST} others", rest, kind)] if rest else [])


def _label(shared: Shared) -> str:
    return cut(shared.mine, 28) if shared.mine == shared.theirs else f"{cut(shared.mine, 13)} ~ {cut(shared.theirs, 13)}"


def _fields(axes: "Axes", of: Explained) -> None:
    """What the items have in every field: once in grey where it is the same."""
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    step = 1 / (len(of.fields) + 2)
    for column, item_id in zip(COLUMNS[1:], of.item_ids, strict=True):
        _cell(axes, column, 1 - 0.7 * step, cut(item_id, CHARACTERS), INK, "bold")
    axes.plot([0.015, 0.985], [1 - 1.3 * step] * 2, color="#cccccc", linewidth=0.8)
    for row, field in enumerate(of.fields):
        height, (mine, theirs) = 1 - (row + 1.9) * step, shown(field, CHARACTERS)
        _cell(axes, COLUMNS[0], height, cut(field.name.removeprefix(ATTRIBUTE), 18), FAINT)
        _cell(axes, COLUMNS[1], height, mine, INK if field.same else DIFFERENT)
        _cell(axes, COLUMNS[2], height, "the same" if field.same else theirs, FAINT if field.same else DIFFERENT)


def _cell(axes: "Axes", left: float, height: float, text: str, colour: str, weight: str = "normal") -> None:
    """A text that ends where the next column begins, however wide its letters are."""
    from matplotlib.patches import Rectangle

    right = min((column for column in COLUMNS if column > left), default=1.0)
    room = Rectangle((left, 0), right - left - 0.01, 1, transform=axes.transAxes)
    axes.text(left, height, text, va="center", color=colour, fontweight=weight, clip_on=True).set_clip_path(room)


def _bare(axes: "Axes") -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#cccccc")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)

"""A picture of a terminal: what a command printed, drawn as SVG without a font or a script from elsewhere.

It is dark in itself, so that it can be read on a light and on a dark page.
"""

from collections.abc import Iterable
from html import escape
from itertools import pairwise

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

CELL_WIDTH, LINE_HEIGHT, PADDING, BAR = 8.4, 19, 18, 34
COLOURS = {"black": "#161b22", "text": "#e6edf3", "dim": "#9198a1", "green": "#7ee787", "red": "#ff9d94", "yellow": "#f2cc60"}
DOTS = ("#ff5f57", "#febc2e", "#28c840")
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def svg_of(title: str, printed: str, *, words: dict[str, str]) -> str:
    """Return a terminal as SVG.

    Args:
        title: What the picture shows, for those who cannot see it.
        printed: What was printed, with ANSI escapes.
        words: Names of colours by the words that are to have them.
    """
    lines = [Text.from_ansi(line) for line in printed.replace("\r", "").rstrip().split("\n")]
    columns = max(cell_len(line.plain.rstrip()) for line in lines)
    width, height = columns * CELL_WIDTH + 2 * PADDING, len(lines) * LINE_HEIGHT + BAR + PADDING
    dots = "".join(f'<circle cx="{PADDING + 6 + 20 * n}" cy="18" r="5.5" fill="{colour}"/>' for n, colour in enumerate(DOTS))
    rows = "\n".join(
        f'<text x="{PADDING}" y="{BAR + 16 + LINE_HEIGHT * n}">{"".join(_spans(line, words))}</text>'
        for n, line in enumerate(lines) if line.plain.strip()
    )
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{escape(title)}</title>
<style>text {{ font-family: {FONT}; font-size: 14px; fill: {COLOURS["text"]}; white-space: pre }}</style>
<rect width="100%" height="100%" rx="9" fill="{COLOURS["black"]}" stroke="#484f58"/>
{dots}
{rows}
</svg>
"""


def _spans(line: Text, words: dict[str, str]) -> Iterable[str]:
    """Every piece has its place and its length: another font than ours keeps the columns all the same."""
    line = line.copy()
    line.rstrip()
    for word, colour in words.items():
        line.highlight_words([word], style=colour)
    at = 0
    for piece in line.divide([end for _, end in _runs(line)]):
        text, style = piece.plain, _style_of(piece)
        spaces = len(text) - len(text.lstrip(" "))
        seen = text.strip(" ")
        if seen:
            place, length = PADDING + (at + spaces) * CELL_WIDTH, cell_len(seen) * CELL_WIDTH
            yield f'<tspan x="{place:.1f}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs"{style}>{escape(seen)}</tspan>'
        at += cell_len(text)


def _runs(line: Text) -> list[tuple[int, int]]:
    """Return the stretches of one style that no two spaces interrupt."""
    plain, cuts = line.plain, {0, len(line.plain)}
    for span in line.spans:
        cuts |= {span.start, span.end}
    for position in range(1, len(plain)):
        if plain[position - 1] == " " and plain[position] != " " and plain[max(0, position - 2):position] == "  ":
            cuts.add(position)
    return list(pairwise(sorted(cuts)))


def _style_of(piece: Text) -> str:
    style = Style.chain(
        Style.null(), *(span.style if isinstance(span.style, Style) else Style.parse(span.style) for span in piece.spans)
    )
    weight = ' font-weight="bold"' if style.bold else ""
    colour = style.color.name if style.color is not None else "dim" if set(piece.plain.strip()) == {"─"} else None
    return f'{weight} fill="{COLOURS[colour]}"' if colour in COLOURS else weight

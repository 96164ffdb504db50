"""How the page looks, and its HTML: readable on a phone, in light and dark, without anything from outside."""

import base64
import re
from collections.abc import Sequence
from html import escape

from slowfast_mlp.apps.visualize.pictures import Picture, encoded

# c0 to c5 are Okabe and Ito's colours, which people who do not see all colours tell apart; on a dark ground
# the lighter ones of them, and the dark ones lightened.
STYLE = """
:root {
  color-scheme: light dark; --ground: #ffffff; --ink: #1c1c1c; --faint: #5a5a5a; --rule: #d9d9d9;
  --panel: #f5f6f7; --c0: #0072b2; --c1: #d55e00; --c2: #007a5a; --c3: #a8487f; --c4: #8a6500; --c5: #333333;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16181b; --ink: #ececec; --faint: #a9adb3; --rule: #3a3e44; --panel: #202327;
    --c0: #56b4e9; --c1: #ff9a4d; --c2: #2fd0a0; --c3: #e39ac4; --c4: #f0e442; --c5: #d0d0d0;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; margin: .4em 0; }
h2 { font-size: 1.2rem; margin: 2em 0 .5em; }
h3 { font-size: 1rem; margin: 0 0 .4em; }
h1, h2, h3, p, figcaption { overflow-wrap: anywhere; }
p { margin: .4em 0; }
.faint, figcaption { color: var(--faint); font-size: .9rem; }
.figures { display: grid; gap: 16px; }
.figures { grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); }
figure { margin: 0; padding: 10px; background: var(--panel); border-radius: 8px; min-width: 0; }
figure > svg { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; }
.wide > svg, .wide > img { display: block; max-width: none; }
.stack > figure { margin: 14px 0; }
svg text { fill: var(--ink); font: 11.5px system-ui, sans-serif; }
.grid { stroke: var(--rule); stroke-width: 1; }
.line { fill: none; stroke-width: 2; }
.hint { opacity: 0; }
.ideal { stroke: var(--faint); stroke-dasharray: 4 4; }
.bar { fill: var(--c0); fill-opacity: .75; }
.mean { fill: var(--c1); }
.cell { fill: var(--ground); }
.fill { fill: var(--c0); }
svg text.on { fill: var(--ground); }
.key { display: inline-block; margin-right: 14px; }
.key svg { margin-right: 5px; vertical-align: middle; }
table { border-collapse: collapse; font-size: .92rem; }
td, th { text-align: left; vertical-align: top; padding: 4px 12px 4px 0; }
td, th { border-bottom: 1px solid var(--rule); }
td.number { text-align: right; white-space: nowrap; }
.cards { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(min(150px, 45%), 1fr)); }
.card { background: var(--panel); border-radius: 8px; padding: 10px 12px; }
.card b { font-size: 1.35rem; display: block; }
details { margin: .6em 0; }
summary { cursor: pointer; padding: 6px 0; }
"""
# Where long paths and keys may go on in the next line; not within a number.
BREAKS = re.compile(r"([/_,]|(?<!\d)\.)(?=\w)")


def page(title: str, body: str) -> str:
    """A whole HTML document."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'  # a browser asks for none
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>{body}</main></body></html>\n"
    )


def heading(title: str) -> str:
    """The title at the top."""
    return f"<h1>{escape(title)}</h1>"


def section(title: str, *parts: str) -> str:
    """A part of the page with its heading; nothing where no part says anything."""
    inner = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{inner}</section>\n" if inner else ""


def figure(title: str, drawing: str, caption: str = "", *, kind: str = "") -> str:
    """A titled drawing; `kind` wide scrolls by itself. Nothing without a drawing."""
    if not drawing:
        return ""
    inner = f'<div class="{kind}">{drawing}</div>' if kind else drawing
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure><h3>{escape(title)}</h3>{inner}{below}</figure>"


def figures(drawn: Sequence[str]) -> str:
    """Figures side by side as far as the page is wide."""
    inner = "".join(drawn)
    return f'<div class="figures">{inner}</div>' if inner else ""


def stacked(drawn: str) -> str:
    """Figures one under the other; nothing of none."""
    return f'<div class="stack">{drawn}</div>' if drawn else ""


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table that scrolls by itself where it is too wide; numbers stand on the right."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = ("".join(map(_cell, row)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cards(facts: Sequence[tuple[str, str]]) -> str:
    """The figures that a person looks for first."""
    inner = "".join(f'<div class="card"><b>{escape(value)}</b>{escape(name)}</div>' for name, value in facts)
    return f'<div class="cards">{inner}</div>' if inner else ""


def paragraph(text: str, *, faint: bool = False) -> str:
    """A paragraph; nothing of no text."""
    return f"<p{' class=faint' if faint else ''}>{escape(text)}</p>" if text else ""


def details(summary: str, inner: str) -> str:
    """What opens when it is asked for; nothing around nothing."""
    return f"<details><summary>{escape(summary)}</summary>{inner}</details>" if inner else ""


def image(picture: Picture, says: str, *, is_photo: bool) -> str:
    """A picture inside the page; photos are JPEGs."""
    kind = "jpeg" if is_photo else "png"
    text = base64.b64encode(encoded(picture, kind)).decode()
    return (
        f'<img alt="{escape(says)}" width="{picture.width}" height="{picture.height}" '
        f'src="data:image/{kind};base64,{text}">'
    )


def _cell(value: object) -> str:
    kind = ' class="number"' if isinstance(value, (int, float)) else ""
    text = escape(str(value))
    text = text if kind else BREAKS.sub(r"\1<wbr>", text)
    return f"<td{kind}>{text}</td>"

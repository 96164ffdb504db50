"""The HTML of the pages: readable on a phone, in light and dark, in one self-contained file.

The markup is in page.html and the style in report.css; every function renders one macro of page.html.
"""

import base64
import re
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.environment import TemplateModule
from markupsafe import Markup, escape

from slowfast_mlp.apps.visualize.pictures import Picture, encode_image

# Where long paths and keys may be broken into lines; not within a number.
BREAKS = re.compile(r"([/_,]|(?<!\d)\.)(?=\w)")


def page(title: str, body: str) -> str:
    """Returns a whole HTML document."""
    return str(_macros().page(title, body))


def heading(title: str) -> str:
    """Returns the title at the top."""
    return str(_macros().heading(title))


def section(title: str, *parts: str) -> str:
    """Returns a part of the page with its heading; empty if all parts are."""
    inner = "".join(parts)
    return str(_macros().section(title, inner)) if inner else ""


def figure(title: str, drawing: str, caption: str = "", *, kind: str = "") -> str:
    """Returns a titled drawing; `kind` wide scrolls by itself. Empty without a drawing."""
    return str(_macros().figure(title, drawing, caption, kind)) if drawing else ""


def figures(drawn: Sequence[str]) -> str:
    """Returns figures side by side, as many as fit into the width."""
    inner = "".join(drawn)
    return str(_macros().block("figures", inner)) if inner else ""


def stacked(drawn: str) -> str:
    """Returns figures one below the other; empty without figures."""
    return str(_macros().block("stack", drawn)) if drawn else ""


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a table that scrolls by itself if it is too wide; numbers are aligned right."""
    return str(_macros().table(header, rows)) if rows else ""


def cards(facts: Sequence[tuple[str, str]]) -> str:
    """Returns the key figures of a page."""
    return str(_macros().cards(facts)) if facts else ""


def paragraph(text: str, *, faint: bool = False) -> str:
    """Returns a paragraph; empty without text."""
    return str(_macros().paragraph(text, faint)) if text else ""


def details(summary: str, inner: str) -> str:
    """Returns a part that is folded until a click; empty around nothing."""
    return str(_macros().details(summary, inner)) if inner else ""


def image(picture: Picture, alt: str, *, is_photo: bool) -> str:
    """Returns a picture embedded in the page; photos are JPEGs."""
    kind = "jpeg" if is_photo else "png"
    text = base64.b64encode(encode_image(picture, kind)).decode()
    return str(_macros().image(alt, picture.width, picture.height, f"data:image/{kind};base64,{text}"))


@cache
def _macros() -> TemplateModule:
    environment = Environment(
        loader=PackageLoader("slowfast_mlp.apps.report", "."),
        autoescape=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("page.html").module


def _breakable(value: object) -> Markup:
    """Escapes the text and marks where a line may be broken."""
    return Markup(BREAKS.sub(r"\1<wbr>", str(escape(value))))

"""What every page has: templates, our scripts in one piece, data that no script tag can break out of."""

from __future__ import annotations

import base64
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import jinja2
from markupsafe import Markup, escape

from mutscan.calling.regions import ALPHA, MIN_DROP
from mutscan.hashes import text_sha256
from mutscan.reports.digest import background, section
from mutscan.reports.sentences import number, probability
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST: Final = 160
"""Letters of a user's text shown in a heading or a cell; the files hold it in full."""

SCRIPTS: Final = (
    "elements.js", "theme.js", "data.js", "table.js", "trace.js", "stage.js", "track.js", "matrix.js",
    "colouring.js", "variant.js", "map.js", "heatmap.js", "page.js",
)  # fmt: skip
"""Scripts of a page, in this order; the last one starts it."""

NO_VIEWER: Final = "3Dmol.js was not given when this page was drawn"


def render_page(
    template: str,
    data: Mapping[str, Any],
    block: str,
    provenance: Mapping[str, Any],
    *,
    viewer: str = "",
    viewer_note: str = "",
    **context: Any,
) -> str:
    """Fill a template; the page needs no other file and may ask for none.

    Parameters
    ----------
    template : str
    data : mapping
        JSON-able.
    block : str
        Base64.
    provenance : mapping
        run.json.
    viewer : str
        3Dmol.js; without it the page draws its own trace.
    viewer_note : str
        Where that is from, or why it is missing.
    context
        For the template.
    """
    return fill_page(
        template,
        SCRIPTS,
        provenance,
        viewer=viewer,
        data=in_script({**data, "viewer_note": viewer_note or NO_VIEWER}),
        block=Markup(block),
        **context,
    )


def fill_page(
    template: str, scripts: Sequence[str], provenance: Mapping[str, Any], *, viewer: str = "", **context: Any
) -> str:
    """Fill a template that extends base.html.j2; only the scripts named may run in the page.

    Parameters
    ----------
    template : str
    scripts : sequence of str
        Of our own, in this order.
    provenance : mapping
        run.json.
    viewer : str
        3Dmol.js, before them.
    context
        For the template.
    """
    script = "\n".join(["(() => {", '"use strict";', *map(_source, scripts), "})();"])
    if "</script" in (viewer + script).lower():
        raise ValueError("a script of the page would end too early")
    allowed = " ".join(_hash(text) for text in (viewer, script) if text)
    return (
        environment()
        .get_template(template)
        .render(
            version=__version__,
            policy=(
                f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
                "base-uri 'none'; form-action 'none'"
            ),
            viewer=Markup(viewer),
            viewer_licence=_source("3dmol-licence.txt").split("\n\n"),
            script=Markup(script),
            provenance=provenance,
            exponent=_exponent(provenance),
            background=background(provenance),
            region_rule={"alpha": ALPHA, "least": MIN_DROP},
            **context,
        )
    )


def shorten(text: object, limit: int = LONGEST) -> str:
    """At most `limit` letters of a text.

    Examples
    --------
    >>> shorten("R175H"), shorten("AAAAAAAA", 4)
    ('R175H', 'AAA…')
    """
    words = str(text)
    return words if len(words) <= limit else words[: limit - 1] + "…"


def unbroken(text: str) -> Markup:
    """Escape a text and keep each range of residues and each z on one line.

    Examples
    --------
    >>> str(unbroken("residues 37-43 <"))
    'residues <span class="range">37-43</span> &lt;'
    """
    return Markup(re.sub(r"(\d+-\d+|\bz −?\d+\.\d)", r'<span class="range">\1</span>', str(escape(text))))


def _exponent(provenance: Mapping[str, Any]) -> str:
    """Exponent of the model's lDDT, as text."""
    value = section(provenance, "model").get("lddt_exponent")
    return f"{value:g}" if isinstance(value, int | float) else "3"


def file_name(name: str) -> str:
    """Name for a table saved from the page.

    Examples
    --------
    >>> file_name("sp|P04637|P53_HUMAN")
    'mutscan-sp_P04637_P53_HUMAN'
    """
    return "mutscan-" + re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:60]


def cells_of(row: Mapping[Any, Any], columns: Any) -> tuple[tuple[str, str], ...]:
    """Text of each number, and the number in full where that says more; for sorting and saving."""
    cells = []
    for column, _, decimals, _ in columns:
        value = row[column]
        text = probability(value, decimals) if column == "p_deleterious" else number(value, decimals)
        shown = text.replace("-", "−")
        full = f"{value:.6g}" if value == value else ""
        cells.append((shown, full if full != shown else ""))
    return tuple(cells)


def in_script(data: Mapping[str, Any]) -> Markup:
    r"""JSON that is safe within a script element: no letter in it can end the element.

    Examples
    --------
    >>> print(in_script({"a": "</script>"}))
    {"a":"\u003c/script\u003e"}
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _source(name: str) -> str:
    return files("mutscan.reports").joinpath("templates", name).read_text(encoding="utf-8").strip()


def _hash(script: str) -> str:
    digest = base64.b64encode(bytes.fromhex(text_sha256(script))).decode("ascii")
    return f"'sha256-{digest}'"


def environment(*packages: str) -> jinja2.Environment:
    """Templates of some packages and of this one, with the filters of every page."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in (*packages, "mutscan.reports")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"short": shorten, "unbroken": unbroken}
    return made

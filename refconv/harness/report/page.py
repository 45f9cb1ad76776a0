"""The page: one HTML file with style, script and pictures inside, and a policy that lets it load
nothing.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from ...errors import UnavailableError

if TYPE_CHECKING:
    from jinja2 import Environment

    from .findings import Report
    from .trend import Trend


def environment() -> Environment:
    """jinja2, escaping everything, with this package's templates.

    Raises:
        UnavailableError: the extra ``report`` is not installed.
    """
    try:
        import jinja2
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f"report: {error.name} is not installed: pip install 'refconv[report]' "
            "(--md, --junit and --sarif need neither)"
        ) from None
    from . import words

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {"duration": words.duration, "digits": words.digits, "svg": raw}
    return made


def read(name: str) -> str:
    """A file of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def raw(text: str) -> Any:
    """A picture that this program has drawn, which is not escaped."""
    from markupsafe import Markup

    return Markup(text)


def digest(text: str) -> str:
    """The hash by which a policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(report: Report) -> str:
    """The report's HTML."""
    from .charts import charts
    from .findings import machine
    from .svg import Sheet

    jinja, sheet = environment(), Sheet()
    drawn = charts(report, sheet)
    return _whole(jinja, "report.html", sheet.css, report=report, charts=drawn, machine=machine)


def trend_page(trend: Trend) -> str:
    """The trend's HTML."""
    from .svg import Sheet

    jinja, sheet = environment(), Sheet()
    drawn = trend.charts(sheet)
    return _whole(jinja, "trend.html", sheet.css, trend=trend, charts=drawn)


def _whole(jinja: Environment, name: str, css: str, **values: Any) -> str:
    from ... import __version__

    style = read("page.css") + css
    script = read("page.js")
    policy = (
        f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return jinja.get_template(name).render(
        style=raw(style), script=raw(script), policy=policy, version=__version__, **values
    )

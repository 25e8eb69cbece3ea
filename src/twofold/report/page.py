"""Fill a page from its template: one HTML file that needs nothing else.

Everything that comes from files passes through Jinja's escaping. Should that ever have a hole, the content security
policy of a page still lets no script run but its own (named by its hash), and no request leave.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold.files import write_text
from twofold.names import shown_lines
from twofold.report.charts import percent, significant

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent


def write_page(target: Path, template: Path, *, style: str = "", **values: Any) -> None:
    """Write what `template` makes of `values` to `target`, in the look of every page and what `style` adds to it.

    Raises:
        RunError: it cannot be written.
    """
    look = (FOLDER / "style.css").read_text(encoding="utf-8") + style
    html = _environment(template.parent).get_template(template.name).render(style=look, **values)
    # Escapes need no escaping in HTML, wherever they stand.
    write_text(target, shown_lines(html))


@cache
def _environment(folder: Path) -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "significant": significant}
    return environment

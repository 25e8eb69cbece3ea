"""The run report: one self-contained page that shows how a run went, on what, and how to go on.

`read.py` reads the run folder, `figures.py` computes the curves, `facts.py` words the facts, and `render.py` fills
`template.html.jinja`, whose look is `style.css`.
"""

from twofold.report.render import write_report

__all__ = ["write_report"]

"""The run report: one self-contained page that shows how a run went, on what, and how to go on.

| file | what |
| --- | --- |
| `read.py` | a run folder to frozen values, whatever is missing or broken |
| `charts.py` | the curves of a run and the reliability diagram, in SVG coordinates |
| `graphs.py` | plots of shares against shares, such as precision over recall, in SVG coordinates |
| `bands.py` | curves of several runs with a band each, searches and ranges: for the page of a race |
| `facts.py` | the run, its recipe, environment and data in words and numbers |
| `parts.py` | what the template fills in for each kind of part that a task's section has |
| `matrix.py` | the confusion matrix; of very many classes, those that are confused with one another |
| `page.py` | a template filled in, in the look of `style.css` |
| `render.py` | the page of a run, from `template.html.jinja` and `parts.html.jinja` |
"""

from twofold.report.render import write_report as write_report

__all__ = ["write_report"]

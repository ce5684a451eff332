"""One HTML page from the manifests of a run: what came out, how good it is, what it was made from and how.

The page is one file, asks nothing of a network and runs no script. The same manifests give the same bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from minimind.audit.visible import on_one_line, visible, visible_change
from minimind.config import Config
from minimind.durable import write_whole
from minimind.report import figures, views
from minimind.report.cleaning import audit_heading, cleaning_part
from minimind.store import STAGES, Manifest

FOLDER = Path(__file__).parent
FILTERS = {
    function.__name__: function
    for function in (
        figures.count, figures.short, figures.plain, figures.size, figures.duration, figures.percent, figures.words,
        figures.plural, visible, visible_change,
    )
} | {"one_line": on_one_line}  # fmt: skip


def render_report(config: Config, stages: Mapping[str, Manifest], path: Path) -> None:
    """Writes the page to `path`, its folder included; a part whose stage is missing is left out."""
    ordered = {stage: stages[stage] for stage in STAGES if stage in stages}
    write_page(
        path,
        "page.html.jinja",
        config=config,
        stages=ordered,
        verdict=views.verdict(config, ordered),
        scores=views.scores(ordered),
        numbers=views.numbers(ordered),
        decision=views.decision(ordered),
        cleaning=cleaning_part(ordered, opens=False),
        tokenizer=views.tokenizer(ordered),
        training=views.training(ordered),
        evaluation=views.evaluation(ordered),
        samples=views.samples(ordered),
        builds=views.builds(ordered),
        provenance=views.provenance(config, ordered),
    )


def render_audit(config: Config, stages: Mapping[str, Manifest], path: Path) -> None:
    """Writes the cleaning's part as a page of its own, from the corpus and the cleaning."""
    ordered = {stage: stages[stage] for stage in STAGES if stage in stages}
    write_page(
        path,
        "audit.html.jinja",
        config=config,
        **audit_heading(ordered["cleaning"]),
        cleaning=cleaning_part(ordered, opens=True),
        builds=views.builds(ordered),
        provenance=views.provenance(config, ordered),
    )


def write_page(path: Path, template: str, **parts: Any) -> None:
    """Renders a template of this folder with the style sheet, and puts it in its place as a whole."""
    style = Markup((FOLDER / "page.css").read_text())
    page = _environment().get_template(template).render(style=style, **parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment

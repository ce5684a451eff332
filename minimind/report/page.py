"""One HTML page from the manifests of a run: what came out, how good it is, what it was made from and how.

The page is one file, asks nothing of a network and runs no script. The same manifests give the same bytes.
"""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from minimind.config import Config
from minimind.report import figures, views
from minimind.store import STAGES, Manifest

FOLDER = Path(__file__).parent
FILTERS = (figures.count, figures.short, figures.plain, figures.size, figures.duration, figures.percent, figures.words)


def render_report(config: Config, stages: Mapping[str, Manifest], path: Path) -> None:
    """Writes the page to `path`, its folder included; a part whose stage is missing is left out."""
    ordered = {stage: stages[stage] for stage in STAGES if stage in stages}
    page = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            config=config,
            stages=ordered,
            verdict=views.verdict(config, ordered),
            scores=views.scores(ordered),
            numbers=views.numbers(ordered),
            decision=views.decision(ordered),
            funnel=views.funnel(ordered),
            lengths=views.lengths(ordered),
            sources=views.sources(ordered),
            tokenizer=views.tokenizer(ordered),
            training=views.training(ordered),
            evaluation=views.evaluation(ordered),
            samples=views.samples(ordered),
            builds=views.builds(ordered),
            provenance=views.provenance(config, ordered),
            style=Markup((FOLDER / "page.css").read_text()),
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(page)
    temporary.replace(path)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in FILTERS})
    return environment

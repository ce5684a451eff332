"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[Path, typer.Argument(help="The domain's YAML", metavar="CONFIG", show_default=False)]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Replaces one value of the YAML; may stand several times"),
]
SourcesOption = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="GLOB", help="Local files instead of the YAML's sources; may stand several times"),
]
RefreshOption = Annotated[bool, typer.Option("--refresh", help="Ask every source anew, frozen file lists included")]
StoreOption = Annotated[
    Path | None,
    typer.Option("--store", help="The store's folder. Default: $MINIMIND_STORE, else ./store", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr")]
STAGE_NAMES = ("corpus", "cleaning", "tokenizer", "shards", "training", "evaluation", "registry")

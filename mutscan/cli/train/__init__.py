"""``mutscan train``: make a model from labelled pairs, and measure one."""

from __future__ import annotations

import typer

from mutscan.cli.train.evaluate import evaluate
from mutscan.cli.train.model import model

app = typer.Typer(
    help="Train and evaluate models. The order: model (a Siamese net on a frozen encoder), evaluate.",
    no_args_is_help=True,
)
app.command("model")(model)
app.command("evaluate")(evaluate)

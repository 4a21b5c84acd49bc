"""``mutscan train``: make a model from labelled pairs, and measure one."""

from __future__ import annotations

import typer

from mutscan.cli.train.calibrate import calibrate
from mutscan.cli.train.dataset import dataset
from mutscan.cli.train.encoder import encoder
from mutscan.cli.train.evaluate import evaluate
from mutscan.cli.train.families import families
from mutscan.cli.train.model import model

app = typer.Typer(
    help="Train and evaluate models. The order: dataset (aligned pairs), encoder (or take one), "
    "model (a Siamese net on it), families (relatives, where sequences are at hand), calibrate (flags, from "
    "labelled variants), evaluate.",
    no_args_is_help=True,
)
app.command("dataset")(dataset)
app.command("encoder")(encoder)
app.command("model")(model)
app.command("families")(families)
app.command("calibrate")(calibrate)
app.command("evaluate")(evaluate)

"""``mutscan train``: make a model from labelled pairs, and measure one."""

from __future__ import annotations

import typer

from mutscan.cli.train.affected import affected
from mutscan.cli.train.calibrate import calibrate
from mutscan.cli.train.dataset import dataset
from mutscan.cli.train.encoder import encoder
from mutscan.cli.train.evaluate import evaluate
from mutscan.cli.train.families import families
from mutscan.cli.train.model import model

app = typer.Typer(
    help="Train and evaluate models. Run the commands in this order: dataset (aligned pairs), encoder "
    "(optional), model (the Siamese network), families (library of relatives, optional), calibrate (the "
    "verdict, from labelled variants), affected (which residues change, from pairs of crystals), evaluate. "
    "Interrupted commands resume.",
    no_args_is_help=True,
)
app.command("dataset")(dataset)
app.command("encoder")(encoder)
app.command("model")(model)
app.command("families")(families)
app.command("calibrate")(calibrate)
app.command("affected")(affected)
app.command("evaluate")(evaluate)

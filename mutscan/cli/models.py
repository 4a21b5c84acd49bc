"""``mutscan models``: list, describe and verify the installed models."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mutscan.cli.console import Terminal, print_json, print_json_object, print_table
from mutscan.cli.errors import say_error
from mutscan.cli.options import JsonOption, VerboseOption, argument
from mutscan.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

app = typer.Typer(invoke_without_command=True)

_NAME = "Name of a model, or its folder."


@app.callback()
def models(context: typer.Context) -> None:
    """List, describe and verify the installed models; without a command, list them."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(json: JsonOption = False, verbose: VerboseOption = False) -> None:
    """List the models that --model takes by name."""
    from mutscan.model.checkpoint import list_models, model_hash

    rows: list[dict[str, object]] = [
        {
            "name": info.name,
            "source": info.source,
            "megabytes": round(info.size / 1e6, 1),
            "sha256": model_hash(info.path),
            "path": str(info.path),
        }
        for info in list_models()
    ]
    if json:
        print_json(rows)
    else:
        print_table(
            ("name", "source", "megabytes", "sha256", "path"),
            (
                [row["name"], row["source"], row["megabytes"], f"{row['sha256']}"[:12], row["path"]]
                for row in rows
            ),
        )
    if not rows:
        Terminal().say("no model is installed; reinstall mutscan, or give --model a folder")


@app.command("show")
def show(
    name: Annotated[str, argument(metavar="NAME", help=_NAME)],
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show a model's hash, encoder and test metrics beside their baselines; --json prints all there is."""
    from mutscan.model.checkpoint import find_model, model_hash, verify_model

    path = find_model(name)
    problems = verify_model(path)
    account: dict[str, object] = {
        "name": path.name,
        "path": str(path),
        "sha256": model_hash(path),
        "verified": not problems,
        "problems": problems,
        "config": _read(path / "config.json"),
        "metrics": _read(path / "metrics.json", optional=True),
        "calibration": _read(path / "calibration.json", optional=True),
    }
    if json:
        print_json_object(account)
    else:
        for key, value in _summary(account):
            typer.echo(f"{key:<{_KEY}}{value}")
        Terminal().say("--json prints all settings, metrics and the calibration")


@app.command("verify")
def verify(
    name: Annotated[str | None, argument(metavar="NAME", help=f"{_NAME} Default: all models.")] = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare every file of a model with SHA256SUMS; exit code 6 if any differs."""
    from mutscan.model.checkpoint import find_model, list_models, verify_model

    paths = [find_model(name)] if name is not None else [info.path for info in list_models()]
    if not paths:
        raise CheckpointError("no model is installed; reinstall mutscan")
    problems = {str(path): verify_model(path) for path in paths}
    rows: list[dict[str, object]] = [
        {"name": path.name, "verified": not problems[str(path)], "problems": problems[str(path)]}
        for path in paths
    ]
    if json:
        print_json(rows)
    else:
        print_table(("name", "verified"), ([row["name"], "yes" if row["verified"] else "NO"] for row in rows))
    for found in problems.values():
        for problem in found:
            say_error(problem)
    if any(problems.values()):
        raise typer.Exit(CheckpointError.exit_code)


@app.command("sums")
def sums(
    folder: Annotated[
        Path, argument(metavar="DIR", help="A model's folder, or a folder with one for each model.")
    ],
    verbose: VerboseOption = False,
) -> None:
    """Write SHA256SUMS, which lists the hash of every file, into a model's folder.

    In a folder of models, each gets its own, and one lists the files of all. A model is checked when it
    is loaded, wherever its folder is copied; 'mutscan models verify' and 'sha256sum --check' read the list,
    too. Run it after training a model.
    """
    from mutscan.model.checkpoint import write_sums

    typer.echo(write_sums(folder))


def _read(path: Path, *, optional: bool = False) -> Any:
    """Read one of a model's JSON files; None if it is optional and missing."""
    if optional and not path.is_file():
        return None
    try:
        return jsonlib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); reinstall the model") from error


def _summary(account: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Answer what a person asks of a model: which it is, and how good on proteins it has not seen."""
    yield "name", str(account["name"])
    yield "path", str(account["path"])
    yield "sha256", str(account["sha256"])
    yield "verified", "yes" if account["verified"] else f"NO: {'; '.join(account['problems'])}"
    config, metrics, calibration = (account[part] or {} for part in ("config", "metrics", "calibration"))
    if encoder := config.get("encoder"):
        yield "encoder", f"{encoder['name']}, {encoder['revision']}, {encoder['precision']}"
    pairs = metrics.get("pairs", {})
    for name, key, baselines in (
        ("TM-score error", "tm", (("constant", "constant_mae"), ("identity", "identity_mae"))),
        ("lDDT error", "lddt", (("constant", "constant_mae"),)),
    ):
        if key in pairs:
            found = pairs[key]
            others = ", ".join(f"{word} {found[place]:.3f}" for word, place in baselines)
            yield name, f"{_measured(found, 'mae')} on {pairs['n']:,} test pairs ({others})"
    for name, tier in calibration.get("tiers", {}).items():
        test, key = tier["test"], f"AUROC, {name.replace('_', ' ')}"
        blosum62 = f"(BLOSUM62 {test['blosum62_auroc']:.3f})"
        yield key, f"{_measured(test, 'auroc')} on {test['n']:,} test variants {blosum62}"
    if "data" in calibration:
        data = calibration["data"]
        yield "calibrated on", f"{data['n']:,} variants of proteins of up to {data['longest']:,} residues"


_KEY: Final = 31
"""Width of the first column."""


def _measured(values: Mapping[str, Any], key: str) -> str:
    low, high = values[f"{key}_ci"]
    return f"{values[key]:.3f} [{low:.3f}, {high:.3f}]"

"""``mutscan train affected``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mutscan.cli.options import (
    PROTEIN,
    BuilderOption,
    DeviceOption,
    Messages,
    ModelOption,
    OfflineOption,
    Precision,
    PrecisionOption,
    SeedOption,
    command,
    path,
)
from mutscan.cli.train.options import WorkOption
from mutscan.model.names import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator


@command(
    structures="Parquet table of chains: id, sequence, ca, kind, cluster, cluster25. Experimental chains of "
    "one cluster that differ in one residue are pairs of wild type and mutant.",
    crystals="CSV of further pairs with all atoms, whose mutants are built: wt, mut, variant, n_diff. Their "
    "structures lie in the folder ssym beside it.",
)
def affected(
    structures: Annotated[Path, path("FILE", panel=PROTEIN)],
    out: Annotated[Path, path("FILE", "affected.json; put it into the model's folder.")],
    *,
    model: ModelOption = DEFAULT_MODEL,
    crystals: Annotated[Path | None, path("FILE", panel=PROTEIN)] = None,
    builder: BuilderOption = "openmm",
    work: WorkOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    offline: OfflineOption = False,
    messages: Messages,
) -> None:
    """Fit the probability that a residue's surroundings change, to pairs of crystals.

    The model is additive: affected.json shows what each piece of evidence contributes, and how the model does
    on proteins that it was not fitted on, beside simple baselines. Each wild type needs 64 passes of the
    encoder, each pair one more.
    """
    terminal = messages.terminal()
    from mutscan.files import write_errors, write_json
    from mutscan.train.affected.make import train_affected

    document = train_affected(
        model,
        structures,
        crystals,
        builder=builder,
        work=work,
        device=device,
        precision=precision.value,
        offline=offline,
        seed=seed,
        progress=terminal.progress(),
    )
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, document)
    for line in _summary(document):
        terminal.say(line)
    terminal.say(f"written to {out}")


def _summary(document: dict[str, Any]) -> Iterator[str]:
    truth = document["truth"]
    yield (
        f"{truth['n_pairs_used']} of {truth['n_pairs']} pairs of {truth['n_groups']} groups; "
        f"{truth['n_changed']:,} of {truth['n_residues']:,} residues changed beyond noise"
    )
    for name, tier in document["tiers"].items():
        yield (
            f"{name}: cross-fitted AUROC inside pairs {tier['auroc']}, average precision "
            f"{tier['average_precision']}, calibration error {tier['ece']}"
        )
    line = document["threshold"]
    yield f"affected if p >= {line['p']} (precision {line['precision']}, recall {line['recall']})"

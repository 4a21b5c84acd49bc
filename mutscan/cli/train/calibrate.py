"""``mutscan train calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from mutscan.cli.options import (
    DeviceOption,
    Messages,
    ModelOption,
    OfflineOption,
    Precision,
    PrecisionOption,
    SeedOption,
    command,
    count,
    path,
)
from mutscan.cli.train.options import (
    LABELLED,
    VARIANTS,
    DmsOption,
    StabilityOption,
    StructuresDirOption,
    WorkOption,
)
from mutscan.errors import UsageError
from mutscan.model.names import DEFAULT_MODEL
from mutscan.train.labelled.settings import CALIBRATED


@command(
    proteins="CSV of proteins: protein, sequence; optional: group, structure.",
    chains="Parquet table of chains, for proteins that name no structure.",
    sequences="Parquet (column sequence) or FASTA in which MMseqs2 finds relatives of every protein, for the "
    "tiers with an alignment; may be given several times.",
    siamese="Labelled variants for the choice of the structural flag's threshold, drawn by --seed as "
    "whole proteins, and half as many of the test groups. Each variant needs a pass of the encoder, "
    "each protein 64 more; the default takes about 10 minutes. 0: no structural flag.",
)
def calibrate(
    proteins: Annotated[Path, path("FILE", panel=VARIANTS)],
    variants: Annotated[Path, LABELLED],
    out: Annotated[Path, path("FILE", "calibration.json; put it into the model's folder.")],
    *,
    model: ModelOption = DEFAULT_MODEL,
    stability: StabilityOption = None,
    stability_proteins: Annotated[
        Path | None, path("FILE", "CSV of the proteins of --stability.", VARIANTS)
    ] = None,
    dms: DmsOption = None,
    dms_proteins: Annotated[
        Path | None, path("FILE", "CSV of the assays of --dms: assay, sequence.", VARIANTS)
    ] = None,
    chains: Annotated[Path | None, path("FILE", panel=VARIANTS)] = None,
    sequences: Annotated[list[Path] | None, path("FILE|DIR", panel=VARIANTS)] = None,
    structures_dir: StructuresDirOption = None,
    work: WorkOption = None,
    siamese: Annotated[int, count("", VARIANTS, 0)] = CALIBRATED,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    offline: OfflineOption = False,
    messages: Messages,
) -> None:
    """Fit the probability that a variant is deleterious to labelled variants.

    The model is additive: calibration.json shows the contribution of each piece of evidence. A fifth of the
    protein groups is kept for testing; the file lists them and the metrics on them. Scans and stability
    tables can teach the model which substitutions of a protein are worse.
    """
    terminal = messages.terminal()
    from mutscan.files import write_errors, write_json
    from mutscan.train.calibrate.make import calibrate as fit

    document = fit(
        model,
        proteins,
        variants,
        stability=_both("--stability", stability_proteins, stability),
        dms=_both("--dms", dms_proteins, dms),
        chains=chains,
        sequences=sequences or (),
        structures_dir=structures_dir,
        work=work,
        device=device,
        precision=precision.value,
        offline=offline,
        seed=seed,
        siamese=siamese,
        progress=terminal.progress(),
    )
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, document)
    for line in _summary(document):
        terminal.say(line)
    terminal.say(f"written to {out}")


def _summary(document: dict[str, Any]) -> list[str]:
    lines = []
    for name, tier in document["tiers"].items():
        test, line = tier["test"], tier["thresholds"]["deleterious"]
        lines.append(
            f"{name}: {tier['n']:,} variants of {tier['n_groups']:,} groups; cross-fitted AUROC "
            f"{tier['cross_fitted']['auroc']}, ECE {tier['cross_fitted']['ece']}; test AUROC "
            f"{test.get('auroc', 'not measured')}; deleterious if p >= {line['p']} "
            f"(specificity {line['specificity']}, precision {line['precision']})"
        )
    rule = document["structural"]
    if rule["threshold"] is None:
        return [*lines, f"structural flag: none, {rule['why']}"]
    return [
        *lines,
        f"structural flag: {rule['n']:,} variants of {rule['n_groups']:,} groups; disturbed if the drop "
        f"{rule['score']} >= {rule['threshold']} (specificity {rule['specificity']}, sensitivity "
        f"{rule['sensitivity']}, precision {rule['precision']}); test specificity "
        f"{rule['test'].get('specificity', 'not measured')}",
    ]


def _both(option: str, proteins: Path | None, table: Path | None) -> tuple[Path, Path] | None:
    if (proteins is None) != (table is None):
        raise UsageError(f"{option} and {option}-proteins go together; give both or neither")
    return None if proteins is None or table is None else (proteins, table)

"""report.html of an evaluation: one self-contained page that explains its terms.

Figures are inlined as SVG with the colours of the page, so that they follow a
light or dark theme. All outside text is escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from mutscan.files import write_text
from mutscan.reports.drawing import INK, MODEL, RIVAL, Drawing
from mutscan.reports.html import environment
from mutscan.train.evaluate.drawings import draw_evaluation
from mutscan.train.evaluate.mutant_metrics import DROPS
from mutscan.train.evaluate.scan_flags import FLAG_HEADS, FLAG_MEASURES
from mutscan.train.evaluate.significance import MARGINS, MUTANT_MARGINS
from mutscan.train.evaluate.sources import SOURCES
from mutscan.train.statistics.bootstrap import N_BOOTSTRAP
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mutscan.train.evaluate.result import PairEvaluation

TABLE_ROWS: Final = (
    ("mae", "MAE", "mean absolute error"),
    ("mae_per_protein", "MAE, mean of proteins", "mean over reference proteins, each with the same weight"),
    ("mse", "MSE", "mean squared error, which weights large errors more"),
    ("rmse", "RMSE", "square root of the MSE, in units of the score"),
    ("sd_error", "SD of error", "standard deviation of the signed errors (population)"),
    ("sd_abs_error", "SD of |error|", "standard deviation of the absolute errors (population)"),
    ("bias", "Mean error", "predicted minus true; above 0 predictions are too high"),
    ("pearson", "Pearson r", "linear correlation: 1 is a perfect rising line, 0 is none"),
    ("spearman", "Spearman ρ", "rank correlation: 1 is the same order"),
    ("r2", "R²", "share of the variance explained; a constant mean gets 0"),
)
"""Rows of Tables 2 and 3: key, name, meaning."""

VERDICTS: Final = {
    "better": "more accurate",
    "worse": "less accurate",
    "slightly better": "more accurate, but not relevantly",
    "slightly worse": "less accurate, but not relevantly",
    "equivalent": "no relevant difference",
    "undecided": "undecided",
}

LABELLED_ROWS: Final = (
    ("auroc", "AUROC", "all variants"),
    ("auroc_per_protein_mean", "AUROC inside proteins", "mean over proteins with 10 variants or more"),
    ("auroc_capped", "AUROC, capped", "no protein weighs more than 100 variants"),
    ("auprc", "AUPRC", "a score without information gets the share of deleterious variants"),
    ("ece", "Calibration error", "10 bins of equal count"),
    ("ece_capped", "Calibration error, capped", "no protein weighs more than 100 variants"),
    ("specificity", "Specificity", "of the flag deleterious"),
    ("sensitivity", "Sensitivity", "of the flag deleterious"),
    ("precision", "Precision", "of the flag deleterious"),
    ("share_uncertain", "Share uncertain", "between both thresholds"),
    ("blosum62_auroc", "AUROC of BLOSUM62", "the exchange alone"),
)
"""Rows of the table of labelled variants: key, name, meaning."""

VARIANT_COLUMNS: Final = {
    "variants": (
        ("auroc", "AUROC"),
        ("auprc", "AUPRC"),
        ("auroc_per_protein_mean", "AUROC inside proteins"),
    ),
    "dms": (("mean_spearman", "Mean Spearman ρ"), ("mean_abs_spearman", "Mean |ρ|")),
    "stability": (("spearman", "Spearman ρ"), ("spearman_per_protein_mean", "ρ inside proteins")),
}
"""Columns of the tables of evidence: key and head."""

BESIDE_COLUMNS: Final = {
    "variants": (("auroc", "AUROC"), ("auroc_per_protein_mean", "AUROC inside proteins")),
    "dms": (
        ("mean_abs_spearman", "Mean |ρ|"),
        ("auroc", "AUROC at cut-offs"),
        ("auroc_per_protein_mean", "AUROC inside assays"),
    ),
}
"""Columns of the tables of other methods: key and head."""

KINDS: Final = {
    "model": "the model",
    "siamese": "Siamese score alone",
    "group": "group of evidence, as weighed",
    "single": "single evidence",
}
"""Kinds of scores in the tables of evidence."""

_GROUPS: Final = {
    "pairs": ("errors_tm", "errors_by_band", "scatter_tm", "calibration", "errors_lddt", "scatter_lddt"),
    "where": ("length_bias",),
    "mutants": ("drops_chain", "drops_outside"),
    "example": ("superposition", "distance_matrix", "difference_matrix"),
}
"""Which figures stand in which section."""


def write_report(metrics: Mapping[str, Any], pairs: PairEvaluation | None, folder: Path) -> None:
    """Write ``report.html`` into `folder`, and for pairs ``figures/*.svg|png``.

    Parameters
    ----------
    metrics : mapping
        Contents of metrics.json.
    pairs : PairEvaluation, optional
        Results on pairs, which are drawn.
    folder : Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawings = draw_evaluation(pairs) if pairs is not None else []
    if drawings:
        (folder / "figures").mkdir(exist_ok=True)
    for drawing in drawings:
        drawing.write(folder / "figures")
    write_text(folder / "report.html", render_evaluation(metrics, drawings))


def render_evaluation(metrics: Mapping[str, Any], drawings: Sequence[Drawing]) -> str:
    """HTML of an evaluation: a complete page that needs no other file.

    Parameters
    ----------
    metrics : mapping
        Contents of metrics.json.
    drawings : sequence of Drawing
    """
    # The stylesheet of `mutscan report` is shared: one look.
    templates = environment("mutscan.train.evaluate")
    templates.filters |= {"score": score, "interval": interval, "p_value": p_value, "count": "{:,}".format}
    by_name = {drawing.name: drawing for drawing in drawings}
    return templates.get_template("evaluation.html.j2").render(
        version=__version__,
        m=metrics,
        pairs=metrics.get("pairs"),
        mutants=metrics.get("mutants"),
        rows=TABLE_ROWS,
        drops=DROPS,
        verdicts=VERDICTS,
        margins=MARGINS,
        mutant_margins=MUTANT_MARGINS,
        n_resamples=N_BOOTSTRAP,
        summary=summary(metrics),
        labelled_rows=LABELLED_ROWS,
        variant_columns=VARIANT_COLUMNS,
        kinds=KINDS,
        beside_columns=BESIDE_COLUMNS,
        sources=SOURCES,
        flag_heads=FLAG_HEADS,
        flag_measures=FLAG_MEASURES,
        figures={
            group: [(by_name[name], inline_svg(by_name[name])) for name in names if name in by_name]
            for group, names in _GROUPS.items()
        },
    )


def score(value: float | None, decimals: int = 4) -> str:
    """Format a number; very small and very large numbers get an exponent.

    Examples
    --------
    >>> score(0.12345), score(-0.01, 2), score(None), score(0.0), score(0.000012), score(-68793.1)
    ('0.1235', '−0.01', '—', '0.0000', '1.2e−05', '−6.9e+04')
    """
    if value is None:
        return "—"
    odd = 0 < abs(value) < 0.5 * 10.0**-decimals or abs(value) >= 1000
    return (f"{value:.1e}" if odd else f"{value:.{decimals}f}").replace("-", "−")


def interval(ends: Sequence[float] | None, decimals: int = 4) -> str:
    """Format an interval.

    Examples
    --------
    >>> interval([0.1, 0.25], 2), interval(None)
    ('0.10 to 0.25', '')
    """
    return "" if ends is None else f"{score(ends[0], decimals)} to {score(ends[1], decimals)}"


def p_value(value: float | None) -> str:
    """Format a p value.

    Examples
    --------
    >>> p_value(0.0312), p_value(1e-12), p_value(None)
    ('0.031', '< 0.0001', '—')
    """
    if value is None:
        return "—"
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def summary(metrics: Mapping[str, Any]) -> list[str]:
    """Summarise the main results in sentences."""
    return (_summary_of_pairs(metrics) if "pairs" in metrics else []) + summary_of_variants(metrics)


def _summary_of_pairs(metrics: Mapping[str, Any]) -> list[str]:
    pairs = metrics["pairs"]
    tm, lddt = pairs["tm"], pairs["lddt"]
    lines = [
        f"TM-score of {pairs['n']:,} pairs: mean absolute error {score(tm['mae'], 3)} "
        f"(95 % interval {interval(tm['mae_ci'], 3)}); of a constant prediction of the training median "
        f"{score(tm['constant_mae'], 3)}. Mean over five bands of the true score: "
        f"{score(tm['macro_mae'], 3)}."
    ]
    if lddt["mae"] is not None:
        lines.append(
            f"lDDT of {pairs['n_lddt_residues']:,} residues in {pairs['n_lddt_pairs']:,} similar pairs: "
            f"mean absolute error {score(lddt['mae'])} ({interval(lddt['mae_ci'])}); of a constant "
            f"prediction of the training median {score(lddt['constant_mae'])}."
        )
    mutants = metrics.get("mutants")
    if mutants is not None:
        drop = mutants["drops"]["chain"]
        lines.append(
            f"Mutants: mean absolute error of lDDT {score(mutants['lddt']['mae'])}, of a constant 1 "
            f"{score(mutants['lddt']['constant_1']['mae'])}; of TM-score {score(mutants['tm']['mae'])} and "
            f"{score(mutants['tm']['constant_1']['mae'])}."
        )
        lines.append(
            f"{mutants['n']:,} mutants of {mutants['n_wild_types']:,} wild types: the rank correlation of "
            f"predicted with measured lDDT drop is {score(drop['spearman'], 3)} "
            f"({interval(drop['spearman_ci'], 3)})."
        )
    return lines


def summary_of_variants(metrics: Mapping[str, Any]) -> list[str]:
    """Summarise the main results on variants in sentences."""
    lines = []
    if (part := metrics.get("variants")) is not None:
        counted = f"{part['n']:,} labelled variants of {part['n_proteins']:,} proteins"
        if part["auroc"] is None:
            reason = part.get("reason") or "one class only"
            lines.append(f"{counted}: there are no probabilities to evaluate ({reason}).")
        else:
            flagged_neutral = None if part["specificity"] is None else 1 - part["specificity"]
            lines.append(
                f"{counted}: AUROC {score(part['auroc'], 3)} ({interval(part['auroc_ci'], 3)}), inside "
                f"proteins {score(part['auroc_per_protein_mean'], 3)} "
                f"({interval(part['auroc_per_protein_mean_ci'], 3)}); BLOSUM62 alone "
                f"{score(part['blosum62_auroc'], 3)}. Flagged deleterious: {score(part['sensitivity'], 2)} "
                f"of the deleterious, {score(flagged_neutral, 2)} of the neutral; "
                f"uncertain: {score(part['share_uncertain'], 2)} of all."
            )
        if (siamese := part.get("siamese")) is not None:
            rule = siamese["low_tm_rule"]
            lines.append(
                f"The rule TM < {rule['threshold']} alone flags {rule['n_flagged']:,} of {siamese['n']:,} "
                f"variants (the lowest predicted TM-score is {score(siamese['tm_lowest'], 4)})"
                + (
                    f"; the Siamese scores change the AUROC of p_deleterious by "
                    f"{score(siamese['auroc_gain'], 4)} ({interval(siamese['auroc_gain_ci'], 4)})."
                    if siamese.get("auroc_gain") is not None
                    else "."
                )
            )
    if (part := metrics.get("dms")) is not None:
        lines.append(
            f"{part['n_assays']:,} deep mutational scans, {part['n_variants']:,} variants: mean |Spearman| "
            f"{score(part['mean_abs_spearman'], 3)} ({interval(part['mean_abs_spearman_ci'], 3)}); BLOSUM62 "
            f"{score(part['blosum62_mean_abs_spearman'], 3)}. Scored by {part['scored_by']}."
        )
        if part["n_assays_unseen"] < part["n_assays"]:
            known = part["n_assays"] - part["n_assays_unseen"]
            lines.append(
                f"The calibration knows the proteins, or relatives, of {known:,} of these scans; mean "
                f"|Spearman| of the other {part['n_assays_unseen']:,}: "
                f"{score(part['mean_abs_spearman_unseen'], 3)}."
            )
        if part["mean_share_flagged"] is not None:
            lines.append(
                f"Flags in the {part['n_assays_with_cutoff']:,} scans with a cut-off, means: "
                f"{score(part['mean_share_below_cutoff'], 2)} of the variants are harmful, "
                f"{score(part['mean_share_flagged'], 2)} flagged deleterious; precision "
                f"{score(part['mean_precision'], 2)}, recall {score(part['mean_recall'], 2)}; "
                f"{score(part['mean_harmful_tolerated'], 2)} of the harmful are flagged tolerated."
            )
    if (part := metrics.get("stability")) is not None:
        lines.append(
            f"{part['n_distinct']:,} measured changes of stability in {part['n_proteins']:,} proteins: "
            f"Spearman {score(part['spearman'], 3)} ({interval(part['spearman_ci'], 3)}) with ddG; BLOSUM62 "
            f"{score(part['blosum62_spearman'], 3)}. Scored by {part['scored_by']}."
        )
    return lines


_ID = re.compile(r' id="([^"]+)"')
_REFERENCE = re.compile(r'(url\(#|xlink:href="#)([^)"]+)')
_ROOT = re.compile(r'<svg\b[^>]*?viewBox="([^"]+)"[^>]*>')


def inline_svg(drawing: Drawing) -> Markup:
    """Turn an SVG file into an element of the page, in the page's colours and with ids of its own."""
    text = drawing.svg.decode("utf-8")
    root = _ROOT.search(text)
    assert root is not None, "matplotlib writes a viewBox"
    body = re.sub(r"<metadata>.*?</metadata>", "", text[root.end() :], flags=re.DOTALL)
    body = body.replace("fill: #ffffff", "fill: none")
    for colour, own in ((INK, "currentColor"), (MODEL, "var(--predicted)"), (RIVAL, "var(--measured)")):
        body = body.replace(colour, own)
    used = {hit.group(2) for hit in _REFERENCE.finditer(body)}

    def own_id(hit: re.Match[str]) -> str:
        # Panels have the same names for their parts; only those that are referred to are kept.
        return f' id="{drawing.name}-{hit.group(1)}"' if hit.group(1) in used else ""

    body = _REFERENCE.sub(rf"\g<1>{drawing.name}-\g<2>", _ID.sub(own_id, body))
    label = escape(f"{drawing.title}. {drawing.caption}")
    return Markup(
        f'<svg role="img" aria-label="{label}" viewBox="{root.group(1)}" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">{body}'
    )

"""The README tells the truth: its commands, options, names, files and numbers exist.

``python -m tests.test_readme`` writes its accuracy tables again from the model's files.
"""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import mutscan
from mutscan.errors import ROW_CODES
from tests.places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
METRICS = ROOT / "models" / "mutscan-mini" / "metrics.json"
CALIBRATION = METRICS.with_name("calibration.json")


def between(name: str) -> str:
    """What stands between a pair of markers."""
    found = re.findall(
        rf"^<!-- {name}:begin -->\n(.*?)^<!-- {name}:end -->$", README, re.MULTILINE | re.DOTALL
    )
    assert len(found) == 1, f"the README needs one pair of markers {name}:begin and {name}:end"
    return found[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def marked_command(name: str) -> str:
    (line,) = [line for line in between(name).splitlines() if line and not line.startswith("```")]
    return line


def mutscan_commands() -> list[list[str]]:
    """Every mutscan command line of the README, as words."""
    commands = []
    for block in blocks("sh"):
        for line in block.splitlines():
            for part in line.split("&&"):
                words = shlex.split(part)
                if words and Path(words[0]).name == "mutscan":
                    commands.append(words[1:])
    return commands


def test_there_are_commands_to_test():
    assert {words[0] for words in mutscan_commands()} == {
        "align",
        "batch",
        "merge",
        "score",
        "check",
        "scan",
        "compare",
        "train",
    }


@pytest.mark.parametrize("words", mutscan_commands(), ids=" ".join)
def test_each_command_is_understood(words):
    """Command, options and number of arguments, without running anything."""
    from typer.main import get_command

    from mutscan.cli.app import app

    root = get_command(app)
    with root.make_context("mutscan", list(words)) as context:
        _, command, rest = root.resolve_command(context, list(words))
        if words[0] == "train":
            _, command, rest = command.resolve_command(context, rest)
        with command.make_context(words[0], rest, parent=context) as inner:
            assert inner.params


def test_commands_named_in_passing_exist():
    from mutscan.cli.app import SUMMARIES

    named = set(re.findall(r"`mutscan ([a-z]+)", README))
    assert named
    assert named <= set(SUMMARIES)


def test_options_named_in_passing_exist():
    from mutscan.cli.app import SUMMARIES, load

    known = {
        option
        for command in (*map(load, SUMMARIES), *load("train").commands.values())
        for parameter in command.params
        for option in parameter.opts
    }
    # of every command, of pip in the hint about the CPU build, and of the scripts of recipes
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - {"--help", "--index-url", "--smoke"}
    assert named
    assert named <= known


def test_the_example_is_shipped():
    for words in mutscan_commands():
        for word in words:
            if word.startswith("examples/"):
                assert (ROOT / word).is_file(), word


def test_the_number_of_example_variants_is_right():
    lines = (ROOT / "examples" / "globin" / "variants.csv").read_text().splitlines()
    assert len(lines) - 1 == 14
    assert "fourteen variants" in README


def test_both_commands_make_their_own_environment():
    for name in ("run", "tests"):
        command = marked_command(name)
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert "\n" not in command


def test_ci_runs_the_readme_s_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    extract = re.search(r"^tests=\$\((.*)\)$", script, re.MULTILINE)
    assert extract is not None
    done = subprocess.run(
        ["bash", "-c", extract.group(1)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == marked_command("tests")
    assert script.rstrip().splitlines()[-1] == 'bash -c "set -euo pipefail; $tests"'
    assert "set -euo pipefail" in script


def test_extras_and_script_named_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"'\.\[([a-z,]+)\]'", README + (ROOT / ".ci" / "run").read_text()):
        assert set(extra.split(",")) <= set(project["optional-dependencies"])
    assert project["scripts"]["mutscan"] == "mutscan.__main__:main"
    assert "3.11" in project["requires-python"]


def test_the_python_block_names_what_exists():
    import inspect

    (block,) = blocks("python")
    tree = ast.parse(block)
    assert len([line for line in block.splitlines() if line and not line.startswith("import")]) == 5
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    checked = 0
    for call in calls:
        target = call.func
        if (
            isinstance(target, ast.Attribute)
            and isinstance(target.value, ast.Name)
            and target.value.id == "mutscan"
        ):
            signature = inspect.signature(getattr(mutscan, target.attr))
            keywords = {keyword.arg: None for keyword in call.keywords}
            signature.bind(*call.args, **keywords)
            checked += 1
    assert checked == 2
    for name in re.findall(r"\brun\.(\w+)", block):
        assert hasattr(mutscan.Run, name), name
    assert "tm_measured" in mutscan.Comparison.__dataclass_fields__
    from mutscan.results import RESIDUE_COLUMNS, VARIANT_COLUMNS

    for column in re.findall(r'"([a-z_]+)"', re.sub(r'out="[^"]*"', "", block)):
        assert column in {*VARIANT_COLUMNS, *RESIDUE_COLUMNS, "min", "max"}, column


def test_columns_explained_exist():
    from mutscan.results import VARIANT_COLUMNS

    section = README.split("### What the columns mean")[1].split("###")[0]
    for line in section.splitlines()[4:]:
        for name in re.findall(r"`([a-z_]+\*?)`", line.split("|")[1] if line.startswith("|") else ""):
            assert any(re.fullmatch(name.replace("*", ".*"), column) for column in VARIANT_COLUMNS), name


def test_the_tree_is_the_tree():
    (block,) = [block for block in blocks("text") if block.startswith("mutscan/")]
    folder = ROOT
    listed = set()
    for line in block.splitlines():
        name = line.split()[0]
        if line.startswith(" "):
            listed.add(name.rstrip("/"))
            path = ROOT / "mutscan" / name
        else:
            path = folder / name
        assert path.exists(), name
        assert path.is_dir() is name.endswith("/"), name
    small = {"py.typed", "models"}
    rooms = {p.name for p in (ROOT / "mutscan").iterdir() if not p.name.startswith(("_", "."))} - small
    assert rooms == listed


def test_the_table_of_models_has_the_size_that_models_list_prints():
    from mutscan.model.checkpoint import list_models

    (info,) = [info for info in list_models() if info.path == ROOT / "models" / "mutscan-mini"]
    for page in ("models/README.md", "models/mutscan-mini/README.md"):
        sizes = re.findall(r"\b(\d+) MB(?= \||\s+in all)", (ROOT / page).read_text(encoding="utf-8"))
        assert sizes == [f"{info.size / 1e6:.0f}"], page


def test_pre_commit_hooks_are_the_tools_of_ci():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    entries = " ".join(hook["entry"] for hook in hooks)
    for tool in ("ruff check", "ruff format", "mypy", "lint-imports"):
        assert tool in entries
        assert tool in (ROOT / ".ci" / "run").read_text()


def test_the_changelog_names_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{mutscan.__version__}]" in text


@pytest.mark.parametrize(
    "words",
    [
        "tmtools (TM-align) is GPL-3.0",
        "needs a licence key",
        "Bioconductor's `mutscan`",
        "OpenGene's MutScan",
        "**TM-score** says",
        "**lDDT** says",
        "not made for decisions about patients",
    ],
)
def test_what_has_to_be_said_is_said(words):
    assert words in README


# Accuracy -----------------------------------------------------------------------------------------


def accuracy_table(metrics: dict) -> str:
    """Rows of the README's accuracy table from a model's test metrics."""
    pairs = metrics["pairs"]

    def cell(section: dict, key: str) -> str:
        if key not in section:
            return ""
        interval = section.get(f"{key}_ci")
        return f"{section[key]:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")

    rows = [
        ("TM-score, mean absolute error", "tm", "mae", "constant_mae", "identity_mae"),
        ("TM-score, the same over five bands of true TM", "tm", "macro_mae", "", ""),
        ("TM-score, Pearson r", "tm", "pearson", "", ""),
        ("lDDT, mean absolute error", "lddt", "mae", "constant_mae", ""),
        ("lDDT, Pearson r", "lddt", "pearson", "", ""),
    ]
    lines = [
        f"| {pairs['n']} test pairs | mutscan-mini (95 % interval) | constant | identity |",
        "|---|---|---|---|",
    ]
    for title, section, *keys in rows:
        lines.append(f"| {title} | " + " | ".join(cell(pairs[section], key) for key in keys) + " |")
    return "\n".join(lines) + "\n"


def verdict_table(calibration: dict) -> str:
    """Rows of the README's table of the verdict from what calibration.json says of its test groups."""
    shown = {
        "sequence": "from the sequence",
        "structure": "with a structure",
        "inverse_folding": "and inverse folding",
        "aligned_structure": "structure and alignment",
    }
    tiers = [calibration["tiers"][name] for name in shown]
    tests = [tier["test"] for tier in tiers]

    def measured(key: str) -> list[str]:
        return [
            f"{test[key]:.3f} ({test[key + '_ci'][0]:.3f} to {test[key + '_ci'][1]:.3f})" for test in tests
        ]

    def crossed(key: str) -> list[str]:
        return [f"{tier['cross_fitted'][key]:.3f}" for tier in tiers]

    def scanned(key: str) -> list[str]:
        return [f"{tier['scan'][key]:.2f}" for tier in tiers]

    def shares(one: str, other: str) -> list[str]:
        return [f"{tier['scan'][one]:.2f}; {tier['scan'][other]:.2f}" for tier in tiers]

    share = 100 * tiers[0]["share_deleterious"]
    n_scans = len(tiers[0]["cross_fitted"]["dms_spearman"])
    rows = [
        ("", [*shown.values()]),
        ("---", ["---"] * len(shown)),
        ("test variants; groups of proteins", [f"{t['n']:,}; {t['n_groups']:,}" for t in tests]),
        ("AUROC", measured("auroc")),
        ("AUROC of BLOSUM62 on the same rows", measured("blosum62_auroc")),
        ("AUROC inside proteins, mean", measured("auroc_per_protein_mean")),
        ("expected calibration error", measured("ece")),
        ("specificity of `deleterious`", measured("specificity")),
        ("its sensitivity", measured("sensitivity")),
        (f"its precision, {share:.0f} % being deleterious", measured("precision")),
        ("share left `uncertain`", measured("share_uncertain")),
        (f"{n_scans} deep mutational scans, mean absolute Spearman", crossed("dms_mean_abs_spearman")),
        ("share of a scan flagged `deleterious`; measured as harmful", shares("flagged", "harmful")),
        ("mean absolute difference of the two", scanned("flagged_minus_harmful")),
        ("precision and recall of `deleterious` in scans", shares("precision", "recall")),
        ("harmful substitutions of a scan called `tolerated`", scanned("harmful_tolerated")),
        (
            f"ddG inside {tiers[0]['cross_fitted']['stability_proteins']} proteins, mean Spearman",
            crossed("stability_spearman_per_protein"),
        ),
    ]  # fmt: skip
    return "".join(f"| {' | '.join([title, *cells])} |\n" for title, cells in rows)


def ddg_table(calibration: dict) -> str:
    """Rows of the README's table of predicted ddG: two benchmarks that no protein was fitted near."""
    rows = [
        "| predicted ddG on | n | Pearson | Spearman | RMSE, kcal/mol "
        "| Pearson of residue types and burial | of BLOSUM62 |\n",
        "|---|---|---|---|---|---|---|\n",
    ]
    for name, test in calibration["ddg"]["test"].items():
        cells = [f"{test['n']} of {test['n_proteins']} proteins"]
        cells += [
            f"{test[key]:.2f} ({test[key + '_ci'][0]:.2f} to {test[key + '_ci'][1]:.2f})"
            for key in ("pearson", "spearman", "rmse", "types_and_burial_pearson", "blosum62_pearson")
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |\n")
    return "".join(rows)


TABLES = {
    "ddg": (ddg_table, CALIBRATION),
    "accuracy": (accuracy_table, METRICS),
    "verdict": (verdict_table, CALIBRATION),
}


def error_table() -> str:
    rows = "".join(f"| `{code}` | {meaning} |\n" for code, meaning in ROW_CODES.items())
    return f"| code | meaning |\n|---|---|\n{rows}"


def test_the_table_of_error_codes_is_the_package_s():
    assert between("errors") == error_table(), "run python -m tests.test_readme"


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_accuracy_are_the_model_s(name):
    make, source = TABLES[name]
    if not source.is_file():
        pytest.skip(f"{source.name} of mutscan-mini is not in this checkout")
    assert between(name) == make(json.loads(source.read_text())), "run python -m tests.test_readme"


if __name__ == "__main__":
    text = README.replace(between("errors"), error_table())
    for name, (make, source) in TABLES.items():
        table = make(json.loads(source.read_text()))
        text = text.replace(between(name), table)
    (ROOT / "README.md").write_text(text, encoding="utf-8")
    sys.exit(0)

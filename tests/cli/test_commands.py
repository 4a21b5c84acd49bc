"""The command line: arguments reach the library, results reach stdout, words reach stderr, codes are kept."""

import errno
import inspect
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import types
from importlib import import_module

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import mutscan
from mutscan import errors, pipeline
from mutscan.cli import console
from mutscan.cli.app import SUMMARIES, app, load
from mutscan.cli.errors import describe
from mutscan.cli.options import Precision
from mutscan.embed.device import DTYPES
from tests.fabricated import make_run
from tests.fabricated_batch import make_batch
from tests.made_up_comparison import make_comparison

HEAVY = ("torch", "transformers", "openmm", "pdbfixer", "tmtools", "httpx", "pandas")


def run(*arguments, **settings):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **settings)


def python(code, *arguments, **settings):
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **settings,
    )


def words(text):
    """Text without boxes and line breaks, as help pages have them."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


# Help and start -----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["import mutscan", "import mutscan.cli.app", None])
def test_neither_import_nor_help_loads_anything_heavy(module):
    body = module or (
        "sys.argv = ['mutscan', '--help']\n"
        "import runpy, contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n"
        "    runpy.run_module('mutscan', run_name='__main__')\n"
        "assert 'score' in out.getvalue()"
    )
    unwanted = (*HEAVY, "numpy", "rich") if module is None else HEAVY
    done = python(f"import sys\n{body}\nprint(*[name for name in {unwanted!r} if name in sys.modules])")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == ""


def test_python_dash_m_helps():
    done = subprocess.run(
        [sys.executable, "-m", "mutscan", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("score", "scan", "check", "compare", "report", "models", "cache", "doctor", "train"):
        assert re.search(rf"\b{command}\b", done.stdout)
    assert re.search(r"^  merge ", done.stdout, re.MULTILINE)


def test_help_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in ([], ["score"], ["check"], ["compare"], ["report"], ["models"], ["cache"], ["doctor"]):
        done = run(*command, "--help")
        assert done.exit_code == 0
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_every_option_has_a_help_text():
    def nameless(command, path):
        for option in getattr(command, "params", ()):
            if not getattr(option, "help", None) and not getattr(option, "hidden", False):
                yield f"{path} {option.name}"
        for name, below in getattr(command, "commands", {}).items():
            yield from nameless(below, f"{path} {name}")

    for command in (typer.main.get_command(app), *map(load, SUMMARIES)):
        assert list(nameless(command, command.name)) == []


def test_the_list_of_commands_says_what_each_says_of_itself():
    for name, summary in SUMMARIES.items():
        assert name == "train" or load(name).help.startswith(summary)


@pytest.mark.parametrize("command", ["score", "check"])
def test_every_promised_option_is_there(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = words(run(command, "--help").stdout)
    for option in (
        *("--variants", "--variant-column", "--structure", "--chain", "--builder", "--model", "--out"),
        *("--restart", "--offline", "--device", "--precision", "--batch-residues", "--jobs", "--seed"),
        *("--json", "--quiet", "--verbose", "--version"),
    ):
        assert re.search(rf"{option}\b", text), option


@pytest.mark.parametrize("name", ["score", "scan", "check", "compare"])
def test_defaults_of_a_command_are_those_of_its_function(name):
    function = inspect.signature(getattr(pipeline, name)).parameters
    command = inspect.signature(getattr(import_module(f"mutscan.cli.{name}"), name)).parameters
    shared = [option for option in command if option in function]
    assert len(shared) > 5
    empty = inspect.Parameter.empty
    for option in shared:
        given, own = command[option].default, function[option].default
        assert (given or None) == (own or None) or own is empty, option


def test_precisions_are_those_of_the_encoders():
    assert [one.value for one in Precision] == ["auto", *DTYPES]


@pytest.mark.parametrize("arguments", [["--version"], ["score", "--version"]])
def test_version_is_one_line_on_stdout(arguments):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (0, f"mutscan {mutscan.__version__}\n")


def test_train_is_imported_when_it_is_run(monkeypatch):
    trainer = typer.Typer()

    @trainer.command("model")
    def model():
        typer.echo("training")

    @trainer.command("evaluate")
    def evaluate():
        raise errors.UsageError("no such table: pairs.parquet")

    monkeypatch.delitem(sys.modules, "mutscan.cli.train", raising=False)
    assert run("--help").exit_code == 0
    assert "mutscan.cli.train" not in sys.modules
    stand_in = types.ModuleType("mutscan.cli.train")
    stand_in.app = trainer
    monkeypatch.setitem(sys.modules, "mutscan.cli.train", stand_in)
    assert run("train", "model").stdout == "training\n"
    done = run("train", "evaluate")
    assert (done.exit_code, done.stderr) == (2, "error: no such table: pairs.parquet\n")


# Usage errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score"], "Missing argument 'WILD_TYPE'"),
        (["scroe", "x"], "No such command 'scroe'. Did you mean 'score'"),
        (["--colour"], "No such option: --colour"),
        (["score", "P04637", "--bulider", "none"], "No such option: --bulider"),
        (["score", "P04637", "R175H", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["score", "P04637", "R175H", "--seed", "x"], "Invalid value for '--seed'"),
        (["score", "P04637", "R175H", "--precision", "fp8"], "'fp8' is not one of"),
        (["report", "run", "--format", "pdf"], "'pdf' is not"),
        (["cache", "clear", "--kind", "x"], "'x' is not one of"),
        (["compare", "a.pdb"], "Missing argument 'B'"),
    ],
)
def test_a_usage_error_is_one_line_and_code_2(arguments, said):
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said.lower() in done.stderr.lower()
    assert done.stderr.count("\n") == 1
    assert "--help'" in done.stderr


def test_no_argument_at_all_shows_the_help_and_is_a_usage_error():
    done = run()
    assert done.exit_code == 2
    assert "Commands" in done.output


# What goes wrong ----------------------------------------------------------------------------------


@pytest.fixture
def raising(monkeypatch):
    """Make `mutscan score` raise what the test says."""
    from mutscan import pipeline

    def arrange(error):
        def score(*_, **__):
            raise error

        monkeypatch.setattr(pipeline, "score", score)

    return arrange


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.StructureError, 2),
        (errors.VariantError, 4),
        (errors.BuildError, 4),
        (errors.FetchError, 5),
        (errors.CheckpointError, 6),
        (errors.MissingDependencyError, 6),
        (errors.RunFolderError, 1),
    ],
)
def test_each_error_has_its_code_and_one_line(raising, kind, code):
    raising(kind("read this,\nexpected \x1b[31mthat"))
    done = run("score", "P04637", "R175H")
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr == "error: read this, expected \\x1b[31mthat\n"


@pytest.mark.parametrize(
    "error", [ValueError("odd"), RuntimeError("odd"), KeyError("odd"), AssertionError("odd")]
)
def test_our_own_bugs_are_said_without_a_traceback(raising, error):
    raising(error)
    done = run("score", "P04637", "R175H")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: internal error, {type(error).__name__}: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_verbose_shows_the_traceback(raising):
    raising(ValueError("odd"))
    done = run("score", "P04637", "R175H", "--verbose")
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert "error: internal error, ValueError: odd" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission"),
    ],
)
def test_the_disk_has_clear_words(raising, number, said):
    raising(OSError(number, os.strerror(number), "/data/run/variants.csv"))
    done = run("score", "P04637", "R175H")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: cannot use /data/run/variants.csv: ")
    assert said in done.stderr
    assert "internal" not in done.stderr


def test_another_oserror_is_our_bug():
    assert describe(OSError(errno.EBADF, "bad file descriptor")) is None


def test_too_little_memory_has_clear_words(raising):
    raising(MemoryError())
    done = run("score", "P04637", "R175H")
    assert done.exit_code == 1
    assert "--batch-residues" in done.stderr


def test_ctrl_c_says_that_it_can_be_continued(raising):
    raising(KeyboardInterrupt())
    done = run("score", "P04637", "R175H")
    assert done.exit_code == 130
    assert done.stderr == "interrupted: finished variants are saved; run the same command to continue\n"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_real_ctrl_c_ends_a_real_process():
    code = """
    import signal, sys, time
    # A shell's background job is started with Ctrl-C ignored, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from mutscan import pipeline
    def score(*_, **__):
        print("ready", flush=True)
        time.sleep(60)
    pipeline.score = score
    from mutscan.__main__ import main
    sys.argv = ["mutscan", "score", "P04637", "R175H"]
    main()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "interrupted: finished variants are saved; run the same command to continue\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_closed_pipe_is_quiet():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "mutscan", "cache", "list", "--json", "--quiet"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_said():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mutscan", "cache", "list", "--json", "--quiet"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full")
    assert done.stderr.count("\n") == 1


# score --------------------------------------------------------------------------------------------


@pytest.fixture
def scored(monkeypatch, tmp_path):
    """`mutscan score` with a made-up result; holds what the library was called with."""
    from mutscan import pipeline

    call = types.SimpleNamespace(exit_code=3, arguments=None, settings=None, directory=tmp_path / "run")

    def score(*arguments, **settings):
        call.arguments, call.settings = arguments, settings
        make_run(call.directory, count=3)
        settings["progress"].start("predicting", 3)
        settings["progress"].advance()
        settings["progress"].note("one thing worth knowing")
        return types.SimpleNamespace(directory=call.directory, exit_code=call.exit_code)

    monkeypatch.setattr(pipeline, "score", score)
    return call


def test_arguments_reach_the_library(scored, tmp_path):
    done = run(
        *("score", "P04637", "R175H", "p.Arg248Gln", "--variants", "-", "--variant-column", "v"),
        *("--structure", tmp_path / "a.cif", "--chain", "B", "--builder", "openmm", "--model", "mini"),
        *("--out", tmp_path / "out", "--restart", "--offline", "--device", "cpu", "--precision", "bf16"),
        *("--batch-residues", "99", "--jobs", "2", "--seed", "7", "--quiet"),
        *("--alignment", "b.a3m", "--prior", "scan", "--inverse-folding", "off"),
        *("--predict", "probability", "--engine", "ray", "--ray-address", "auto"),
        *("--plddt", "--numbering", "author", "--organism", "mouse", "--strict"),
    )
    assert done.exit_code == 3
    assert scored.arguments == ("P04637", ("R175H", "p.Arg248Gln"))
    settings = scored.settings
    assert settings.pop("progress") is not None
    assert settings.pop("stdin") is not None
    assert settings == {
        "predict": "probability",
        "shard": None,
        "engine": "ray",
        "ray_address": "auto",
        "ray_cores": None,
        "variants_file": "-",
        "variant_column": "v",
        "structure": tmp_path / "a.cif",
        "chain": "B",
        "plddt": True,
        "numbering": "author",
        "organism": "mouse",
        "strict": True,
        "alignment": "b.a3m",
        "prior": "scan",
        "inverse_folding": "off",
        "builder": "openmm",
        "model": "mini",
        "out": tmp_path / "out",
        "restart": True,
        "offline": True,
        "device": "cpu",
        "precision": "bf16",
        "batch_residues": 99,
        "jobs": 2,
        "seed": 7,
    }


def test_defaults_are_those_of_the_library(scored):
    import inspect

    from mutscan.pipeline.scoring import score as library

    run("score", "P04637", "R175H", "--quiet")
    promised = {name: p.default for name, p in inspect.signature(library).parameters.items()}
    for name, value in scored.settings.items():
        if name not in ("progress", "stdin"):
            assert value == promised[name], name


def test_the_summary_goes_to_stderr_and_stdout_stays_empty(scored):
    done = run("score", "P04637", "R175H")
    assert done.stdout == ""
    assert "Most disruptive" in done.stderr
    assert "one thing worth knowing" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_rows_go_to_stdout(scored):
    done = run("score", "P04637", "R175H", "--json", "--quiet")
    rows = json.loads(done.stdout)
    assert len(rows) == 5
    assert rows[0]["status"] == "ok"
    assert rows[-1]["tm_predicted"] is None
    # one row a line, so that grep and head work too
    assert len(done.stdout.splitlines()) == 7
    assert done.stderr == ""


def test_quiet_says_nothing(scored):
    done = run("score", "P04637", "R175H", "--quiet")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("code", [0, 3, 4])
def test_the_exit_code_is_the_run_s(scored, code):
    scored.exit_code = code
    assert run("score", "P04637", "R175H", "-q").exit_code == code


def test_home_is_found_in_out(scored, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    run("score", "P04637", "R175H", "-q", "--out", "~/run")
    assert scored.settings["out"] == tmp_path / "run"


# check --------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    """A model's folder as far as a dry run looks into it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "peptide.fasta"
    path.write_text(">peptide\nNLYIQWLKDGGPSSGRPPPS\n")
    return path


def check(*arguments, **settings):
    return run("check", "--offline", *arguments, **settings)


def test_check_prints_what_would_be_done(fasta, model):
    done = check(fasta, "L2P", "p.Trp6Phe;K8E", "A3G", "Y3Y", "I4*", "p.Lys8del", "--model", model)
    assert done.exit_code == 3, done.output
    header, *lines = (line.split("\t") for line in done.stdout.splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert [row["input"] for row in rows] == ["L2P", "p.Trp6Phe;K8E", "A3G", "Y3Y", "I4*", "p.Lys8del"]
    assert [row["status"] for row in rows] == ["ok"] * 2 + ["failed", "skipped", "skipped", "partial"]
    assert rows[1]["variant"] == "W6F;K8E"
    assert rows[1]["positions"] == "6;8"
    assert rows[2]["error_code"] == "wild_type_mismatch"
    assert rows[0]["action"] == "predict; no structure to build on"
    assert "3 of 6 rows would be scored" in done.stderr
    assert "20 residues" in done.stderr


def test_check_json_reads_stdin(fasta, model):
    done = check(fasta, "--variants", "-", "--json", "--model", model, input="L2P\n# remark\n\nY3H\n")
    assert [row["variant"] for row in json.loads(done.stdout)] == ["L2P", "Y3H"]


def test_check_maps_the_structure_s_numbering(project, model):
    example = project / "examples" / "globin" / "wild_type.cif"
    done = check(example, "H97A", "--model", model, "--json", "--builder", "none")
    (row,) = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (row["positions"], row["structure_number"], row["action"]) == ("97", "101", "predict")


def test_check_is_readable_on_a_terminal(project, model, monkeypatch, capsys):
    from mutscan.cli import app as room

    example = project / "examples" / "globin" / "wild_type.cif"
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    given = ["check", str(example), "p.His101Ala", "W38A", "--numbering", "author", "--builder", "none"]
    assert room.app([*given, "--model", str(model), "--offline"], standalone_mode=False) == 3
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "p.His101Ala ok H97A: predict; residue 101 of the file is position 97" in text
    assert "W38A wild_type_mismatch" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.cif", "L2P"], 2, "no such file: nowhere.cif"),
        (["P04637", "R175H"], 5, "P04637"),
        (["{fasta}"], 2, "no variants given"),
        (["{fasta}", "L2P", "--builder", "magic"], 2, "--builder magic: expected one of auto"),
        (["{fasta}", "L2P", "--model", "none-such"], 6, "no model is named none-such"),
        (["{fasta}", "A3G"], 4, ""),
    ],
)
def test_check_ends_as_score_would(arguments, code, said, fasta, model):
    given = [argument.format(fasta=fasta) for argument in arguments]
    if "--model" not in given:
        given += ["--model", str(model)]
    done = check(*given)
    assert done.exit_code == code, done.output
    assert said in done.stderr


# compare ------------------------------------------------------------------------------------------


@pytest.fixture
def compared(monkeypatch):
    from mutscan import pipeline

    residues = pd.DataFrame({"position_a": [1, 2], "lddt_predicted": [0.5, float("nan")]})
    values = {"tm_predicted": 0.75, "tm_measured": None, "notes": ["short"], "residues": [{"position_a": 1}]}
    comparison = make_comparison(
        tm_predicted=0.75, notes=("short",), residues=residues, to_dict=lambda: dict(values),
        to_html=lambda path: path.write_text("<p>"),
    )  # fmt: skip
    call = types.SimpleNamespace(settings=None)

    def compare(*_, **settings):
        call.settings = settings
        return comparison

    monkeypatch.setattr(pipeline, "compare", compare)
    return call


def test_compare_prints_its_result_on_stdout(compared, tmp_path):
    table = tmp_path / "residues.csv"
    done = run("compare", "a.pdb", "b.pdb", "--chain-b", "C", "--residues", table)
    assert done.exit_code == 0
    assert done.stdout == "key\tvalue\ntm_predicted\t0.750000\ntm_measured\t\n"
    assert "note: short" in done.stderr
    assert table.read_text() == "position_a,lddt_predicted\n1,0.500000\n2,\n"
    assert compared.settings["chain_b"] == "C"
    assert "TM-score, by all 14 residues of one" in done.stderr


def test_compare_writes_its_page(compared, tmp_path):
    done = run("compare", "a.pdb", "b.pdb", "--html", tmp_path / "page.html")
    assert (done.exit_code, (tmp_path / "page.html").read_text()) == (0, "<p>")
    done = run("compare", "a.pdb", "b.pdb", "--html", tmp_path / "no" / "page.html")
    assert done.exit_code == 2
    assert "expected a file name in an existing folder" in done.stderr


def test_compare_json_is_one_object(compared):
    done = run("compare", "a.pdb", "b.pdb", "--json", "--quiet")
    assert json.loads(done.stdout)["residues"] == [{"position_a": 1}]
    assert done.stderr == ""


def test_compare_into_a_missing_folder_has_clear_words(compared, tmp_path):
    done = run("compare", "a.pdb", "b.pdb", "--residues", tmp_path / "no" / "x.csv")
    assert done.exit_code != 0
    assert done.stderr.count("\n") == 1


# report -------------------------------------------------------------------------------------------


def test_report_draws_again(tmp_path):
    make_run(tmp_path, count=2)
    done = run("report", tmp_path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "report.html" in done.stderr
    first = (tmp_path / "report.html").read_text()
    assert run("report", tmp_path, "--format", "html", "--out", tmp_path / "copy.html", "-q").stderr == ""
    assert (tmp_path / "copy.html").read_text() == first
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("out", [".", "no/such/folder/report.html"])
def test_report_refuses_a_place_that_cannot_be(tmp_path, out):
    make_run(tmp_path, count=1)
    done = run("report", tmp_path, "--out", tmp_path / out)
    assert done.exit_code == 2
    assert "expected a file name in an existing folder" in done.stderr


def test_report_draws_the_page_of_many_proteins_again_without_the_network(tmp_path):
    folder = make_batch(tmp_path / "run", proteins=3, failed=1, reports=[0])
    done = run("report", folder)
    assert done.exit_code == 0
    assert "3Dmol" not in done.stderr
    assert 'href="proteins/protein_0/report.html"' in (folder / "report.html").read_text()
    done = run("report", folder, "--format", "pymol")
    assert done.exit_code == 2
    assert f"give the folder of one of them: {folder}/proteins/NAME" in " ".join(done.stderr.split())


def test_report_of_something_else(tmp_path):
    done = run("report", tmp_path)
    assert done.exit_code == 2
    assert "holds no variants.csv" in done.stderr


# models and cache ---------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A model in the cache, listed in SHA256SUMS."""
    import hashlib

    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path))
    folder = tmp_path / "models" / "made-up"
    folder.mkdir(parents=True)
    files = {
        "config.json": '{"name": "made-up", "siamese": {"d": 8}}',
        "metrics.json": '{"tm": {"mae": 0.04}}',
    }
    lines = []
    for name, text in files.items():
        (folder / name).write_text(text)
        lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  made-up/{name}")
    (folder.parent / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    return folder


def test_models_list_and_show(shelf):
    done = run("models", "list", "--json")
    assert "made-up" in [row["name"] for row in json.loads(done.stdout)]
    assert re.search(r"^made-up\tcache\t", run("models", "list").stdout, re.MULTILINE)
    shown = run("models", "show", "made-up")
    assert re.search(r"^name +made-up$", shown.stdout, re.MULTILINE)
    assert re.search(r"^verified +yes$", shown.stdout, re.MULTILINE)
    assert "--json prints all settings" in shown.stderr
    assert json.loads(run("models", "show", "made-up", "--json").stdout)["verified"] is True


def test_models_verify_finds_what_changed(shelf):
    assert run("models", "verify", "made-up").exit_code == 0
    (shelf / "metrics.json").write_text('{"tm": {"mae": 0.01}}')
    done = run("models", "verify", "made-up")
    assert done.exit_code == 6
    assert "metrics.json" in done.stderr
    assert "made-up\tNO" in done.stdout


def test_models_sums_are_what_verify_and_sha256sum_read(shelf):
    expected = (shelf.parent / "SHA256SUMS").read_text()
    (shelf / "metrics.json").write_text('{"tm": {"mae": 0.01}}')
    done = run("models", "sums", shelf.parent)
    assert (done.exit_code, done.stdout) == (0, f"{shelf.parent / 'SHA256SUMS'}\n")
    found = (shelf.parent / "SHA256SUMS").read_text()
    names = [line[66:] for line in expected.splitlines()]
    assert [line[66:] for line in found.splitlines()] == ["made-up/SHA256SUMS", *names]
    assert run("models", "verify", "made-up").exit_code == 0
    (shelf / "metrics.json").write_text('{"tm": {"mae": 0.02}}')
    (shelf.parent / "SHA256SUMS").unlink()
    done = run("models", "sums", shelf)
    assert (done.exit_code, done.stdout) == (0, f"{shelf / 'SHA256SUMS'}\n")
    assert run("models", "verify", "made-up").exit_code == 0
    if program := shutil.which("sha256sum"):
        subprocess.run([program, "--check", "SHA256SUMS"], cwd=shelf, check=True, capture_output=True)


def test_models_sums_of_a_folder_without_models(shelf, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "absent"):
        done = run("models", "sums", folder)
        assert done.exit_code == 6
        assert "contains no model" in done.stderr
        assert not (folder / "SHA256SUMS").exists()


def test_models_show_nothing_known(shelf):
    done = run("models", "show", "none-such")
    assert done.exit_code == 6
    assert "made-up" in done.stderr


def test_a_damaged_config_is_named(shelf):
    (shelf / "config.json").write_text("{")
    done = run("models", "show", "made-up")
    assert done.exit_code == 6
    assert "config.json: cannot be read" in done.stderr


def test_cache_list_and_clear(tmp_path, monkeypatch):
    from mutscan.fetch.cache import Cache

    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path))
    Cache(tmp_path).store("https://example.org/P1.json", "uniprot", b"{}", version="7", date="2026-01-01")
    (tmp_path / "nulls").mkdir()
    (tmp_path / "nulls" / "a.npz").write_bytes(b"x" * 1000)
    (tmp_path / "nulls" / "mine.txt").write_text("keep")
    (tmp_path / "models").mkdir()
    (row,) = json.loads(run("cache", "list", "--json").stdout)
    assert (row["url"], row["version"], row["size"]) == ("https://example.org/P1.json", "7", 2)
    listed = run("cache", "list")
    assert listed.stdout.count("\n") == 2
    assert "nulls: 1 files" in listed.stderr
    assert "0 files removed" in run("cache", "clear", "--kind", "afdb").stderr
    assert "1 files removed" in run("cache", "clear", "--kind", "nulls").stderr
    assert "1 files removed" in run("cache", "clear").stderr
    assert json.loads(run("cache", "list", "--json").stdout) == []
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["mine.txt"]


# Console ------------------------------------------------------------------------------------------


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def drawn(monkeypatch, **environment):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = Screen()
    terminal = console.Terminal(err=console.make_console(screen, width=80))
    progress = terminal.progress()
    progress.start("building mutants", 4)
    progress.advance(2)
    progress.note("halfway [bold]there")
    progress.finish()
    return screen.getvalue()


def test_progress_is_drawn_on_a_terminal(monkeypatch):
    text = drawn(monkeypatch)
    assert "building mutants" in text
    assert "2/4" in text
    assert "halfway [bold]there" in text
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", text)


def test_no_color_is_honoured(monkeypatch):
    text = drawn(monkeypatch, NO_COLOR="1")
    assert "building mutants" in text
    # cursor movements of the bar stay; no colour and no bold
    assert not re.search(r"\x1b\[[0-9;]*m", text)


def test_a_dumb_terminal_gets_no_bars(monkeypatch):
    text = drawn(monkeypatch, TERM="dumb")
    assert text == "halfway [bold]there\n"


def test_progress_is_silent_in_a_file():
    stream = io.StringIO()
    progress = console.Terminal(err=console.make_console(stream)).progress()
    progress.start("building mutants", 4)
    progress.advance()
    progress.finish()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("value", ["", "0"])
def test_force_color_off_is_off(monkeypatch, value):
    monkeypatch.setenv("FORCE_COLOR", value)
    assert console.make_console(io.StringIO()).color_system is None


def test_json_has_no_nan(capsys):
    console.print_json([{"a": float("nan"), "b": 1.5, "c": [float("inf")]}, {}])
    assert json.loads(capsys.readouterr().out) == [{"a": None, "b": 1.5, "c": [None]}, {}]


def test_plain_text_is_one_harmless_line():
    assert console.plain("a\nb\t\x1b[0m\u202e") == "a b \\x1b[0m\\u202e"
    assert console.plain("abcdef", limit=4) == "abc…"
    assert console.plain("helix 12 of domain 3", limit=14) == "helix 12 of …"
    assert console.plain("helix 12 of domain 3", limit=15) == "helix 12 of …"


@pytest.mark.parametrize("group", ["models", "cache"])
def test_a_group_without_a_command_lists(group: str) -> None:
    assert CliRunner().invoke(app, [group]).stdout == CliRunner().invoke(app, [group, "list"]).stdout
    assert CliRunner().invoke(app, [group]).exit_code == 0


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("score", "--out"), ("scan", "--out"), ("batch", "--out"),
        ("compare", "--html"), ("report", "RUN"), ("cite", "RUN"),
    ],
)  # fmt: skip
def test_an_empty_path_is_no_folder(command, named, fasta):
    given = {"compare": [fasta, fasta, named], "report": [], "cite": []}.get(command, [fasta, named])
    done = run(command, *given, "")
    assert done.exit_code == 2
    assert f"{named}': expected a path" in done.stderr.replace("[", "").replace("]", "")
    assert "the text is empty" in done.stderr

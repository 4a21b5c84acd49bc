"""MODELLER against a stand-in that checks each call as MODELLER 10's manual documents it.

The stand-in is written to a folder on PYTHONPATH and run by the same helper
process as the real one. It moves atoms by amounts the tests know.
"""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from mutscan.builders import Exchange, MutantBuilder
from mutscan.builders.modeller import ModellerBuilder, modeller_status, seeds_from
from mutscan.builders.modeller_files import read_model
from mutscan.builders.modeller_process import _scrub
from mutscan.errors import BuildError, MissingDependencyError, UsageError
from tests.peptides import helix, part
from tests.places import ROOT

KEY = "GOODKEY4711"
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"
SITE = 9  # R

INIT = """
import json, os
from modeller import config

class ModellerError(Exception):
    pass

def note(call, **details):
    with open(os.environ["STANDIN_LOG"], "a") as stream:
        print(json.dumps({"call": call, **details}), file=stream)

if config.license != "GOODKEY4711":
    text = ("check_lice_E> Invalid license key: " + config.license + "\\n"
            "Go to http://salilab.org/modeller/ to get a license key,\\n"
            "and then set the 'license' variable to it in the file\\n" + config.__file__)
    if os.environ.get("STANDIN_LICENCE") == "exit":
        print(text, flush=True)
        os._exit(1)
    raise ModellerError(text)

class info:
    version = "10.8, 2025/11/13, r13190"

class log:
    @staticmethod
    def none(): note("log.none")
    @staticmethod
    def minimal(): note("log.minimal")

class _Bag:
    pass

class Environ:
    def __init__(self, rand_seed=-8123, restyp_lib_file="$(LIB)/restyp.lib", copy=None):
        assert isinstance(rand_seed, int) and -50000 <= rand_seed <= -2, rand_seed
        note("Environ", rand_seed=rand_seed)
        self.rand_seed = rand_seed
        self.io = _Bag()
        self.io.atom_files_directory = ["."]
        self.edat = _Bag()
        self.edat.nonbonded_sel_atoms = None

class Selection:
    def __init__(self, *parts):
        self.residues = list(parts)
        self.radius = None
        assert parts and len({id(r.model) for r in parts}) == 1
    def select_sphere(self, radius):
        whole = Selection(*self.residues)
        whole.radius = float(radius)
        return whole
    def get_atom_indices(self):
        return []
"""

AUTOMODEL = """
import math, os, random
from modeller import Environ, ModellerError, Selection, note

SIDE = {"W": ["CB", "CG", "CD1", "CD2"], "A": ["CB"], "G": [], "E": ["CB", "CG", "CD", "OE1", "OE2"]}
ONE = dict(zip("ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split(),
               "ARNDCQEGHILKMFPSTWYV"))
THREE = {one: three for three, one in ONE.items()}

class Residue:
    def __init__(self, model, num, chain, code):
        self.model, self.num, self.chain, self.code = model, num, chain, code

class Residues:
    def __init__(self, items):
        self.items = items
    def __getitem__(self, key):
        if isinstance(key, int):
            return self.items[key]
        number, _, chain = key.partition(":")
        for item in self.items:
            if (str(item.num), item.chain) == (number, chain):
                return item
        raise KeyError("No such residue: " + key)

def read_pir(path):
    entries, code = {}, None
    for line in open(path).read().splitlines():
        if line.startswith(">P1;"):
            code = line[4:].strip()
            entries[code] = None
        elif code and entries[code] is None:
            entries[code] = (line.split(":"), "")
        elif code and line:
            entries[code] = (entries[code][0], entries[code][1] + line)
            assert len(line) <= 76
    for header, text in entries.values():
        assert len(header) == 10, header
        assert text.endswith("*") and text.count("*") == 1
    return {code: (header, text[:-1]) for code, (header, text) in entries.items()}

def read_template(path):
    residues, last = [], None
    for line in open(path):
        if line.startswith("ATOM"):
            assert len(line.rstrip("\\n")) >= 78
            if line[21:27] != last:
                last = line[21:27]
                residues.append((ONE[line[17:20]], line[21], int(line[22:26]), {}))
            xyz = [float(line[30:38]), float(line[38:46]), float(line[46:54])]
            residues[-1][3][line[12:16].strip()] = xyz
    return residues

class AutoModel:
    starting_model = ending_model = None

    def __init__(self, env, alnfile, knowns, sequence, deviation=None, library_schedule=None,
                 csrfile=None, inifile=None, assess_methods=None, root_name=None):
        assert isinstance(env, Environ)
        note("AutoModel", seed=env.rand_seed, knowns=knowns, sequence=sequence, cwd=os.getcwd(),
             nonbonded_sel_atoms=env.edat.nonbonded_sel_atoms)
        self.env, self.alnfile, self.knowns, self.sequence = env, alnfile, knowns, sequence

    def select_atoms(self):
        raise AssertionError("the builder must say which atoms move")

    def make(self, exit_stage=0):
        assert (self.starting_model, self.ending_model) == (1, 1)
        entries = read_pir(self.alnfile)
        header, template_text = entries[self.knowns]
        assert header[0] == "structureX" and entries[self.sequence][0][0] == "sequence"
        folder = next(d for d in self.env.io.atom_files_directory
                      if os.path.exists(os.path.join(d, header[1] + ".pdb")))
        template = read_template(os.path.join(folder, header[1] + ".pdb"))
        assert template_text.replace("/", "") == "".join(r[0] for r in template)
        assert [str(template[0][2]), template[0][1]] == header[2:4]
        assert [str(template[-1][2]), template[-1][1]] == header[4:6]
        breaks = [i for i in range(1, len(template)) if template[i][1] != template[i - 1][1]]
        text = entries[self.sequence][1]
        pieces = text.split("/")
        assert [len(p) for p in template_text.split("/")] == [len(p) for p in pieces]
        assert breaks == [sum(map(len, pieces[: k + 1])) for k in range(len(pieces) - 1)]
        items = []
        for chain, piece in zip("ABCDEFGH", pieces):
            for code in piece:
                items.append(Residue(self, len(items) + 1, chain, code))
        self.residues = Residues(items)
        chosen = self.select_atoms()
        assert isinstance(chosen, Selection) and chosen.residues[0].model is self
        note("make", seed=self.env.rand_seed, sequence=text, radius=chosen.radius,
             sites=["%s%d:%s" % (r.code, r.num, r.chain) for r in chosen.residues])
        seed = self.env.rand_seed
        if os.environ.get("STANDIN_CRASH"):
            print("Fatal error in MODELLER, key was GOODKEY4711", flush=True)
            os._exit(7)
        if str(seed) in os.environ.get("STANDIN_RAISE", "").split(","):
            raise ModellerError("read_te_291E> Sequence difference between alignment and pdb")
        name = self.sequence + ".B99990001.pdb"
        output = {"name": name, "num": 1, "failure": None, "molpdf": 1000.0 + seed % 7}
        self.outputs = [output]
        if str(seed) in os.environ.get("STANDIN_FAIL", "").split(","):
            output["failure"] = ModellerError("Obj. func. (12345.678) exceeded max_molpdf")
            del output["molpdf"]
            return
        self._write(name, template, items, chosen, seed)

    def _write(self, name, template, items, chosen, seed):
        whole = chosen.radius >= 50.0
        turn = 0.3 * (seed % 5) if whole else 0.0
        lines, serial = [], 0
        for i, (item, (old, _, _, atoms)) in enumerate(zip(items, template)):
            noise = random.Random(seed * 1000 + i)
            shake = [noise.gauss(0.0, 0.2) for _ in range(3)]
            close = any(abs(r.num - item.num) <= 2 for r in chosen.residues)
            if not (whole or close):
                shake = [0.0, 0.0, 0.0]
            atoms = {k: list(v) for k, v in atoms.items()}
            if item.code != old:
                ca = atoms["CA"]
                atoms = {k: atoms[k] for k in ("N", "CA", "C", "O")}
                for step, atom in enumerate(SIDE[item.code], 1):
                    atoms[atom] = [ca[0] + step, ca[1] + 0.5 * step, ca[2]]
                shake[2] += float(os.environ.get("STANDIN_RESPONSE", "0.4"))
            for atom, (x, y, z) in atoms.items():
                x, y, z = x + shake[0], y + shake[1], z + shake[2]
                x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
                serial += 1
                lines.append("ATOM  %5d  %-3s %s %s%4d    %8.3f%8.3f%8.3f  1.00 99.00           %s"
                             % (serial, atom, THREE[item.code], item.chain, item.num, x, y, z, atom[0]))
        with open(name, "w") as stream:
            stream.write("\\n".join(["EXPDTA    THEORETICAL MODEL, MODELLER 10.8", *lines, "END", ""]))
"""


def write_standin(folder: Path, licence: str = KEY) -> Path:
    package = folder / "modeller"
    (package / "automodel").mkdir(parents=True)
    (package / "config.py").write_text(f"install_dir = r'/opt/modeller'\nlicense = r'{licence}'\n")
    (package / "__init__.py").write_text(textwrap.dedent(INIT))
    (package / "automodel" / "__init__.py").write_text(textwrap.dedent(AUTOMODEL))
    return package


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A licensed stand-in; returns a function that reads which calls it got."""
    write_standin(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    log = tmp_path / "calls.jsonl"
    monkeypatch.setenv("STANDIN_LOG", str(log))

    def read() -> list[dict]:
        found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    return read


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_status_ok(calls):
    status = modeller_status()
    assert (status.state, status.version) == ("ok", "10.8")
    assert status.message.startswith("MODELLER 10.8 at ")
    assert "modeller" not in sys.modules


def test_status_missing(tmp_path, monkeypatch):
    if importlib.util.find_spec("modeller") is not None:
        pytest.skip("a package called modeller is installed here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    status = modeller_status()
    assert status.state == "missing"
    for words in ("not installed", sys.executable, "conda install -c salilab modeller", "KEY_MODELLER"):
        assert words in status.message
    assert "\n" not in status.message
    with pytest.raises(MissingDependencyError, match="conda install -c salilab"):
        ModellerBuilder().prepare(helix(SEQUENCE), tmp_path)


def test_status_of_a_package_in_the_working_folder_is_not_looked_at(tmp_path, monkeypatch, calls):
    (tmp_path / "modeller.py").write_text("raise RuntimeError('a user script of that name was run')")
    monkeypatch.chdir(tmp_path)
    assert modeller_status().state == "ok"


def test_relative_pythonpath_means_the_callers_folder(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "site")
    assert modeller_status().state == "ok"


UNRELATED = {
    # What PyPI's package 0.1.1 looks like; it must not be run to be recognised.
    "pypi": {
        "__init__.py": "from .make_model import make_model, Model\n",
        "make_model.py": "import fastjsonschema\nraise SystemExit('ran')\n",
    },
    "folder": {"notes.txt": "a folder of that name, no package"},
    "pretender": {"__init__.py": "", "automodel.py": "class Car: pass\n"},
}


@pytest.mark.parametrize("kind", UNRELATED)
def test_unrelated_package_is_recognised(tmp_path, monkeypatch, kind):
    package = tmp_path / "site" / "modeller"
    package.mkdir(parents=True)
    for name, text in UNRELATED[kind].items():
        (package / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    status = modeller_status()
    assert status.state == "unrelated"
    assert status.location == str(package)
    assert "not Salilab's MODELLER" in status.message
    assert "conda install -c salilab modeller" in status.message


def test_old_modeller_is_told_from_an_unrelated_package(tmp_path, monkeypatch):
    package = tmp_path / "modeller"
    (package / "automodel").mkdir(parents=True)
    (package / "__init__.py").write_text("class environ: pass\nclass selection: pass\n")
    (package / "automodel" / "__init__.py").write_text("class automodel: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    status = modeller_status()
    assert status.state == "broken"
    assert "MODELLER 10 or newer is needed" in status.message


@pytest.mark.parametrize("how", ["raise", "exit"])
@pytest.mark.parametrize("licence", ["XXXX", "SECRETBUTWRONG"])
def test_missing_licence_names_the_file_and_hides_the_key(tmp_path, monkeypatch, how, licence):
    package = write_standin(tmp_path / "site", licence)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("STANDIN_LOG", str(tmp_path / "calls.jsonl"))
    monkeypatch.setenv("STANDIN_LICENCE", how)
    monkeypatch.setenv("KEY_MODELLER", "ALSOSECRET")
    status = modeller_status()
    assert status.state == "no_licence"
    assert str(package / "config.py") in status.message
    assert "SECRET" not in status.message
    with pytest.raises(MissingDependencyError) as caught:
        ModellerBuilder().prepare(helix(SEQUENCE), tmp_path)
    assert "SECRET" not in str(caught.value)


def test_broken_installation_says_why(tmp_path, monkeypatch):
    package = tmp_path / "modeller"
    (package / "automodel").mkdir(parents=True)
    (package / "__init__.py").write_text("import _modeller_library_that_is_not_there\n")
    (package / "automodel" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    status = modeller_status()
    assert status.state == "broken"
    assert "_modeller_library_that_is_not_there" in status.message
    assert "\n" not in status.message


def test_keys_are_scrubbed_wherever_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY_MODELLER10v8", "FROMENV")
    (tmp_path / "config.py").write_text("license = r'FROMFILE'\nraise RuntimeError('must not be run')\n")
    text = "a FROMENV b FROMFILE c\nInvalid license key: GUESSED\nlicence_key = 'X1'\nkey XXXX"
    clean = _scrub(text, str(tmp_path))
    for secret in ("FROMENV", "FROMFILE", "GUESSED", "X1"):
        assert secret not in clean
    assert "key XXXX" in clean


def test_protocol_calls_and_order(calls, scratch):
    wild_type = helix(SEQUENCE, first=175)
    builder = ModellerBuilder()
    prepared = pickle.loads(pickle.dumps(builder.prepare(wild_type, scratch)))
    calls()
    built = prepared.build([Exchange(SITE, "W")])
    seen = calls()
    mutant = SEQUENCE[:SITE] + "W" + SEQUENCE[SITE + 1 :]
    models = [call for call in seen if call["call"] in ("Environ", "AutoModel", "make")]
    # Each helper process first shows that MODELLER works, then builds with each seed in turn.
    expected = []
    for sequence, site in ((SEQUENCE, "M1:A"), (mutant, "W10:A")):
        expected.append(("Environ", -8123))
        for seed in builder.seeds:
            expected += [("Environ", seed), ("AutoModel", seed), ("make", seed)]
        made = [call for call in models if call["call"] == "make" and call["sequence"] == sequence]
        assert [call["sites"] for call in made] == [[site]] * 3
        assert [call["radius"] for call in made] == [100.0] * 3
    assert [(call["call"], call.get("seed", call.get("rand_seed"))) for call in models] == expected
    folders = [call["cwd"] for call in models if call["call"] == "AutoModel"]
    assert len(set(folders)) == 6
    assert all(call["nonbonded_sel_atoms"] == 1 for call in models if call["call"] == "AutoModel")
    assert all(str(scratch) in folder and not Path(folder).exists() for folder in folders)
    # The mutant carries the wild type's own numbering, chain and order.
    assert built.structure.sequence == mutant
    assert built.structure.res_id.tolist() == wild_type.res_id.tolist()
    assert built.structure.chain_id == wild_type.chain_id


def test_response_is_mutant_minus_control(calls, scratch):
    wild_type = helix(SEQUENCE)
    built = ModellerBuilder(radius=20.0).prepare(wild_type, scratch).build([Exchange(SITE, "W")])
    # The stand-in shakes atoms by up to half an ångström, alike in mutant and control of a seed,
    # and moves the exchanged residue by 0.4 Å along z.
    shift = built.structure.ca - wild_type.ca
    expected = np.zeros_like(shift)
    expected[SITE, 2] = 0.4
    np.testing.assert_allclose(shift, expected, atol=2e-3)
    site = {
        name: built.structure.coord[built.structure.atoms_of(SITE)][k]
        for k, name in enumerate(built.structure.atom_name[built.structure.atoms_of(SITE)])
    }
    assert set(site) == {"N", "CA", "C", "O", "CB", "CG", "CD1", "CD2"}
    assert np.linalg.norm(site["CB"] - site["CA"]) == pytest.approx(np.sqrt(1.25), abs=5e-3)
    assert any("CA shift at the site 0.40 Å, by seed 0.40, 0.40, 0.40" in note for note in built.notes)
    assert not built.low_confidence


def test_models_turned_in_space_are_put_back(calls, scratch):
    wild_type = helix(SEQUENCE)
    built = ModellerBuilder().prepare(wild_type, scratch).build([Exchange(SITE, "W")])
    shift = np.linalg.norm(built.structure.ca - wild_type.ca, axis=1)
    assert shift[SITE] == pytest.approx(0.4, abs=0.08)
    assert np.delete(shift, SITE).max() < 0.08


def test_control_is_made_once_and_shared(calls, scratch):
    wild_type = helix(SEQUENCE)
    prepared = ModellerBuilder().prepare(wild_type, scratch)
    first = prepared.build([Exchange(SITE, "W")])
    calls()
    second = prepared.build([Exchange(3, "G")])
    assert [call["sequence"] == SEQUENCE for call in calls() if call["call"] == "make"] == [False] * 3
    assert first.control_seconds > 0.0
    assert second.control_seconds == 0.0
    again = ModellerBuilder().prepare(wild_type, scratch).build([Exchange(SITE, "W")])
    np.testing.assert_array_equal(first.structure.coord, again.structure.coord)


def test_small_radius_has_one_control_for_each_site(calls, scratch):
    prepared = ModellerBuilder(radius=10.0).prepare(helix(SEQUENCE), scratch)
    prepared.build([Exchange(SITE, "W")])
    calls()
    prepared.build([Exchange(3, "G")])
    made = [call for call in calls() if call["call"] == "make"]
    assert [call["sites"] for call in made] == [["A4:A"]] * 3 + [["G4:A"]] * 3
    assert {call["radius"] for call in made} == {10.0}


def test_wild_type_to_wild_type_is_exactly_zero(calls, scratch):
    wild_type = helix(SEQUENCE)
    prepared = ModellerBuilder().prepare(wild_type, scratch)
    built = prepared.build([Exchange(SITE, wild_type.sequence[SITE])])
    np.testing.assert_array_equal(built.structure.ca, wild_type.ca)


def test_gaps_become_chain_breaks_and_are_not_closed(calls, scratch):
    whole = helix(SEQUENCE, first=11)
    wild_type = part(whole, [*range(6), *range(9, 22)])
    built = ModellerBuilder().prepare(wild_type, scratch).build([Exchange(7, "W"), Exchange(1, "E")])
    made = [call for call in calls() if call["call"] == "make"]
    assert made[-1]["sequence"] == "METAYI/RWISFVKSHFSRQ"
    assert made[-1]["sites"] == ["E2:A", "W8:B"]
    assert built.structure.res_id.tolist() == wild_type.res_id.tolist()


def test_a_failed_seed_is_left_out_of_both(calls, scratch, monkeypatch):
    monkeypatch.setenv("STANDIN_FAIL", "-16246")
    wild_type = helix(SEQUENCE)
    built = ModellerBuilder(radius=20.0).prepare(wild_type, scratch).build([Exchange(SITE, "W")])
    assert built.low_confidence
    assert any("1 of 3 MODELLER seeds failed" in note and "max_molpdf" in note for note in built.notes)
    assert np.isfinite(built.structure.coord).all()
    assert built.structure.ca[SITE, 2] - wild_type.ca[SITE, 2] == pytest.approx(0.4, abs=2e-3)


@pytest.mark.parametrize("variable", ["STANDIN_FAIL", "STANDIN_RAISE"])
def test_all_seeds_failing_is_a_build_error(calls, scratch, monkeypatch, variable):
    monkeypatch.setenv(variable, "-8123,-16246,-24369")
    prepared = ModellerBuilder().prepare(helix(SEQUENCE), scratch)
    with pytest.raises(BuildError, match="MODELLER failed with every seed") as caught:
        prepared.build([Exchange(SITE, "W")])
    assert caught.value.code == "build_failed"
    assert list(scratch.glob("job-*")) == []


def test_crash_keeps_what_was_printed_without_the_key(calls, scratch, monkeypatch):
    monkeypatch.setenv("STANDIN_CRASH", "1")
    prepared = ModellerBuilder().prepare(helix(SEQUENCE), scratch)
    with pytest.raises(BuildError, match="Fatal error in MODELLER") as caught:
        prepared.build([Exchange(SITE, "W")])
    assert "exit code 7" in str(caught.value)
    everything = str(caught.value) + "".join(caught.value.__notes__)
    assert KEY not in everything
    assert "[hidden]" in everything


def test_time_limit(calls, scratch, monkeypatch, tmp_path):
    (tmp_path / "site" / "modeller" / "automodel" / "__init__.py").write_text(
        textwrap.dedent(AUTOMODEL).replace(
            "entries = read_pir", "import time; time.sleep(60); entries = read_pir"
        )
    )
    prepared = ModellerBuilder(timeout=1.0, seeds=(-2,)).prepare(helix(SEQUENCE), scratch)
    with pytest.raises(BuildError, match="stopped after 1 s"):
        prepared.build([Exchange(SITE, "W")])


def test_model_of_other_residues_is_refused(calls, scratch, tmp_path):
    source = textwrap.dedent(AUTOMODEL).replace('lines.append("ATOM', 'item.num > 21 or lines.append("ATOM')
    (tmp_path / "site" / "modeller" / "automodel" / "__init__.py").write_text(source)
    prepared = ModellerBuilder().prepare(helix(SEQUENCE), scratch)
    with pytest.raises(BuildError, match="has 21 residues, expected 22"):
        prepared.build([Exchange(SITE, "W")])


def test_charmm_names_become_pdb_names(tmp_path):
    atoms = [("CA", "ILE", 1), ("CD", "ILE", 1), ("CA", "HSD", 2)]
    atoms += [(name, "HSD", 2) for name in ("H1", "OT1", "OT2")]
    lines = [
        f"ATOM  {k:5d}  {name:<3s} {residue} A{number:4d}    {k:8.3f}   0.000   0.000  1.00  0.00"
        f"           {name[0]}"
        for k, (name, residue, number) in enumerate(atoms)
    ]
    path = tmp_path / "mutant.B99990001.pdb"
    path.write_text("\n".join(lines))
    assert [sorted(atoms) for atoms in read_model(path, "IH")] == [["CA", "CD1"], ["CA", "O", "OXT"]]
    with pytest.raises(BuildError, match="residue 2 is H, expected K"):
        read_model(path, "IK")
    path.write_text("\n".join(line.replace("   0.000", "     nan") for line in lines).replace("nan", "***"))
    with pytest.raises(BuildError, match="coordinate that is not a number"):
        read_model(path, "IH")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the helper can only look now and then")
def test_helper_dies_with_the_worker_that_was_killed(calls, scratch, tmp_path):
    (tmp_path / "site" / "modeller" / "automodel" / "__init__.py").write_text(
        textwrap.dedent(AUTOMODEL).replace(
            "entries = read_pir",
            "import time; note('pid', pid=os.getpid()); time.sleep(60); entries = read_pir",
        )
    )
    program = (
        "import sys, pickle\n"
        "from mutscan.builders import Exchange\n"
        f"pickle.load(open(sys.argv[1], 'rb')).build([Exchange({SITE}, 'W')])\n"
    )
    path = tmp_path / "prepared.pickle"
    path.write_bytes(pickle.dumps(ModellerBuilder().prepare(helix(SEQUENCE), scratch)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), str(ROOT)))}
    worker = subprocess.Popen([sys.executable, "-c", program, str(path)], env=environment)
    try:
        pids: list[int] = []
        deadline = time.monotonic() + 30.0
        while not pids and time.monotonic() < deadline:
            pids = [call["pid"] for call in calls() if call["call"] == "pid"]
            time.sleep(0.05)
        assert pids, "the stand-in was never started"
    finally:
        worker.kill()
        worker.wait()
    deadline = time.monotonic() + 10.0
    while _runs(pids[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pids[0])


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_unknown_residue_is_refused_with_its_name(calls, scratch):
    with pytest.raises(BuildError, match=r"X14 .*--builder template"):
        ModellerBuilder().prepare(helix("MKTXYI", first=11), scratch)


def test_impossible_exchanges_are_refused(calls, scratch):
    prepared = ModellerBuilder().prepare(helix(SEQUENCE), scratch)
    for wrong in ([], [Exchange(99, "A")], [Exchange(1, "A"), Exchange(1, "G")], [Exchange(1, "X")]):
        with pytest.raises(BuildError):
            prepared.build(wrong)


def test_settings_and_seeds():
    builder = ModellerBuilder()
    assert isinstance(builder, MutantBuilder)
    assert builder.name == "modeller"
    assert builder.settings()["radius"] == 100.0
    assert json.loads(json.dumps(builder.settings()))["seeds"] == list(builder.seeds)
    assert len(builder.seeds) == 3
    assert seeds_from(0) == builder.seeds
    for seed in (1, 7, 12345, 10**9):
        ModellerBuilder(seeds=seeds_from(seed))
    for wrong in ((), (-1,), (-50001,), (-5, -5)):
        with pytest.raises(UsageError, match="-50000 to -2"):
            ModellerBuilder(seeds=wrong)
    with pytest.raises(UsageError, match="radius"):
        ModellerBuilder(radius=0.0)


@pytest.mark.modeller
def test_real_modeller(tmp_path):
    status = modeller_status()
    if status.state != "ok":
        pytest.skip(status.message)
    wild_type = helix(SEQUENCE, first=175)
    builder = ModellerBuilder()
    prepared = builder.prepare(wild_type, tmp_path)
    built = prepared.build([Exchange(SITE, "W")])
    assert built.structure.sequence[SITE] == "W"
    assert "CH2" in built.structure.atom_name[built.structure.atoms_of(SITE)]
    assert np.linalg.norm(built.structure.ca - wild_type.ca, axis=1).max() < 5.0
    again = prepared.build([Exchange(SITE, "W")])
    np.testing.assert_array_equal(built.structure.coord, again.structure.coord)
    same = prepared.build([Exchange(SITE, wild_type.sequence[SITE])])
    np.testing.assert_allclose(same.structure.ca, wild_type.ca, atol=1e-3)
    assert os.listdir(tmp_path)

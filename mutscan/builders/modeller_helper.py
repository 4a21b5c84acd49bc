"""Runs beside mutscan, in a process and a folder of its own: the only code that imports MODELLER.

``python -P modeller_helper.py`` reads ``job.json`` from the current folder and
leaves ``result.json`` there. Standard library only, and never imported by
mutscan: MODELLER writes into the current folder, prints, and may end the process
when it does not like its licence.

MODELLER's interface as of 10.x: https://salilab.org/modeller/manual/
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

LICENCE = re.compile(r"check_lice|licen[cs]e[ _-]*key", re.IGNORECASE)


def main() -> int:
    """Do the job in the current folder; 0 when MODELLER could be used."""
    follow_parent()
    job = json.loads(Path("job.json").read_text(encoding="utf-8"))
    answer = find()
    if answer["state"] == "found":
        # Should MODELLER end the process, this is what is found.
        leave({**answer, "state": "broken", "detail": "importing it ended the process"})
        answer = load(answer)
    if answer["state"] == "ok" and job["action"] == "build":
        leave({**answer, "state": "broken", "detail": "building a model ended the process"})
        answer["models"] = [build(job, seed) for seed in job["seeds"]]
    leave(answer)
    return 0 if answer["state"] == "ok" else 1


def find() -> dict[str, Any]:
    """Which package is called `modeller` here; nothing of it is run yet."""
    try:
        spec = importlib.util.find_spec("modeller")
    except (ImportError, ValueError) as error:
        return {"state": "broken", "detail": str(error), "location": "", "version": ""}
    if spec is None:
        return {"state": "missing", "detail": "", "location": "", "version": ""}
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    location = str(folders[0] if folders else spec.origin)
    has_automodel = any(
        (folder / "automodel" / "__init__.py").exists() or (folder / "automodel.py").exists()
        for folder in folders
    )
    state = "found" if has_automodel else "unrelated"
    return {"state": state, "detail": "", "location": location, "version": ""}


def load(answer: dict[str, Any]) -> dict[str, Any]:
    """Import MODELLER and open an environment, which is when the licence key is read."""
    try:
        modeller = importlib.import_module("modeller")
        automodel = importlib.import_module("modeller.automodel")
        names = [name for name in ("Environ", "Selection", "log") if not hasattr(modeller, name)]
        if not hasattr(automodel, "AutoModel"):
            names.append("automodel.AutoModel")
        if names and (hasattr(modeller, "environ") or hasattr(modeller, "selection")):
            detail = f"it has no {', '.join(names)}: MODELLER 10 or newer is needed"
            return {**answer, "state": "broken", "detail": detail}
        if names:
            return {**answer, "state": "unrelated", "detail": f"it has no {', '.join(names)}"}
        version = str(getattr(getattr(modeller, "info", None), "version", "")).split(",")[0].strip()
        modeller.log.none()
        modeller.Environ(rand_seed=-8123)
    except (Exception, SystemExit) as error:
        detail = f"{type(error).__name__}: {error}"
        return {**answer, "state": "no_licence" if LICENCE.search(detail) else "broken", "detail": detail}
    return {**answer, "state": "ok", "version": version}


def build(job: dict[str, Any], seed: int) -> dict[str, Any]:
    """One model with one random seed, in a folder of its own."""
    folder = Path(f"seed{-seed}")
    folder.mkdir()
    report: dict[str, Any] = {"seed": seed, "file": None, "molpdf": None, "failure": None}
    home = Path.cwd()
    os.chdir(folder)
    try:
        output = remodel(job, seed)
        report["failure"] = None if output["failure"] is None else str(output["failure"])
        report["molpdf"] = None if output.get("molpdf") is None else float(output["molpdf"])
        report["file"] = str(folder / output["name"])
    except Exception as error:  # MODELLER's own errors share no public base class; the next seed is tried
        report["failure"] = f"{type(error).__name__}: {error}"
    finally:
        os.chdir(home)
    return report


def remodel(job: dict[str, Any], seed: int) -> Any:
    """AutoModel with its default schedule; only atoms near the sites are randomised and optimised."""
    import modeller
    from modeller import automodel

    class SiteModel(automodel.AutoModel):  # type: ignore[misc]
        def select_atoms(self) -> Any:
            residues = []
            for number, code in job["sites"]:
                residue = self.residues[number]
                if residue.code != code:
                    raise ValueError(f"residue {number} of the model is {residue.code}, expected {code}")
                residues.append(residue)
            return modeller.Selection(*residues).select_sphere(job["radius"])

    modeller.log.minimal()
    env = modeller.Environ(rand_seed=seed)
    env.io.atom_files_directory = [".."]
    # Moved atoms must feel those that stay.
    env.edat.nonbonded_sel_atoms = 1
    model = SiteModel(env, alnfile="../alignment.ali", knowns=job["template"], sequence=job["sequence"])
    model.starting_model = 1
    model.ending_model = 1
    model.make()
    return model.outputs[0]


def leave(answer: dict[str, Any]) -> None:
    """Write result.json, whole or not at all."""
    temporary = Path("result.json.part")
    temporary.write_text(json.dumps(answer), encoding="utf-8")
    temporary.replace("result.json")


def follow_parent() -> None:
    """End with the process that started this one, even when that was killed."""
    parent = os.getppid()
    if sys.platform == "linux":
        # MODELLER holds the interpreter for minutes, so no thread could see to it.
        with contextlib.suppress(OSError, AttributeError):
            pr_set_pdeathsig = 1
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())

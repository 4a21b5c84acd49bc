"""What a run used, to cite it: software, model, records and methods, read from run.json."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mutscan.errors import UsageError
from mutscan.files import read_json
from mutscan.reports.batch import is_batch
from mutscan.reports.digest import section
from mutscan.reports.saved import reading, refuse_part
from mutscan.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

FORMATS: Final = ("text", "bibtex")
"""What citations can be written as."""

AUTHORS: Final = "The mutscan authors"
TITLE: Final = "mutscan: which variants disturb a protein's structure, and where"
YEAR: Final = "2026"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a bibliography.

    Parameters
    ----------
    key : str
    kind : str
        Type of the BibTeX entry.
    fields : mapping
        BibTeX field to text, without markup; `author` as BibTeX separates names, an organisation in braces.
    """

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def bibtex(self) -> str:
        """The entry in BibTeX."""
        lines = [f"  {name} = {{{_tex(name, text)}}}," for name, text in self.fields.items() if text]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])

    @property
    def text(self) -> str:
        """The entry as one line."""
        said = self.fields
        where = " ".join(filter(None, (said.get("journal"), said.get("volume"))))
        where += f", {said['pages'].replace('--', '-')}" if "pages" in said else ""
        version = f"Version {said['version']}" if said.get("version") else ""
        link = f"https://doi.org/{said['doi']}" if "doi" in said else said.get("url", "")
        parts = (
            f"{_names(said['author'])}{f' ({year})' if (year := said.get('year')) else ''}",
            said["title"], version, where, said.get("note", ""),
        )  # fmt: skip
        return " ".join([*(f"{part}." for part in parts if part), link]).rstrip()


def _names(authors: str) -> str:
    """Names for a line of text: ``Zhang Y, Skolnick J``."""
    if authors.startswith("{"):
        return authors.strip("{}")
    names = []
    for name in authors.split(" and "):
        last, _, first = name.partition(", ")
        initials = "".join(part[0] for part in first.split())
        names.append("et al" if name == "others" else f"{last} {initials}")
    return ", ".join(names)


def _tex(name: str, text: str) -> str:
    if name in ("author", "doi", "url", "pages"):
        return text
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", "/"))
    # BibTeX makes small letters of a title's capitals outside of braces.
    return f"{{{escaped}}}" if name == "title" else escaped


def _paper(
    key: str, author: str, year: int, title: str, journal: str, volume: str, pages: str, doi: str
) -> Entry:
    fields = {
        "author": author, "title": title, "journal": journal, "volume": volume, "pages": pages,
        "year": str(year), "doi": doi,
    }  # fmt: skip
    return Entry(key, "article", fields)


_NAR: Final = "Nucleic Acids Research"
_PAPERS: Final = {
    paper.key: paper
    for paper in (
        _paper(
            "tmscore", "Zhang, Yang and Skolnick, Jeffrey", 2004,
            "Scoring function for automated assessment of protein structure template quality",
            "Proteins", "57", "702--710", "10.1002/prot.20264",
        ),
        _paper(
            "lddt", "Mariani, Valerio and Biasini, Marco and Barbato, Alessandro and Schwede, Torsten", 2013,
            "lDDT: a local superposition-free score for comparing protein structures and models using "
            "distance difference tests",
            "Bioinformatics", "29", "2722--2728", "10.1093/bioinformatics/btt473",
        ),
        _paper(
            "openmm", "Eastman, Peter and others", 2024,
            "OpenMM 8: Molecular Dynamics Simulation with Machine Learning Potentials",
            "The Journal of Physical Chemistry B", "128", "109--116", "10.1021/acs.jpcb.3c06662",
        ),
        _paper(
            "ff14sb", "Maier, James A. and others", 2015,
            "ff14SB: Improving the Accuracy of Protein Side Chain and Backbone Parameters from ff99SB",
            "Journal of Chemical Theory and Computation", "11", "3696--3713", "10.1021/acs.jctc.5b00255",
        ),
        _paper(
            "modeller", "Šali, Andrej and Blundell, Tom L.", 1993,
            "Comparative protein modelling by satisfaction of spatial restraints",
            "Journal of Molecular Biology", "234", "779--815", "10.1006/jmbi.1993.1626",
        ),
        _paper(
            "uniprot", "{The UniProt Consortium}", 2025,
            "UniProt: the Universal Protein Knowledgebase in 2025",
            _NAR, "53", "D609--D617", "10.1093/nar/gkae1010",
        ),
        _paper(
            "alphafold", "Jumper, John and others", 2021,
            "Highly accurate protein structure prediction with AlphaFold",
            "Nature", "596", "583--589", "10.1038/s41586-021-03819-2",
        ),
        _paper(
            "alphafolddb", "Varadi, Mihaly and others", 2024,
            "AlphaFold Protein Structure Database in 2024: providing structure coverage for over 214 million "
            "protein sequences",
            _NAR, "52", "D368--D375", "10.1093/nar/gkad1011",
        ),
        _paper(
            "interpro", "Blum, Matthias and others", 2025,
            "InterPro: the protein sequence classification resource in 2025",
            _NAR, "53", "D444--D456", "10.1093/nar/gkae1082",
        ),
        _paper(
            "ted", "Lau, Andy M. and others", 2024,
            "Exploring structural diversity across the protein universe with The Encyclopedia of Domains",
            "Science", "386", "eadq4946", "10.1126/science.adq4946",
        ),
        _paper(
            "rcsb", "Burley, Stephen K. and others", 2025,
            "Updated resources for exploring experimentally-determined PDB structures and Computed Structure "
            "Models at the RCSB Protein Data Bank",
            _NAR, "53", "D564--D574", "10.1093/nar/gkae1091",
        ),
        _paper(
            "refseq", "O'Leary, Nuala A. and others", 2016,
            "Reference sequence (RefSeq) database at NCBI: current status, taxonomic expansion, and "
            "functional annotation",
            _NAR, "44", "D733--D745", "10.1093/nar/gkv1189",
        ),
        _paper(
            "ensembl", "Dyer, Sarah C. and others", 2025, "Ensembl 2025",
            _NAR, "53", "D948--D957", "10.1093/nar/gkae1071",
        ),
        _paper(
            "alphamissense", "Cheng, Jun and others", 2023,
            "Accurate proteome-wide missense variant effect prediction with AlphaMissense",
            "Science", "381", "eadg7492", "10.1126/science.adg7492",
        ),
        _paper(
            "proteinmpnn", "Dauparas, Justas and others", 2022,
            "Robust deep learning-based protein sequence design using ProteinMPNN",
            "Science", "378", "49--56", "10.1126/science.add2187",
        ),
        _paper(
            "pyhmmer", "Larralde, Martin and Zeller, Georg", 2023,
            "PyHMMER: a Python library binding to HMMER for efficient sequence analysis",
            "Bioinformatics", "39", "btad214", "10.1093/bioinformatics/btad214",
        ),
        _paper(
            "hmmer", "Eddy, Sean R.", 2011, "Accelerated Profile HMM Searches",
            "PLoS Computational Biology", "7", "e1002195", "10.1371/journal.pcbi.1002195",
        ),
        _paper(
            "mmseqs2", "Steinegger, Martin and Söding, Johannes", 2017,
            "MMseqs2 enables sensitive protein sequence searching for the analysis of massive data sets",
            "Nature Biotechnology", "35", "1026--1028", "10.1038/nbt.3988",
        ),
        _paper(
            "prott5", "Elnaggar, Ahmed and others", 2022,
            "ProtTrans: Toward Understanding the Language of Life Through Self-Supervised Learning",
            "IEEE Transactions on Pattern Analysis and Machine Intelligence", "44", "7112--7127",
            "10.1109/TPAMI.2021.3095381",
        ),
        _paper(
            "esm2", "Lin, Zeming and others", 2023,
            "Evolutionary-scale prediction of atomic-level protein structure with a language model",
            "Science", "379", "1123--1130", "10.1126/science.ade2574",
        ),
    )
}  # fmt: skip

_OF_SERVICE: Final = {
    "UniProt": ("uniprot",),
    "AlphaFold DB": ("alphafold", "alphafolddb"),
    "RCSB PDB": ("rcsb",),
    "RefSeq": ("refseq",),
    "Ensembl": ("ensembl",),
    "InterPro": ("interpro",),
    "TED": ("ted",),
}
_OF_BUILDER: Final = {"openmm": ("openmm", "ff14sb"), "modeller": ("modeller",)}
_OF_ENCODER: Final = {"prot_t5": "prott5", "esm2": "esm2"}


def cite(run: str | os.PathLike[str] | None = None, *, format: str = "text") -> str:
    """Say what to cite.

    Parameters
    ----------
    run : path, optional
        Run folder of `score`, `scan` or `batch`: what it used. Without it mutscan itself.
    format : {"text", "bibtex"}

    Returns
    -------
    str
        One line, or one BibTeX entry, for each thing: mutscan, the model and its encoder, the builder,
        downloaded records with their versions, and the methods behind the numbers.

    Raises
    ------
    UsageError
        Not the folder of a finished run, a part of one, or no such format.
    """
    if format not in FORMATS:
        raise UsageError(f"format {format!r}: expected one of {', '.join(FORMATS)}")
    if run is None:
        entries = [_mutscan(__version__)]
    else:
        found = (entry for said in _described(Path(run).expanduser()) for entry in _used(said))
        # What a run over many proteins says of a thing, each protein says in full.
        entries = [*{entry.key: entry for entry in found}.values()]
    return ("\n" if format == "text" else "\n\n").join(getattr(entry, format) for entry in entries)


def _described(directory: Path) -> Iterator[Mapping[str, Any]]:
    """Yield run.json of a run, and of each protein of a run over many."""
    if not (directory / "run.json").is_file():
        raise UsageError(f"{directory} holds no run.json; expected the folder of a finished run")
    refuse_part(directory)
    folders = [directory]
    if is_batch(directory):
        with (
            reading(directory / "proteins.csv"),
            (directory / "proteins.csv").open(newline="", encoding="utf-8") as stream,
        ):
            folders += [directory / row["folder"] for row in csv.DictReader(stream) if row["folder"]]
    for folder in folders:
        with reading(folder / "run.json"):
            said = read_json(folder / "run.json")
            if not isinstance(said, dict):
                raise ValueError("expected a JSON object")
        yield said


def _mutscan(version: str) -> Entry:
    fields = {"author": f"{{{AUTHORS}}}", "title": TITLE, "version": version, "year": YEAR}
    return Entry("mutscan", "software", fields)


def _used(said: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield what one run.json says was used."""
    yield _mutscan(str(said.get("mutscan", __version__)))
    yield from _model(section(said, "model"))
    predicted = section(said, "arguments").get("predict") != "probability"
    built = [one.get("name") for one in said.get("builder") or () if isinstance(one, dict)]
    if predicted or built:
        yield from (_PAPERS["tmscore"], _PAPERS["lddt"])
    for name in built:
        yield from (_PAPERS[key] for key in _OF_BUILDER.get(str(name), ()))
    if said.get("inverse_folding"):
        yield _PAPERS["proteinmpnn"]
    alignment = section(said, "alignment")
    # Without an alignment of its own, a protein's relatives are looked up in the model's library.
    if section(said, "calibration").get("families_sha256") and "sha256" not in alignment:
        yield from (_PAPERS["pyhmmer"], _PAPERS["hmmer"], _PAPERS["mmseqs2"])
    records = [one for one in said.get("records") or () if isinstance(one, dict)]
    for record in [*records, *([alignment] if alignment.get("url") else [])]:
        service = str(record.get("source"))
        yield from (_PAPERS[key] for key in _OF_SERVICE.get(service, ()))
        if service in _OF_SERVICE and record.get("sha256"):
            yield _record(service, record)
    if said.get("alphamissense"):
        yield _PAPERS["alphamissense"]


def _model(model: Mapping[str, Any]) -> Iterator[Entry]:
    if not model:
        return
    name, encoder = str(model.get("name")), str(model.get("encoder") or "")
    revision = model.get("encoder_revision")
    # An encoder of the model's own lies in a folder of that name.
    named = "of its own" if Path(encoder).name == "encoder" else encoder
    told = f"; encoder {named}{f', {revision}' if revision else ''}" if encoder else ""
    fields = {
        "author": f"{{{AUTHORS}}}" if name.startswith("mutscan-") else f"{{Authors of {name}}}",
        "title": f"Model {name} for mutscan",
        "note": f"sha256 {model.get('sha256')}{told}",
    }
    yield Entry(f"model-{_key(name)}", "misc", fields)
    yield from (_PAPERS[key] for part, key in _OF_ENCODER.items() if part in encoder.lower())


def _record(service: str, record: Mapping[str, Any]) -> Entry:
    url = str(record.get("final_url") or record.get("url") or "")
    fields = {
        "author": f"{{{service}}}",
        "title": f"Record {url.rpartition('/')[2] or service}",
        "version": str(record.get("version") or ""),
        "note": f"Retrieved {str(record.get('date') or '')[:10]}, sha256 {record.get('sha256')}",
        "url": re.sub(r"[{}\s]", "", url),
    }
    return Entry(f"record-{_key(str(record.get('sha256'))[:12])}", "misc", fields)


def _key(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", text)

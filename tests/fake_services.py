"""UniProt, AlphaFold DB and the PDB on localhost: a real HTTP server with scripted answers and faults.

The answers have the keys and the shape that the services document; the protein is made up.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import gemmi
import numpy as np

from mutscan.fetch.names import FIELDS
from mutscan.residues import STANDARD, THREE_LETTER

ACCESSION = "Q9TST0"
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVK"
# VSP_000001 replaces 3-10 by GG, VSP_000002 leaves out 50-60.
ISOFORM = SEQUENCE[:2] + "GG" + SEQUENCE[10:49]
RELEASE = "2026_04"


@dataclass
class Reply:
    """One scripted answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # send only so many bytes of what Content-Length states
    no_length: bool = False  # do not state a length; the end of the connection ends the body
    wait: float = 0.0  # before the status line
    drip: float = 0.0  # between the bytes of the body


class Service:
    """Routes, each a list of replies used up one by one; the last stays. Counts what was asked."""

    def __init__(self) -> None:
        self.routes: dict[str, list[Reply]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def on(self, path: str, *replies: Reply) -> None:
        self.routes[path] = list(replies)

    def json(self, path: str, page: object, **headers: str) -> None:
        self.on(path, json_reply(page, **headers))

    def search(self, query: str, *results: dict[str, Any]) -> str:
        """UniProt's answer to a query; returns its path."""
        path = f"/uniprotkb/search?query={quote(query, safe='():')}&fields={FIELDS}&size=500&format=json"
        self.json(path, {"results": results}, **{"X-Total-Results": str(len(results))})
        return path

    def protein(self, *, model: bool = True) -> None:
        """Everything about the made-up protein, as it should be."""
        self.json(f"/uniprotkb/{ACCESSION}.json", entry(), **{"X-UniProt-Release": RELEASE})
        self.on(f"/uniprotkb/{ACCESSION}-2.fasta", fasta_reply(f"{ACCESSION}-2", ISOFORM))
        if model:
            self.json(f"/api/prediction/{ACCESSION}", [prediction(self.url)])
            self.on(f"/files/AF-{ACCESSION}-F1-model_v6.cif", cif_reply(SEQUENCE))


@contextmanager
def running(service: Service | None = None) -> Iterator[Service]:
    service = service or Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            service.requests.append((self.path, dict(self.headers)))
            replies = service.routes.get(self.path)
            if replies is None:
                reply = json_reply({"messages": ["Resource not found"]}, status=404)
            else:
                reply = replies.pop(0) if len(replies) > 1 else replies[0]
            try:
                self.answer(reply)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up, as some tests want it to

        def answer(self, reply: Reply) -> None:
            time.sleep(reply.wait)
            self.send_response(reply.status)
            if reply.no_length:
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            body = reply.body if reply.cut is None else reply.body[: reply.cut]
            if reply.drip:
                for i in range(len(body)):
                    self.wfile.write(body[i : i + 1])
                    time.sleep(reply.drip)
            else:
                self.wfile.write(body)
            if reply.cut is not None or reply.no_length:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


def json_reply(page: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(page).encode(), {"Content-Type": "application/json", **headers})


def fasta_reply(name: str, sequence: str) -> Reply:
    text = f">sp|{name}|TEST_HUMAN Isoform 2 of Test protein OS=Homo sapiens OX=9606 GN=TEST\n"
    lines = "\n".join(sequence[i : i + 60] for i in range(0, len(sequence), 60))
    return Reply(200, f"{text}{lines}\n".encode(), {"Content-Type": "text/plain; format=fasta"})


HTML = Reply(200, b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", {"Content-Type": "text/html"})


def feature(
    kind: str, start: int | None, end: int | None, description: str = "", **more: Any
) -> dict[str, Any]:
    return {
        "type": kind,
        "location": {
            "start": {"value": start, "modifier": "EXACT" if start else "UNKNOWN"},
            "end": {"value": end, "modifier": "EXACT" if end else "UNKNOWN"},
        },
        "description": description,
        **more,
    }


def entry(**changes: Any) -> dict[str, Any]:
    """``/uniprotkb/ACCESSION.json``."""
    return {
        "entryType": "UniProtKB reviewed (Swiss-Prot)",
        "primaryAccession": ACCESSION,
        "uniProtkbId": "TEST_HUMAN",
        "organism": {"scientificName": "Homo sapiens", "commonName": "Human", "taxonId": 9606},
        "entryAudit": {
            "firstPublicDate": "1990-01-01",
            "lastAnnotationUpdateDate": "2026-10-01",
            "lastSequenceUpdateDate": "2009-11-24",
            "entryVersion": 310,
            "sequenceVersion": 4,
        },
        "proteinDescription": {"recommendedName": {"fullName": {"value": "Test protein"}}},
        "comments": [
            {
                "commentType": "ALTERNATIVE PRODUCTS",
                "events": ["Alternative splicing"],
                "isoforms": [
                    {
                        "name": {"value": "1"},
                        "isoformIds": [f"{ACCESSION}-1"],
                        "isoformSequenceStatus": "Displayed",
                    },
                    {
                        "name": {"value": "2"},
                        "isoformIds": [f"{ACCESSION}-2"],
                        "sequenceIds": ["VSP_000001", "VSP_000002"],
                        "isoformSequenceStatus": "Described",
                    },
                ],
            }
        ],
        "features": [
            feature("Chain", 1, 60, "Test protein", featureId="PRO_0000000001"),
            feature("Domain", 12, 45, "SH3"),
            feature("Region", 5, 30, "Disordered"),
            feature("Repeat", 40, 60, "WD 1"),
            feature("DNA binding", 14, 25, ""),
            feature("Motif", 8, 12, "Nuclear localization signal"),
            feature("Binding site", 20, 20, "", ligand={"name": "Zn(2+)", "id": "ChEBI:CHEBI:29105"}),
            feature("Modified residue", 6, 6, "Phosphotyrosine"),
            feature("Disulfide bond", 15, 35, ""),
            feature("Disulfide bond", 41, 41, "Interchain"),
            feature("Site", None, 9, "Cleavage"),
            feature("Natural variant", 17, 17, "in dbSNP"),
            feature(
                "Alternative sequence",
                3,
                10,
                "in isoform 2",
                featureId="VSP_000001",
                alternativeSequence={"originalSequence": SEQUENCE[2:10], "alternativeSequences": ["GG"]},
            ),
            feature(
                "Alternative sequence",
                50,
                60,
                "in isoform 2",
                featureId="VSP_000002",
                alternativeSequence={},
            ),
        ],
        "sequence": {"value": SEQUENCE, "length": len(SEQUENCE), "molWeight": 6700},
        **changes,
    }


def hit(
    accession: str,
    entry: str,
    *genes: str,
    synonyms: tuple[str, ...] = (),
    reviewed: bool = True,
    organism: tuple[str, str, int] = ("Homo sapiens", "Human", 9606),
    references: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    """One result of ``/uniprotkb/search`` with the fields that are asked for."""
    named = {"fullName": {"value": f"Protein of {entry}"}}
    return {
        "entryType": f"UniProtKB {'reviewed (Swiss-Prot)' if reviewed else 'unreviewed (TrEMBL)'}",
        "primaryAccession": accession,
        "uniProtkbId": entry,
        "organism": dict(zip(("scientificName", "commonName", "taxonId"), organism, strict=True)),
        "proteinDescription": {"recommendedName": named} if reviewed else {"submissionNames": [named]},
        "genes": [
            {"geneName": {"value": gene}, "synonyms": [{"value": synonym} for synonym in synonyms]}
            for gene in genes
        ],
        "uniProtKBCrossReferences": list(references),
        "sequence": {"length": len(SEQUENCE), "molWeight": 6700},
        "extraAttributes": {"uniParcId": "UPI0000000001"},
    }


def refseq(protein: str, transcript: str, isoform: str = "") -> dict[str, Any]:
    """A cross-reference of an entry to RefSeq."""
    properties = [{"key": "NucleotideSequenceId", "value": transcript}]
    about = {"database": "RefSeq", "id": protein, "properties": properties}
    return {**about, "isoformId": isoform} if isoform else about


def ensembl(protein: str, transcript: str, gene: str, isoform: str = "") -> dict[str, Any]:
    """A cross-reference of an entry to Ensembl."""
    properties = [{"key": "ProteinId", "value": protein}, {"key": "GeneId", "value": gene}]
    about = {"database": "Ensembl", "id": transcript, "properties": properties}
    return {**about, "isoformId": isoform} if isoform else about


def prediction(
    url: str, sequence: str = SEQUENCE, *, accession: str = ACCESSION, version: int = 6, **changes: Any
) -> dict[str, Any]:
    """Make one element of ``/api/prediction/ACCESSION``, with today's keys."""
    name = f"AF-{accession}-F1"
    return {
        "toolUsed": "AlphaFold Monomer v2.0 pipeline",
        "providerId": "GDM",
        "entityType": "protein",
        "isUniProt": True,
        "isComplex": False,
        "modelEntityId": name,
        "modelCreatedDate": "2025-08-01T00:00:00Z",
        "sequenceVersionDate": "2009-11-24",
        "globalMetricValue": 88.5,
        "latestVersion": version,
        "allVersions": list(range(1, version + 1)),
        "sequence": sequence,
        "sequenceStart": 1,
        "sequenceEnd": len(sequence),
        "uniprotAccession": accession,
        "uniprotId": "TEST_HUMAN",
        "bcifUrl": f"{url}/files/{name}-model_v{version}.bcif",
        "cifUrl": f"{url}/files/{name}-model_v{version}.cif",
        "pdbUrl": f"{url}/files/{name}-model_v{version}.pdb",
        **changes,
    }


def old_prediction(url: str, sequence: str = SEQUENCE, *, version: int = 4) -> dict[str, Any]:
    """Make the same with the keys of before 2025."""
    name = f"AF-{ACCESSION}-F1"
    return {
        "entryId": name,
        "uniprotAccession": ACCESSION,
        "uniprotStart": 1,
        "uniprotEnd": len(sequence),
        "uniprotSequence": sequence,
        "latestVersion": version,
        "pdbUrl": f"{url}/files/{name}-model_v{version}.pdb",
    }


def pdb_text(sequence: str, start: int = 1) -> str:
    """Write a helix as AlphaFold DB writes a model: chain A, positions, pLDDT in the B-factor column."""
    # Radius, rise and turn of the atoms of an alpha helix.
    atoms = {
        "N": (1.55, -0.90, -0.48),
        "CA": (2.29, 0.0, 0.0),
        "C": (1.67, 1.08, 0.45),
        "O": (2.02, 2.20, 0.26),
    }
    lines = ["TITLE     ALPHAFOLD MONOMER V2.0 PREDICTION FOR TEST PROTEIN", "MODEL        1"]
    serial = 0
    for i, letter in enumerate(sequence):
        for name, (radius, rise, shift) in atoms.items():
            serial += 1
            angle = np.radians(100.0 * i + 20.0 * shift)
            x, y, z = radius * np.cos(angle), radius * np.sin(angle), 1.5 * i + rise
            lines.append(
                f"ATOM  {serial:5d}  {name:<3} {THREE_LETTER.get(letter, 'UNK')} A{i + start:4d}    "
                f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00{60 + i % 40:6.2f}          {name[0]:>2}"
            )
    return "\n".join([*lines, "TER", "ENDMDL", "END", ""])


def alphamissense_text(sequence: str) -> str:
    """Write AlphaMissense's table as AlphaFold DB serves it: every substitution, lines end in LF."""
    lines = ["protein_variant,am_pathogenicity,am_class"]
    for position, own in enumerate(sequence, start=1):
        for rank, new in enumerate(letter for letter in STANDARD if letter != own):
            value = (37 * position + 53 * rank) % 1000 / 1000
            kind = "LBen" if value < 0.34 else "Amb" if value < 0.564 else "LPath"
            lines.append(f"{own}{position}{new},{value:.4f},{kind}")
    return "\n".join([*lines, ""])


def cif_reply(sequence: str, start: int = 1) -> Reply:
    structure = gemmi.read_pdb_string(pdb_text(sequence, start))
    structure.name = f"AF-{ACCESSION}-F1"
    structure.setup_entities()
    structure.assign_label_seq_id()
    return Reply(200, structure.make_mmcif_document().as_string().encode(), {"ETag": '"abc123"'})


def pdb_reply(sequence: str, start: int = 1) -> Reply:
    return Reply(200, pdb_text(sequence, start).encode())

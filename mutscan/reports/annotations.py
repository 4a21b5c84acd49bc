"""What is known of places in the wild type, in lanes to draw: domains, sites, helices and strands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.structures.segments import compact_domains, secondary_structure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DOMAINS: Final = frozenset(
    {
        "Domain", "Region", "Repeat", "Zinc finger", "DNA binding", "Transmembrane", "Intramembrane",
        "Topological domain", "Motif", "Coiled coil", "Signal", "Transit peptide", "Propeptide",
    }
)  # fmt: skip
"""UniProt kinds that are stretches; kinds of other databases are stretches always."""

IGNORED: Final = frozenset({"Chain", "Helix", "Beta strand", "Turn"})

MAX_LANES: Final = 4


def annotate(
    said: Mapping[str, Any],
    ca: NDArray[np.float64] | None,
    plddt: NDArray[np.float64] | None,
    backbone: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Lanes for the track, and the domain of each residue for colouring.

    Parameters
    ----------
    said : mapping
        ``wild_type`` of run.json.
    ca : float array, shape (L, 3), Å, optional
    plddt : float array, shape (L,), optional
    backbone : float array, shape (L, 4, 3), Å, optional
        N, CA, C and O.

    Returns
    -------
    dict
        ``domains``: list of name, source, stretches, lane; ``sites``: list of name, start, end, source;
        ``elements``: list of kind, number, start, end; ``source``: who says what the domains are.
    """
    features = [f for f in said.get("features") or [] if isinstance(f, dict) and f.get("kind") not in IGNORED]
    grouped: dict[tuple[str, str], dict[str, Any]] = {}
    sites = []
    for place, feature in enumerate(features):
        kind, source = str(feature.get("kind", "")), str(feature.get("source", ""))
        start, end = int(feature["start"]), int(feature["end"])
        words = str(feature.get("description") or "")
        if source == "UniProt" and kind not in DOMAINS:
            sites.append(
                {"name": kind + (f": {words}" if words else ""), "start": start, "end": end, "source": source}
            )
            continue
        name = words or kind
        # Stretches of one domain of TED or InterPro share their name; UniProt's repeats do as well.
        key = (source, name) if source != "UniProt" else (source, f"{name}#{place}")
        entry = grouped.setdefault(key, {"name": name, "kind": kind, "source": source, "stretches": []})
        entry["stretches"].append([start, end])
    domains = list(grouped.values())
    if not domains and ca is not None:
        domains = [
            {
                "name": f"compact domain {domain.number}",
                "kind": "Domain",
                "source": "structure",
                "stretches": [[first + 1, last + 1] for first, last in domain.stretches],
            }
            for domain in compact_domains(ca, plddt)
        ]
    elements = [] if ca is None else secondary_structure(ca, backbone)
    return {
        "domains": _in_lanes(domains),
        "sites": sites,
        "elements": [
            {"kind": e.kind, "number": e.number, "start": e.first + 1, "end": e.last + 1} for e in elements
        ],
    }


def _in_lanes(domains: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each domain the first lane where it fits; what fits in none is left out."""
    ends: list[list[tuple[int, int]]] = []
    placed = []
    order = {"UniProt": 0, "TED": 1, "InterPro": 2}
    for domain in sorted(
        domains, key=lambda d: (order.get(d["source"], 3), -_size(d["stretches"]), d["stretches"][0][0])
    ):
        first, last = min(s[0] for s in domain["stretches"]), max(s[1] for s in domain["stretches"])
        for lane, taken in enumerate(ends):  # noqa: B007
            if all(last < start or first > end for start, end in taken):
                break
        else:
            lane = len(ends)
            if lane == MAX_LANES:
                continue
            ends.append([])
        ends[lane].append((first, last))
        placed.append(domain | {"lane": lane})
    return placed


def _size(stretches: list[list[int]]) -> int:
    return sum(last - first + 1 for first, last in stretches)

"""Reading AlphaFold DB's list, and what counts as the model of a sequence."""

import json
from typing import Any

import pytest

from mutscan.errors import FetchError
from mutscan.fetch.afdb import Model, agree, choose, complete, part_of, read_models, verify
from mutscan.structures import read_bytes
from tests import fake_services as fake
from tests.fake_services import ACCESSION, ISOFORM, SEQUENCE

URL = "https://alphafold.ebi.ac.uk"


def models(*items: dict[str, Any]) -> tuple[Model, ...]:
    return read_models(json.dumps(items).encode())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{}", "no array of models"),
        (b'{"error": "Invalid identifier format."}', r"an error message \(Invalid identifier format"),
        (b'["AF-P04637-F1"]', "no array of models"),
        (b"null", "no array of models"),
        (b"<html>", "a web page"),
    ],
)
def test_no_list(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_models(data)


def test_todays_keys() -> None:
    (model,) = models(fake.prediction(URL))
    assert model == Model(
        name=f"AF-{ACCESSION}-F1",
        accession=ACCESSION,
        fragment=1,
        sequence=SEQUENCE,
        version="6",
        created="2025-08-01",
        url=f"{URL}/files/AF-{ACCESSION}-F1-model_v6.cif",
        first=1,
        last=len(SEQUENCE),
    )


def test_yesterdays_keys() -> None:
    (model,) = models(fake.old_prediction(URL))
    assert (model.name, model.sequence, model.version) == (f"AF-{ACCESSION}-F1", SEQUENCE, "4")
    assert model.url.endswith("model_v4.pdb")


def test_one_element_lists() -> None:
    (model,) = models(
        {"uniprotAccession": [ACCESSION], "sequence": [SEQUENCE], "cifUrl": f"{URL}/files/x.cif"}
    )
    assert (model.accession, model.sequence, model.fragment, model.version) == (
        ACCESSION,
        SEQUENCE,
        None,
        None,
    )
    assert choose((model,), [ACCESSION], SEQUENCE) is model


@pytest.mark.parametrize(
    "item",
    [
        {"modelEntityId": f"AF-{ACCESSION}-F1"},
        {"modelEntityId": f"AF-{ACCESSION}-F1", "bcifUrl": f"{URL}/x.bcif"},
        {"modelEntityId": f"AF-{ACCESSION}-F1", "cifUrl": None, "pdbUrl": ""},
        {"cifUrl": f"{URL}/files/x.cif"},
        {"uniprotAccession": [ACCESSION, "P12345"], "cifUrl": f"{URL}/files/x.cif"},
        fake.prediction(URL, isComplex=True),
    ],
)
def test_entries_of_no_use(item: dict[str, Any]) -> None:
    assert models(item) == ()


def test_isoform_by_id_whatever_the_accession_says() -> None:
    isoform = fake.prediction(URL, ISOFORM, accession=f"{ACCESSION}-2", uniprotAccession=ACCESSION)
    canonical = fake.prediction(URL)
    for items in ([isoform, canonical], [canonical, isoform]):
        found = choose(models(*items), [ACCESSION, f"{ACCESSION}-1"], SEQUENCE)
        assert found is not None
        assert found.name == f"AF-{ACCESSION}-F1"
        found = choose(models(*items), [f"{ACCESSION}-2"], ISOFORM)
        assert found is not None
        assert found.name == f"AF-{ACCESSION}-2-F1"


def test_name_before_version_before_order() -> None:
    isoform = fake.prediction(URL, accession=f"{ACCESSION}-7", version=12)
    items = [isoform, fake.prediction(URL, version=9), fake.prediction(URL, version=10)]
    found = choose(models(*items), [ACCESSION], SEQUENCE)
    assert found is not None
    assert (found.accession, found.version) == (ACCESSION, "10")


@pytest.mark.parametrize(
    "item",
    [
        fake.prediction(URL, accession="P12345"),
        fake.prediction(URL, modelEntityId=f"AF-{ACCESSION}-F2"),
        fake.prediction(URL, ISOFORM, accession=f"{ACCESSION}-2"),
    ],
)
def test_none_of_this_protein(item: dict[str, Any]) -> None:
    assert choose(models(item), [ACCESSION], SEQUENCE) is None


def test_name_without_sequence_is_taken_on_trust_until_the_file_is_read() -> None:
    item = fake.prediction(URL)
    del item["sequence"]
    found = choose(models(item), [ACCESSION], SEQUENCE)
    assert found is not None
    assert found.sequence is None


def test_mismatch_names_the_model() -> None:
    with pytest.raises(FetchError, match=rf"AF-{ACCESSION}-F1 \(version 6\)") as caught:
        choose(models(fake.prediction(URL, "M" + SEQUENCE)), [ACCESSION], SEQUENCE)
    assert (caught.value.code, caught.value.exit_code) == ("structure_mismatch", 5)


def fragments(*, whole: bool) -> list[dict[str, Any]]:
    """F1 and F2 of 40 residues; the sequence they state is their own, or the whole protein's."""
    return [
        fake.prediction(
            URL,
            SEQUENCE if whole else SEQUENCE[first - 1 : first + 39],
            modelEntityId=f"AF-{ACCESSION}-F{number}",
            sequenceStart=first,
            sequenceEnd=first + 39,
        )
        for number, first in ((2, 21), (1, 1))
    ]


@pytest.mark.parametrize("whole", [True, False])
def test_the_first_fragment_of_a_long_protein(whole: bool) -> None:
    items = models(*fragments(whole=whole))
    found = choose(items, [ACCESSION], SEQUENCE)
    assert found is not None
    assert (found.fragment, found.modelled, part_of(found, SEQUENCE)) == (1, SEQUENCE[:40], (1, 40))
    assert part_of(items[0], SEQUENCE) == (21, 60)
    verify(read_bytes(fake.pdb_text(SEQUENCE[:40]).encode(), "x.pdb"), found, [ACCESSION], SEQUENCE)
    with pytest.raises(FetchError, match="40 residues"):
        verify(read_bytes(fake.pdb_text(ISOFORM[:40]).encode(), "x.pdb"), found, [ACCESSION], SEQUENCE)
    with pytest.raises(ValueError, match="cut off: 30 of 40 residues"):
        complete(read_bytes(fake.pdb_text(SEQUENCE[:30]).encode(), "x.pdb"), found)
    # Of another sequence, fragments are as wrong as any model.
    with pytest.raises(FetchError, match="was made from another sequence"):
        choose(items, [ACCESSION], "MW" + SEQUENCE[2:])


def test_a_short_model_alone_is_no_fragment() -> None:
    with pytest.raises(FetchError, match="was made from another sequence"):
        choose(models(fragments(whole=False)[1]), [ACCESSION], SEQUENCE)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("MKT", "MKT", True),
        ("MKT", "MKA", False),
        ("MKT", "MK", False),
        ("MUT", "MCT", True),
        ("MCT", "MXT", True),
        ("MCA", "MXT", False),
        ("", "", True),
    ],
)
def test_agree(first: str, second: str, same: bool) -> None:
    assert agree(first, second) is same
    assert agree(second, first) is same


def test_file_that_ends_early() -> None:
    (model,) = models(fake.prediction(URL))
    complete(read_bytes(fake.pdb_text(SEQUENCE).encode(), "x.pdb"), model)
    with pytest.raises(ValueError, match="cut off: 30 of 60 residues"):
        complete(read_bytes(fake.pdb_text(SEQUENCE[:30]).encode(), "x.pdb"), model)

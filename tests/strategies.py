"""Texts and tables as people paste them, and as nobody should: strategies for hypothesis."""

import csv
import io

import hypothesis.strategies as st

from mutscan.residues import STANDARD, THREE_LETTER

# Letters whose upper or lower case is an ASCII letter, digits that int() reads, and what pasted text hides.
TRICKY = "ſıKİßµª٣１Ａ－＝Δ∆–—’“”…·\u00a0\u200b\u200e\u202e\u2028\ufeff\x00\x0b\x0c\x1b\x85\r\n\t\"'"
ALPHABET = st.one_of(
    st.sampled_from(STANDARD + "XBZUO*"),
    st.sampled_from("0123456789"),
    st.sampled_from("_.:;/+()[]=>?-^,|#% "),
    st.sampled_from("abcdefghiklmnpqrstvwy"),
    st.sampled_from(TRICKY),
    st.characters(),
)

REFERENCES = st.sampled_from([
    "", "", "", "P04637:", "P04637-2:", "p04637:", "sp|P04637|P53_HUMAN:", "P53_HUMAN:", "NP_000537.3:",
    "TP53:",
    "NM_000546.6(TP53):c.524G>A ", "ENSP00000269305.4:", "BRCA2:", "A:", "B:", "T4L:", "1TUP:", "LRG_321p1:",
    "17:7675088 C>T ENSP00000269305.4:", "chr17:", "P04637 ", "P04637/",
])  # fmt: skip
JOINERS = st.sampled_from([";", ":", "/", "+", ",", "_", " ", ";;", "(;)", "];["])
NUMBERS = st.one_of(
    st.integers(1, 60).map(str),
    st.integers(-3, 5000).map(str),
    st.sampled_from(["0", "007", "1e3", "27A", "27a", "99999999999", "٣"]),
)
RESIDUES = st.one_of(
    st.sampled_from(STANDARD),
    st.sampled_from([*THREE_LETTER.values()]).flatmap(
        lambda code: st.sampled_from([code, code.title(), code.lower()])
    ),
    st.sampled_from(["X", "*", "Ter", "Xaa", "U", "Sec", "", "s", "RA"]),
)
TAILS = st.one_of(
    RESIDUES,
    st.sampled_from([
        "=", "del", "dup", "fs", "fs*12", "ProfsTer23", "ext-5", "?", "delinsA", "insA", "insAla", "DEL",
        "delinsX",
    ]),
)  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> str:
    head = draw(RESIDUES) + draw(NUMBERS)
    if draw(st.integers(0, 4)) == 0:
        head += "_" + draw(RESIDUES) + draw(NUMBERS)
    return head + draw(TAILS)


@st.composite
def variant_texts(draw: st.DrawFn) -> str:
    """Variants of all spellings, some with a few characters wrong."""
    several = draw(st.lists(changes(), min_size=1, max_size=4))
    body = several[0] + "".join(draw(JOINERS) + one for one in several[1:])
    around = draw(st.sampled_from(["{}", "{}", "p.{}", "p.({})", "p.[{}]", "({})", " {} ", "P.{}", "c.{}"]))
    text = draw(REFERENCES) + around.format(body)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3]))):
        place = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 1))
        text = text[:place] + draw(st.one_of(st.just(""), ALPHABET)) + text[place + cut :]
    return text


anything = st.one_of(variant_texts(), st.text(max_size=60), st.text(ALPHABET, max_size=30))

HEADERS = st.sampled_from([
    "variant", "Variant", "variants", "mutant", "HGVSp", "HGVSp_Short", "Protein change", "Name", "protein",
    "gene",
    "uniprot", "score", "", "note", "two\nlines", "status", "=x", "id", "hgvs_pro", "accession", "wild_type",
])  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Tables as programs write them, and some that are damaged."""
    width = draw(st.integers(1, 5))
    header = draw(st.lists(HEADERS, min_size=width, max_size=width))
    cell = st.one_of(
        anything, st.sampled_from(["", "NA", "TP53", "P04637", "-1.5", "=1+1", "\n=1", "a\r\nb", "#x"])
    )
    rows = draw(st.lists(st.lists(cell, min_size=0, max_size=width + 1), max_size=6))
    delimiter = draw(st.sampled_from([",", "\t", ";"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    buffer = io.StringIO(newline="")
    if draw(st.booleans()):
        buffer.write(
            draw(st.sampled_from([f"sep={delimiter}", "# made by hand", "#version 2.4", "", "\ufeff"])) + end
        )
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting, escapechar="\\")
    writer.writerow(header)
    writer.writerows(rows)
    data = buffer.getvalue().encode(
        draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"])), "replace"
    )
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.binary(max_size=3)) + data[place + draw(st.integers(0, 3)) :]
    return data

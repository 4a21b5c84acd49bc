"""From what people write to a `Variant`: short form, HGVS, reference prefixes, several changes in one mutant.

Nothing is guessed: text that reads in two ways is refused with the spelling that reads in one. All
patterns are anchored and without nested repeats, so that time grows with the length of the text only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

from mutscan.errors import VariantError
from mutscan.residues import AMBIGUOUS
from mutscan.variants.variant import (
    NOT_STATED,
    THREE_LETTER_NAMES,
    InFrameIndel,
    Substitution,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_TEXT: Final = 100_000
"""Characters; longer lines are not variants."""

_JOINERS: Final = ";:/+"
_STOP: Final = "*"
_ONE_LETTER: Final[dict[str, str]] = {
    **{three.upper(): one for one, three in THREE_LETTER_NAMES.items()},
    "TER": _STOP,
    "STOP": _STOP,
}
_CLOSING: Final = {"(": ")", "[": "]"}
_NUCLEOTIDES: Final = frozenset("acgtun")
_EXPECTED: Final = (
    "expected a substitution such as R175H or p.Arg175His, or an in-frame indel such as p.Lys120del"
)

# UniProt (isoform, version), RefSeq (with ClinVar's gene), Ensembl, LRG, CCDS, UniParc, FASTA-style ids.
# None of them can be a substitution.
_ACCESSION: Final = re.compile(
    r"""(?: [OPQ][0-9][A-Z0-9]{3}[0-9] (?:-[0-9]{1,3})? (?:\.[0-9]{1,4})?
        |   [A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2} (?:-[0-9]{1,3})? (?:\.[0-9]{1,4})?
        |   [ANWXYZ][CGMPRTW]_[0-9]{4,12} (?:\.[0-9]{1,3})? (?:\([A-Z0-9-]{1,30}\))?
        |   ENS[A-Z]{0,6}[PTG][0-9]{6,15} (?:\.[0-9]{1,3})?
        |   LRG_[0-9]{1,5}(?:[pt][0-9]{1,3})? | CCDS[0-9]{1,8}(?:\.[0-9]{1,3})? | UPI[0-9A-F]{10}
        |   (?:sp|tr)\|[A-Z0-9-]{6,15}\|[A-Z0-9_]{0,20}
        )""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.()|-]{0,99}+", re.ASCII)
_DNA: Final = re.compile(r"[cgmnro]\.", re.ASCII)
_GENOMIC: Final = re.compile(r"[^\s:]++:[0-9]++\s++[A-Z*]++>[A-Z*,.]++\s++(\S.*+)", re.IGNORECASE | re.ASCII)
"""A line of a VCF file before the variant: ``17:7675088 C>T ENSP00000269305.4:p.Arg175His``."""
_UNCHANGED: Final = ("=", "_wt", "_sy")
"""The wild type, and Enrich2's words for it and for a synonymous variant."""
_CLINVAR: Final = re.compile(r"([^\s:]++):[cgmnr]\.\S++\s++\((p\.\S++)")
_HEAD: Final = re.compile(
    r"(\*|[A-Za-z]++)([0-9]++)(?:_(\*|[A-Za-z]++)([0-9]++))?+(.*+)", re.ASCII | re.DOTALL
)
_FILE_HEAD: Final = re.compile(
    r"(\*|[A-Za-z]++)(-?[0-9]++)(?:([A-Za-z]?)_(\*|[A-Za-z]++)(-?[0-9]++))?+(.*+)", re.ASCII | re.DOTALL
)
"""As `_HEAD` in the numbers of a structure file; the last insertion code is still in what follows."""
_VCF: Final = re.compile(
    r"""(?:chr)?(?:[0-9]{1,2}|[XYM]|MT|N[CTW]_[0-9]{6,9}\.[0-9]{1,2}) [\s:-]++ [0-9]++ [\s:-]++
        (?:[^\s:]++\s++)?+ [ACGTN]++ (?:[\s:/>-]|->)++ [ACGTN,.*]++ (?:\s.*+)?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII | re.DOTALL,
)
"""A change of DNA by its place in the genome: a line of a VCF file, or ``17-7675088-C-T``."""
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*"
_BELOW_ZERO: Final = re.compile(r"(?:\*|[A-Za-z]{1,3})(-[0-9]+)[A-Za-z*=]", re.ASCII)
_FRAMESHIFT: Final = re.compile(r"(?:[A-Z]|\*|[A-Za-z]{3})?fs", re.ASCII)
_EXTENSION: Final = re.compile(r"(?:[A-Z]|\*|[A-Za-z]{3})?ext", re.ASCII)
_EDIT: Final = re.compile(r"dup|delins|del|ins", re.ASCII)
_SLIP: Final = re.compile(
    r"""[A-Za-z][0-9]+[A-Za-z]{0,3} | [0-9]+[A-Za-z]?
    |   [A-Za-z]{2}[0-9]+[A-Za-z] | [A-Za-z]{3}[0-9]+[A-Za-z]{2,3}
    |   [A-Za-z]-[0-9]+[A-Za-z]{1,2} | (?:[ACDEFGHIKLMNPQRSTVWY][0-9]+){2,}[ACDEFGHIKLMNPQRSTVWY]""",
    re.ASCII | re.VERBOSE,
)
"""A misspelled substitution (``R175``, ``175H``, ``RA175H``, ``Arq175His``, ``K-4A``), or two run into one
(``I3E9K``)."""


def parse_variant(text: str, numbers: Mapping[str, int] | None = None) -> Variant:
    """Read one variant: ``R175H``, ``p.Arg175His``, ``P04637:p.R175H``, ``R175H;R248Q``, ``p.Lys120del``.

    Three-letter codes are read in any case. One-letter codes are upper case; lower case is read for a
    substitution unless it could as well be a change of DNA (``g12c``). Several substitutions in one mutant
    are joined by ``;`` ``:`` ``/`` or ``+``, also as HGVS alleles (``p.[Arg175His;Arg248Gln]``), of which
    unchanged residues (``Gly3=``) are left out. In-frame deletions, insertions, duplications and delins
    stand alone.

    Parameters
    ----------
    text : str
        One variant. A reference prefix is read and dropped, see `split_reference`.
    numbers : mapping of str to int, optional
        Position (1-based) of each residue number of a structure file, in the order of positions. The text
        is then written in these numbers, with insertion codes: ``S27aA`` exchanges residue ``27A``.

    Returns
    -------
    Variant
        As written, but for `numbers`: that it fits a wild type is for `Variant.check` to say.

    Raises
    ------
    VariantError
        ``bad_variant`` for what cannot be read; ``synonymous``; ``unsupported_variant`` for stop,
        frameshift, loss of start, extension, DNA, uncertain changes and residues that are none of the 20;
        ``position_out_of_range`` for position 0 and absurd ones, and for numbers that `numbers` lacks.

    Examples
    --------
    >>> str(parse_variant("P04637:p.[Arg248Gln;Arg175His]"))
    'R175H;R248Q'
    >>> str(parse_variant("S27aA", {"27": 22, "27A": 23}))
    'S23A'
    """
    _, rest = split_reference(text, numbers)
    return _Reader(text, numbers).variant(rest)


def split_reference(text: str, numbers: Mapping[str, int] | None = None) -> tuple[str | None, str]:
    """Take the reference prefix off a variant.

    ``:`` separates a reference from its variant, and joins substitutions: what stands before it is a
    reference when it is a database accession, or when it cannot be a substitution. Before ``/`` or a
    blank, only an accession is a reference.

    Parameters
    ----------
    text : str
        ``P04637:p.R175H``, ``TP53:R175H``, ``NP_000537.3:p.Arg175His``, ClinVar's
        ``NM_000546.6(TP53):c.524G>A (p.Arg175His)``, or any but the last after its place in the genome:
        ``17:7675088 C>T ENSP00000269305.4:p.Arg175His``.
    numbers : mapping of str to int, optional
        As of `parse_variant`.

    Returns
    -------
    reference : str or None
        As written; of ``sp|P04637|P53_HUMAN`` the accession.
    rest : str
        The variant without it.

    Raises
    ------
    VariantError
        ``bad_variant`` when the text names two references, or when the prefix reads as reference and as
        substitution (``T4L:p.A42K``); ``unsupported_variant`` for a change of DNA by its place in the genome.

    Examples
    --------
    >>> split_reference("P04637:p.R175H"), split_reference("R175H:R248Q")
    (('P04637', 'p.R175H'), (None, 'R175H:R248Q'))
    """
    reader = _Reader(text, numbers)
    text = text.strip()
    if _VCF.fullmatch(text):
        reader.unsupported(
            "is a change of DNA by its place in the genome; 'mutscan batch' reads VCF files that Ensembl VEP "
            "has annotated"
        )
    clinvar = _CLINVAR.fullmatch(text)
    if clinvar and clinvar[2].endswith(")"):
        return clinvar[1], clinvar[2][:-1]
    genomic = _GENOMIC.fullmatch(text)
    if genomic:
        text = genomic[1]
    found: str | None = None
    kept: list[str] = []
    begin = 0
    for match in re.finditer(f"[{_JOINERS}]|\\Z", text):
        piece, joiner = text[begin : match.start()].strip(), match[0]
        begin = match.end()
        words = piece.split(None, 1)
        if len(words) == 2 and _ACCESSION.fullmatch(words[0]):
            reference, rest = words[0], words[1] + joiner
        elif joiner in (":", "/") and reader.is_reference(piece, joiner, text[begin : begin + 8].lstrip()):
            reference, rest = piece, ""
        else:
            kept.append(piece + joiner)
            continue
        if found is None and kept:
            reader.refuse(f"{_quote(reference)} names a protein, and stands after a change; put it first")
        if found not in (None, reference):
            reader.refuse(f"names two proteins, {found} and {reference}; one variant belongs to one protein")
        found = reference
        kept.append(rest)
    if found is not None and "|" in found:
        found = found.split("|")[1]
    return found, "".join(kept)


class _Reader:
    """Reads the parts of one text, and quotes the text in errors."""

    def __init__(self, text: str, numbers: Mapping[str, int] | None = None) -> None:
        self.text = text
        self.numbers = numbers
        if len(text) > LONGEST_TEXT:
            self.refuse(
                f"{len(text)} characters are not a variant; {_EXPECTED}; full sequences go in as FASTA"
            )

    def refuse(self, reason: str, code: str = "bad_variant") -> NoReturn:
        raise VariantError(f"{_quote(self.text)}: {reason}", code=code)

    def unsupported(self, what: str) -> NoReturn:
        raise VariantError(
            f"{_quote(self.text)} {what}; only substitutions and in-frame indels are scored",
            code="unsupported_variant",
        )

    # --- reference ---------------------------------------------------------------------------------

    def is_reference(self, name: str, joiner: str, after: str) -> bool:
        """Whether `name` before `joiner` names a protein; `after` is the beginning of what follows."""
        if _ACCESSION.fullmatch(name):
            return True
        if joiner == "/" or not _NAME.fullmatch(name) or name[:2] in ("p.", "P.") or _DNA.match(name):
            return False
        explicit = after[:2] in ("p.", "P.")
        if self.reads_as_change(name):
            if explicit:
                self.refuse(
                    f"{name!r} reads as the name of a protein and as a change; write ';' between changes, "
                    "or leave the name out"
                )
            return False
        if explicit or _DNA.match(after):
            return True
        # A substitution with a slip of the pen is not to pass for the name of a protein.
        if _SLIP.fullmatch(name) or any(map(self.reads_as_change, name.split("_"))):
            self.refuse(
                f"{name!r} before ':' is neither a substitution nor an accession; if it names the "
                f"protein, write '{name}:p.' and then the change"
            )
        return True

    # --- the whole ---------------------------------------------------------------------------------

    def variant(self, body: str) -> Variant:
        body = self.unwrap(body.replace("%3D", "=").replace("%3d", "="))  # VEP writes = so
        if not body:
            self.refuse(f"nothing to read; {_EXPECTED}")
        if _DNA.match(body):
            self.unsupported("is a change of DNA or RNA; give the change of the protein, such as p.Arg175His")
        if "(;)" in body or "];[" in body:
            self.unsupported("describes two copies of a gene, thus two proteins; write one per line")
        items = [self.unwrap(item) for item in re.split(f"[{_JOINERS}]", body)]
        changes = [(item, self.change(item)) for item in items]
        # MaveDB's alleles list what stays the same too: p.[Ala2Cys;Gly3=], p.[Ala2Cys;=].
        changes = [one for one in changes if not one[0].endswith("=")] or changes[:1]
        if len(changes) == 1:
            change = changes[0][1]
            if change is None:
                raise VariantError(
                    f"{_quote(self.text)} is synonymous: no residue changes, there is nothing to score",
                    code="synonymous",
                )
            return Variant(indel=change) if isinstance(change, InFrameIndel) else Variant(change)
        at: dict[int, Substitution] = {}
        for item, change in changes:
            if change is None:
                self.refuse(f"{_quote(item)} changes nothing; leave it out")
            if isinstance(change, InFrameIndel):
                self.unsupported(f"joins an indel, {_quote(item)}, with another change")
            for one in change:
                other = at.setdefault(one.position, one)
                if other is not one:
                    self.refuse(
                        f"two substitutions at position {one.position}, {other} and {one}; one mutant holds "
                        "one residue there: remove one, or write each on its own line"
                    )
        return Variant(tuple(at.values()))

    def unwrap(self, text: str) -> str:
        """Take ``p.``, brackets and blanks off: ``p.(Arg175His)`` -> ``Arg175His``."""
        text = text.strip()
        for _ in range(4):  # p.[(p.Arg175His)] and no more
            if text[:2] in ("p.", "P."):
                text = text[2:]
            elif text[:1] in _CLOSING and text.find(_CLOSING[text[0]]) == len(text) - 1:
                text = text[1:-1].strip()
        return text

    # --- one change --------------------------------------------------------------------------------

    def head(self, item: str) -> tuple[str, str, str | None, str | None, str] | None:
        """Letters and number of a change, those of a range's end, and what follows; None without them."""
        if self.numbers is None:
            match = _HEAD.fullmatch(item)
            return None if match is None else (match[1], match[2], match[3], match[4], match[5])
        match = _FILE_HEAD.fullmatch(item)
        if match is None:
            return None
        letters, number, insertion, letters_2, number_2, tail = match.groups()
        last, tail = _insertion_code(tail)
        if letters_2 is None:
            return letters, number + last, None, None, tail
        return letters, number + insertion, letters_2, number_2 + last, tail

    def reads_as_change(self, text: str) -> bool:
        """Whether a text is spelled as one change."""
        head = self.head(text)
        if head is None:
            return False
        letters, _, letters_2, _, tail = head
        if any(len(code) > 1 and code.upper() not in _ONE_LETTER for code in (letters, letters_2 or "*")):
            return False
        return _is_edit(tail) or (letters_2 is None and _is_residue(tail))

    def change(self, item: str) -> tuple[Substitution, ...] | InFrameIndel | None:
        """Read one item: substitutions, an indel, or None when it is synonymous."""
        if item in _UNCHANGED:
            return None
        if item in ("0", "0?", "?"):
            self.unsupported("makes no protein, or an unknown one")
        head = self.head(item)
        if head is None:
            self.refuse_unread(item)
        letters, digits, letters_2, digits_2, tail = head
        if _FRAMESHIFT.match(tail):
            self.unsupported("is a frameshift")
        if tail == "_splice":  # of MAF files: p.X125_splice
            self.unsupported("is a change of splicing")
        if _EXTENSION.match(tail):
            self.unsupported("is an extension")
        if "?" in tail or "^" in tail:
            self.unsupported("does not say what the protein becomes")
        edit = _EDIT.match(tail)
        if edit:
            residues, count = self.range(item, letters, digits, letters_2 or letters, digits_2 or digits)
            if "*" in residues:
                self.unsupported("reaches into the stop codon")
            three = len(letters) > 1
            stated, inserted = self.edited(edit[0], tail[edit.end() :], three=three)
            return self.indel(item, edit[0], self.position(digits), residues, count, stated, inserted)
        if letters_2 is not None:
            self.refuse(f"a range goes with del, dup, ins or delins; read {_quote(tail)} after it")
        if tail == "=":
            self.residue(letters)
            self.position(digits)
            return None
        return self.substitution(letters, digits, tail)

    def substitution(self, letters: str, digits: str, tail: str) -> tuple[Substitution, ...] | None:
        if not tail:
            if letters[:3].lower() == "del":
                self.refuse("a deletion is written F508del, with residue and position first")
            self.refuse(f"does not say what {letters}{digits} becomes; {_EXPECTED}")
        if not tail.isascii():  # upper() turns some foreign letters into S, I and K
            self.refuse_tail(f"{letters}{digits}", tail)
        if tail == "x":  # a stop, as some write it
            tail = "X"
        if len(letters) == len(tail) == 1 and _is_code(tail) and (letters + tail) != (letters + tail).upper():
            upper = f"{letters}{digits}{tail}".upper()
            if letters.isupper() or tail.isupper():
                self.refuse(f"mixes upper and lower case; write {upper}")
            if {letters, tail} <= _NUCLEOTIDES:
                self.refuse(f"in lower case this could be a change of DNA; write {upper} for the protein")
            letters, tail = letters.upper(), tail.upper()
        wild_type = self.residue(letters)
        position = self.position(digits)
        if tail[0] in "[(":
            self.unsupported("is a repeat of unknown place, or an uncertain residue")
        if not _is_residue(tail):
            self.refuse_tail(f"{letters}{digits}", tail)
        mutant = self.residue(tail)
        if mutant == wild_type:
            return None
        if wild_type == _STOP:
            self.unsupported("removes the stop codon (an extension)")
        if mutant == _STOP:
            self.unsupported("is a stop")
        if mutant in AMBIGUOUS:
            also = "a stop or unknown" if mutant == "X" else THREE_LETTER_NAMES[mutant]
            self.unsupported(f"makes the residue {mutant} ({also}), none of the 20 standard ones")
        return (Substitution(position, wild_type, mutant),)

    def range(self, item: str, letters: str, digits: str, letters_2: str, digits_2: str) -> tuple[str, int]:
        """First and last residue of a range, and how many there are; one residue is its own range."""
        if (len(letters) > 1) != (len(letters_2) > 1) and _STOP not in (letters, letters_2):
            self.refuse("mixes one- and three-letter codes; write all in one of them")
        residues = self.residue(letters) + self.residue(letters_2)
        start, end = self.position(digits), self.position(digits_2)
        named_once = letters_2 is letters and digits_2 is digits
        if start > end or (start == end and not named_once):
            self.refuse(
                f"the range {_quote(item)} does not run forward; expected such as K120_R122del, K120del"
            )
        if end - start >= LONGEST_TEXT:
            self.refuse("no protein is as long as this range", "position_out_of_range")
        return residues, end - start + 1

    def edited(self, edit: str, text: str, *, three: bool) -> tuple[str, str]:
        """Residues stated as deleted or duplicated, and as inserted, after the word `edit`."""
        if edit in ("ins", "delins"):
            return "", self.residues(text, three=three)
        step = 3 if three else 1
        place = next((i for i in range(0, len(text), step) if text[i : i + 3] == "ins"), None)
        if edit == "dup" or place is None:
            return (self.residues(text, three=three) if text else ""), ""
        return self.residues(text[:place], three=three), self.residues(text[place + 3 :], three=three)

    def indel(
        self, item: str, edit: str, start: int, ends: str, count: int, stated: str, inserted: str
    ) -> tuple[Substitution, ...] | InFrameIndel | None:
        masked = ends[0] if count == 1 else ends[0] + NOT_STATED * (count - 2) + ends[1]
        if stated and (len(stated) != count or stated[0] != ends[0] or stated[-1] != ends[-1]):
            self.refuse(
                f"names {count} residue(s) by position and {_quote(stated)} by letter; they must agree"
            )
        residues = stated or masked
        end = start + count - 1
        if inserted:
            if _STOP in inserted:
                self.unsupported("inserts a stop")
            foreign = next((letter for letter in inserted if letter in AMBIGUOUS), None)
            if foreign:
                self.unsupported(f"inserts {foreign}, which is none of the 20 standard residues")
        if edit == "dup":
            return InFrameIndel(end + 1, end, "", residues, duplication=True)
        if edit == "ins":
            if count != 2:
                self.refuse("an insertion goes between two neighbours; expected such as K120_S121insA")
            return InFrameIndel(end, start, "", inserted, ends)
        if len(inserted) == count and NOT_STATED not in residues:
            changed = [
                (start + i, a, b) for i, (a, b) in enumerate(zip(residues, inserted, strict=True)) if a != b
            ]
            return tuple(Substitution(*one) for one in changed) or None
        return InFrameIndel(start, end, residues, inserted)

    # --- letters and numbers -----------------------------------------------------------------------

    def residue(self, code: str) -> str:
        """One letter of a one- or three-letter code; ``*`` for a stop."""
        if code == _STOP or (len(code) == 1 and code.isupper()):
            return code
        if len(code) == 1:
            self.refuse(f"one-letter codes are upper case; write {code.upper()} for {code}")
        letter = _ONE_LETTER.get(code.upper())
        if letter is None:
            chain = "; a chain letter does not belong here (R175H, not RA175H)" if len(code) == 2 else ""
            self.refuse(f"{_quote(code)} is not a residue{chain}; {_EXPECTED}")
        return letter

    def residues(self, text: str, *, three: bool) -> str:
        """Read a stretch of residues, all in three-letter or all in one-letter codes."""
        if not text:
            self.refuse("does not say which residues are inserted; expected such as K120_S121insA")
        if not re.fullmatch(r"[A-Za-z*]++", text, re.ASCII):
            self.unsupported(f"names residues as {_quote(text)}, unknown or uncertain ones")
        if three:
            text = text.replace(_STOP, "Ter")
            if len(text) % 3:
                self.refuse(f"{_quote(text)} are not three-letter codes, as before in the text")
            return "".join(self.residue(text[i : i + 3]) for i in range(0, len(text), 3))
        text = text.replace("Ter", _STOP)
        if text != text.upper():
            self.refuse(f"{_quote(text)} are not one-letter codes in upper case, as before in the text")
        return text

    def position(self, digits: str) -> int:
        """Position of a number as written."""
        if self.numbers is not None:
            return self.placed(digits, self.numbers)
        digits = digits.lstrip("0")
        if not digits:
            self.refuse("position 0; positions count from 1, the first residue", "position_out_of_range")
        if len(digits) > 9:
            self.refuse(
                f"a position of {len(digits)} digits is past the end of any protein", "position_out_of_range"
            )
        return int(digits)

    def placed(self, number: str, numbers: Mapping[str, int]) -> int:
        sign, digits, code = re.fullmatch(r"(-?)0*([0-9]+)([A-Za-z]?)", number, re.ASCII).groups()  # type: ignore[union-attr]
        number = sign + digits + code
        found = numbers.get(number, numbers.get(number.upper()))
        if found is None:
            named = [*numbers]
            there = f"they go from {named[0]} to {named[-1]}" if named else "it has none"
            self.refuse(
                f"{number} is no residue number of the structure file; {there}. Leave out --numbering author "
                "to count on the sequence",
                "position_out_of_range",
            )
        return found

    # --- what went wrong ---------------------------------------------------------------------------

    def refuse_tail(self, head: str, tail: str) -> NoReturn:
        if "," in tail or "_" in tail or any(map(str.isspace, tail)):
            self.refuse(
                f"read {_quote(tail)} after {head}; write several substitutions of one mutant with ';' "
                "(R175H;R248Q), and one mutant per line"
            )
        if tail[:3].lower() in ("del", "ins", "dup"):
            self.refuse(f"read {_quote(tail)} after {head}; write del, ins, dup and delins in lower case")
        code, rest = _insertion_code(tail)
        if code and _is_residue(rest):
            self.refuse(
                f"read {_quote(tail)} after {head}, expected one residue; if {head.lstrip(_LETTERS)}{code} "
                "is a residue number of a structure file with its insertion code, use --numbering author and "
                f"write {head}{code.lower()}{rest}"
            )
        self.refuse(f"read {_quote(tail)} after {head}, which is not a residue; {_EXPECTED}")

    def refuse_unread(self, item: str) -> NoReturn:
        if not item:
            self.refuse(
                "nothing between two joiners; expected substitutions joined by ';', such as R175H;R248Q"
            )
        if item[0] in _CLOSING and _CLOSING[item[0]] in item:
            self.unsupported("puts an uncertain place in brackets")
        if set(item) & set("[]()"):
            self.refuse(f"brackets do not match; {_EXPECTED}")
        below = _BELOW_ZERO.match(item)
        if below:
            self.refuse(
                f"position {below[1]}: positions count from 1 on the sequence; for a structure file's own "
                "numbers use --numbering author"
            )
        if item[0] in "Δ∆" or item[:3].lower() == "del":
            self.refuse("a deletion is written F508del, with residue and position first")
        if item[0].isdigit():
            self.refuse(f"the wild-type residue is missing before the position; {_EXPECTED}")
        if len(item) >= 20 and item.isalpha():
            self.refuse(f"looks like a sequence; {_EXPECTED}; give full mutant sequences as FASTA")
        self.refuse(_EXPECTED)


def _is_code(text: str) -> bool:
    return text == _STOP or (
        text.isascii() and text.isalpha() and (len(text) in (1, 3) or text.upper() == "STOP")
    )


def _is_residue(tail: str) -> bool:
    return _is_code(tail) and (len(tail) == 1 or tail.upper() in _ONE_LETTER)


def _is_edit(tail: str) -> bool:
    return any(kind.match(tail) for kind in (_EDIT, _FRAMESHIFT, _EXTENSION))


def _insertion_code(tail: str) -> tuple[str, str]:
    """Split the insertion code off what follows a number; empty where the text reads without one."""
    code, rest = tail[:1], tail[1:]
    if not (code.isascii() and code.isalpha()) or _is_residue(tail) or _is_edit(tail):
        return "", tail
    return (code, rest) if rest == "=" or _is_residue(rest) or _is_edit(rest) else ("", tail)


def _quote(text: str) -> str:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return f"'{shown}'" if shown.isprintable() and "'" not in shown else repr(shown)

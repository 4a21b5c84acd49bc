"""From residues to token numbers, for the two families of encoders.

Both vocabularies hold one token per residue, so a table of 256 entries is all there is to
tokenising; it is filled once from the checkpoint's own vocabulary and checked there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import CheckpointError
from mutscan.files import read_json, replacing, write_json, write_text
from mutscan.residues import AMBIGUOUS, STANDARD, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

ESM_VOCABULARY: Final[tuple[str, ...]] = (
    "<cls>", "<pad>", "<eos>", "<unk>",
    *"LAGVSERTIDPKQNFYMHWCXBUZO.-",
    "<null_1>", "<mask>",
)  # fmt: skip
"""The 33 tokens of ESM-2 in order; used where a checkpoint has no vocab.txt."""

TOKENIZER_FILES: Final = (
    "spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt",
)  # fmt: skip
"""Files that transformers' tokenizers are read from."""

SENTENCEPIECE_SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"
"""How sentencepiece writes the space before a residue."""

_STRIPPED: Final = str.maketrans("", "", "-. \t\r\n\f\v")


def clean(sequence: str) -> str:
    """Prepare a sequence for an encoder; the embedding has one row for each letter left.

    Gaps, white space and a trailing ``*`` go, letters become upper case, and what is none of
    the 20 standard residues (``U Z O B J``) becomes ``X`` (ProtT5's own rule; kept for ESM too).

    Raises
    ------
    ValueError
        If nothing is left, or for a character that is no residue.

    Examples
    --------
    >>> clean("mkt-u*")
    'MKTX'
    """
    text = sequence.translate(_STRIPPED).rstrip("*").upper()
    if not text:
        raise ValueError("cannot embed an empty sequence")
    for letter in set(text):
        if letter in AMBIGUOUS:
            text = text.replace(letter, UNKNOWN)
        elif letter not in STANDARD:
            raise ValueError(f"character {letter!r} at {text.index(letter) + 1} is not a residue")
    return text


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of a family of encoders: of each residue, and before and behind a protein.

    Parameters
    ----------
    ids : int array, shape (256,)
        Token number by character code, -1 where there is none.
    before, behind : tuple of int
        Tokens round the residues: ESM ``<cls>`` ... ``<eos>``, T5 only ``</s>`` behind.
    pad : int
    """

    ids: NDArray[np.int64]
    before: tuple[int, ...]
    behind: tuple[int, ...]
    pad: int

    def encode(self, sequence: str) -> NDArray[np.int64]:
        """Token numbers of a clean sequence of L residues, shape (len(before) + L + len(behind),)."""
        residues = self.ids[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]
        return np.concatenate((np.array(self.before, np.int64), residues, np.array(self.behind, np.int64)))


def _table(ids: Mapping[str, int], where: Path) -> NDArray[np.int64]:
    missing = [letter for letter in STANDARD + UNKNOWN if letter not in ids]
    if missing:
        raise CheckpointError(
            f"{where}: the vocabulary has no token for {' '.join(missing)}; expected one for each of the "
            "20 standard residues and X. Is this a protein encoder?"
        )
    table = np.full(256, -1, dtype=np.int64)
    for letter in STANDARD + UNKNOWN:
        table[ord(letter)] = ids[letter]
    return table


def esm_vocabulary(directory: Path) -> tuple[str, ...]:
    """Read the tokens of an ESM checkpoint in order: its vocab.txt, else those of ESM-2."""
    path = directory / "vocab.txt"
    if not path.is_file():
        return ESM_VOCABULARY
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())


def esm_tokens(directory: Path) -> Tokens:
    """Tokens of an ESM checkpoint: its vocab.txt, else the vocabulary of ESM-2."""
    path = directory / "vocab.txt"
    words = esm_vocabulary(directory)
    ids = {word: number for number, word in enumerate(words)}
    missing = [word for word in ("<cls>", "<pad>", "<eos>") if word not in ids]
    if missing:
        raise CheckpointError(f"{path}: no {', '.join(missing)}; expected the vocabulary of an ESM model")
    return Tokens(_table(ids, path), (ids["<cls>"],), (ids["<eos>"],), ids["<pad>"])


def t5_tokens(directory: Path) -> Tokens:
    """Tokens of a ProtT5 checkpoint, from its sentencepiece model or its tokenizer.json.

    ProtT5 reads residues separated by spaces, so the token of a residue is that of ``▁A``
    (a space and the letter), and ``</s>`` ends the protein.
    """
    path = directory / "spiece.model"
    if not path.is_file():
        return _t5_tokens_from_json(directory / "tokenizer.json")
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.load(str(path))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not a sentencepiece model, or damaged; fetch the encoder again"
        ) from error
    ids = {}
    for letter in STANDARD + UNKNOWN:
        found = pieces.encode(letter)
        if len(found) == 1 and found[0] != pieces.unk_id():
            ids[letter] = int(found[0])
    table = _table(ids, path)
    # Unigram models may join or split pieces in context; a protein must stay one token per residue.
    spaced = pieces.encode(" ".join(STANDARD + UNKNOWN))
    if list(spaced) != [ids[letter] for letter in STANDARD + UNKNOWN]:
        raise CheckpointError(
            f"{path}: spaced residues do not become one token each; expected ProtT5's model"
        )
    pad = pieces.pad_id() if pieces.pad_id() >= 0 else 0
    return Tokens(table, (), (pieces.eos_id(),), pad)


def _t5_tokens_from_json(path: Path) -> Tokens:
    if not path.is_file():
        raise CheckpointError(
            f"{path.parent}: neither spiece.model nor tokenizer.json; a T5 encoder needs its vocabulary there"
        )
    try:
        document = read_json(path)
        listed = document["model"]["vocab"]
        words = [entry[0] for entry in listed]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a unigram tokenizer; fetch the encoder again"
        ) from error
    numbers = {word: number for number, word in enumerate(words)}
    ids = {
        letter: numbers[SENTENCEPIECE_SPACE + letter]
        for letter in STANDARD + UNKNOWN
        if SENTENCEPIECE_SPACE + letter in numbers
    }
    table = _table(ids, path)
    if "</s>" not in numbers or "<pad>" not in numbers:
        raise CheckpointError(f"{path}: no </s> or no <pad>; expected the vocabulary of a T5 model")
    return Tokens(table, (), (numbers["</s>"],), numbers["<pad>"])


def write_tokenizer(folder: Path, *, window: int | None = None, origin: Path | None = None) -> None:
    """Write the files from which transformers' ``AutoTokenizer`` makes the tokenizer of an encoder.

    Parameters
    ----------
    folder : Path
        Of the encoder.
    window : int, optional
        Longest sequence an ESM encoder takes, residues. If `origin` has no vocabulary, ESM-2's is written.
    origin : Path, optional
        The encoder it was trained from; its files are copied.
    """
    for name in TOKENIZER_FILES:
        if origin is not None and (origin / name).is_file():
            with replacing(folder / name) as temporary:
                shutil.copyfile(origin / name, temporary)
    if window is None or (origin is not None and (origin / "vocab.txt").is_file()):
        return
    write_text(folder / "vocab.txt", "\n".join(ESM_VOCABULARY) + "\n")
    settings = {
        "tokenizer_class": "EsmTokenizer",
        "model_max_length": window + 2,  # with <cls> and <eos>
        "cls_token": "<cls>",
        "eos_token": "<eos>",
        "mask_token": "<mask>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    write_json(folder / "tokenizer_config.json", settings)

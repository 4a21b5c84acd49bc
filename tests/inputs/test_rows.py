import pickle

import pytest

from mutscan.inputs.rows import Cells


def test_cells_are_a_mapping() -> None:
    cells = Cells(("a", "b"), ("1", ""))
    assert cells == {"a": "1", "b": ""}
    assert cells["b"] == ""
    assert list(cells) == ["a", "b"]
    assert len(cells) == 2
    assert pickle.loads(pickle.dumps(cells)) == cells
    assert repr(cells) == "{'a': '1', 'b': ''}"
    with pytest.raises(KeyError):
        cells["c"]

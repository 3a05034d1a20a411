"""Files are whole or absent, never half written."""

from __future__ import annotations

import pytest

from chainrule.files import replacing


def test_replaces_the_file_when_the_block_ends(tmp_path):
    target = tmp_path / "a" / "b" / "result.txt"
    for text in ("first", "second"):
        with replacing(target) as beside:
            assert beside.parent == target.parent
            assert beside.suffix == ".txt"
            beside.write_text(text)
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["result.txt"]


def test_keeps_the_old_file_when_the_block_raises(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("old")

    def write_half():
        with replacing(target) as beside:
            beside.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]

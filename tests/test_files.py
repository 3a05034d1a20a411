"""Files are whole or absent, never half written."""

from __future__ import annotations

import pytest

from chainrule.files import replacing, require_writable


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


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    require_writable(tmp_path / "a" / "b", ["report.json"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept").mkdir()
    require_writable(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert list((tmp_path / "kept").iterdir()) == []


def test_what_cannot_be_written_raises(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(OSError, match="file"):
            require_writable(folder)
    (tmp_path / "report.json").mkdir()
    with pytest.raises(IsADirectoryError, match=r"report\.json is a folder"):
        require_writable(tmp_path, ["report.json"])

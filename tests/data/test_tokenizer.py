"""The tokenizer: the same on every run, captions there and back, files checked."""

from pathlib import Path

import pytest

from avbench.core.errors import DataError
from avbench.core.job import Job
from avbench.core.options import plain
from avbench.data import tokenizer
from avbench.data.settings import VocabularySettings
from avbench.data.tokenizer import Vocabulary

CAPTIONS = [
    f"the {c} {o} {m} near the {p}"
    for c in ("red", "green", "yellow")
    for o in ("ladder", "wheel", "cone")
    for m in ("slides", "jumps", "circles")
    for p in ("kitchen", "garden", "street")
]


@pytest.mark.parametrize("size", [60, 90, 200])
def test_the_same_captions_give_the_same_ids(size: int) -> None:
    made = [Vocabulary.train(CAPTIONS, size) for _ in range(6)]
    first = [made[0].caption(text, "pcc", 64) for text in CAPTIONS]
    for other in made[1:]:
        assert [other.caption(text, "pcc", 64) for text in CAPTIONS] == first


def test_a_caption_comes_back_as_it_was() -> None:
    made = Vocabulary.train(CAPTIONS, 200)
    for task in ("pcc", "pnc"):
        ids = made.caption("The red ladder slides near the garden", task, 64)
        assert ids[0] == made.bos[task]
        assert ids[-1] == made.eos
        assert made.text(ids) == "the red ladder slides near the garden"
    assert made.bos["pcc"] != made.bos["pnc"]


def test_a_long_caption_is_cut_and_still_ends() -> None:
    made = Vocabulary.train(CAPTIONS, 200)
    ids = made.caption(CAPTIONS[0], "pcc", 4)
    assert len(ids) == 4
    assert ids[-1] == made.eos


def test_a_vocabulary_saved_is_the_one_opened(tmp_path: Path) -> None:
    made = Vocabulary.train(CAPTIONS, 80)
    made.save(tmp_path)
    again = Vocabulary.open(tmp_path)
    assert again.rows == 80
    assert [again.caption(t, "pnc", 64) for t in CAPTIONS] == [
        made.caption(t, "pnc", 64) for t in CAPTIONS
    ]


def test_berts_vocabulary_file_serves_through_the_stage(tmp_path: Path) -> None:
    words = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "cone"]
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(words), encoding="utf-8")
    job = Job(
        kind="vocabulary",
        id="v",
        spec=plain(VocabularySettings(size=30, file="vocab.txt")),
        directory=tmp_path,
        local={"file": str(file)},
    )
    assert tokenizer.run(job) == {"tokens": 9, "rows": 30}
    assert Vocabulary.open(tmp_path).caption("the red cone", "pcc", 9) == [3, 6, 7, 8, 4]


def test_files_that_are_no_vocabulary_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("the\nred", encoding="utf-8")
    with pytest.raises(DataError, match=r"v\.txt: the vocabulary has no token \[PAD\]"):
        Vocabulary.from_file(tmp_path / "v.txt", 10)
    (tmp_path / "v.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"v\.json: cannot be read"):
        Vocabulary.from_file(tmp_path / "v.json", 10)
    with pytest.raises(DataError, match=r"missing\.json: cannot be read"):
        Vocabulary.from_file(tmp_path / "missing.json", 10)


def test_fewer_rows_than_tokens_are_refused(tmp_path: Path) -> None:
    Vocabulary.train(CAPTIONS, 200).save(tmp_path)
    with pytest.raises(DataError, match=r"vocabulary\.size must be at least"):
        Vocabulary.from_file(tmp_path / "tokenizer.json", 10)

"""The tokenizer: WordPiece trained on the training captions, or one from a file.

Source: WordPiece as in BERT (Devlin et al., 2019), by the ``tokenizers`` library.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from avbench.core.errors import DataError
from avbench.core.job import Job, read_json, write_json
from avbench.core.options import build
from avbench.data.settings import Task, VocabularySettings

PAD = 0
"""Id of the padding token, in trained vocabularies and in BERT's."""

SPECIAL = ("[PAD]", "[UNK]", "[BOS1]", "[BOS2]", "[EOS]", "[MASK]")

STAND_INS = {"[BOS1]": "[CLS]", "[BOS2]": "[unused0]", "[EOS]": "[SEP]"}
"""Tokens of BERT's vocabulary that replace missing tokens of ours, so that V stays 30,522."""

FILE, ROWS = "tokenizer.json", "vocabulary.json"


class Vocabulary:
    """Converts captions to ids and back.

    Attributes:
        rows: V, rows of the model's embedding; at least the number of tokens.
        bos: token that starts each task's caption: BOS1 for PCC, BOS2 for PNC (Sec. 3.1).
        special: ids of special tokens, which are no words.
    """

    def __init__(self, tokenizer: Tokenizer, rows: int, *, where: str) -> None:
        self._tokenizer = tokenizer
        self.rows = rows
        ids = {}
        for token in SPECIAL:
            found = tokenizer.token_to_id(token)
            if found is None and token in STAND_INS:
                found = tokenizer.token_to_id(STAND_INS[token])
            if found is None:
                raise DataError(f"{where}: the vocabulary has no token {token}")
            ids[token] = found
        if ids["[PAD]"] != PAD:
            raise DataError(f"{where}: [PAD] must have id {PAD}, got {ids['[PAD]']}")
        if rows < tokenizer.get_vocab_size():
            raise DataError(
                f"{where}: vocabulary.size must be at least the tokenizer's "
                f"{tokenizer.get_vocab_size()} tokens, got {rows}"
            )
        self.bos: Mapping[Task, int] = {"pcc": ids["[BOS1]"], "pnc": ids["[BOS2]"]}
        self.eos: int = ids["[EOS]"]
        self.mask: int = ids["[MASK]"]
        self.special = frozenset(ids.values())

    @classmethod
    def train(cls, captions: Iterable[str], size: int) -> "Vocabulary":
        """Train WordPiece on captions; the same captions give the same vocabulary.

        The library numbers the pieces ``##x`` of single characters in an order that varies from
        run to run, and breaks ties between merges by these numbers. So they are passed in order as
        special tokens, and the resulting vocabulary is then used without that mark.
        """
        texts = list(captions)
        draft = _wordpiece(models.WordPiece(unk_token="[UNK]"))
        seen = set("".join(draft.normalizer.normalize_str(text) for text in texts))
        pieces = sorted(f"##{c}" for c in seen if not c.isspace())
        trainer = trainers.WordPieceTrainer(
            vocab_size=size, special_tokens=[*SPECIAL, *pieces], show_progress=False
        )
        draft.train_from_iterator(texts, trainer)
        return cls(_of_words(draft.get_vocab()), size, where="trained vocabulary")

    @classmethod
    def from_file(cls, path: Path, size: int) -> "Vocabulary":
        """Read a ``tokenizer.json`` or a WordPiece ``vocab.txt``.

        Raises:
            DataError: the file is missing, of another kind, or lacks a special token.
        """
        return cls(_read(path), size, where=f"vocabulary {path}")

    @classmethod
    def open(cls, directory: Path) -> "Vocabulary":
        """Read the vocabulary stage's files."""
        rows = read_json(directory / ROWS)["rows"]
        return cls(Tokenizer.from_file(str(directory / FILE)), rows, where=str(directory))

    def save(self, directory: Path) -> None:
        """Write the files that ``open`` reads."""
        self._tokenizer.save(str(directory / FILE))
        write_json(directory / ROWS, {"rows": self.rows})

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def caption(self, text: str, task: Task, length: int) -> list[int]:
        """Return the ids of a target caption: BOS, words, EOS; cut to ``length``, EOS kept."""
        words = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [self.bos[task], *words[: length - 2], self.eos]

    def words(self, text: str, length: int) -> list[int]:
        """Return the ids of input text, without special tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids[:length]
        return ids

    def text(self, ids: Iterable[int]) -> str:
        """Return the caption of ids, without special tokens."""
        drop = {PAD, self.eos, *self.bos.values()}
        return str(self._tokenizer.decode([i for i in ids if i not in drop]))


def difference(ours: Path, theirs: Path) -> str | None:
    """Describe the first id at which two vocabulary files differ; None: they are equal.

    Raises:
        DataError: a file cannot be read.
    """
    one, other = (
        {i: token for token, i in _read(path).get_vocab().items()} for path in (ours, theirs)
    )
    differ = [i for i in sorted(one.keys() | other.keys()) if one.get(i) != other.get(i)]
    if not differ:
        return None
    first, second = (repr(words.get(differ[0])) for words in (one, other))
    return f"token {differ[0]} is {first} in {ours}, {second} in {theirs}"


def _read(path: Path) -> Tokenizer:
    """Read the tokenizer of a file; see ``Vocabulary.from_file``."""
    try:
        if path.suffix == ".txt":
            words = path.read_text(encoding="utf-8").splitlines()
            return _of_words({w: i for i, w in enumerate(words)})
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"vocabulary {path}: cannot be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _wordpiece(model: models.WordPiece) -> Tokenizer:
    """Return a tokenizer of a WordPiece model that normalises and splits as BERT's."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return tokenizer


def _of_words(vocabulary: dict[str, int]) -> Tokenizer:
    """Return the tokenizer of a vocabulary, with its special tokens marked."""
    tokenizer = _wordpiece(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens([t for t in SPECIAL if t in vocabulary])
    return tokenizer


def run(job: Job) -> dict[str, Any]:
    """Run the stage ``vocabulary``: train on all captions of the parents' training clips."""
    from avbench.data.prepared.clips import PreparedClips

    settings = build(VocabularySettings, job.spec)
    if settings.file is not None:
        vocabulary = Vocabulary.from_file(Path(job.local["file"]), settings.size)
    else:
        captions: list[str] = []
        for role in sorted(job.parents):
            for clip in PreparedClips.open(job.parents[role]).clips:
                captions += clip.captions
                captions += [clip.speech] if clip.speech else []
        vocabulary = Vocabulary.train(captions, settings.size)
    vocabulary.save(job.directory)
    return {"tokens": len(vocabulary), "rows": vocabulary.rows}

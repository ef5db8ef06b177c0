"""Initial weights of encoders: the options that name them, and their paths on this machine.

An encoder's option bears the mark ``InitialWeights``. In the spec of a stage a local file or
folder is written as ``content:<digest>``, so that its contents count and not its path. The path on
this machine is in the job's ``local``. If trained weights are loaded right afterwards, encoders
are built with the option cleared.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from avbench.core.digest import CONTENT, digest
from avbench.core.errors import DataError
from avbench.core.registry import Registry
from avbench.data.tokenizer import difference
from avbench.models.contracts import InitialWeights
from avbench.models.settings import ModelSettings

ROLE = "initial"
"""The field of a job's ``local`` that maps such texts to paths."""


def marked(config: type) -> dict[str, InitialWeights]:
    """Return the options of a component that bear the mark, by name."""
    hints = get_type_hints(config, include_extras=True)
    return {
        name: mark
        for name, hint in hints.items()
        for mark in getattr(hint, "__metadata__", ())
        if isinstance(mark, InitialWeights)
    }


def local_path(
    text: str, mark: InitialWeights, where: str, base: Path | None = None
) -> Path | None:
    """Return the local file or folder that an option names; None: it is a name of weights.

    Args:
        text: the option.
        mark: tells the names of published weights.
        where: the option's place, for error messages.
        base: the folder that relative paths start from; None: the current one.

    Raises:
        DataError: it is neither a path nor such a name.
    """
    path = (base or Path()) / os.path.expanduser(text)
    if path.exists():
        return path.resolve()
    if mark.named is not None and mark.named(text):
        return None
    names = ", or a name of published weights that the encoder knows" if mark.named else ""
    raise DataError(
        f"{where}: no such file or folder: {path.absolute()}. Allowed: a local path{names}"
    )


def located(model: ModelSettings, registry: Registry) -> tuple[ModelSettings, dict[str, str]]:
    """Return the model with digests in place of local files, and the paths by digest.

    Raises:
        DataError: there is no such file.
    """
    places: dict[str, str] = {}
    for modality, name, text, mark in _options_set(model, registry):
        path = local_path(text, mark, f"model.encoders.{modality}.{name}")
        if path is not None:
            content = CONTENT + digest(path)
            places[content] = str(path)
            model = _with_option(model, modality, name, content)
    return model, places


def placed(model: ModelSettings, registry: Registry, places: Mapping[str, str]) -> ModelSettings:
    """Return the model with the paths on this machine in place of digests.

    Raises:
        DataError: a file's path is not known, or its contents have changed since the planning.
    """
    for modality, name, text, _ in _options_set(model, registry):
        if not text.startswith(CONTENT):
            continue
        where = f"model.encoders.{modality}.{name}"
        if text not in places:
            raise DataError(f"{where}: the path of {text} is not known; plan the suite again")
        path = Path(places[text])
        if not path.exists():
            raise DataError(f"{where}: no such file or folder: {path}")
        if CONTENT + digest(path) != text:
            raise DataError(f"{where}: {path} changed after the suite was planned; plan it again")
        model = _with_option(model, modality, name, str(path))
    return model


def check_words(model: ModelSettings, registry: Registry, vocabulary: str | None) -> None:
    """Check that the suite has the vocabulary that weights over words were made for.

    For published weights it only checks that a vocabulary is given.

    Args:
        model: as the suite gives it, files as paths.
        registry: the encoders.
        vocabulary: the suite's ``vocabulary.file``.

    Raises:
        DataError: it is not set, or has other tokens.
    """
    for modality, name, text, mark in _options_set(model, registry):
        if mark.words is None:
            continue
        where = f"model.encoders.{modality}.{name}"
        place = local_path(text, mark, where)
        theirs = mark.words(place) if place is not None else None
        if vocabulary is None:
            raise DataError(
                f"{where}: the embeddings of '{text}' are of its own vocabulary, and the suite "
                "would train another: vocabulary.file is not set. Give it the weights' "
                f"{theirs or 'vocab.txt or tokenizer.json'}"
            )
        differs = theirs and difference(Path(vocabulary).expanduser(), theirs)
        if differs:
            raise DataError(
                f"{where}: the embeddings of '{text}' are of another vocabulary than "
                f"vocabulary.file: {differs}"
            )


def cleared(model: ModelSettings, registry: Registry) -> ModelSettings:
    """Return the model with every encoder from scratch."""
    for modality, name, _, mark in _options_set(model, registry):
        config: Any = registry.get("encoders", model.encoders[modality].name).config
        defaults = {f.name: f.default for f in fields(config)}
        for option in (name, *mark.also):
            model = _with_option(model, modality, option, defaults[option])
    return model


def _options_set(
    model: ModelSettings, registry: Registry
) -> Iterator[tuple[str, str, str, InitialWeights]]:
    """Yield modality, option, its text and its mark, for each option that is set."""
    for modality, ref in model.encoders.items():
        for name, mark in marked(registry.get("encoders", ref.name).config).items():
            text = ref.options.get(name)
            if isinstance(text, str):
                yield modality, name, text, mark


def _with_option(model: ModelSettings, modality: str, option: str, value: Any) -> ModelSettings:
    ref = model.encoders[modality]
    changed = replace(ref, options={**ref.options, option: value})
    return replace(model, encoders={**model.encoders, modality: changed})


__all__ = ["ROLE", "check_words", "cleared", "local_path", "located", "marked", "placed"]

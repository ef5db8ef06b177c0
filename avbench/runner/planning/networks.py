"""The networks of rows: the settings that enter the specs of stages, and the components."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from avbench.config.rows import Row
from avbench.config.strict_yaml import FILES_READ
from avbench.core import options
from avbench.core.registry import Registry
from avbench.models import pretrained
from avbench.models.settings import ModelSettings
from avbench.runner.planning.stage_book import Component


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A row's network."""

    model: ModelSettings
    """The model's settings, with the encoders of the row's streams only."""
    spec: Mapping[str, Any]
    """Spec of trainings that start from the encoders' initial weights. Weights in files are given
    as digests of their contents."""
    bare: Mapping[str, Any]
    """Spec of stages that load trained weights, or none: every encoder from scratch."""
    places: Mapping[str, str]
    """The paths of the files whose digests ``spec`` contains."""
    components: tuple[Component, ...]


@dataclass(slots=True)
class Networks:
    """The networks of a suite's rows."""

    registry: Registry
    _models: dict[str, tuple[Any, Any, dict[str, str]]] = field(default_factory=dict)
    _checked: set[tuple[str, str | None]] = field(default_factory=set)

    def refusal(self, row: Row) -> str | None:
        """Return the reason why a row's combination is impossible, or None."""
        streams = row.configuration.streams
        missing = [m for m in streams if m not in row.settings.model.encoders]
        if missing:
            return f"model.encoders has no encoder for {', '.join(missing)}"
        # ``build`` may be a plain function, without the method ``refuses``: it refuses nothing.
        build = self.registry.get("fusions", row.fusion.name).build
        refused: str | None = getattr(build, "refuses", lambda _: None)(streams)
        return refused

    def of(self, row: Row) -> Network:
        """Return the network of a row.

        Raises:
            DataError: a file of initial weights is missing.
        """
        settings, streams = row.settings.model, row.configuration.streams
        encoders = {m: ref for m, ref in settings.encoders.items() if m in streams}
        model = replace(settings, encoders=encoders)
        located, bare, places = self._weights(model)
        others = {
            "input": options.plain(row.settings.input),
            "fusion": options.plain(row.fusion),
            "modalities": options.plain(row.modalities),
        }
        return Network(
            model=model,
            spec={"model": located, **others},
            bare={"model": bare, **others},
            places=places,
            components=(
                ("fusions", row.fusion.name),
                ("modalities", row.modalities.name),
                *(("encoders", ref.name) for ref in encoders.values()),
            ),
        )

    def check_words(self, network: Network, vocabulary: str | None) -> None:
        """Check that initial weights with word embeddings are used with their own vocabulary.

        Raises:
            DataError: the suite uses another vocabulary.
        """
        asked = (options.canonical(network.model), vocabulary)
        if asked not in self._checked:
            pretrained.check_words(network.model, self.registry, vocabulary)
            self._checked.add(asked)

    def _weights(self, model: ModelSettings) -> tuple[Any, Any, dict[str, str]]:
        """Return a model's plain settings with and without initial weights, and their paths."""
        text = options.canonical(model)
        if text not in self._models:
            located, places = pretrained.located(model, self.registry)
            FILES_READ.update(map(Path, places.values()))
            bare = pretrained.cleared(model, self.registry)
            self._models[text] = options.plain(located), options.plain(bare), places
        return self._models[text]

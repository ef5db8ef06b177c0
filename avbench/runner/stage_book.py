"""The stages of a plan as they are added, each once, with the id that its content gives it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avbench.core.code_hash import Code, package_version
from avbench.core.registry import Registry
from avbench.runner.plan import Stage
from avbench.runner.stage_kinds import KINDS

Component = tuple[str, str]
"""Family and name."""


@dataclass(slots=True)
class StageBook:
    """Stages by id, parents before children, and the code that each runs.

    Attributes:
        stages: by id.
        codes: for each ``Stage.code``: ``modules``, the hash of each module by its name, and
            ``versions``, those of distributions.
    """

    registry: Registry
    stages: dict[str, Stage] = field(default_factory=dict)
    codes: dict[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    _source: Code = field(default_factory=Code)
    _known: dict[tuple[str, bool, frozenset[Component]], str] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        spec: Mapping[str, Any],
        parents: Mapping[str, str],
        components: Iterable[Component] = (),
        *,
        local: Mapping[str, Any] | None = None,
        shared: bool = False,
        selects: bool = False,
    ) -> str:
        """Add a stage unless it is there.

        Args:
            kind: a key of KINDS.
            spec: all that it computes from.
            parents: ids by role.
            components: those that it uses, whose code is part of the id.
            local: what the id does not depend on.
            shared: whether it lies in the user's cache.
            selects: whether it is a training that selects a checkpoint.

        Returns:
            Its id.
        """
        code = self.code(kind, components, selects=selects)
        content = {"kind": kind, "spec": spec, "parents": parents, "code": code}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        id_ = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if id_ not in self.stages:
            self.stages[id_] = Stage(
                id=id_,
                kind=kind,
                spec=spec,
                parents=parents,
                local=local or {},
                shared=shared,
                code=code,
            )
        return id_

    def code(self, kind: str, components: Iterable[Component], *, selects: bool = False) -> str:
        """A hash of the code and the versions that a stage's result depends on."""
        parts = frozenset(components)
        key = (kind, selects, parts)
        if key not in self._known:
            how = KINDS[kind]
            plugins = [self.registry.get(*part).module for part in parts]
            # Selection scores as the stage of that kind does.
            needed = {*how.versions, *(KINDS["score"].versions if selects else ())}
            made = {
                "modules": self._source.modules(
                    how.module,
                    *plugins,
                    costs=how.counts_macs,
                    without=() if selects else how.only_selecting,
                ),
                "versions": {name: package_version(name) for name in sorted(needed)},
            }
            text = json.dumps(made, sort_keys=True)
            self._known[key] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            self.codes[self._known[key]] = made
        return self._known[key]

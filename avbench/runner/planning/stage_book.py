"""Collects the stages of a plan: equal content gives one stage and one id."""

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
"""Family and name of a component."""


@dataclass(slots=True)
class StageBook:
    """The stages of a plan, and the code that each runs.

    Attributes:
        stages: stages by id, parents before children.
        codes: for each ``Stage.code``: ``modules``, hashes of modules by name, and
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
        """Add a stage, unless an equal one was added before.

        Args:
            kind: a key of KINDS.
            spec: all settings that can change its result.
            parents: ids of the stages that it reads, by role.
            components: the components that it uses; their code enters the id.
            local: settings that do not enter the id.
            shared: True if the stage lies in the user's cache.
            selects: True if it is a training that selects a checkpoint.

        Returns:
            The stage's id.
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
        """Return a hash of the code and the versions that a stage's result depends on."""
        parts = frozenset(components)
        key = (kind, selects, parts)
        if key not in self._known:
            how = KINDS[kind]
            plugins = [self.registry.get(*part).module for part in parts]
            # Selection runs the metrics too, so their versions count.
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

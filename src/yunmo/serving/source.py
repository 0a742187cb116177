"""Where runners get models from: the hub, and the built-in echo model."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

from yunmo.core.engine import ModelDescription
from yunmo.core.identity import Principal
from yunmo.hub.models import Models, RevisionRef
from yunmo.serving.offers import wanted_file
from yunmo.serving.specification import ECHO, DeploymentSpec

ECHO_REVISION = "builtin"
SYSTEM = Principal(project="admin", key_id="system", scopes=frozenset({"admin"}))
"""Who looks models up for deployments that are there already."""


class HubSource:
    """Where runners get models from: the hub, and the built-in echo model."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.refs: dict[tuple[str, str], RevisionRef] = {}

    async def describe(self, spec: DeploymentSpec) -> ModelDescription:
        """The model's description."""
        if spec.repository == ECHO:
            return ModelDescription(repository=ECHO, revision=ECHO_REVISION, files={}, pipeline_tag="text-classification")
        return await self._models.describe(await self._ref(spec), wanted_file(spec.options))

    async def lay_out(self, spec: DeploymentSpec, files: tuple[str, ...], directory: Path) -> None:
        """Put the files there; all of them if none are named."""
        if spec.repository == ECHO:
            return
        ref = await self._ref(spec)
        paths = files or tuple((await self._models.describe(ref)).files)
        await self._models.lay_out(ref, paths, directory)
        await asyncio.to_thread(os.utime, directory)  # in use: not to be swept

    async def draft(self, spec: DeploymentSpec, name: str) -> DeploymentSpec:
        """The model of this name (`ns/name`, `ns/name@commit`) as the deployment's draft. Raises what its project's reader would be told."""
        repository, _, revision = name.partition("@")
        reader = SYSTEM if spec.project == SYSTEM.project else Principal(spec.project, SYSTEM.key_id, frozenset({"read", "infer"}))
        ref = await self._models.find(reader, repository, revision or "main")
        self.refs[(ref.repository, ref.commit)] = ref
        return replace(spec, repository=ref.repository, revision=ref.commit, branch=None, options={})

    async def _ref(self, spec: DeploymentSpec) -> RevisionRef:
        key = (spec.repository, spec.revision)
        if key not in self.refs:
            self.refs[key] = await self._models.find(SYSTEM, spec.repository, spec.revision)
        return self.refs[key]

"""Stage ``shards``: write some of the shards of a split, each complete or not at all.

The list of clips, which ``avbench data prepare`` wrote, fixes the clips of each shard; the number
of jobs does not change them: job i of N writes shards i, i + N, i + 2 N … A killed job continues
with its first shard without an index, to the same bytes. A clip that crashes or hangs the decoder
is lost as in the stage ``prepare``, see ``crash_guard``.
"""

from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.job import Job, read_json
from avbench.data.prepared.pool import WorkerPool
from avbench.data.shards.folder import ShardSums, count_clips, read_index
from avbench.data.shards.manifest import LIST
from avbench.data.shards.shard import Shard


def run(job: Job) -> dict[str, Any]:
    """Write the missing shards of a job.

    Returns:
        ``shards``, ``expected``, ``kept``, ``lost`` (by reason), ``sound`` (by state),
        ``partial`` and ``bytes``, of all shards of the job.

    Raises:
        DataError: webdataset is not installed, the list of clips changed, another process writes
            the same shard, or a policy ``fail`` refuses clips, which the message names.
    """
    folder, spec = Path(str(job.local["folder"])), job.spec
    plan = read_json(folder / LIST)
    if plan["listed"] != spec["listed"]:
        raise DataError(f"{folder}: the list of clips changed after this job was planned")
    mine = [
        Shard(folder=folder, number=number, clips=count_clips(plan, number))
        for number in range(spec["job"], len(plan["shards"]), spec["jobs"])
    ]
    total = sum(shard.clips for shard in mine)
    sums = ShardSums()
    # One process, because there are many jobs; a worker only after a death.
    with WorkerPool[None](1) as pool:
        done = pool.map(mine, lambda clips: job.progress(clips, total, "writing"))
        for shard, _ in zip(mine, done, strict=True):
            index = read_index(folder, shard.number)
            assert index is not None, "a shard that was written has an index"
            sums.add(index)
    return sums.plain()

"""The stage ``shards``: writes some of the shards of a split, each complete or not at all.

Which clips a shard holds is in the list that ``dataprepare`` made, and not a matter of how many
jobs there are: job i of N writes shards i, i + N, i + 2 N … So a job that is killed and started
again goes on with the first shard that lacks an index, to the same bytes. A clip that crashes the
decoder, or at which it is never done, is passed by as in the stage ``prepare``, see
``crash_guard``.
"""

from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.job import Job, read_json
from avbench.data.prepared.pool import Crew
from avbench.data.shards.folder import Tally, read_index, rows
from avbench.data.shards.manifest import LIST
from avbench.data.shards.shard import Shard


def run(job: Job) -> dict[str, Any]:
    """Write the shards of a job that are not there yet.

    Returns:
        ``shards``, ``expected``, ``kept``, ``lost`` (by reason), ``sound`` (by state),
        ``partial`` and ``bytes``, of all shards of the job.

    Raises:
        DataError: webdataset is not installed, the list is another, another process writes the
            same shard, or, under a policy ``fail``, clips cannot be used; these are named.
    """
    folder, spec = Path(str(job.local["folder"])), job.spec
    plan = read_json(folder / LIST)
    if plan["listed"] != spec["listed"]:
        raise DataError(f"{folder}: the list of clips changed after this job was planned")
    mine = [
        Shard(folder=folder, number=number, clips=rows(plan, number))
        for number in range(spec["job"], len(plan["shards"]), spec["jobs"])
    ]
    total = sum(shard.clips for shard in mine)
    sums = Tally()
    # One process, as there are many jobs; another one only after a death.
    with Crew[None](1) as crew:
        done = crew.map(mine, lambda clips: job.progress(clips, total, "writing"))
        for shard, _ in zip(mine, done, strict=True):
            index = read_index(folder, shard.number)
            assert index is not None, "a shard that was written has an index"
            sums.add(index)
    return sums.plain()

"""Which clips stand behind the figures of a table, and what became of the others."""

from avbench.runner.plan import Plan, Store


def clip_notes(plan: Plan, store: Store) -> list[str]:
    """How many clips each prepared split gave, which, and what became of the others.

    Returns:
        One note; none where nothing was prepared.
    """
    told, lost = [], []
    for stage in plan.stages.values():
        record = store.record(stage) if stage.kind == "prepare" else None
        if record is None or record["status"] != "done":
            continue
        results = record["results"]
        name = f"{stage.spec['dataset']} {results['split']}"
        told.append(f"{name} {results['kept']} (list {results['list_hash']})")
        if results["lost"]:
            reasons = ", ".join(f"{n} {why}" for why, n in results["lost"].items())
            lost.append(f"{name} {results['expected'] - results['kept']} ({reasons})")
    if not told:
        return []
    # Worlds that differ in what a picture shows have the same clips.
    used, gone = (", ".join(dict.fromkeys(texts)) for texts in (told, lost))
    return [f"Clips used: {used}; lost: {gone or 'none'}."]

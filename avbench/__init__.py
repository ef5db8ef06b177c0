"""avbench: benchmarking and ablation of audio-visual video captioning.

Plan a suite, run it, and read its results::

    import avbench

    plan = avbench.plan("smoke")
    ended = avbench.run(plan, progress=print)
    frame = avbench.results(plan)
    avbench.report(plan).write(["md", "html"])

``avbench export`` writes a trained captioner as a folder. Caption media files with it::

    captioner = avbench.load_captioner("model")
    print(captioner.caption("clip.mp4", start=12.0, end=19.5))
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avbench.models.inference import TrainedCaptioner
    from avbench.workflow.functions import diff as diff
    from avbench.workflow.functions import plan as plan
    from avbench.workflow.functions import report as report
    from avbench.workflow.functions import results as results
    from avbench.workflow.functions import run as run

__version__ = "0.1.0"

__all__ = ["__version__", "diff", "load_captioner", "plan", "report", "results", "run"]

_FUNCTIONS = ("diff", "plan", "report", "results", "run")
"""Functions of ``avbench.workflow.functions``, which is imported when one is first used."""


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'avbench' has no attribute '{name}'")
    found = getattr(import_module("avbench.workflow.functions"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_captioner(
    path: Path | str, *, device: str = "cpu", plugins_dir: Path | str | None = None
) -> "TrainedCaptioner":
    """Load a captioner that ``avbench export`` wrote; see ``avbench.models.inference``.

    Args:
        path: its folder.
        device: ``cpu``, ``cuda``, or ``auto``.
        plugins_dir: a folder of plugins; None: ``./plugins`` if there is one.

    Raises:
        AvbenchError: the folder is damaged, is of a later version, or needs a plugin that is not
            installed; the message says which.
    """
    from avbench.models import inference  # torch and all else, only where they are needed

    return inference.load_captioner(path, device=device, plugins_dir=plugins_dir)

"""avbench: benchmarking and ablation of audio-visual video captioning.

``avbench export`` writes a trained captioner as a folder. Caption media files with it::

    import avbench

    captioner = avbench.load_captioner("model")
    print(captioner.caption("clip.mp4", start=12.0, end=19.5))
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avbench.models.inference import TrainedCaptioner

__version__ = "0.1.0"


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

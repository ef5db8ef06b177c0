"""Audio alone."""

from avbench.api import ModalityConfiguration, Register, hookimpl


def build(_options: object) -> ModalityConfiguration:
    """Sound alone: the video stream enters the cross-modal encoder as zeros.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Table 4.
    """
    return ModalityConfiguration(streams=("audio", "video"), zeroed=frozenset({"video"}))


@hookimpl
def register_modalities(register: Register) -> None:
    """Register A."""
    register("A", build, source="Shen et al. 2023, Table 4")

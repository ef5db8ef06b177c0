"""Video and audio."""

from avbench.api import ModalityConfiguration, Register, hookimpl


def build(_options: object) -> ModalityConfiguration:
    """The picture and its sound, the paper's main configuration.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Table 4.
    """
    return ModalityConfiguration(streams=("audio", "video"))


@hookimpl
def register_modalities(register: Register) -> None:
    """Register V+A."""
    register("V+A", build, source="Shen et al. 2023, Table 4")

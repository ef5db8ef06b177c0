"""Video, audio and text."""

from avbench.api import ModalityConfiguration, Register, hookimpl


def build(_options: object) -> ModalityConfiguration:
    """The picture, its sound and its ASR text.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Table 4.
    """
    return ModalityConfiguration(streams=("audio", "video", "text"))


@hookimpl
def register_modalities(register: Register) -> None:
    """Register V+A+T."""
    register("V+A+T", build, source="Shen et al. 2023, Table 4")

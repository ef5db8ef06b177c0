"""Video and text."""

from avbench.api import ModalityConfiguration, Register, hookimpl


def build(_options: object) -> ModalityConfiguration:
    """The picture and its ASR text, which takes the place of sound.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Table 4.
    """
    return ModalityConfiguration(streams=("video", "text"))


@hookimpl
def register_modalities(register: Register) -> None:
    """Register V+T."""
    register("V+T", build, source="Shen et al. 2023, Table 4")

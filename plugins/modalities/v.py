"""Video alone."""

from avbench.api import ModalityConfiguration, Register, hookimpl


def build(_options: object) -> ModalityConfiguration:
    """The picture alone: the audio stream enters the cross-modal encoder as zeros.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Table 4.
    """
    return ModalityConfiguration(streams=("audio", "video"), zeroed=frozenset({"audio"}))


@hookimpl
def register_modalities(register: Register) -> None:
    """Register V."""
    register("V", build, source="Shen et al. 2023, Table 4")

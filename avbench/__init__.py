"""avbench: benchmarking and ablation of audio-visual video captioning."""

__version__ = "0.1.0"

"""Sampling, spectrograms and the media index: what needs no media file."""

import math
from dataclasses import replace

import pytest
import torch

from avbench.core.input_spec import Downsample, InputSpec
from avbench.data.media.sampling import Timeline, random_in_segments, uniform
from avbench.data.media.spectrogram import fit, log_mel, padding, shorten, spec_augment

SPEC = InputSpec()


def even(count: int, fps: float = 10.0, start: float = 0.0) -> Timeline:
    times = tuple(start + i / fps for i in range(count))
    return Timeline(times, start, start + count / fps)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_uniform_takes_the_centres_of_equal_segments() -> None:
    assert uniform(even(48), 16) == [3 * i + 1 for i in range(16)]
    assert uniform(even(16), 16) == list(range(16))
    assert uniform(even(5), 1) == [2]


def test_fewer_frames_than_asked_for_repeat() -> None:
    assert uniform(even(2), 4) == [0, 0, 1, 1]
    assert uniform(even(1), 3) == [0, 0, 0]
    assert random_in_segments(even(1), 3, seeded(0)) == [0, 0, 0]
    assert random_in_segments(even(2), 4, seeded(0)) == [0, 0, 1, 1]


def test_random_takes_one_frame_of_each_segment_and_reaches_all() -> None:
    seen: list[set[int]] = [set() for _ in range(4)]
    for seed in range(200):
        for i, frame in enumerate(random_in_segments(even(20, start=3.0), 4, seeded(seed))):
            seen[i].add(frame)
    assert seen == [set(range(5 * i, 5 * i + 5)) for i in range(4)]


def test_random_is_fixed_by_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = random_in_segments(even(100), 16, seeded(7))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert random_in_segments(even(100), 16, seeded(7)) == first
    assert first != random_in_segments(even(100), 16, seeded(8))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_time_stamps_decide_where_the_frame_rate_varies() -> None:
    # Nine frames in the first second, one that stays for the second one.
    times = (*(i / 9 for i in range(9)), 1.0)
    timeline = Timeline(times, 0.0, 2.0)
    assert uniform(timeline, 4) == [2, 6, 9, 9]
    assert random_in_segments(timeline, 4, seeded(0))[2:] == [9, 9]


@pytest.mark.parametrize("bad", [((), 0.0, 1.0), ((0.0,), 1.0, 1.0)])
def test_an_empty_timeline_is_refused(bad: tuple) -> None:
    with pytest.raises(ValueError, match="needs a frame and a positive length"):
        Timeline(*bad)


def test_no_frames_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        uniform(even(3), 0)


# ------------------------------------------------------------------------------- spectrogram


def tone(seconds: float, hertz: float = 1000.0, amplitude: float = 0.5) -> torch.Tensor:
    t = torch.arange(round(seconds * SPEC.sample_rate)) / SPEC.sample_rate
    return amplitude * torch.sin(2 * math.pi * hertz * t)


def test_log_mel_is_the_log_of_the_filtered_magnitude() -> None:
    from torchaudio.functional import melscale_fbanks

    sound = tone(1.0)
    mel = log_mel(sound, SPEC)
    # Against the formula, written out: magnitude (power 1), 64 filters, natural logarithm.
    stft = torch.stft(
        sound,
        SPEC.n_fft,
        SPEC.hop,
        window=torch.hann_window(SPEC.n_fft),
        center=True,
        pad_mode="constant",
        return_complex=True,
    ).abs()
    filters = melscale_fbanks(769, 0.0, 11_025.0, 64, 22_050)
    torch.testing.assert_close(mel, torch.log(stft.T @ filters + SPEC.log_floor))
    assert mel.shape == (1 + 22_050 // 588, 64)


def test_louder_by_two_is_more_by_log_two() -> None:
    quiet, loud = log_mel(tone(1.0), SPEC), log_mel(tone(1.0, amplitude=1.0), SPEC)
    peak = quiet[20].argmax()
    assert float(loud[20, peak] - quiet[20, peak]) == pytest.approx(math.log(2), abs=1e-3)


def test_short_sound_is_padded_with_zero_amplitude() -> None:
    mel = log_mel(tone(1.0), SPEC)
    fitted = fit(mel, SPEC)
    assert fitted.shape == (256, 64)
    assert torch.equal(fitted[: len(mel)], mel)
    assert (fitted[len(mel) :] == torch.tensor(math.log(1e-5))).all()
    # Padding looks like silence.
    assert torch.allclose(fitted[-1], log_mel(torch.zeros(2000), SPEC)[0])


def test_no_sound_is_padding_throughout() -> None:
    fitted = fit(log_mel(torch.zeros(0), SPEC), SPEC)
    assert (fitted == padding(SPEC)).all()
    assert fitted.shape == (256, 64)


@pytest.mark.parametrize("samples", [1, 100, 1535, 1537])
def test_any_length_has_a_frame(samples: int) -> None:
    assert len(log_mel(torch.ones(samples), SPEC)) == 1 + samples // 588


@pytest.mark.parametrize(("downsample", "within"), [("area", 0.1), ("linear", 1e-3)])
def test_long_sound_is_down_sampled_over_its_whole_length(
    downsample: Downsample, within: float
) -> None:
    ramp = torch.arange(1000.0)[:, None].expand(-1, 64)
    short = shorten(ramp, 256, downsample)
    assert short.shape == (256, 64)
    assert short.dtype == torch.float32
    steps = short[1:, 0] - short[:-1, 0]
    assert torch.allclose(steps, torch.full((255,), 1000 / 256), atol=within)
    assert float(short[0, 0]) == pytest.approx(1000 / 512 - 0.5, abs=within)


@pytest.mark.parametrize("frames", [257, 384, 512, 1000, 7753])
def test_down_sampling_by_area_weights_every_frame_alike(frames: int) -> None:
    mel = torch.randn(frames, 8, generator=seeded(0))
    short = shorten(mel, 256)
    torch.testing.assert_close(short.mean(0), mel.mean(0), atol=1e-6, rtol=0)
    # Against the definition: each frame repeated 256 times, cut into 256 equal parts.
    parts = mel.repeat_interleave(256, dim=0).view(256, frames, 8).mean(1)
    torch.testing.assert_close(short, parts, atol=1e-5, rtol=0)


def test_one_frame_too_many_blurs_nothing() -> None:
    mel = torch.zeros(257, 1)
    mel[0] = 1.0
    short = shorten(mel, 256)[:, 0]
    assert float(short[0]) == pytest.approx(256 / 257)
    assert (short[1:] == 0).all()


LOUDER = 3.0
"""Nats above silence by which a burst must show: twenty times its amplitude."""


def peak_of_a_burst(offset: int, downsample: Downsample) -> float:
    """Nats by which the loudest frame of 40 s of silence with a tone of 50 ms is above silence."""
    sound = torch.zeros(40 * SPEC.sample_rate)
    burst = tone(0.05)
    sound[offset : offset + len(burst)] = burst
    fitted = fit(log_mel(sound, SPEC), replace(SPEC, downsample=downsample))
    return float(fitted.max()) - padding(SPEC)


@pytest.mark.parametrize("offset", range(220_500, 220_500 + 6 * 588, 294))
def test_a_burst_of_50_ms_never_vanishes_from_a_long_clip(offset: int) -> None:
    assert peak_of_a_burst(offset, "area") > LOUDER


def test_interpolation_remains_an_option_and_loses_the_burst_at_some_offsets() -> None:
    peaks = [peak_of_a_burst(220_500 + shift, "linear") for shift in range(0, 6 * 588, 294)]
    assert min(peaks) < LOUDER < max(peaks)


def test_short_sound_does_not_depend_on_down_sampling() -> None:
    mel = log_mel(tone(6.8), SPEC)
    assert len(mel) == 256
    assert shorten(mel, 256) is mel
    assert torch.equal(fit(mel, SPEC), fit(mel, replace(SPEC, downsample="linear")))


def test_spec_augment_masks_one_stretch_and_one_band_with_the_mean() -> None:
    mel = torch.randn(256, 64, generator=seeded(0))
    widths = []
    for seed in range(50):
        masked = spec_augment(mel, SPEC, seeded(seed))
        changed = masked != mel
        assert (masked[changed] == mel.mean()).all()
        rows, columns = changed.all(1).sum(), changed.all(0).sum()
        widths.append((int(rows), int(columns)))
        assert int(changed.sum()) == rows * 64 + columns * 256 - rows * columns
    assert 100 < max(r for r, _ in widths) < 128
    assert 24 < max(c for _, c in widths) < 32


def test_spec_augment_leaves_its_input_and_the_global_generator_alone() -> None:
    mel = torch.randn(256, 64, generator=seeded(0))
    kept, state = mel.clone(), torch.get_rng_state()
    first = spec_augment(mel, SPEC, seeded(3))
    assert torch.equal(first, spec_augment(mel, SPEC, seeded(3)))
    assert not torch.equal(first, spec_augment(mel, SPEC, seeded(4)))
    assert torch.equal(mel, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_papers_literal_masks_are_cut_to_the_axis() -> None:
    literal = InputSpec(time_mask=32, frequency_mask=128)
    for seed in range(20):
        assert spec_augment(torch.randn(256, 64), literal, seeded(seed)).shape == (256, 64)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightly_sandbox.selection.request import Diversity, Metadata, SelectionRequest
from lightly_sandbox.worker.material import Material
from lightly_sandbox.worker.reading import LocalImage
from lightly_sandbox.worker.sequences import Sequences, sequence_information
from lightly_sandbox.worker.sources import Candidate, FrameTime
from lightly_sandbox.worker.videos import LocalVideo


def frames(name: str, n_frames: int, *damaged: int) -> list[Candidate]:
    times = tuple(FrameTime(100 * index, index / 10) for index in range(n_frames))
    video = LocalVideo(name, Path("nowhere"), 1, times, frozenset(damaged), "png")
    return list(video.candidates())


def test_a_video_is_split_from_its_beginning_and_its_rest_is_left_out() -> None:
    candidates = frames("a.mp4", 7) + frames("b.mp4", 4)
    assert Sequences.of(candidates, 0, 3).groups == ((0, 1, 2), (3, 4, 5), (7, 8, 9))


def test_a_sequence_with_a_frame_that_is_left_out_is_left_out() -> None:
    candidates = frames("a.mp4", 9, 4)
    groups = Sequences.of(candidates, 0, 3).groups
    assert [[candidates[row].position for row in group] for group in groups] == [[0, 1, 2], [6, 7, 8]]


def test_what_was_selected_before_is_not_put_into_sequences() -> None:
    before = [Candidate(f"{index}.png", LocalImage(f"{index}.png", Path("nowhere"), 1)) for index in range(2)]
    groups = Sequences.of(before + frames("a.mp4", 4), 2, 2).groups
    assert groups == ((0,), (1,), (2, 3), (4, 5))


def test_a_sequence_is_the_average_of_its_frames() -> None:
    groups = Sequences.of(frames("a.mp4", 4), 0, 2).groups
    embeddings = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], dtype=np.float32)
    sharpness = Metadata("lightly.sharpness")
    of_sequences = Material(embeddings, {sharpness: np.array([1.0, 3.0, 10.0, 20.0])}).joined(groups)
    assert of_sequences.embeddings == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [1, 0]]))
    assert of_sequences.embeddings.dtype == np.float32
    assert of_sequences.numbers[sharpness] == pytest.approx(np.array([2.0, 15.0]))


def test_a_video_that_is_shorter_than_a_sequence_leaves_nothing_to_average() -> None:
    groups = Sequences.of(frames("a.mp4", 2), 0, 3).groups
    assert Material(np.eye(2, dtype=np.float32)).joined(groups).embeddings.shape == (0, 2)


def test_the_number_asked_for_counts_frames() -> None:
    sequences = Sequences.of(frames("a.mp4", 8), 0, 4)
    assert sequences.request(SelectionRequest((Diversity(),), n_samples=8)).n_samples == 2
    assert sequences.request(SelectionRequest((Diversity(),), proportion=0.5)).proportion == 0.5
    assert sequences.rows([1, 0]) == [4, 5, 6, 7, 0, 1, 2, 3]


def test_each_sequence_is_described_so_that_it_can_be_cut_out() -> None:
    candidates = frames("a.mp4", 10)
    (found,) = sequence_information(candidates[4:6], 2)
    assert found == {
        "video_name": "a.mp4",
        "frame_names": ["a-04-mp4.png", "a-05-mp4.png"],
        "frame_timestamps_pts": [400, 500],
        "frame_indices": [4, 5],
    }

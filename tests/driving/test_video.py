"""Frames of videos, and files that are none."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from gs_reg.apps.look.video import write_video
from gs_reg.driving.video import video_frames
from gs_reg.errors import InputError


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.mp4", None, "no such file: expected a video"),
        ("empty.mp4", b"", "not a video that ffmpeg reads"),
        ("text.mp4", b"hello " * 100, "not a video that ffmpeg reads"),
    ],
)
def test_what_is_no_video_is_told_in_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        video_frames(path)
    assert str(raised.value) == f"{path}: {said}"


def test_a_phone_held_upright_gives_upright_frames(tmp_path):
    write_video(tmp_path / "wide.mp4", [np.zeros((32, 48, 3), np.uint8)] * 3, 25)
    turned = tmp_path / "tall.mp4"
    words = ["-loglevel", "error", "-display_rotation", "90", "-i", str(tmp_path / "wide.mp4"), "-c", "copy"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *words, str(turned)], check=True)
    frames, fps = video_frames(turned)
    assert fps == 25 and [frame.shape for frame in frames] == [(48, 32, 3)] * 3

"""The controls of an avatar's page."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_reg.errors import InputError

from ...avatar.driven_by import Reading
from ...avatar.motions import Motion, motion_of, neutral_pose
from . import gaze
from .keyframes import add_keyframes
from .page import AvatarPage
from .playing import Player

if TYPE_CHECKING:
    from viser import GuiEvent

TURN = 45.0
"""Degrees to each side."""
MOST_BYTES = 20 << 20
"""Of an uploaded table."""
RESTS = "nothing: it rests"
GROUPED = ("brow", "cheek", "eye", "jaw", "mouth", "nose", "tongue")
OTHER = "other channels"
IN_A_GROUP = 24
"""Channels without such names are in groups of so many."""


def groups_of(channels: tuple[str, ...]) -> dict[str, list[int]]:
    """Rows of the channels by what they move, as names of ARKit say, in a fixed order; the rest comes last."""
    found: dict[str, list[int]] = {name: [] for name in GROUPED}
    rest: list[int] = []
    for row, channel in enumerate(channels):
        word = re.match(r"[a-z]+", channel)
        found.get(word[0] if word else "", rest).append(row)
    for first in range(0, len(rest), IN_A_GROUP):
        last = min(first + IN_A_GROUP, len(rest))
        name = OTHER if len(rest) <= IN_A_GROUP else f"{OTHER} {first + 1} to {last}"
        found[name] = rest[first:last]
    return {name: rows for name, rows in found.items() if rows}


class Controls:
    """Handles of several panels that follow one another's changes; these do not count as the user's."""

    def __init__(self, page: AvatarPage) -> None:
        self.page, self.gui, self.guarded = page, page.server.gui, page.status.guarded
        self.player = Player(self._play_frame)
        self.player.start()
        self._sliders: dict[int, Any] = {}
        self._turn: list[Any] = []
        tabs = self.gui.add_tab_group()
        for name, add in (
            ("driving", self._add_timeline),
            ("expression", self._add_expression),
            ("keyframes", lambda: add_keyframes(self)),
            ("picture", self._add_picture),
        ):
            with tabs.add_tab(name):
                add()

    def close(self) -> None:
        self.player.close()

    def _add_timeline(self) -> None:
        gui, page, player = self.gui, self.page, self.player
        sources = (RESTS, *page.avatar.details.sequences)
        held_out = page.avatar.details.held_out_sequences
        words = {name: f"{name} (held out)" if name in held_out else name for name in sources}
        by_words = {text: name for name, text in words.items()}
        source = gui.add_dropdown("driven by", tuple(by_words))
        upload = gui.add_upload_button("... or by a .csv of ARKit coefficients", mime_type=".csv")
        self._follow = gui.add_checkbox("head turns", True, hint="Off: the head stays as in the neutral frame")
        buttons = gui.add_button_group("timeline", ("play", "pause", "first"))
        self._frame = gui.add_slider("frame", min=0, max=1, step=1, initial_value=0, disabled=True)
        self._fps = gui.add_slider("frames a second", min=1, max=60, step=1, initial_value=24)
        self._uploaded: Motion | None = None
        self._source = source
        self._by_words = by_words

        @source.on_update
        @self.guarded
        def _(_: GuiEvent) -> None:
            self._uploaded = None
            self._drive()

        @upload.on_upload
        @self.guarded
        def _(_: GuiEvent) -> None:
            self._uploaded = read_upload(page, upload.value.name, upload.value.content)
            self._drive()

        @self._follow.on_update
        @self.guarded
        def _(_: GuiEvent) -> None:
            self._drive()

        @buttons.on_click
        @self.guarded
        def _(_: GuiEvent) -> None:
            if page.motion is None and buttons.value == "play":
                raise InputError("nothing to play: choose what drives it")
            if buttons.value == "play":
                player.play(page.frame)
            else:
                player.pause()
                page.show_frame(0 if buttons.value == "first" else page.frame)
                self._follow_pose()

        @self._frame.on_update
        @self.guarded
        def _(event: GuiEvent) -> None:
            if event.client is not None:
                player.pause()
                page.show_frame(self._frame.value)
                self._follow_pose()

        @self._fps.on_update
        @self.guarded
        def _(_: GuiEvent) -> None:
            player.fps = float(self._fps.value)
            if player.playing:
                player.play(page.frame)

    def _add_expression(self) -> None:
        gui, page, info = self.gui, self.page, self.page.avatar.info
        reset = gui.add_button("reset", hint="The neutral face, the head at rest")
        with gui.add_folder("head"):
            for name in ("turn", "nod", "tilt"):
                slider = gui.add_slider(name, min=-TURN, max=TURN, step=0.5, initial_value=0.0)
                self._turn.append(slider)
                slider.on_update(self.guarded(self._turned))
        if eyes := gaze.rows_of(info.channels):
            with gui.add_folder("gaze"):
                self._add_gaze(eyes)
        for name, rows in groups_of(info.channels).items():
            with gui.add_folder(name, expand_by_default=name in ("jaw", "mouth", OTHER)):
                for row in rows:
                    self._add_channel(row)

        @reset.on_click
        @self.guarded
        def _(_: GuiEvent) -> None:
            self.player.pause()
            for slider in self._turn:
                slider.value = 0.0
            page.set_pose(page.head.rest)
            self._follow_pose()

    def _add_picture(self) -> None:
        gui, page = self.gui, self.page
        drawer = gui.add_dropdown("drawn by", ("server", "browser"), hint="The browser: for a pose that stays")
        if page.head.screen:
            network = gui.add_checkbox(
                "network in screen space", True, hint="Only what the server draws at rest has it"
            )

            @network.on_update
            @self.guarded
            def _(_: GuiEvent) -> None:
                page.set_screen(network.value)

        save = gui.add_button("save posed .ply", hint="As it is now, in the world of the capture")

        @drawer.on_update
        @self.guarded
        def _(_: GuiEvent) -> None:
            page.set_drawer(drawer.value)

        @save.on_click
        @self.guarded
        def _(_: GuiEvent) -> None:
            page.status.say(f"wrote {page.save()}")

    def _add_channel(self, row: int) -> None:
        page, info = self.page, self.page.avatar.info
        low, high = sorted((info.lo[row], info.hi[row]))
        value = float(page.head.rest.code[row])
        low, high = min(low, value), max(high, value, low + 1e-6)
        step = (high - low) / 200
        slider = self.gui.add_slider(info.channels[row], min=low, max=high, step=step, initial_value=value)
        self._sliders[row] = slider

        @slider.on_update
        @self.guarded
        def _(event: GuiEvent) -> None:
            if event.client is not None:
                self.player.pause()
                page.set_code(row, slider.value)

    def _add_gaze(self, eyes: gaze.Rows) -> None:
        """Both eyes at once; the channels of each eye stand below."""
        hint = "To the subject's left and right"
        self._gaze = [
            self.gui.add_slider(name, min=-1.0, max=1.0, step=0.02, initial_value=0.0, hint=text)
            for name, text in (("left", hint), ("up", "And down"))
        ]
        page = self.page

        def look(event: GuiEvent) -> None:
            if event.client is not None:
                self.player.pause()
                left, up = (float(slider.value) for slider in self._gaze)
                pose = page.head.pose
                page.set_pose(replace(pose, code=gaze.looking(pose.code, eyes, left, up)))
                self._follow_pose()

        for slider in self._gaze:
            slider.on_update(self.guarded(look))

    def _turned(self, event: GuiEvent) -> None:
        if event.client is not None:
            turn, nod, tilt = (float(slider.value) for slider in self._turn)
            self.page.set_turn((turn, nod, tilt))

    def _drive(self) -> None:
        page, name = self.page, self._by_words[self._source.value]
        motion = self._uploaded
        if motion is None and name != RESTS:
            motion = motion_of(page.avatar, name, Reading())
        if motion is not None and not self._follow.value:
            motion = replace(motion, pose=neutral_pose(page.avatar, len(motion)))
        self.show(motion)

    def show(self, motion: Motion | None) -> None:
        """From here on, the timeline is that of this motion; None: the head rests."""
        page = self.page
        self.player.pause()
        page.drive(motion)
        self._frame.disabled = motion is None
        self._frame.max = 1 if motion is None else max(len(motion) - 1, 1)
        if motion is not None:
            self._fps.value = round(min(max(motion.fps, 1), 60))
            page.status.say(f"**{page.title}**: {len(motion)} frames of {motion.words}")
        self._follow_pose()

    def _play_frame(self, frame: int) -> None:
        self.page.show_frame(frame)
        self._frame.value = self.page.frame

    def _follow_pose(self) -> None:
        """Brings the sliders to what is shown."""
        self._frame.value = self.page.frame
        for row, slider in self._sliders.items():
            value = float(self.page.head.pose.code[row])
            slider.value = min(max(value, slider.min), slider.max)
        if eyes := gaze.rows_of(self.page.avatar.info.channels):
            for slider, value in zip(self._gaze, gaze.direction(self.page.head.pose.code, eyes), strict=True):
                slider.value = min(max(value, -1.0), 1.0)


def read_upload(page: AvatarPage, name: str, content: bytes) -> Motion:
    """Raises InputError: no table of coefficients, or too large a one."""
    if not name.lower().endswith(".csv"):
        raise InputError(f"{name or 'no file'}: expected a table of ARKit coefficients, .csv")
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: expected at most {MOST_BYTES >> 20} MB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "uploaded.csv"
        path.write_bytes(content)
        motion = motion_of(page.avatar, str(path), Reading())
    return replace(motion, words=f"{Path(name).name}, relative to neutral")

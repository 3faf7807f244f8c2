"""The run of a small avatar as the viewer reads it, without a training: the toy prior's head, striped."""

from pathlib import Path

from gs_reg.apps.avatar.files import FOLDER
from gs_reg.io.avatar import AvatarInfo
from gs_reg.models.avatar import save_avatar
from gs_reg.sh import rgb_to_sh
from tests.models.avatars import PRIOR, rig, toy_avatar

CHANNELS = ("jawOpen", "browInnerUp", *(f"mouth{n}" for n in range(PRIOR.dim - 2)))
SEQUENCES = {"A": [0, 4], "B": [4, 7]}


def write_avatar_run(folder: Path) -> Path:
    """Of 7 frames in two sequences, B held out; 3 cameras, the middle one in front."""
    avatar = toy_avatar(points=900)
    avatar.dc.data = rgb_to_sh(0.5 + 0.45 * (20 * avatar.means.detach()).sin())[:, None]
    avatar.opacity_logits.data += 4.0
    cameras = rig()
    details = {
        "unit_m": PRIOR.unit_m,
        "ident": None,
        "neutral": PRIOR.neutral.tolist(),
        "frame_names": [f"{t:05d}" for t in range(7)],
        "sequences": SEQUENCES,
        "train_frames": [0, 1, 2, 3],
        "held_out_sequences": ["B"],
        "cameras": {
            "names": ["left", "middle", "right"],
            "held_out": [],
            "size": [cameras.width, cameras.height],
            "viewmats": cameras.viewmats.double().tolist(),
            "Ks": cameras.Ks.double().tolist(),
            "frontal": 1,
        },
    }
    info = AvatarInfo("toy", CHANNELS, tuple(PRIOR.lo.tolist()), tuple(PRIOR.hi.tolist()), details=details)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("schema: 1\n")
    save_avatar(folder / FOLDER, avatar, info)
    return folder

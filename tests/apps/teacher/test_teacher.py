"""`gs-reg teacher`: data, training in slices, the exported folder, its check; the mistakes of users."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.apps import cli
from gs_reg.apps.teacher.figures import Check, accepted
from gs_reg.io import checkpoint

from ..conftest import command

TINY = ["--network.blocks", "2", "--network.heads", "2", "--coarse.steps", "6", "--coarse.batch", "4"]
TINY += ["--decoder.steps", "2", "--decoder.batch", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "data"
    flags = ["--size", "32", "--shapes", "12", "--held-out", "24", "--views", "2"]
    assert cli.main(["teacher", "data", "--out", str(folder), *flags]) == 0
    return folder


def test_data_tell_their_number_and_size_before_they_begin(tmp_path, capsys):
    out = tmp_path / "d"
    flags = ["--size", "32", "--shapes", "12", "--held-out", "24", "--views", "1"]
    assert cli.main(["teacher", "data", "--out", str(out), *flags]) == 0
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("plan: 36 pictures of 32x32 pixels, ") and line.endswith(f" on disk, into {out}")
    said = float(line.split("pixels, ")[1].split(" MB")[0])
    assert said == pytest.approx(sum(f.stat().st_size for f in out.iterdir()) / 1e6, rel=0.1)


@pytest.fixture(scope="module")
def training(data) -> Path:
    out = data.parent / "training"
    assert cli.main(["teacher", "train", "--data", str(data), "--out", str(out), *TINY]) == 0
    return out


@pytest.fixture(scope="module")
def model(data, training) -> Path:
    folder = data.parent / "model"
    words = ["--model", str(folder), "--training", str(training), "--data", str(data), "--pictures", "1"]
    assert cli.main(["teacher", "check", *words]) == 1  # six steps teach nothing: it must not be accepted
    return folder


def weights(training: Path, stage: str = "coarse") -> dict[str, torch.Tensor]:
    newest = checkpoint.latest(training / stage)
    assert newest is not None
    return checkpoint.load(newest).model["averaged"]


def test_slices_come_to_the_same_weights_as_one_run(data, training, tmp_path):
    words = ["teacher", "train", "--data", str(data), "--out", str(tmp_path / "slices"), *TINY, "--stage", "coarse"]
    calls = 0
    while calls < 20 and (calls == 0 or checkpoint.latest(tmp_path / "slices" / "coarse").name != "step_000000006"):
        assert cli.main([*words, "--minutes", "1e-9"]) == 0  # one step a call
        calls += 1
    assert calls == 6
    whole, sliced = weights(training), weights(tmp_path / "slices")
    assert whole.keys() == sliced.keys() and all(torch.equal(whole[name], sliced[name]) for name in whole)


def test_a_signal_saves_and_the_same_command_goes_on(data, tmp_path):
    out = tmp_path / "stopped"
    words = [*TINY, "--coarse.steps", "100000", "--stage", "coarse"]
    process = subprocess.Popen(
        command("teacher", "train", "--data", str(data), "--out", str(out), *words), stderr=subprocess.PIPE, text=True
    )
    for _ in range(2400):
        if (out / "events.jsonl").is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    newest = checkpoint.latest(out / "coarse")
    assert newest is not None and checkpoint.load(newest).step >= 50


def test_another_loss_or_network_is_not_mixed_in(data, training, capsys):
    words = ["teacher", "train", "--data", str(data), "--out", str(training), *TINY]
    assert cli.main([*words, "--maps", "0"]) == 2
    assert "loss was" in capsys.readouterr().err
    assert cli.main([*words, "--network.heads", "3"]) == 2
    assert "network was" in capsys.readouterr().err


def test_the_folder_loads_and_draws_with_diffusers_alone(model):
    from diffusers import StableDiffusion3Pipeline

    pipe = StableDiffusion3Pipeline.from_pretrained(model, text_encoder_3=None, tokenizer_3=None)
    generator = torch.Generator().manual_seed(0)
    prompt = "a photo of a mug with a red handle"
    images = pipe(prompt, num_inference_steps=2, height=32, width=32, generator=generator, output_type="np").images
    assert images.shape == (1, 32, 32, 3) and images.std() > 0
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    assert size < 30e6


def test_the_check_writes_figures_settings_and_card(model):
    figures = json.loads((model / "figures.json").read_text())
    assert figures["accepted"] is False
    by_name = {check["name"]: check for check in figures["checks"]}
    assert by_name["VAE, PSNR of pictures (dB)"]["value"] > 0
    unmeasured = [check for check in figures["checks"] if check["value"] is None]
    assert unmeasured and all(check["reason"] for check in unmeasured)
    settings = json.loads((model / "teacher.json").read_text())
    assert settings["resolution"] == 32 and settings["zero_rows"] == 16 and settings["blocks"] == [0]
    card = (model / "README.md").read_text()
    assert "Not accepted" in card and "What it is not for" in card and "supervised" in card


def test_the_card_says_what_supervision_does(data, training, model, tmp_path, capsys):
    plain, out = tmp_path / "plain", tmp_path / "model"
    shutil.copytree(model, out)
    words = ["teacher", "train", "--data", str(data), "--out", str(plain), *TINY, "--stage", "coarse"]
    assert cli.main([*words, "--maps", "0", "--binding", "0"]) == 0
    check = ["check", "--model", str(out), "--data", str(data), "--pictures", "1"]
    pair = ["--supervised", str(training), "--unsupervised", str(plain)]
    capsys.readouterr()
    assert "both or neither" in failure(capsys, *check, *pair[:2])
    swapped = [pair[0], pair[3], pair[2], pair[1]]
    assert "--maps 0 --binding 0" in failure(capsys, *check, *swapped)
    assert cli.main(["teacher", *check, *pair]) == 1
    beside = json.loads((out / "figures.json").read_text())["supervision"]
    assert beside["steps"] == 6 and beside["size"] == 32 and beside["with"] != beside["without"]
    card = (out / "README.md").read_text()
    assert f"| without | {beside['without']['miou']:.3f} |" in card and "after 6 steps each" in card


def test_figures_of_the_edit_bench_are_taken_over_and_the_others_kept(data, model, tmp_path, capsys):
    out, bench = tmp_path / "model", tmp_path / "bench.json"
    shutil.copytree(model, out)
    before = {c["name"]: c for c in json.loads((out / "figures.json").read_text())["checks"]}
    each = [
        {"edit": f"{name}-colour", "color_views": views, "oracle_psnr": 20.0} for name, views in (("a", 1), ("b", 0.8))
    ]
    parts = {"miou": 0.8, "miou_3d": 0.5, "miou_maps": 0.7, "changed_outside": 0}
    bench.write_text(json.dumps(parts | {"each": [*each, {"edit": "a-shape", "color_views": 0, "oracle_psnr": None}]}))
    words = ["check", "--model", str(out), "--data", str(data), "--keep", "--bench", str(bench)]
    assert cli.main(["teacher", *words]) == 1
    after = {c["name"]: c for c in json.loads((out / "figures.json").read_text())["checks"]}
    assert before.keys() == after.keys() and after["full edit"]["passed"] is True
    assert after["full edit"]["value"] == pytest.approx(0.9) and after["part IoU lifted to 3D"]["passed"] is False
    changed = {name for name, check in after.items() if check != before[name]}
    assert "full edit" in changed and not any(name.startswith(("VAE", "colour", "attention")) for name in changed)
    bench.write_text("[]")
    capsys.readouterr()
    assert "bench.json" in failure(capsys, *words)
    (out / "figures.json").unlink()
    assert "leave --keep out" in failure(capsys, *words)


def test_checks_are_accepted_by_what_was_measured():
    reached = [Check("a", 0.9, least=0.9), Check("b", 0.1, most=0.15), Check("c", None, least=1, reason="later")]
    assert accepted(reached)
    assert not accepted([*reached, Check("d", 0.2, most=0.15)])
    assert not accepted([*reached, Check("e", 0.2, least=0.3)])


def failure(capsys, *words: str) -> str:
    assert cli.main(["teacher", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


def test_mistakes_are_one_line(data, training, tmp_path, capsys):
    capsys.readouterr()
    nowhere = str(tmp_path / "nowhere")
    assert "teacher data" in failure(capsys, "train", "--data", nowhere, "--out", str(tmp_path / "t"))
    assert "--force" in failure(capsys, "data", "--out", str(data), "--size", "64")
    assert "none of coarse" in failure(capsys, "train", "--data", str(data), "--stage", "fien")
    assert "more than 0" in failure(capsys, "train", "--data", str(data), "--minutes", "0")
    assert "no checkpoint of coarse" in failure(capsys, "check", "--data", str(data), "--training", nowhere)
    assert "teacher.json" in failure(capsys, "check", "--data", str(data), "--model", str(tmp_path))


def test_the_folder_s_maps_are_those_of_training(model):
    """The library's teacher reads from the stock pipeline what training recorded in its own networks."""
    from gs_reg.apps.teacher.batches import teacher_tokenizer, tokens_of
    from gs_reg.apps.teacher.export import networks_of
    from gs_reg.data_tools.synthetic.objects.captions import part_prompt
    from gs_reg.diffusion.model import DiffusionModel
    from gs_reg.diffusion.word_maps import raw_maps, walk
    from gs_reg.parts.prompts import PartPrompt
    from gs_reg.parts.teachers.attention import WordAttention

    diffusion = DiffusionModel.load(model, device="cpu")
    images = torch.rand(2, 32, 32, 3)
    teacher = WordAttention(diffusion, seed=4)
    teacher.prepare(PartPrompt("a photo of a mug", ("rim", "handle", "body")))
    ours = teacher.raw(images)
    networks = networks_of(diffusion.pipe)
    tokens, names, _ = tokens_of(teacher_tokenizer(networks.config.tokens), [part_prompt("mug")] * 2)
    with torch.no_grad():
        walk(networks, diffusion.encode(images), networks.text(tokens), seed=4)
        theirs = raw_maps(networks, names[:, :3], (0,))
    assert ours.shape == (2, 3, 4, 4) and theirs.std() > 0
    assert torch.allclose(ours.flatten(2), theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))

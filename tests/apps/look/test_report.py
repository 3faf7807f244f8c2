"""The report page: what it shows, and that it needs nothing else."""

import base64
import io
import json
import re
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from gs_reg.apps.look.report import write_report
from gs_reg.apps.look.report.charts import Series, line_chart, nice_ticks
from gs_reg.apps.look.report.images import error_map
from gs_reg.apps.look.video import write_video
from gs_reg.apps.runs.results import DEPTH_OF_SPLATS, SEEN, named_as_today
from gs_reg.errors import InputError


def picture(h=60, w=80, shift=0):
    y, x = np.mgrid[:h, :w]
    return np.stack([x * 255 // w, y * 255 // h, (x + y + shift) % 64 * 4], -1).astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def run(tmp_path):
    """A finished run as `gs-reg reconstruct` leaves it, with hostile names."""
    folder = tmp_path / "fern" / "20261124-101500"
    figures = {
        "psnr": 22.812,
        "ssim": 0.7712,
        "psnr_seen": 24.5,
        "ssim_seen": 0.81,
        "lpips": None,
        "coverage": 0.87,
    }
    views = {"IMG_1.JPG": figures, "<b>bold&.png": {**figures, "psnr": 19.25}}
    result = {"mean": {**figures, "psnr": 21.03}, "views": views, "seconds": 421.7, "steps": 1000, "gaussians": 571536}
    for stem in ("IMG_1", "<b>bold&"):
        save(folder / "renders" / "test" / f"{stem}.png", picture(shift=9))
        save(folder / "renders" / "test" / f"{stem}_photo.png", picture())
    mask = np.zeros((60, 80, 3), np.uint8)
    mask[:, :40] = 255
    save(folder / "masks" / "IMG_1.png", mask)
    save(folder / "renders" / "train" / "IMG_2.png", picture())
    save(folder / "renders" / "train" / "IMG_2_photo.png", picture(shift=3))
    save(folder / "depths" / "IMG_2.png", picture(shift=30))
    write_video(folder / "videos" / "path.mp4", [picture(shift=4 * i) for i in range(5)])
    (folder / "result.json").write_text(json.dumps(result | {"lpips": "lpips_vgg: no backbone", "seed": 7}))
    (folder / "dataset.json").write_text(json.dumps({"kind": "llff", "train": ["IMG_2.JPG"], "size": [504, 378]}))
    (folder / "versions.json").write_text(json.dumps({"torch": "2.11.0", "gpu": None}))
    (folder / "command.txt").write_text("gs-reg reconstruct 'my <data>'\n")
    (folder / "config.yaml").write_text("schema: 1\ndata: my <data>\n")
    events = [
        {"step": s, "loss": 1 / s, "psnr": 15 + s / 99, "terms": {"l1": 0.7 / s, "tv": 0.3 / s}, "ms": 90}
        for s in range(1, 900)
    ]
    (folder / "events.jsonl").write_text("\n".join(map(json.dumps, events)) + '\n{"step": 900, "lo')
    return folder


def test_the_page_says_what_was_behind_the_splats(run):
    result = json.loads((run / "result.json").read_text())
    behind = {"black": {"psnr": 21.034, "ssim": 0.7712}, "mean": {"psnr": 21.5, "ssim": 0.78}}
    (run / "result.json").write_text(json.dumps(result | {"background": "black", "backgrounds": behind}))
    page = write_report(run).read_text()
    assert "Behind the splats: black" in page
    assert "The same views over black 21.03 dB, 0.771; over the photos&#39; mean colour 21.50 dB, 0.780" in page
    assert page.count("21.034") == 0  # not once more, raw, among the settings
    nothing = {"black": {"psnr": None, "ssim": None}}  # no photo was held out
    (run / "result.json").write_text(json.dumps(result | {"background": "black", "backgrounds": nothing}))
    assert "The same views" not in write_report(run).read_text()


def test_the_page_holds_everything(run):
    page = write_report(run).read_text()
    assert page == write_report(run).read_text()
    for text in (
        "22.81",
        "19.25",
        "21.03",
        "571,536",
        "n/a",
        "87%",
        "lpips_vgg: no backbone",
        "2.11.0",
        "llff",
        "504, 378",
    ):
        assert text in page, text
    assert "<h1>fern</h1>" in page and "gs-reg reconstruct &#39;my &lt;data&gt;&#39;" in page
    assert page.count("data:image/jpeg") == 3 * 2 + 2 + 1 and page.count("data:video/mp4") == 1
    assert page.count("<polyline") == 3 + 1 and "total 0.00111" in page
    assert len(page) < 200_000


def test_the_page_asks_for_nothing_from_outside(run):
    (run / "splats.ply").write_bytes(b"ply")
    (run / "look.html").write_text("a page")
    page = write_report(run).read_text()
    bare = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert (
        "http:" not in bare and "https:" not in bare and "url(" not in bare and "//" not in bare.replace("// The", "")
    )
    links = set(re.findall(r'href="([^"]*)"', bare))
    assert all((run / unquote(link)).is_file() for link in links)
    assert links >= {"splats.ply", "look.html", "videos/path.mp4", "renders/test/%3Cb%3Ebold%26_photo.png"}
    assert "report.html" not in links
    assert set(re.findall(r'(?:src|href)="([^"]*)"', bare)) - links == {"data:image/jpeg;", "data:video/mp4;"}
    assert not re.search(r"<(form|input|textarea|select|button|link|iframe|script src)", bare)
    assert "<b>bold" not in page and "&lt;b&gt;bold&amp;" in page


def test_seen_is_one_word_and_older_results_are_read(run):
    page = write_report(run).read_text()
    assert "24.50" in page and SEEN in page and "grey is not seen" in page
    old = (run / "result.json").read_text().replace("_seen", "_visible")
    (run / "result.json").write_text(old)
    assert write_report(run).read_text() == page
    assert named_as_today({"psnr_visible": 1, "x": 2}) == {"psnr_seen": 1, "x": 2}


def test_pictures_are_the_right_ones(run):
    page = write_report(run).read_text()
    uris = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    decoded = [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))).astype(int) for uri in uris]
    render, photo, error = decoded[3:6]  # IMG_1 comes second
    assert np.abs(render - picture(shift=9)).mean() < 12 and np.abs(photo - picture()).mean() < 12
    assert np.ptp(error[:, 44:], axis=-1).mean() < 6  # right half: not seen, grey
    assert np.ptp(error[:, :36], axis=-1).mean() > 15


def test_depth_before_and_after_training(run):
    save(run / "depths" / "IMG_2_trained.png", picture(shift=40))
    result = json.loads((run / "result.json").read_text())
    row = {"median_relative_error": 0.00345, "within_5_percent": 0.9446}
    result["depth"] = {"pixels": 343274, **row, "initial": {"median_relative_error": 0.002, "within_5_percent": 0.9566}}
    (run / "result.json").write_text(json.dumps(result))
    page = write_report(run).read_text()
    assert page.count("data:image/jpeg") == 3 * 2 + 2 + 2
    assert re.search(r"before training</td><td>0\.20%</td><td>95\.7%</td><td>343,274</td>", page)
    assert re.search(r"after training</td><td>0\.34%</td><td>94\.5%</td><td>343,274</td>", page)
    assert "IMG_2, before" in page and "IMG_2, after" in page and "IMG_2_trained, " not in page
    assert "<b>0.20</b><small>%</small><span>median error of the depth measured; 0.34 % as splats draw it" in page
    assert DEPTH_OF_SPLATS in page


def test_error_colours():
    a = np.zeros((1, 3, 3), np.uint8)
    b = a.copy()
    b[0, 1], b[0, 2] = 30, 255
    brightness = error_map(a, b).mean(-1)[0]
    assert brightness[0] < 20 < brightness[1] < brightness[2]


def test_an_empty_run_still_has_a_page(tmp_path):
    page = write_report(tmp_path).read_text()
    assert "No photo was held out" in page and "<table" not in page and "data:image" not in page


def test_broken_parts_are_named(run, tmp_path):
    (run / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"result\.json: not valid JSON"):
        write_report(run)
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "none")


def test_chart_places():
    chart = line_chart("loss", [Series("a", [0, 50, 100], [0.0, 5.0, 10.0]), Series("bad", [1], [float("nan")])])
    assert chart is not None and not chart.log
    assert chart.lines == (("a", "10", "0.0,1000.0 500.0,500.0 1000.0,0.0"),)
    assert chart.y_ticks[0] == (0, "0") and chart.y_ticks[-1] == (100, "10")
    wide = line_chart("loss", [Series("a", [0, 1], [0.001, 1.0])])
    assert wide is not None and wide.log and [text for _, text in wide.y_ticks] == ["0.001", "0.01", "0.1", "1"]
    flat = line_chart("flat", [Series("a", [5], [3.0])])
    assert flat is not None and "nan" not in str(flat)
    assert line_chart("none", [Series("a", [], [])]) is None
    assert nice_ticks(0.13, 0.91) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_long_series_are_thinned():
    chart = line_chart("a", [Series("a", list(range(10_000)), [1.0] * 10_000)])
    assert chart is not None and chart.lines[0][2].count(",") <= 240

"""What the repository and the package promise as a whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    *("cv2", "scipy", "skimage", "pycolmap", "gsply", "rich", "tyro", "trimesh", "open3d", "viser", "imageio", "PIL"),
    *("gsplat", "diffusers", "transformers", "mediapipe"),
}


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_gs_reg_is_light():
    code = "import torch, sys, time; t = time.perf_counter(); import gs_reg, gs_reg.types, gs_reg.geometry"
    seconds, *loaded = run_python(code + "; print(time.perf_counter() - t, *sys.modules)").split()
    assert float(seconds) < 1
    assert HEAVY.isdisjoint(loaded)


def test_heavy_libraries_load_inside_functions_alone():
    """Importing every module of the library (not the applications) loads none of them."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "gs_reg").rglob("*.py"))
        if path.stem not in ("__init__", "__main__")
    ]
    assert "gs_reg.render.native" in modules
    loaded = run_python("\n".join([f"import {name}" for name in modules] + ["import sys; print(*sys.modules)"])).split()
    assert sorted(HEAVY & set(loaded)) == []


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    assert ROOT / "pyproject.toml" in files
    return [file for file in files if file.is_file()]


def test_no_tracked_file_holds_a_path_of_a_machine(tracked):
    path_of_a_machine = re.compile(
        r"(?:^|[^A-Za-z0-9_.])(?:/(?:home|root|tmp|work|Users)/\w|[A-Z]:\\\\?Users)", re.MULTILINE
    )
    found = []
    for file in tracked:
        text = file.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{file.relative_to(ROOT)}: {match[0].strip()}" for match in path_of_a_machine.finditer(text)]
    assert found == []


def test_no_tracked_file_is_large(tracked):
    weights = ROOT / "apps" / "teacher" / "weights"
    small = [file for file in tracked if weights not in file.parents]
    assert [str(file.relative_to(ROOT)) for file in small if file.stat().st_size > 500_000] == []
    assert sum(file.stat().st_size for file in tracked if weights in file.parents) < 30e6


def test_every_package_is_installed(tracked):
    """A folder with Python files but no __init__.py would be left out of the wheel."""
    folders = {file.parent for file in tracked if file.suffix == ".py"} - {ROOT}
    inside = {f for f in folders if f.relative_to(ROOT).parts[0] in ("gs_reg", "apps", "data_tools")}
    assert [str(f.relative_to(ROOT)) for f in sorted(inside) if not (f / "__init__.py").is_file()] == []


def test_links_between_pages_lead_somewhere(tracked):
    pages = [file for file in tracked if file.suffix == ".md"]
    assert ROOT / "README.md" in pages
    dead = []
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            path, _, part = link.partition("#")
            if path.startswith(("http://", "https://")):
                continue
            target = page.parent / path if path else page
            titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE) if part else []
            if not target.exists() or (part and part not in [t.lower().replace(" ", "-") for t in titles]):
                dead.append(f"{page.relative_to(ROOT)}: {link}")
    assert dead == []

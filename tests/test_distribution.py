"""What users install: the wheel has all files and works in a bare environment; the Dockerfile."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FKI = ROOT / "fki"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def wheel(file: Path) -> set[str]:
    """The names of its files."""
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_that_runs_need(wheel: set[str]) -> None:
    shipped = [f for f in FKI.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    wanted = {f.relative_to(ROOT).as_posix() for f in shipped}
    wanted |= {f"fki/presets/{f.name}" for f in (ROOT / "presets").glob("*.toml")}
    assert wanted <= wheel
    for name in (
        "py.typed",
        *(f"report/templates/{n}" for n in ("layout.html", "page.css", "page.js")),
    ):
        assert f"fki/{name}" in wheel
    for name in ("assets/wiki/stream.jsonl", "assets/t5-mini/model.safetensors"):
        assert f"fki/{name}" in wheel
    assert "fki/presets/t5.toml" in wheel


def test_the_wheel_holds_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"fki"}


@pytest.mark.slow
def test_the_wheel_trains_in_an_environment_of_its_own(file: Path, tmp_path: Path) -> None:
    """pip installs the wheel; the libraries that it needs are those of this environment."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(file)], check=True)
    [site] = venv.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FKI_", "PYTHON"))}
    environment |= {"FKI_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}

    def fki(*words: str) -> str:
        command = [str(venv / "bin" / "fki"), *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = [str(python), "-c", "import fki; print(fki.__file__)"]
    place = subprocess.run(where, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert place.startswith(str(site))
    fki("download", "wiki")
    short = ("max_periods=1", "num_train_epochs=1", "max_probes_per_set=5")
    sets = [word for text in short for word in ("--set", text)]
    shown = fki("train", "--version", "month", *sets, "--output-dir", "run")
    assert "Right after each period" in shown
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_dockerfile_is_sound() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent.as_posix())
    if hadolint is None:
        pytest.skip("hadolint is not installed on this platform")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_the_image_gets_each_file_that_it_copies() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert copied == {name.removeprefix("!") for name in sent if name.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)

"""The embedded dataset, downloaded once and copied into the data folder of each test that asks."""

import shutil
from pathlib import Path

import pytest

from fki.core.paths import data_home
from fki.sources.place_dataset import place_embedded


@pytest.fixture(scope="session")
def downloaded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with `wiki` and the stores of its streams; look, do not touch."""
    home = tmp_path_factory.mktemp("downloaded") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FKI_HOME", str(home))
        place_embedded("wiki")
    return home


@pytest.fixture
def wiki(downloaded_home: Path) -> Path:
    """The folder of `wiki` in the test's own data folder, as after a download."""
    shutil.copytree(downloaded_home, data_home(), dirs_exist_ok=True)
    return data_home() / "datasets" / "wiki"

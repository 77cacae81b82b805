"""Two snapshots of a small wiki, and the dataset built from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fki.sources.dataset_writer import DatasetDraft
from fki.sources.wikipedia.dataset import build_draft
from fki.sources.wikipedia.snapshots import find_snapshots
from tests.support.wiki_export import export, page, save

STAYS = "It lies in the kingdom of Eden, near Utopia."
AVALON = f"Avalon is a city.\n\n{STAYS}\n\nIts mayor since 2019 has been Ann Stone."


def with_new_mayor(text: str) -> str:
    return text.replace("2019 has been Ann Stone", "2024 has been Bo Quill")


OLD = (
    page(1, text=AVALON, title="Avalon", day="2023-12-01"),
    page(2, text="Quill is a long river of Eden.", title="Quill", day="2023-12-02"),
    page(3, text="A page that will be deleted soon.", title="Gone", day="2023-12-03"),
    page(5, text="Moss is a redirect that was a text.", title="Moss", redirect="Stone"),
)
NEW = (
    page(1, text=with_new_mayor(AVALON), title="Avalon", day="2024-01-20", number=11),
    page(2, text="'''Quill''' is a long river of [[Eden]].", title="Quill", number=21),
    page(4, text="The Long League was founded by Cy Moss in 2024.", title="Long League",
         day="2024-01-09"),
    page(5, text="Moss is a plant that grows on stones.", title="Moss", day="2024-01-08"),
    page(6, text="A talk about nothing in particular here.", ns=1),
)  # fmt: skip


def save_two(folder: Path, old: Sequence[str] = OLD, new: Sequence[str] = NEW) -> list[str]:
    """The places of two snapshots."""
    return [
        str(save(folder / "testwiki-20240101-pages-articles.xml.bz2", export(*old))),
        str(save(folder / "testwiki-20240201-pages-articles.xml.bz2", export(*new))),
    ]


def build(places: list[str], since: str = "", until: str = "", **options: Any) -> DatasetDraft:
    return build_draft(*find_snapshots(places, since, until), **({"workers": 1} | options))


def rows(found: DatasetDraft, table: str = "stream") -> list[dict[str, Any]]:
    return [*found.tables[table]]

"""Methods by name: ours, aliases, and plug-ins that may be broken."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from fki.core import registry
from fki.core.errors import ConfigError, FkiError

HERE = "registry_plugins_of_the_tests"


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four plug-ins: two fine, one that takes a name of ours, one that cannot be imported."""
    good = type("Good", (), {"table": "vanilla", "Options": type("Options", (), {})})
    other = type("Other", (good,), {"table": "other_table"})
    module = SimpleNamespace(Good=good, Other=other, nothing=3)
    monkeypatch.setitem(__import__("sys").modules, HERE, module)
    targets = {
        "zeta": f"{HERE}:Good",
        "other": f"{HERE}:Other",
        "lora": f"{HERE}:Good",
        "broken": "no_such_module_at_all:X",
        "number": f"{HERE}:nothing",
    }
    entries = [EntryPoint(name, value, registry.GROUP) for name, value in targets.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    registry._plugins.cache_clear()
    yield
    registry._plugins.cache_clear()


def test_our_methods_have_names_and_a_line_each() -> None:
    ours = "vanilla kadapter_2 kadapter_3 lora mixreview modular recadam kd kilm"
    assert registry.method_names()[:9] == ours.split()
    for name in registry.BUILTIN:
        assert registry.summary_of(name).endswith(".")


@pytest.mark.parametrize("name", list(registry.BUILTIN))
def test_what_is_known_without_importing_is_true_of_the_class(name: str) -> None:
    pytest.importorskip("fki.methods.base")
    method = registry.method_class(name)
    assert registry.table_of(name) in ("", method.table)
    assert registry.options_of(name) is method.Options
    assert bool(registry.table_of(name)) == bool(method.Options.model_fields)


def test_aliases_are_read_with_a_note() -> None:
    assert registry.canonical_name("baseline") == (
        "vanilla",
        "method 'baseline' is read as 'vanilla'.",
    )
    assert registry.canonical_name("lora") == ("lora", None)


def test_an_unknown_method_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'vanilla'\?"):
        registry.canonical_name("vanila")  # not the alias 'vannila'
    with pytest.raises(ConfigError, match=r"not 'lorra'\. Did you mean 'lora'\?"):
        registry.method_class("lorra")


def test_tables_lead_to_methods() -> None:
    assert registry.owner_of_table("recadam") == "recadam"
    assert registry.owner_of_table("kadapter") == "kadapter_2"  # kadapter_3 has the same
    assert registry.owner_of_table("no_such_table") is None
    assert registry.owner_of_table("") is None


def test_plugins_come_after_ours_and_never_override(plugins: None) -> None:
    names = registry.method_names()
    assert names == [*registry.BUILTIN, "broken", "number", "other", "zeta"]
    assert registry.table_of("lora") == "lora"
    assert registry.method_class("zeta").__name__ == "Good"


def test_a_plugins_table_is_its_name_unless_its_class_states_one(plugins: None) -> None:
    assert registry.table_of("zeta") == "zeta"
    assert registry.table_of("other") == "other_table"
    assert registry.owner_of_table("other_table") == "other"
    ours = ["kadapter", "lora", "mixreview", "modular", "recadam", "kd", "kilm"]
    ours += ["retrieval", "prioritized", "peft"]
    assert registry.table_names() == [*ours, "other_table", "zeta"]


@pytest.mark.parametrize(
    ("name", "text"), [("broken", "Cannot load the plug-in"), ("number", "must be a subclass")]
)
def test_a_broken_plugin_is_an_error_only_when_asked_for(
    plugins: None, name: str, text: str
) -> None:
    assert registry.summary_of(name) == "Plug-in."
    with pytest.raises(FkiError, match=text):
        registry.method_class(name)

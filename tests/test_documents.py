"""What the documents say is true today."""

import re
from pathlib import Path

import pytest
import typer.main

from flows.cli import app
from tasks.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> dict[str, set[str]]:
    """Return every command of the console script with its options."""
    found: dict[str, set[str]] = {}
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        options = {option for parameter in command.params for option in parameter.opts}
        for inner, sub in getattr(command, "commands", {}).items():
            found[f"{name} {inner}"] = {option for parameter in sub.params for option in parameter.opts}
        found[name] = options
    return found


def test_the_first_screen_says_it_runs_it_and_shows_it() -> None:
    first = README.splitlines()[:30]
    text = "\n".join(first)
    assert "make run" in text
    assert "make test" in text
    picture = re.search(r"!\[.*?\]\((.*?)\)", text)
    assert picture is not None
    assert (ROOT / picture[1]).stat().st_size > 20_000


def test_every_command_of_the_readme_exists_and_every_command_is_in_the_readme() -> None:
    named = set(re.findall(r"`perpflow ([a-z-]+)", README))
    real = {name.split()[0] for name in commands()}
    assert named <= real
    assert real - {"down", "status"} <= named
    for sub in re.search(r"`perpflow graduation ([^`]*)`", README)[1].replace("\\|", "|").split("|"):  # type: ignore[index]
        assert f"graduation {sub}" in commands()


def test_every_option_of_the_readme_exists() -> None:
    real = set().union(*commands().values())
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", README):
        assert option in real, option


def test_every_setting_of_the_readme_exists() -> None:
    known = {name.upper() for name in Settings.model_fields} | {"PERPFLOW_TAPE"}
    assert set(re.findall(r"\b(?:PERPFLOW|BYBIT)_[A-Z_]+\b", README)) <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_every_path_in_the_documents_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in target or (document.parent / target).exists(), target
    for path in re.findall(r"`((?:bybit|tasks|flows|validation|tests|docs)/[\w/.]+)`", text):
        assert (ROOT / path.rstrip("/")).exists() or (ROOT / f"{path}.py").exists(), path


def test_the_strategies_the_readme_counts_are_there() -> None:
    from bybit.strategies import registry

    assert len(registry()) == 4
    assert "with four strategies" in (ROOT / "CHANGELOG.md").read_text()

"""The documentation as a site: it builds with strict links, loads nothing from elsewhere, and its recipes are files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from autoscaler.api.errordocs import STATUSES
from autoscaler.rulefile.cookbook import recipes, reference
from autoscaler.rulefile.reader import Defaults, check_file
from tests.apiworld import api_world

REPOSITORY = Path(__file__).parent.parent
COOKBOOK = REPOSITORY / "rules" / "cookbook"
RECIPES = sorted(path for path in COOKBOOK.glob("*.yaml") if not path.name.endswith(".test.yaml"))
ELSEWHERE = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:)?//', re.IGNORECASE)


def test_the_site_builds_with_strict_links_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        found = ELSEWHERE.search(page.read_text(encoding="utf-8"))
        # A link to a page of others is a link; what a browser would load by itself is not.
        assert found is None or 'rel="canonical"' in found[0], f"{page.name}: {found[0] if found else ''}"


def test_every_page_of_the_documentation_is_in_the_navigation() -> None:
    text = re.sub(r"!!\S+", "", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    named = set(re.findall(r"[\w-]+\.md", yaml.safe_dump(yaml.safe_load(text)["nav"])))
    assert named == {path.name for path in (REPOSITORY / "docs").glob("*.md")}


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_a_recipe_is_taken_without_advice_and_has_tests(path: Path) -> None:
    checked = check_file(path, defaults=Defaults())
    assert checked.errors == ()
    assert [str(f) for f in checked.warnings if "price" not in f.text] == []
    assert path.with_suffix(".test.yaml").exists()


def test_the_cookbook_holds_every_recipe_as_it_stands_in_its_file() -> None:
    page = (REPOSITORY / "docs" / "cookbook.md").read_text(encoding="utf-8")
    assert page == reference(COOKBOOK)
    for recipe in recipes(COOKBOOK):
        assert recipe.path.read_text(encoding="utf-8").endswith(recipe.rules + "\n")
        assert recipe.rules in page


def test_a_recipe_without_a_heading_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare.yaml").write_text("# yaml-language-server: x\npool: a\n", encoding="utf-8")
    with pytest.raises(ValueError, match="begins with a title"):
        recipes(tmp_path)


def test_every_status_that_the_interface_documents_is_explained(tmp_path: Path) -> None:
    paths = api_world(tmp_path).app.openapi()["paths"].values()
    documented = {int(s) for path in paths for op in path.values() for s in op["responses"] if int(s) >= 400}
    assert documented <= {status for status, _, _ in STATUSES}

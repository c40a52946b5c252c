"""The documentation is built of what it describes, names what there is, and its links lead on."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs import pages, schemas, site, values, words
from tests.docs.pages import DOCS, REPOSITORY

SCHEMAS = {
    definition["spec"]["names"]["singular"]: definition["spec"]["versions"][0]["schema"][
        "openAPIV3Schema"
    ]
    for definition in (
        yaml.safe_load(path.read_text()) for path in sorted(REPOSITORY.glob("crds/wps*.yaml"))
    )
}
BY_HAND = sorted(
    path
    for path in [*DOCS.glob("*.md"), *REPOSITORY.glob("*.md"), *REPOSITORY.glob("examples/*/*.md")]
)
TROUBLES = DOCS / "troubleshooting.md"


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def test_the_made_pages_are_up_to_date() -> None:
    assert pages.stale() == [], "run: make pages"


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_field_says_what_it_means(kind: str) -> None:
    assert list(schemas.undescribed("", SCHEMAS[kind])) == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_field_is_on_its_page(kind: str) -> None:
    page = (DOCS / "reference" / f"{kind}.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert rows >= set(_names(SCHEMAS[kind])) - {"spec", "status"}


def _names(schema: schemas.Schema) -> Iterator[str]:
    for name, child in schemas.fields(schema):
        yield name
        yield from _names(child)


def test_a_field_without_a_description_is_found() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = {"properties": {"many": {"description": "x", "type": "array", "items": inner}}}
    assert list(schemas.undescribed("", schema)) == ["many.a"]


def test_every_helm_value_says_what_it_means() -> None:
    text = (REPOSITORY / "charts" / "wpsjobs" / "values.yaml").read_text()
    assert values.untold(values.parsed(text)) == []


def test_comments_of_values_are_read_where_they_belong() -> None:
    part = "a:\n  # Part.\n  b: 1\n  c: {d: 2}\n"
    text = f"# Whole\n# thing.\n{part}\n# Alone.\ne: []\nf: 1  # beside\n"
    a, e, f = values.parsed(text)
    assert (a.meaning, e.meaning, f.meaning) == ("Whole thing.", "Alone.", "beside")
    assert [(part.path, part.meaning) for part in a.parts] == [
        ("a.b", "Part."),
        ("a.c", "See the one above."),
    ]
    assert values.untold(values.parsed("a: 1\n")) == ["a"]


def test_every_variable_of_the_operator_is_documented() -> None:
    """Those that it reads, not those that a class lists."""
    source = (REPOSITORY / "operator/wpsjobs/controller/settings.py").read_text()
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    read = {
        argument.value
        for call in calls
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant) and str(argument.value).isupper()
    }
    page = (DOCS / "configuration.md").read_text()
    assert len(read) > 10
    assert {f"WPSJOBS_{name}" for name in read} == set(
        re.findall(r"^\| `(WPSJOBS_\w+)` \| .* \| .+ \|$", _between(page, "operator"), re.MULTILINE)
    )


def test_every_key_of_the_configuration_is_documented() -> None:
    source = (REPOSITORY / "operator/wpsjobs/eoxserver/config.py").read_text()
    read = set(re.findall(r"(?:reader|extra)\.\w+\(\"(\w+)\"", source))
    page = (DOCS / "configuration.md").read_text()
    told = re.findall(r"^\| `\[[\w.]+\]` \| `(\w+)` \|", page, re.MULTILINE)
    assert set(told) == read
    sync = (REPOSITORY / "operator/wpsjobs/eoxserver/commands/sync.py").read_text()
    for key in re.findall(r'"(\w+)": "(?:maxQueued|parallelism)"', sync):
        assert f"`{key}`" in page


def test_every_django_setting_is_documented() -> None:
    page = (DOCS / "configuration.md").read_text()
    names = set()
    for path in (REPOSITORY / "operator/wpsjobs/eoxserver").rglob("*.py"):
        names |= set(re.findall(r'SETTING = "(\w+)"', path.read_text()))
    assert names == {"WPSJOBS_OWNER", "WPSJOBS_RETRY_AFTER"}
    for name in names:
        assert f"| `{name}` |" in page
    handler = (REPOSITORY / "operator/wpsjobs/eoxserver/exceptionhandler.py").read_text()
    (seconds,) = re.findall(r"DEFAULT_RETRY_AFTER = (\d+)", handler)
    assert f"| `WPSJOBS_RETRY_AFTER` | {seconds} |" in page


def test_the_settings_name_classes_that_there_are() -> None:
    paths = re.findall(
        r'`"(wpsjobs\.[\w.]+)\.([A-Z]\w+)"`', (DOCS / "configuration.md").read_text()
    )
    assert len(paths) >= 4
    for module, name in paths:
        source = REPOSITORY / "operator" / Path(*module.split(".")).with_suffix(".py")
        assert f"\nclass {name}(" in source.read_text() or f"\nclass {name}:" in source.read_text()


def _between(page: str, mark: str) -> str:
    return page.partition(f"<!-- {mark}: ")[2].partition("<!-- end -->")[0]


def test_a_missing_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="rights"):
        pages.filled("nothing", {"rights": "table"})


QUOTED = [line for block in blocks(TROUBLES, "text") for line in block.splitlines()]


@pytest.mark.parametrize("line", QUOTED)
def test_the_product_says_what_troubleshooting_quotes(line: str) -> None:
    assert words.says(line)


def test_what_the_product_does_not_say_is_found() -> None:
    assert not words.says("Waiting in the line 'default'")
    assert not words.says("The queue 'default' is full, so go away")


def test_every_symptom_says_what_to_do() -> None:
    symptoms = re.split(r"^### ", TROUBLES.read_text(), flags=re.MULTILINE)[1:]
    assert len(symptoms) > 15
    for symptom in symptoms:
        title = symptom.splitlines()[0]
        assert "```" in symptom or "`" in symptom, title
        assert len(symptom) > 120, title


PATCHES = sorted(
    {
        (match["kind"], match["body"])
        for path in BY_HAND
        for match in re.finditer(
            r"kubectl patch (?P<kind>wps(?:job|queue|process))s? .*?-p '(?P<body>\{.*?\})'",
            path.read_text(),
        )
    }
)


@pytest.mark.parametrize(("kind", "body"), PATCHES)
def test_patches_name_fields_that_there_are(kind: str, body: str) -> None:
    _check(json.loads(body), SCHEMAS[kind], kind)


def _check(value: Any, schema: schemas.Schema, path: str) -> None:
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    known = dict(schemas.fields(schema))
    for name, child in value.items():
        assert name in known, f"{path}.{name}"
        _check(child, known[name], f"{path}.{name}")


@pytest.mark.parametrize("path", BY_HAND, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_outside_of_the_site_lead_to_files(path: Path) -> None:
    """As one reads them in the repository; MkDocs checks those within the site."""
    made = {"examples.md", "decisions/index.md"}
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target) and target not in made:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", BY_HAND, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_shell_blocks_are_shell(path: Path) -> None:
    for block in blocks(path, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
        lines = block.replace("\\\n", " ").splitlines()
        assert shlex.split(lines[0], comments=True) is not None


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    site.build(tmp_path / "site")
    for name in ("index.html", "examples/index.html", "decisions/index.html"):
        assert (tmp_path / "site" / name).exists()
    examples = (tmp_path / "site" / "examples" / "index.html").read_text()
    for folder in REPOSITORY.glob("examples/[0-9]*"):
        assert folder.name[:2] in examples


def test_a_broken_link_breaks_the_build(tmp_path: Path) -> None:
    config = (REPOSITORY / "mkdocs.yml").read_text()
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("[nowhere](nowhere.md)\n")
    settings = {"site_name": "x", "docs_dir": str(docs), "site_dir": str(tmp_path / "site")}
    validation = re.search(r"^validation:\n(?:  .*\n)+", config, re.MULTILINE)
    assert validation
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings) + validation[0])
    with pytest.raises(subprocess.CalledProcessError) as caught:
        site.build(config=tmp_path / "mkdocs.yml")
    assert "nowhere.md" in caught.value.stdout

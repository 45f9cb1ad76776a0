"""What the page is made of: words in both languages, one file, a policy that lets in nothing."""

import json
import re

import pytest

from refconv.learn.page import build

ROOT = build.resources.files("refconv.learn.page")
MODULES = sorted(path for path in ROOT.joinpath("js").rglob("*.js"))
PLACE = re.compile(r"\{(\w+)\}")
EN, ZH = build.strings("en"), build.strings("zh")
#: Keys that are put together from parts in the script.
PARTS = ("preset", "about", "panel", "lead", "op", "field", "flag", "error", "fix", "term", "play",
         "edit.hint", "theme", "view", "filters")  # fmt: skip


def test_both_languages_have_the_same_words():
    """The same keys, and in each text the same places for numbers."""
    assert set(EN) == set(ZH)
    for key in EN:
        assert set(PLACE.findall(EN[key])) == set(PLACE.findall(ZH[key])), key
        assert EN[key].strip()
        assert ZH[key].strip()


def test_every_word_is_used_and_every_use_has_a_word():
    """Keys written in the script exist; keys of no use are not kept."""
    text = "".join(path.read_text() for path in MODULES)
    written = set(re.findall(r'"([a-z]\w*(?:\.\w+)*)"', text))
    assert set(re.findall(r'\bt\("([^"]+)"', text)) <= set(EN)
    made = {k for k in EN if any(k.startswith(f"{part}.") for part in PARTS)}
    made |= {k for k in EN if k.startswith("arithmetic.")}
    assert set(EN) - written - made == set()


def test_every_refusal_has_rule_and_fix():
    """Each code of problem.js has both texts."""
    text = ROOT.joinpath("js/engine/problem.js").read_text()
    codes = set(re.findall(r'refusal\(\s*"(\w+)"', text))
    assert len(codes) > 10
    for code in codes:
        assert f"error.{code}" in EN
        assert f"fix.{code}" in EN


def test_chinese_is_chinese():
    """No English sentence is left: two English words in a row are a name."""
    names = {"refconv learn", "refconv explain"}
    same = {"view.im2col", "groups.back", "net.output"}  # signs and numbers alone
    for key, text in ZH.items():
        for run in re.findall(r"[A-Za-z]{2,}(?: [A-Za-z]{2,})+", PLACE.sub("", text)):
            assert run in names, f"{key}: {run}"
        if not key.startswith("preset.") or key == "preset.own":
            assert re.search(r"[\u4e00-\u9fff]", text) or key in same, key


def test_one_small_file_that_loads_nothing():
    """At most 300 KB; no address but those in texts; the policy names script and style by hash."""
    html = build.page("preset=lenet&lang=zh")
    assert len(html.encode()) <= 300_000
    assert not re.search(r'(?:src|href)="(?!data:)', html)
    assert "http://www.w3.org/2000/svg" in html
    assert len(re.findall(r"https?://", html.replace("http://www.w3.org/2000/svg", ""))) == 0
    assert "default-src 'none'" in html
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    assert build.digest(script) in html
    assert 'START = "preset=lenet&lang=zh"' in script


def test_a_name_in_two_files_is_refused(monkeypatch):
    """All modules share one scope."""
    read = build.read
    text = 'import { el } from "./dom.js";\nconst show = 1;\n'
    monkeypatch.setattr(build, "read", lambda name, *more: text if name == build.FIRST
                        else read(name, *more))  # fmt: skip
    with pytest.raises(ValueError, match="both have show"):
        build.bundle({"START": ""})


def test_words_cannot_end_the_script():
    """A closing tag inside the data stays data."""
    assert "</script>" not in build.literal({"a": "</script><!-- "})
    assert json.loads(build.literal({"a": "</b>"})) == {"a": "</b>"}


@pytest.mark.parametrize("path", MODULES, ids=[path.name for path in MODULES])
def test_modules_are_short(path):
    """Each begins by saying what it is; 250 lines, 100 columns, no leftovers."""
    lines = path.read_text().splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) <= 250
    assert max(map(len, lines)) <= 100
    assert not re.search(r"console\.|debugger|innerHTML|\beval\b", path.read_text())


def test_imports_are_used_and_exist():
    """All modules share one scope, so the build itself would not miss a wrong import."""
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in MODULES}
    given = {"STRINGS", "PRESETS", "QUESTIONS", "ASKED", "START"}
    for path, text in texts.items():
        for names, target in re.findall(r'import \{([^}]*)\} from "([^"]+)"', text):
            found = build.resolved(path, target)
            for name in re.findall(r"\w+", names):
                made = rf"export (?:async )?(?:function|const|let) {name}\b|export \{{.*\b{name}\b"
                assert name in given if found == build.GIVEN else re.search(made, texts[found]), (
                    name
                )
                assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{path} does not use {name}"


def test_golden_preset_is_the_golden_file():
    """The cs231n preset holds the numbers of tests/golden."""
    from pathlib import Path

    golden = json.loads((Path(__file__).parents[1] / "golden" / "cs231n.json").read_text())
    preset = build.presets()["cs231n"]
    assert {name: preset[name] for name in ("input", "weight", "bias")} == {
        name: golden[name] for name in ("input", "weight", "bias")
    }
    (layer,) = preset["layers"]
    assert (layer["stride"], layer["padding"]) == (golden["stride"], golden["padding"])

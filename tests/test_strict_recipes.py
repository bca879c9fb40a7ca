"""A recipe is read as strictly as a spec: what is odd in it is said, at its place."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from torch import nn

import composer
from composer.artifact.recipe import Recipe, RecipeEdit, RecipeInputs, RecipeSite, _sha256
from composer.artifact.replay import replay
from composer.errors import ComposerError
from composer.surgery.composition import composition

SPEC = "name: mine\ninput: [b, c, h, w]\nnodes:\n  a: {op: gate, fn: relu}\n"
USER = "name: user\ninput: [b, c, h, w]\nnodes:\n  a: {op: use, spec: WORD}\n"
BACKBONE = "resnet18?input_size=3,32,32"


def made(text: str = SPEC, uses: dict[str, str] | None = None, **changes: object) -> str:
    """Return the recipe of a spec after the first block of a small network, as it is written."""
    name = re.match(r"name: (\w+)", text)[1]
    fields = {
        "spec": name, "sha256": _sha256(text, uses or {}), "at": "block", "position": "residual",
        "init": "paper", "text": text, "uses": uses or {},
        "sites": (RecipeSite(path="layer1.0", name=name, position="residual", channels=64,
                             size=(8, 8)),),
    }  # fmt: skip
    edit = RecipeEdit(**(fields | changes))
    return Recipe(backbone=BACKBONE, dtype="float32", edits=(edit,),
                  versions={"python": "3.11"}).to_yaml()  # fmt: skip


def refused(text: str, then_replayed: bool = False) -> str:
    with pytest.raises(ComposerError) as failure:
        recipe = Recipe.from_yaml(text, "r.yaml")
        if then_replayed:
            replay(recipe)
    return str(failure.value)


def test_a_sound_recipe_is_replayed():
    model = replay(Recipe.from_yaml(made(), "r.yaml"))
    record = composition(model)
    assert record is not None and [site.module for site in record.edits[0].sites] == [
        "layer1.0.mine"
    ]


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
)

#: What is changed in the text of a sound recipe, and what is said.
READING = {
    "a key twice": (
        "dtype: float32", "dtype: float32\ndtype: float64",
        "r.yaml:4:1: error[duplicate-key]: duplicate key 'dtype' in this mapping\n"
        "    4 | dtype: float64\n      | ^^^^^\n"
        "  help: the first one is at line 3; rename or remove one",
    ),
    "the backbone twice": (
        "dtype: float32", "backbone: os:system\ndtype: float32",
        "r.yaml:3:1: error[duplicate-key]: duplicate key 'backbone' in this mapping\n"
        "    3 | backbone: os:system\n      | ^^^^^^^^\n"
        "  help: the first one is at line 2; rename or remove one",
    ),
    "a key twice in a site": (
        "channels: 64", "channels: 64, channels: 65",
        "error[duplicate-key]: duplicate key 'channels' in this mapping",
    ),
    "a tag of Python": (
        "dtype: float32", "dtype: !!python/object/apply:os.system [id]",
        "r.yaml:3:8: error[unknown-tag]: the tag '!!python/object/apply:os.system' is not "
        "allowed here\n    3 | dtype: !!python/object/apply:os.system [id]\n      |        ^\n"
        "  help: remove the tag; put a text that looks like a number in quotes",
    ),
    "a tag of YAML": ("dtype: float32", "dtype: !!str float32", "error[unknown-tag]: the tag "
                      "'!!str' is not allowed here"),
    "a merge": ("params: {}", "params: {<<: {a: 1}}",
                "error[bad-key]: the merge key '<<' is not supported\n"),
    "a list as a key": ("params: {}", "params: {[a]: 1}",
                        "error[bad-key]: a key must be one word\n"),
    "a bomb of aliases": ("composer: 1", f"{BOMB}\ncomposer: 1",
                          "error[over-budget]: with its aliases, the recipe has more than 80,000 "
                          "values"),
    "an alias of itself": ("params: {}", "params: &a {b: *a}",
                           "error[too-large]: the recipe has an alias that contains itself"),
    "deep values": ("params: {}", f"params: {'[' * 200}{']' * 200}",
                    "error[too-deep]: values are nested more than 64 deep"),
    "two documents": ("composer: 1", "composer: 1\n---\ncomposer: 1",
                      "error[not-yaml]: a second document begins here"),
    "a control character": ("dtype: float32", "dtype: float32\x07",
                            "error[not-yaml]: the character '\\x07' is not allowed in a recipe"),
    "an unknown field": (
        "dtype: float32", "dtype: float32\nbackbon: x",
        "r.yaml:4:1: error[bad-recipe]: backbon: a recipe has no such field\n"
        "    4 | backbon: x\n      | ^^^^^^^\n"
        "  help: did you mean 'backbone'? Fields: composer, backbone, dtype, inputs, edits, ops, "
        "versions",
    ),
    "an unknown field of an edit": (
        "  init: paper", "  init: paper\n  hook: evil.py",
        "error[bad-recipe]: edits.0.hook: a recipe has no such field under 'edits'",
    ),
    "an unknown field of a site": (
        "channels: 64", "channels: 64, run: x",
        "error[bad-recipe]: edits.0.sites.0.run: a recipe has no such field under 'sites'",
    ),
    "channels as a text": (
        "channels: 64", "channels: '64'",
        "error[bad-recipe]: edits.0.sites.0.channels: expected an integer but got the text "
        "'64'\n",
    ),
    "channels as a flag": (
        "channels: 64", "channels: true",
        "edits.0.sites.0.channels: expected an integer but got true\n",
    ),
    "channels as a fraction": (
        "channels: 64", "channels: 64.0",
        "edits.0.sites.0.channels: expected an integer but got the number 64.0\n",
    ),
    "channels below nothing": (
        "channels: 64", "channels: -1",
        "edits.0.sites.0.channels: input should be greater than or equal to 0\n",
    ),
    "a size that is no list": (
        "size: [8, 8]", "size: 8", "edits.0.sites.0.size: expected a list but got the number 8",
    ),
    "a size of text": (
        "size: [8, 8]", "size: [8, x]",
        "edits.0.sites.0.size.1: expected an integer but got the text 'x'",
    ),
    "a backbone that is a list": (
        f"backbone: {BACKBONE}", "backbone: [resnet18]",
        "r.yaml:2:11: error[bad-recipe]: backbone: expected text but got a list\n"
        "    2 | backbone: [resnet18]\n      |           ^^^^^^^^^^\n"
        "  help: was the recipe edited?",
    ),
    "a backbone that is none": (
        f"backbone: {BACKBONE}", "backbone: ':'",
        "r.yaml:2:11: error[unknown-backbone]: ':' is not a backbone\n",
    ),
    "an unknown way to begin": (
        "init: paper", "init: random", "edits.0.init: input should be 'paper' or 'identity'",
    ),
    "edits as a mapping": ("edits:\n- ", "edits:\n  a: 1\nmore:\n- ",
                           "edits: expected a list but got a mapping\n"),
    "versions of numbers": ("python: '3.11'", "python: 3.11",
                            "versions.python: expected text but got the number 3.11\n"),
    "a dtype of whole numbers": (
        "dtype: float32", "dtype: int64",
        "r.yaml:3:8: error[bad-recipe]: 'int64' is not a dtype of a model\n    3 | dtype: int64\n"
        "      |        ^^^^^\n  help: Dtypes: float32, float64, float16, bfloat16",
    ),
    "a dtype that is code": ("dtype: float32", "dtype: load",
                             "error[bad-recipe]: 'load' is not a dtype of a model\n"),
    "a hash that is none": ("sha256: ", "sha256: x",
                            "error[bad-recipe]: a hash is 64 digits of 0-9a-f\n"),
    "a path that is an expression": (
        "path: layer1.0", "path: 're:(a+)+$'",
        "error[bad-recipe]: 're:(a+)+$' is not a path of a module\n",
    ),
    "a path that is a glob": ("path: layer1.0", "path: 'layer*'",
                              "error[bad-recipe]: 'layer*' is not a path of a module\n"),
    "a path of spaces": ("path: layer1.0", "path: 'a b'",
                         "error[bad-recipe]: 'a b' is not a path of a module\n"),
    "a position that is none": ("position: residual\n", "position: above\n",
                                "error[bad-recipe]: 'above' is not a position; "),
    "nothing": (None, "", "r.yaml: error[empty-file]: this recipe is empty\n"
                "  help: give a recipe.yaml written by composer.save"),
    "a list": (None, "[1]", "r.yaml:1:1: error[not-a-mapping]: a recipe must be a mapping of "
               "fields, but this is a list\n    1 | [1]\n      | ^^^\n"
               "  help: give a recipe.yaml written by composer.save"),
    "a spec": (None, SPEC, "error[bad-recipe]: name: a recipe has no such field\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", READING)
def test_what_is_odd_is_said_at_its_place(case):
    before, after, message = READING[case]
    text = made()
    if before is not None:
        assert before in text
        text = text.replace(before, after, 1)
    told = refused(after if before is None else text)
    assert message in told
    assert case in ("a bomb of aliases", "an alias of itself", "deep values", "nothing") or (
        re.search(r"r\.yaml:\d+:\d+: error\[[a-z-]+\]: .*\n +\d+ \| .*\n +\| +\^", told)
    )


def test_all_that_is_odd_is_said_at_once():
    text = made().replace("dtype: float32", "dtype: half").replace("sha256: ", "sha256: x")
    assert refused(text).count("error[bad-recipe]") == 2


#: What a recipe says of its sites, and how the network that is made differs.
SITES = {
    "channels": ("channels: 64", "channels: 65",
                 "error[changed-backbone]: layer1.0 has 65 channels in the recipe, and 64 channels "
                 f"in {BACKBONE}\n"),
    "size": ("size: [8, 8]", "size: [8, 7]",
             "error[changed-backbone]: layer1.0 has the size 8×7 in the recipe, and the size 8×8 "
             f"in {BACKBONE}\n"),
    "more axes": ("size: [8, 8]", "size: [8, 8, 8]",
                  "error[changed-backbone]: layer1.0 has the size 8×8×8 in the recipe, and the "
                  f"size 8×8 in {BACKBONE}\n"),
    "path": ("path: layer1.0", "path: layer1.7",
             "error[no-sites]: "),
    "name": ("name: mine", "name: other",
             f"error[changed-backbone]: {BACKBONE} has different sites than the recipe: "
             f"layer1.0\n"),
    "spec": ("spec: mine", "spec: other",
             "error[bad-recipe]: the edit names 'other', and its text is the spec 'mine'\n"),
    "inputs": ("edits:\n", "inputs:\n  args:\n  - {shape: [1, 3, 32, 32], dtype: qint8}\n"
               "  kwargs: {}\nedits:\n",
               "error[bad-recipe]: there is no tensor of shape [1, 3, 32, 32] and dtype 'qint8'\n"),
    "huge inputs": ("edits:\n", "inputs:\n  args:\n  - {shape: [1, 3, 99999, 99999], dtype: "
                    "float32}\n  kwargs: {}\nedits:\n",
                    "error[bad-recipe]: an example input of 29,999,400,003 numbers is more than "
                    "67,108,864\n"),
    "many axes": ("edits:\n", "inputs:\n  args: []\n  kwargs:\n    x: {shape: [1, 1, 1, 1, 1, 1, "
                  "1, 1, 1], dtype: float32}\nedits:\n",
                  "error[bad-recipe]: there is no tensor of shape "),
}  # fmt: skip


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("case", SITES)
def test_what_is_recorded_is_compared(case):
    before, after, message = SITES[case]
    text = made()
    assert before in text
    told = refused(text.replace(before, after, 1), then_replayed=True)
    assert message in told
    assert re.search(r"r\.yaml:\d+:\d+: error\[[a-z-]+\]: .*\n +\d+ \| .*\n +\| +\^", told)


def test_the_exact_words_of_a_difference():
    told = refused(made().replace("channels: 64", "channels: 65"), then_replayed=True)
    line = "  - {path: layer1.0, name: mine, position: residual, channels: 65, size: [8, 8]}"
    assert told == (
        f"r.yaml:13:64: error[changed-backbone]: layer1.0 has 65 channels in the recipe, and 64 "
        f"channels in {BACKBONE}\n   13 | {line}\n      | {'':63}^^\n"
        "  help: it was made with python 3.11"
    )


@pytest.mark.quick(5, then="long")
@pytest.mark.parametrize("word", ["se", "se.yaml", "secret.yaml", "/etc/passwd", "../secret.yaml"])
@pytest.mark.parametrize("how", ["use", "extends"])
def test_a_carried_spec_uses_what_is_carried_alone(tmp_path, monkeypatch, word, how):
    """A file of that name is neither read nor quoted, and no shipped spec takes its place."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for secret in (tmp_path / "secret.yaml", tmp_path / "here/secret.yaml"):
        secret.write_text("token: abc\n")
    text = USER.replace("WORD", word) if how == "use" else f"name: user\nextends: {word}\n"
    told = refused(made(text, sites=(RecipeSite(path="layer1.0", name="user", position="residual",
                                                channels=64, size=(8, 8)),)), True)  # fmt: skip
    message = f"the recipe does not contain the spec {word!r}"
    assert f"error[unknown-spec]: {message}" in told
    assert told.endswith("a recipe contains every spec under 'uses'; no file is read instead")
    assert "the recipe's user:" in told
    assert not re.search(r"token|abc|root:", told)


def test_what_is_carried_is_used():
    recipe = Recipe.from_yaml(made(USER.replace("WORD", "se"), {"se": SPEC}), "r.yaml")
    assert composition(replay(recipe)).edits[0].spec.used["se"].name == "mine"


def test_a_changed_text_is_told_by_its_hash():
    text = made().replace("fn: relu", "fn: tanh")
    assert "error[changed-spec]: the text of the spec 'mine' is not the one" in refused(text)
    spec = SPEC.replace("relu", "tanh")
    digest = hashlib.sha256(spec.encode()).hexdigest()
    Recipe.from_yaml(re.sub("sha256: .*", f"sha256: {digest}", text), "r.yaml")


def test_an_honest_recipe_of_examples_is_read():
    recipe = Recipe.from_yaml(made(), "r.yaml").model_copy(
        update={"inputs": RecipeInputs(
            args=[{"shape": [1, 3, 32, 32], "dtype": "float32"}], kwargs={"mask": None, "n": 3}
        )}
    )  # fmt: skip
    assert Recipe.from_yaml(recipe.to_yaml(), "r.yaml") == recipe


@pytest.mark.long
def test_a_model_that_takes_another_size_is_saved_with_it(tmp_path):
    """The sizes that are recorded are those at which it is planned again."""
    model = composer.insert("resnet18?input_size=3,96,64", "eca", stages=2)
    composer.save(model, tmp_path / "it")
    assert isinstance(composer.load(tmp_path / "it"), nn.Module)
    assert "size: [12, 8]" in Path(tmp_path, "it/recipe.yaml").read_text()

"""Recipes of every version are read and repeated for ever, and carried to other backbones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command import Command

import composer
from composer.artifact.carried import carried, read_recipe_at
from composer.artifact.recipe import Recipe
from composer.artifact.replay import replay
from composer.errors import ComposerError
from composer.models.model_string import ModelString
from composer.models.open import open_backbone

pytestmark = pytest.mark.usefixtures("net_file")


HELD = Path(__file__).parent / "recipes"

#: Of each recipe that is held, how many tensors and parameters its model has.
V1 = {
    "every": (226, 21797708),
    "tokens": (32, 1268776),
    "stacked": (157, 11818515),
    "stand_in": (214, 16100808),
    "shared": (328, 2767517),
    "join": (40, 1278400),
    "modules": (217, 1464973),
    "scattered": (124, 11689520),
}


def held(name: str, version: int = 1) -> Recipe:
    file = HELD / f"v{version}" / f"{name}.yaml"
    return Recipe.from_yaml(file.read_text(encoding="utf-8"), str(file))


def test_every_recipe_that_is_held_is_in_the_table():
    assert sorted(path.name for path in HELD.iterdir()) == ["v1"]
    assert sorted(V1) == sorted(path.stem for path in (HELD / "v1").glob("*.yaml"))


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", V1)
def test_a_recipe_of_version_1_makes_its_model_again(name):
    made = held(name)
    model = replay(made)
    keys = model.state_dict()
    assert (len(keys), sum(p.numel() for p in model.parameters())) == V1[name]
    for edit in made.edits:
        for site in edit.sites:
            module = model.get_submodule(f"{site.path}.{site.name}" if site.name else site.path)
            assert isinstance(module, torch.fx.GraphModule)
    assert composer.recipe(model).edits == made.edits


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (2, "x.yaml:1:11: error[newer-recipe]: this recipe has version 2, and this Composer "
         "reads up to 1\n    1 | composer: 2\n      |           ^\n"
         "  help: upgrade: pip install --upgrade attention-composer"),
        (0, "x.yaml:1:11: error[bad-recipe]: composer: input should be 1\n    1 | composer: 0\n"
         "      |           ^\n  help: was this written by another version of Composer?"),
    ],
)  # fmt: skip
def test_another_version_says_what_to_do(number, wanted):
    text = (HELD / "v1" / "every.yaml").read_text().replace("composer: 1", f"composer: {number}", 1)
    with pytest.raises(ComposerError) as failure:
        Recipe.from_yaml(text + "later: [1]\n" * (number == 2), "x.yaml")
    assert str(failure.value) == wanted


#: A recipe, another backbone, and what is chosen there; the sites are those of an insertion there.
CARRIED = [
    ("tokens", "vit_tiny_patch16_224?depth=3", [("mhsa", {})]),
    ("stacked", "resnet34", [("se", {"stages": "2..-1", "blocks": "-1"}),
                             ("cbam", {"at": "stage", "stages": "3..-1"})]),
    ("every", "torchvision:resnet50", [("eca", {"every": 2})]),
    ("modules", "mobilenetv3_small_075",
     [("eca", {"at": "module", "replace": True, "type": "SqueezeExcite"})]),
    ("join", "vit_tiny_patch16_224?depth=3",
     [("se", {"position": "residual:attn", "prefix_tokens": "join"})]),
    ("stand_in", "resnet26", [("sk", {"stages": "1"})]),
    ("shared", "mobilenetv2_075", [("cond_conv", {"stages": "5..-1"})]),
]  # fmt: skip


@pytest.mark.quick(1)
@pytest.mark.parametrize(("name", "other", "asked"), CARRIED, ids=[one[0] for one in CARRIED])
def test_a_recipe_goes_to_the_same_places_of_another_backbone(name, other, asked):
    model = open_backbone(ModelString.parse(other))
    for rule, (spec, options) in zip(carried(held(name)), asked, strict=True):
        found = rule.planned(model)
        wanted = composer.plan(model, spec, params=rule.params, init=rule.init, **options)
        assert [site.module for site in found.sites] == [site.module for site in wanted.sites]
        assert found.init == rule.init and found.params == rule.params
        if rule is not None and len(asked) > 1:
            model = composer.insert(model, spec, params=rule.params, init=rule.init, **options)


@pytest.mark.long
def test_a_rule_that_is_not_the_only_one_says_so(run):
    composer.save(composer.insert("net.py:tiny", "eca", blocks="1"), "a")
    (rule,) = carried(*read_recipe_at(Path("a")), trust_code=True)
    assert str(rule) == (
        "the recipe's sites follow from: at block, position residual, blocks 1; these choices "
        "give the same: at block, position residual, blocks 1..-2"
    )


def test_sites_without_a_rule_are_not_guessed():
    with pytest.raises(ComposerError) as failure:
        carried(held("scattered"))
    assert str(failure.value) == (
        "error[no-rule]: edit 1 of the recipe puts eca at layer1.0 and layer3.1, and no rule of "
        "stages and blocks gives exactly these places of resnet18, so their counterparts "
        "elsewhere are "
        "unknown\n"
        "  help: insert it on its own: --spec eca --at block, with --stages, --blocks or --select"
    )


@pytest.mark.long
def test_insert_by_a_recipe(run):
    composer.save(composer.insert("net.py:tiny", "eca", blocks="1", init="identity"), "a")
    told = run.fine(
        "insert", "--recipe", "a/recipe.yaml", "--into", "resnet26", "--dry-run", "--trust-code"
    )
    assert "note: eca: the recipe's sites follow from: at block, position " in told.out
    told = run.fine(
        "insert", "--recipe", "a", "--into", "net.py:tiny", "-o", "b", "--json", "--trust-code"
    ).json
    assert [site["path"] for site in told["sites"]] == ["stage1.0", "stage2.0"]
    assert told["difference"] == 0
    one, other = (composer.recipe(composer.load(name, trust_code=True)) for name in "ab")
    assert one.edits == other.edits


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (("--recipe", "r.yaml", "--at", "stage"),
         "error[usage]: --recipe decides what goes where, and --at is also given\n"
         "  help: omit --at, or insert with --spec\n"),
        (("--recipe", "r.yaml", "--spec", "se"),
         "error[usage]: --recipe decides what goes where, and --spec is also given\n"
         "  help: omit --spec, or insert with --spec\n"),
        ((), "error[usage]: missing option '--spec'\n  help: see 'composer insert --help'\n"),
    ],
    ids=["at", "spec", "neither"],
)  # fmt: skip
def test_a_recipe_says_where(capsys, args, wanted):
    told = Command(capsys)("insert", *args, "--into", "resnet18")
    assert (told.status, told.err) == (2, wanted)


def test_a_file_that_is_no_recipe(capsys, tmp_path):
    run = Command(capsys)
    told = run("insert", "--recipe", tmp_path / "r.yaml", "--into", "resnet18")
    assert told.status == 1
    assert told.err.endswith(
        "r.yaml: error[recipe]: there is no such file\n  help: check the path\n"
    )

"""`composer insert`: plan, edit, verify, report, save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from composer.artifact.named import check_model, open_model
from composer.cli.completing import complete_model, complete_spec
from composer.cli.options import (
    at_input_size,
    check_params,
    check_paths,
    check_recipe_alone,
    check_replacing,
    check_selection,
    costs_json_option,
    input_size_option,
    match_of,
    params_of,
    position_of,
    read_specs,
    replace_option,
    set_option,
    trust_option,
    type_option,
    usage,
)
from composer.cli.output import say, say_json, say_line
from composer.cli.steps import Steps, loading
from composer.errors import ComposerError, Diagnostic
from composer.language.place import Place

if TYPE_CHECKING:
    from composer.artifact.carried import Carried
    from composer.artifact.learning import Learning
    from composer.artifact.report import Report
    from composer.surgery.plan import Plan


@click.command("insert", short_help="Put a mechanism into a backbone: plan, edit, verify, save.")
@click.option(
    "--spec",
    "specs",
    multiple=True,
    metavar="SPEC",
    shell_complete=complete_spec,
    help="A YAML file or a shipped name; several are inserted in order.",
)
@click.option(
    "--recipe",
    type=click.Path(),
    metavar="FILE",
    help="Instead of --spec: repeat the edits of a recipe.yaml at the sites of this backbone "
    "that correspond to the recorded ones.",
)
@click.option(
    "--into",
    "backbone",
    required=True,
    metavar="MODEL",
    shell_complete=complete_model,
    help="resnet50, torchvision:resnet50, hf:config.json, ultralytics:yolov8n.yaml, "
    "package.module:factory, "
    "file.py:factory, or a folder written by insert.",
)
@click.option(
    "-o", "--output", metavar="DIR", help="The folder to write; ./BACKBONE-SPEC by default."
)
@click.option(
    "--at",
    type=click.Choice(get_args(Place)),
    help="At blocks or stages, after the stem, before the head, at any --select module, "
    "or in place of convolutions, attention modules, norms, MLPs or the global pool; "
    "by default where the spec says.",
)
@click.option(
    "--position",
    metavar="residual|input|output|after:NAME",
    help="At the end of the residual branch, before or after the block, or after a child "
    "of it or its n-th convolution: after:conv2.",
)
@click.option(
    "--branch",
    metavar="NAME|N",
    help="Which of several residual branches: attn, mlp or 1; the last by default.",
)
@click.option(
    "--prefix-tokens",
    type=click.Choice(["pass", "join"]),
    default="pass",
    show_default=True,
    help="Whether class tokens pass by the mechanism or take part in it.",
)
@click.option("--stages", metavar="N,N..N", help="Which stages, counted from 1: 1,3 or 1..-2.")
@click.option(
    "--blocks", metavar="N,N..N", help="Which blocks of each stage, counted the same way."
)
@click.option(
    "--every",
    type=click.IntRange(1),
    metavar="N",
    help="Only the first site and every N-th after it.",
)
@click.option(
    "--select",
    multiple=True,
    metavar="PATH",
    help="Module paths, globs ('layer3.*') or regular expressions ('re:layer[34]').",
)
@replace_option
@type_option
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="K=V",
    help="Which convolutions: kernel=3, depthwise=false, position=2..-1; null matches any.",
)
@set_option
@click.option(
    "--init",
    type=click.Choice(["paper", "identity"]),
    default="paper",
    show_default=True,
    help="Start as published, or so that the model computes exactly what it did before.",
)
@click.option("--pretrained", is_flag=True, help="Load the library's published weights.")
@click.option(
    "--weights",
    type=click.Path(),
    metavar="FILE",
    help="Load these weights: .safetensors, or a state dict, which may include the mechanism's.",
)
@input_size_option
@click.option(
    "--input",
    "image",
    type=click.Path(),
    metavar="IMAGE",
    help="Verify on this image instead of random numbers.",
)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Verify under torch.compile(fullgraph=True) as well.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan; write nothing.")
@click.option("--expect", type=click.IntRange(1), metavar="N", help="Fail unless N sites match.")
@click.option("--force", is_flag=True, help="Overwrite an existing composition.")
@trust_option
@costs_json_option
@click.pass_context
def command(
    context: click.Context,
    specs: tuple[str, ...],
    recipe: str | None,
    backbone: str,
    output: str | None,
    at: str | None,
    position: str | None,
    branch: str | None,
    prefix_tokens: str,
    stages: str | None,
    blocks: str | None,
    every: int | None,
    select: tuple[str, ...],
    replace: bool,
    types: tuple[str, ...],
    matches: tuple[str, ...],
    settings: tuple[str, ...],
    init: str,
    pretrained: bool,
    weights: str | None,
    input_size: str | None,
    image: str | None,
    device: str,
    dtype: str,
    compiled: bool,
    dry_run: bool,
    expect: int | None,
    force: bool,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Put a mechanism into a backbone, verify it, and save the composition.

    \b
    composer insert --spec cbam --into resnet50
    composer insert --spec se --into convnext_tiny --stages 3,4 --set reduction=8
    composer insert --spec sk --into resnext50_32x4d --match stride=1
    composer insert --spec eca --into efficientnet_b0 --at module --replace --type SqueezeExcite
    composer insert --recipe resnet50-cbam/recipe.yaml --into resnet101
    composer insert --spec eca --into tf_efficientnet_lite0 --weights lite0.safetensors \\
        --input cat.png --init identity
    """  # noqa: D301
    from composer.artifact.output import check_free, is_composition

    if not specs and recipe is None:
        raise usage("missing option '--spec'", "see 'composer insert --help'")
    steps = Steps(total=7)
    stacked = is_composition(Path(backbone))
    if pretrained and weights:
        raise usage("--pretrained and --weights are both given", "choose one of them")
    if stacked and (pretrained or weights):
        raise usage(
            f"{backbone} is a composition, which has its own weights",
            "omit --pretrained and --weights",
        )
    backbone = at_input_size(backbone, input_size)
    check_selection("--stages", stages)
    check_selection("--blocks", blocks)
    position = position_of(position, branch)
    check_replacing(at, replace, select, types, init)
    check_paths(at, select, types)
    match = match_of(matches)
    rules: tuple[Carried, ...] = ()
    if recipe is not None:
        check_recipe_alone(context)
        _need("recipe", recipe)
        with loading(), steps.step("reading the rules of the recipe"):
            from composer.artifact.carried import carried, read_recipe_at

            rules = carried(*read_recipe_at(Path(recipe)), trust_code=trust_code)
        read = [rule.spec for rule in rules]
        init = "identity" if all(rule.init == "identity" for rule in rules) else "paper"
    else:
        read = read_specs(specs)
        params = params_of(settings, {spec.name: set(spec.params) for spec in read})
        check_params(read, params)
    word = check_model(backbone)
    folder = Path(output or "-".join([word, *(spec.name for spec in read)]))
    if not dry_run:
        check_free(folder, force)
    for code, file in (("weights", weights), ("image", image)):
        _need(code, file)

    with loading():
        with steps.step("importing torch"):
            from composer.artifact.folder import save
            from composer.artifact.held_weights import load_first, load_held
            from composer.artifact.learning import learning
            from composer.artifact.recipe_backbone import needs_trust
            from composer.artifact.report import Weights, describe
            from composer.artifact.run import Verification, read_image, target
            from composer.surgery.insert import apply
            from composer.surgery.plan import plan

            place, number = target(device, dtype)
        with steps.step("making the backbone"):
            model, name = open_model(backbone, pretrained, trust_code=trust_code)
            held = None
            if weights:
                names = [spec.name for spec in read]
                held = load_first(model, Path(weights), name, names, init)
            if any(p.is_meta for p in model.parameters()):
                message = f"{backbone} makes a model on the meta device, without weights"
                raise ComposerError(Diagnostic("no-numbers", message, "create it on the CPU"))
            model = model.to(device=place, dtype=number)
    with steps.step("running the original"):
        pixels = read_image(Path(image), model) if image else None
        before = None
        if init == "identity" and not dry_run:
            before = Verification.of(model, pixels).output(model)
    plans: list[Plan] = []
    with steps.step("planning and editing"):
        for index, spec in enumerate(read):
            found = (
                rules[index].planned(model)
                if rules
                else plan(
                    model,
                    spec,
                    at,  # type: ignore[arg-type]
                    position=position,
                    stages=stages,
                    blocks=blocks,
                    every=every,
                    select=select or None,
                    replace=replace,
                    type=types or None,
                    match=match or None,
                    params=params[spec.name],
                    init=init,  # type: ignore[arg-type]
                    prefix_tokens=prefix_tokens,  # type: ignore[arg-type]
                    expect=expect,
                )
            )
            plans.append(found)
            if dry_run and spec is read[-1] and not found.has_numbers:
                model = model.to("meta")  # planning needs no memory
            model = apply(model, found, name)
    notes = (*(f"{rule.spec.name}: {rule}" for rule in rules), *_notes(plans, in_full=dry_run))
    if held is not None and weights and not dry_run:
        notes = (*notes, f"{weights}: {load_held(model, held, Path(weights), name)}")
    difference: float | None = None
    learns: Learning | None = None
    if not dry_run:
        with steps.step("running forward and backward"):
            verification = Verification.of(model, pixels, plans[0])
            if before is not None:
                difference = verification.difference(before, verification.output(model))
            learns = learning(model, verification)
            notes = (*notes, *learns.notes)
            if compiled:
                verification.compiled(model)
        if needs_trust(name):
            notes = (*notes, "the composition loads only with --trust-code (trust_code=True), "
                     f"since its backbone is {name}")  # fmt: skip
    with steps.step("counting"):
        flops_before = None if stacked else plans[0].flops_before
        against = backbone if stacked else "the original"
        source = Weights("default")
        if stacked:
            source = Weights("composition", backbone)
        elif weights:
            source = Weights("file", weights)
        elif pretrained:
            source = Weights("pretrained")
        report = describe(
            model, name, difference, flops_before, notes, against, plans[-1],
            None if dry_run else image, source,
        )  # fmt: skip
    if not dry_run:
        with steps.step("saving"):
            save(model, folder, force=force, report=report)
            report = report.at(str(folder))
    if as_json:
        say_json(report.as_json())
    else:
        _print(report, read, plans, learns, compiled, image)


def _need(code: str, file: str | None) -> None:
    if file and not Path(file).exists():
        raise ComposerError(Diagnostic(code, "there is no such file", "check the path", file=file))


def _notes(plans: list[Plan], in_full: bool) -> tuple[str, ...]:
    """Return each remark once, with the number of sites that it concerns.

    A dry run reports in full why a place was not chosen.
    """
    from composer.artifact.learning import some
    from composer.errors import counted

    notes = []
    for found in plans:
        remarks: dict[str, list[str]] = {}
        for site in found.sites:
            if site.note:
                remarks.setdefault(site.note, []).append(site.path)
            if site.name not in (None, site.spec):
                taken = f"the name {site.spec!r} is taken, so it is called {site.name!r}"
                remarks.setdefault(taken, []).append(site.path)
        if found.shared:
            total = counted(sum(shared.parameters for shared in found.shared), "parameter")
            remark = f"one for all that it replaces in a block, {total} in total"
            remarks[remark] = [shared.module for shared in found.shared]
        for miss in found.near_misses:
            brief = miss.by_choice and not in_full
            reason = "passed over by choice" if brief else f"passed over: {miss.reason}"
            remarks.setdefault(reason, []).append(miss.path)
        for remark, paths in remarks.items():
            notes.append(f"{found.spec.name}: {remark} ({some(paths, 'place')})")
    return tuple(notes)


def _print(
    report: Report,
    specs: list[Any],
    plans: list[Plan],
    learns: Learning | None,
    compiled: bool,
    image: str | None,
) -> None:
    from composer.artifact.report import change
    from composer.cli.tables import table
    from composer.errors import counted
    from composer.measure.numbers import giga

    new = sum(len(found.sites) for found in plans)
    earlier = len(report.sites) - new
    for spec in specs:
        named = spec.origin.file.startswith(f"{spec.name} (")  # shipped, or another distribution's
        read = spec.origin.file if named else f"{spec.name} from {spec.origin.file}"
        say_line(f"{read}  ({spec.title or 'untitled'})")
    say_line(
        f"{report.backbone} on {'×'.join(map(str, report.input_shape))}: "
        f"{counted(new, 'site')}{f', {earlier} from earlier insertions' if earlier else ''}"
    )
    rows = [
        [
            site.module,
            site.position,
            str(site.channels),
            site.shown_size,
            f"{site.parameters:,}",
        ]
        for site in report.sites
    ]
    headings = ("module", "position", "channels", "size", "parameters")
    say("\n" + table(headings, rows, right=(2, 3, 4)) + "\n")
    for note in report.notes:
        say_line(f"note: {note}")
    totals = [
        ["parameters", *(f"{n:,}" for n in report.parameters), change(report.parameters)],
        ["multiply-adds", *(giga(n) for n in report.flops), change(report.flops)],
    ]
    say(table(("", "before", "after", "change"), totals, right=(1, 2, 3)) + "\n")
    if learns is None:
        say("dry run: nothing was verified, nothing was written")
        return
    say_line(f"forward and backward: {learns}")
    if compiled:
        say("torch.compile(fullgraph=True): one graph, the same output")
    if report.difference is not None:
        on = f"on {image}" if image else "on random numbers"
        against = f"{report.against}'s output, {on}: {report.difference:.3g}"
        say_line(f"largest difference from {against}")
    say_line(f"written to {report.output}; load it with")
    say("")
    for line in report.how_to_load():
        say_line(f"    {line}")

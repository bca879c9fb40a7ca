"""`composer eject DIR`: the backbone's own weights, as they are in the composition."""

from __future__ import annotations

from pathlib import Path

import click

from composer.cli.options import json_option, trust_option, usage
from composer.cli.output import say_json, say_line
from composer.cli.steps import Steps


@click.command("eject", short_help="Remove the insertion: restore the backbone's own weights.")
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option(
    "-o", "--output", metavar="FILE", help="The file to write; ./BACKBONE.safetensors by default."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@trust_option
@json_option
def command(folder: str, output: str | None, force: bool, trust_code: bool, as_json: bool) -> None:
    """Write the weights of the backbone without what was inserted.

    The file loads into the plain backbone. The composition is not changed.
    """
    if output and Path(output).suffix != ".safetensors":
        raise usage(
            f"-o {output!r} does not end in .safetensors", "eject writes safetensors: name it so"
        )
    steps = Steps(total=2)
    with steps.step("loading the composition"):
        from composer.artifact.folder import load, read_recipe
        from composer.files import check_file_free
        from composer.models.model_string import ModelString
        from composer.models.weights import write_weights
        from composer.surgery.eject import eject

        backbone = ModelString.parse(read_recipe(Path(folder)).backbone)
        file = Path(output or f"{backbone.short}.safetensors")
        check_file_free(file, force)
        model = eject(load(folder, trust_code=trust_code), inplace=True)
    with steps.step("writing"):
        write_weights(model, file, force=force)
    count = len(model.state_dict())
    if as_json:
        say_json({"version": 1, "backbone": str(backbone), "tensors": count, "output": str(file)})
        return
    say_line(f"{backbone} without its insertions: {count} tensors, written to {file}")

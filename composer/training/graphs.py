"""The graphs of inserted modules, compiled again from their specs."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from composer.graph.frontend import graph_of
from composer.graph.graph import Graph
from composer.graph.passes import compile_graph
from composer.surgery.composition import Edit, EditedSite, composition


def inserted_graphs(model: nn.Module) -> Iterator[tuple[Edit, EditedSite, Graph]]:
    """Yield the inserted modules in order, each with its edit and its graph."""
    record = composition(model)
    made: dict[object, Graph] = {}
    for edit in record.edits if record else ():
        for site in edit.inserted:
            settings = edit.settings_at(site)
            sizes, params = tuple(settings.sizes.items()), tuple(settings.params.items())
            key = id(edit), sizes, params, settings.layout, settings.tokens, settings.part
            if key not in made:
                made[key] = compile_graph(graph_of(edit.spec, settings))
            yield edit, site, made[key]

"""The names that a node may not have, because a `torch.nn.Module` uses them."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

# The attributes of a `torch.fx.GraphModule`; torch is not imported here, so a test compares them.
_OF_TORCH = """
    T_destination add_module add_submodule apply bfloat16 buffers call_super_init children code
    compile cpu cuda delete_all_unused_submodules delete_submodule double dump_patches eval
    extra_repr float forward get_buffer get_extra_state get_parameter get_submodule graph half ipu
    load_state_dict meta modules mtia named_buffers named_children named_modules named_parameters
    parameters print_readable recompile register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule shape_env share_memory state_dict to to_empty to_folder train training type xpu
    zero_grad
"""
TAKEN = frozenset(_OF_TORCH.split())


#: The separator between the names of a node with several values: ``q, k, v``.
COMMA = ", "


def free_names(names: str) -> str:
    """Check the name or names of a node, and return them; a pydantic validator."""
    for name in names.split(COMMA):
        _check(name)
    return names


def _check(name: str) -> None:
    if name == "input":
        said = "'input' is the name of the spec's input"
    elif name in TAKEN:
        said = f"{name!r} is an attribute of every torch module, so it can't hold a node's weights"
    else:
        return
    way_out = f"give the node another name, such as {name}_1"
    raise PydanticCustomError("bad-name", "{said}", {"said": said, "help": way_out})

"""The names a node may not have, since its weights live under it in a `torch.nn.Module`."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

# The attributes of a `torch.fx.GraphModule`; a test compares them with torch, not imported here.
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


#: What stands between the names of a node that gives several values: ``q, k, v``.
COMMA = ", "


def free_names(names: str) -> str:
    """Return the name or names, which a node may have; a pydantic validator."""
    for name in names.split(COMMA):
        _check(name)
    return names


def _check(name: str) -> None:
    if name == "input":
        said = "'input' is the name of what comes in"
    elif name in TAKEN:
        said = f"{name!r} is an attribute of every torch module, where a node's weights live"
    else:
        return
    way_out = f"give the node another name, such as {name}_1"
    raise PydanticCustomError("bad-name", "{said}", {"said": said, "help": way_out})

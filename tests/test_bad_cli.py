"""Bad input to the command line: the exact message, the exit status, and never a traceback."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command import NET, files, names, process
from PIL import Image
from safetensors.torch import save_file

from composer.models import network
from composer.models.model_string import FORMS
from composer.models.names import timm_names, torchvision_names

pytestmark = pytest.mark.usefixtures("net_file")

TINY = "net.py:tiny"
TIMM, TORCHVISION = f"{len(timm_names()):,}", f"{len(torchvision_names()):,}"
INSERT = ("insert", "--spec", "se", "--into")


#: A name, the arguments, the exit status, and what stands on stderr.
BAD = [
    (
        "an unknown backbone",
        (*INSERT, "resnet19"),
        1,
        "error[unknown-backbone]: timm has no model 'resnet19'\n"
        "  help: did you mean 'resnet18'? "
        f"'composer list backbones' lists all {TIMM} names of timm\n",
    ),
    (
        "a backbone like no other",
        ("sites", "zzz"),
        1,
        "error[unknown-backbone]: timm has no model 'zzz'\n"
        f"  help: 'composer list backbones' lists all {TIMM} names of timm; or {FORMS}\n",
    ),
    (
        "an unknown name of torchvision",
        (*INSERT, "torchvision:resnet19"),
        1,
        "error[unknown-backbone]: torchvision has no model 'resnet19'\n"
        "  help: did you mean 'resnet18'? "
        f"'composer list backbones' lists all {TORCHVISION} names of torchvision\n",
    ),
    (
        "a folder that is not there",
        (*INSERT, "runs/se-resnet18"),
        1,
        "error[unknown-backbone]: there is no composition in 'runs/se-resnet18'\n"
        f"  help: {FORMS}\n",
    ),
    (
        "a file without a function",
        (*INSERT, "net.py"),
        1,
        "error[unknown-backbone]: 'net.py' names a file without a function\n"
        "  help: also name the function that makes the model: net.py:factory\n",
    ),
    (
        "a file that is not there",
        (*INSERT, "nets.py:tiny"),
        1,
        f"error[unknown-backbone]: there is no file 'nets.py'\n  help: {FORMS}\n",
    ),
    (
        "a function that is not there",
        (*INSERT, "net.py:tinny"),
        1,
        "error[unknown-backbone]: net.py has no function 'tinny'\n"
        "  help: did you mean 'tiny'? it has Block, Net, tiny\n",
    ),
    (
        "a module that is not there",
        (*INSERT, "nomodule.models:tiny"),
        1,
        f"error[unknown-backbone]: there is no module 'nomodule'\n  help: {FORMS}\n",
    ),
    (
        "an argument that the factory has not",
        (*INSERT, "net.py:tiny?depth=3"),
        1,
        "error[backbone-failed]: net.py:tiny?depth=3 cannot be made: "
        "TypeError: tiny() got an unexpected keyword argument 'depth'\n",
    ),
    (
        "an argument without a value",
        (*INSERT, "resnet18?num_classes"),
        1,
        "error[unknown-backbone]: 'num_classes' in 'resnet18?num_classes' is not K=V\n"
        "  help: write resnet50?num_classes=10\n",
    ),
    (
        "pretrained as an argument",
        (*INSERT, "resnet18?pretrained=true"),
        1,
        "error[unknown-backbone]: 'pretrained' in 'resnet18?pretrained=true' would load weights "
        "again whenever the recipe is read\n"
        "  help: for published weights use --pretrained (in Python pretrained=True)\n",
    ),
    (
        "a selection that matches nothing",
        (*INSERT, TINY, "--select", "layer3.*"),
        1,
        "error[no-sites]: none of the 4 blocks matches: its path does not match 'layer3.*'\n"
        "  help: there are stage 1 stage1 (2 blocks), stage 2 stage2 (2 blocks)\n",
    ),
    (
        "a stage that is not there",
        (*INSERT, TINY, "--stages", "3"),
        1,
        "error[no-such-position]: there is no stage 3\n  help: there are 2 stages\n",
    ),
    (
        "stages that are none",
        (*INSERT, "resnet18", "--stages", "one"),
        2,
        "error[usage]: --stages 'one': 'one' is not a number or a range; they count from 1: "
        "'1,3', '2..4', '1..-2' or '-1' for the last\n",
    ),
    (
        "another count than expected",
        (*INSERT, TINY, "--expect", "16"),
        1,
        "error[unexpected-count]: 16 sites expected, and 4 found\n"
        "  help: list them with --dry-run; choose others with --stages, --blocks or --select\n",
    ),
    (
        "an unknown spec",
        ("insert", "--spec", "sse", "--into", TINY, "--spec", "ecaa"),
        1,
        "error[unknown-spec]: no file and no shipped spec named 'sse'\n"
        "  help: did you mean 'ese', 'scse' or 'se'? Shipped specs: {specs}\n"
        "error[unknown-spec]: no file and no shipped spec named 'ecaa'\n"
        "  help: did you mean 'eca'? Shipped specs: {specs}\n",
    ),
    (
        "an unknown param",
        (*INSERT, "resnet18", "--set", "reductions=8"),
        2,
        "error[unknown-param]: the spec 'se' has no param 'reductions'\n"
        "  help: did you mean 'reduction'? Params of se: reduction, min_width, bias\n",
    ),
    (
        "an unknown param of show",
        ("show", "se", "--set", "reductions=8"),
        2,
        "error[unknown-param]: the spec 'se' has no param 'reductions'\n"
        "  help: did you mean 'reduction'? Params of se: reduction, min_width, bias\n",
    ),
    (
        "a setting that is none",
        (*INSERT, TINY, "--set", "reduction"),
        2,
        "error[usage]: --set 'reduction' is not K=V\n  help: write --set reduction=8\n",
    ),
    (
        "a setting without a value",
        (*INSERT, TINY, "--set", "reduction="),
        2,
        "error[usage]: --set 'reduction=' gives no value\n  help: write --set reduction=8\n",
    ),
    (
        "a setting of a spec that is not inserted",
        (*INSERT, TINY, "--set", "cbam.reduction=8"),
        2,
        "error[usage]: --set 'cbam.reduction=8' names a spec that is not inserted\n"
        "  help: the specs are se\n",
    ),
    (
        "a size that is none",
        ("show", "se", "--size", "7x7x7x7"),
        2,
        "error[usage]: --size '7x7x7x7' is not a size\n  help: write --size 14, or --size 14x7; "
        "8x14x14 for a volume, t=100 for a signal\n",
    ),
    (
        "a size of nothing",
        ("show", "se", "--size", "0"),
        2,
        "error[usage]: --size '0' is not a size\n  help: write --size 14, or --size 14x7; "
        "8x14x14 for a volume, t=100 for a signal\n",
    ),
    (
        "a device that is not here",
        (*INSERT, TINY, "--device", "cuda:99"),
        2,
        "error[no-device]: the device 'cuda:99' is not available\n  help: use --device cpu{cuda}\n",
    ),
    (
        "a device that is none",
        (*INSERT, TINY, "--device", "foo"),
        2,
        "error[no-device]: the device 'foo' is not available\n  help: use --device cpu{cuda}\n",
    ),
    (
        "a device without numbers",
        (*INSERT, TINY, "--device", "meta"),
        2,
        "error[no-device]: the device 'meta' is not available\n  help: use --device cpu{cuda}\n",
    ),
    (
        "an image that is not there",
        (*INSERT, "resnet18", "--input", "cat.png"),
        1,
        "cat.png: error[image]: there is no such file\n  help: check the path\n",
    ),
    (
        "an image that is none",
        (*INSERT, TINY, "--input", "net.py"),
        1,
        "net.py: error[image]: this is not an image\n  help: give a PNG or JPEG\n",
    ),
    (
        "an image that is a folder",
        (*INSERT, TINY, "--input", "."),
        1,
        ".: error[image]: this is a folder\n  help: give a PNG or JPEG\n",
    ),
    (
        "weights that are not there",
        (*INSERT, "resnet18", "--weights", "w.pth"),
        1,
        "w.pth: error[weights]: there is no such file\n  help: check the path\n",
    ),
    (
        "weights that are a folder",
        (*INSERT, TINY, "--weights", "."),
        1,
        ".: error[weights]: this is a folder\n  help: give a weights file\n",
    ),
    (
        "weights that are text",
        (*INSERT, TINY, "--weights", "net.py"),
        1,
        "net.py: error[weights]: this is not a weights file\n"
        "  help: give a .safetensors file, or a state dict\n",
    ),
    (
        "weights twice",
        (*INSERT, "resnet18", "--weights", "w.pth", "--pretrained"),
        2,
        "error[usage]: --pretrained and --weights are both given\n  help: choose one of them\n",
    ),
    (
        "published weights of a factory that has none",
        (*INSERT, TINY, "--pretrained"),
        1,
        "error[no-pretrained]: net.py:tiny takes no argument 'pretrained'\n"
        "  help: load the weights in the factory, or give a weights file with --weights\n",
    ),
    (
        "an unknown command",
        ("inser",),
        2,
        "error[usage]: unknown command 'inser'\n  help: did you mean 'insert'? "
        "Commands: insert, new, check, show, sites, list, render, verify, compare, schema, study, "
        "eject, lift, export, diff, explain\n",
    ),
    (
        "an unknown option",
        ("insert", "--xyzzy"),
        2,
        "error[usage]: no such option '--xyzzy'\n  help: see 'composer insert --help'\n",
    ),
    (
        "no spec",
        ("insert", "--into", TINY),
        2,
        "error[usage]: missing option '--spec'\n  help: see 'composer insert --help'\n",
    ),
    (
        "no backbone",
        ("insert", "--spec", "se"),
        2,
        "error[usage]: missing option '--into'\n  help: see 'composer insert --help'\n",
    ),
    (
        "nothing to check",
        ("check",),
        2,
        "error[usage]: missing argument 'SPEC…'\n  help: see 'composer check --help'\n",
    ),
    (
        "a word that list does not know",
        ("list", "models"),
        2,
        "error[usage]: invalid value for '{{specs|ops|backbones}}': 'models' is not one of "
        "'specs', 'ops', 'backbones'\n  help: see 'composer list --help'\n",
    ),
    (
        "eject of nothing",
        ("eject", "nowhere"),
        1,
        "nowhere: error[not-a-composition]: this is not a composition: there is no such folder\n"
        "  help: give a folder written by 'composer insert' or composer.save\n",
    ),
    (
        "eject of another folder",
        ("eject", "."),
        1,
        ".: error[not-a-composition]: this is not a composition: it has no recipe.yaml\n"
        "  help: give a folder written by 'composer insert' or composer.save\n",
    ),
    (
        "eject into another format",
        ("eject", ".", "-o", "w.pth"),
        2,
        "error[usage]: -o 'w.pth' does not end in .safetensors\n  help: eject writes "
        "safetensors: name it so\n",
    ),
    (
        "an output that is something else",
        (*INSERT, "resnet18", "-o", ".", "--force"),
        1,
        ".: error[output]: exists and is not a composition, so it is not replaced\n"
        "  help: choose another with -o\n",
    ),
    (
        "an output that is a file",
        (*INSERT, "resnet18", "-o", "net.py", "--force"),
        1,
        "net.py: error[output]: exists and is not a composition, so it is not replaced\n"
        "  help: choose another with -o\n",
    ),
    (
        "an output below a file",
        (*INSERT, "resnet18", "-o", "net.py/x/y"),
        1,
        "net.py/x/y: error[output]: 'net.py' is a file, not a folder\n"
        "  help: choose another with -o\n",
    ),
    (
        "an output with too long a name",
        (*INSERT, "resnet18", "-o", "x" * 300),
        1,
        f"{'x' * 300}: error[output]: cannot be written: File name too long\n"
        "  help: choose another with -o\n",
    ),
    (
        "an output where the system lets nobody write",
        (*INSERT, "resnet18", "-o", "/proc/x"),
        1,
        "/proc/x: error[output]: cannot be written: No such file or directory\n"
        "  help: choose another with -o\n",
    ),
]


@pytest.mark.parametrize(("args", "status", "said"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_the_message(run, args, status, said):
    from composer.language.library import shipped_names

    result = run(*args)
    cuda = ", or cuda:N" if torch.cuda.is_available() else ""
    if "{" in said:
        said = said.format(specs=", ".join(shipped_names()), cuda=cuda)
    assert (result.err, result.status, result.out) == (said, status, "")
    assert files(Path()) == ["net.py"]


#: The text of a user's file, and the message but for the folder.
BROKEN_FILES = [
    (
        "def make():\n    raise ValueError('no such depth:\\n3')\n",
        "error[backbone-failed]: bad.py:make cannot be made: ValueError: no such depth:\n"
        "  help: raised at {file}:2\n",
    ),
    (
        "def make():\n    return 3\n",
        "error[not-a-model]: bad.py:make gave int, not a torch.nn.Module\n"
        "  help: let the factory return the model itself, or (model, example_inputs)\n",
    ),
    (
        "def make(:\n",
        "error[backbone-failed]: bad.py cannot be imported: SyntaxError: invalid syntax\n"
        "  help: look at {file}:1\n",
    ),
    (
        "import torch\nimport nothing_of_that_name\n",
        "error[backbone-failed]: bad.py cannot be imported: "
        "ModuleNotFoundError: No module named 'nothing_of_that_name'\n"
        "  help: raised at {file}:2\n",
    ),
    (
        "import sys\nsys.exit('usage: train')\n",
        "error[backbone-failed]: bad.py cannot be imported: it calls SystemExit('usage: "
        "train')\n  help: raised at {file}:2\n",
    ),
    ("x = 1\n", "error[unknown-backbone]: bad.py has no function 'make'\n"
                "  help: it defines no function\n"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BROKEN_FILES)
def test_a_file_that_makes_no_model(run, text, said):
    Path("bad.py").write_text(text)
    result = run(*INSERT, "bad.py:make")
    assert (result.status, result.out) == (1, "")
    assert result.err == said.format(file=Path("bad.py").resolve())


def test_a_module_that_lacks_another(run):
    Path("lacking.py").write_text("import nothing_of_that_name\n")
    result = run(*INSERT, "lacking:make")
    assert result.err == (
        "error[backbone-failed]: lacking cannot be imported: "
        "ModuleNotFoundError: No module named 'nothing_of_that_name'\n"
        f"  help: raised at {Path('lacking.py').resolve()}:1\n"
    )


def state_of_tiny() -> dict[str, torch.Tensor]:
    namespace: dict[str, object] = {"__name__": "net"}
    exec(NET, namespace)
    state: dict[str, torch.Tensor] = namespace["tiny"]().state_dict()
    return state


def test_weights_that_do_not_fit(run):
    state = state_of_tiny()
    for key in [key for key in state if "conv1" in key]:
        del state[key]
    state["head.weight"] = torch.zeros(7, 32)
    state["fc.bias"] = torch.zeros(7)
    save_file(state, "w.safetensors")
    result = run(*INSERT, TINY, "--weights", "w.safetensors")
    assert result.status == 1
    assert result.err == (
        "w.safetensors: error[weights]: does not fit net.py:tiny: 8 keys missing: "
        "stage1.0.conv1.weight, stage1.0.conv1.bias, stage1.1.conv1.weight and 5 more; "
        "1 key unexpected: fc.bias; "
        "1 key of different shape: head.weight (7×32 in the file, 5×32 in the model)\n"
        "  help: 33 of 42 keys match; are these the weights of another model, or of one with "
        "another head (resnet50?num_classes=10)?\n"
    )


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it-was-run",)


WEIGHTS = [
    (
        lambda: torch.save({"state_dict": {}, "hook": Evil()}, "w"),
        "this holds more than tensors (posix.mkdir), and code in a file is never run\n"
        "  help: if you trust the file, load it and save only its state dict",
    ),
    (
        lambda: Path("w").write_bytes(pickle.dumps(Evil())),
        "this is not a weights file\n  help: give a .safetensors file, or a state dict",
    ),
    (
        lambda: torch.save([1, 2], "w"),
        "this holds a list, not a state dict\n  help: save model.state_dict()",
    ),
    (
        lambda: torch.save({}, "w"),
        "this holds an empty dict, not a state dict\n  help: save model.state_dict()",
    ),
    (
        lambda: torch.save({"epoch": 3, "net": {}}, "w"),
        "'epoch' holds an int, not a tensor\n  help: save only model.state_dict(), or put it "
        "under one of state_dict, model, model_state_dict, state_dict_ema, model_ema",
    ),
    (
        lambda: Path("w").write_bytes(b""),
        "this is not a weights file: it is empty\n"
        "  help: is it whole? Give a .safetensors file, or a state dict that torch.save wrote",
    ),
]


@pytest.mark.parametrize(("write", "said"), WEIGHTS)
def test_a_file_that_is_no_state_dict(run, write, said):
    write()
    result = run(*INSERT, TINY, "--weights", "w")
    assert (result.status, result.err) == (1, f"w: error[weights]: {said}\n")
    assert not Path("it-was-run").exists()


@pytest.mark.parametrize("damage", ["cut", "header", "empty"])
def test_damaged_safetensors(run, damage):
    save_file(state_of_tiny(), "w.safetensors")
    whole = Path("w.safetensors").read_bytes()
    broken = {"cut": whole[:-100], "header": whole[:8] + b"{" + whole[20:], "empty": b""}[damage]
    Path("w.safetensors").write_bytes(broken)
    result = run(*INSERT, TINY, "--weights", "w.safetensors")
    assert result.status == 1
    assert result.err.startswith("w.safetensors: error[weights]: this is not a weights file: ")
    assert result.err.endswith("\n  help: is it whole? Give a .safetensors file, or a state dict "
                               "that torch.save wrote\n")  # fmt: skip


def test_a_cut_checkpoint(run):
    torch.save(state_of_tiny(), "w.pth")
    Path("w.pth").write_bytes(Path("w.pth").read_bytes()[:-100])
    result = run(*INSERT, TINY, "--weights", "w.pth")
    assert result.status == 1
    assert result.err.startswith("w.pth: error[weights]: this is not a weights file: ")


def test_a_composition_is_not_replaced_unless_told(run):
    run.fine(*INSERT, TINY)
    result = run(*INSERT, "resnet18", "-o", "tiny-se")
    assert (result.status, result.err) == (
        1,
        "tiny-se: error[output]: exists already\n"
        "  help: replace it with --force, or choose another with -o\n",
    )
    result = run("insert", "--spec", "eca", "--into", "tiny-se", "--pretrained")
    assert (result.status, result.err) == (
        2,
        "error[usage]: tiny-se is a composition, which has its own weights\n"
        "  help: omit --pretrained and --weights\n",
    )


def test_ejected_weights_are_not_replaced_unless_told(run):
    run.fine(*INSERT, TINY)
    Path("tiny.safetensors").touch()
    result = run("eject", "tiny-se", "--trust-code")
    assert (result.status, result.err) == (
        1,
        "tiny.safetensors: error[output]: exists already\n"
        "  help: replace it with --force, or choose another with -o\n",
    )
    result = run("eject", "tiny-se", "-o", "no/w.safetensors", "--trust-code")
    assert (result.status, result.err) == (
        1,
        "no/w.safetensors: error[output]: its folder does not exist\n"
        "  help: create the folder, or choose another file\n",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_in_a_folder_that_is_closed(run):
    Path("closed").mkdir(mode=0o500)
    result = run(*INSERT, "resnet18", "-o", "closed/x")
    assert (result.status, result.err) == (
        1,
        "closed/x: error[output]: cannot be written: Permission denied\n"
        "  help: choose another with -o\n",
    )


@pytest.mark.parametrize("where", ["tiny-se", "deep/er/tiny-se"])
def test_a_full_disk_leaves_nothing_behind(run, monkeypatch, where):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("composer.artifact.folder.save_weights", full)
        result = run(*INSERT, TINY, "-o", where)
    assert (result.status, result.err) == (
        1,
        f"{where}: error[output]: cannot be written: No space left on device\n"
        "  help: nothing was left behind; free some space, or choose another with -o\n",
    )
    assert names(Path()) == ["net.py"]


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("failing", ["save_weights", "rename"])
def test_a_full_disk_leaves_the_old_composition(run, monkeypatch, failing):
    run.fine(*INSERT, TINY)
    before = {name: Path("tiny-se", name).read_bytes() for name in files(Path("tiny-se"))}

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if failing == "rename":
            patch.setattr("composer.files.putting.exchange", full)
        else:
            patch.setattr("composer.artifact.folder.save_weights", full)
        assert run(*INSERT, TINY, "--stages", "1", "--force").status == 1
    assert {name: Path("tiny-se", name).read_bytes() for name in files(Path("tiny-se"))} == before
    assert names(Path()) == ["net.py", "tiny-se"]


def test_stdout_on_a_full_disk():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "composer", "list", "specs"],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == ("error[output]: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("backbone", ["resnet18", "torchvision:resnet18"])
def test_published_weights_without_a_network(run, monkeypatch, backbone):
    """Every machine is unreachable, and the caches are empty: one message, and no wait."""

    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    monkeypatch.setattr("socket.create_connection", unreachable)
    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    monkeypatch.setattr(network, "getproxies", dict)
    monkeypatch.setenv("TORCH_HOME", str(Path().resolve()))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(Path("hub").resolve()))
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits to try again"))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    result = run(*INSERT, backbone, "--pretrained")
    why = ": [Errno 101] Network is unreachable" if "torchvision" in backbone else ""
    assert result.status == 1
    lines = [line for line in result.err.splitlines() if not line.startswith("Downloading")]
    assert lines == [
        f"error[no-pretrained]: the published weights of {backbone} are not in the cache and "
        f"cannot be downloaded{why}",
        "  help: run this once with a network to fill the cache, or give a weights file with "
        "--weights",
    ]


def test_weights_that_nobody_publishes(run):
    result = run(*INSERT, "mobilenetv2_035", "--pretrained")
    assert (result.status, result.err) == (
        1,
        "error[no-pretrained]: mobilenetv2_035 has no published weights\n"
        "  help: give a weights file with --weights, or omit --pretrained\n",
    )


def test_a_problem_in_a_spec_is_shown_at_its_line(run):
    Path("bad.yaml").write_text(
        "name: bad\ninput: [b, c, h, w]\nnodes:\n  pool: {op: pool, over: [h, w], from: inputt}\n"
    )
    result = run("insert", "--spec", "bad.yaml", "--into", "resnet18")
    assert result.status == 1
    assert result.err.startswith("bad.yaml:4:")
    assert "    4 |   pool: {op: pool, over: [h, w], from: inputt}\n" in result.err
    assert run("check", "bad.yaml", "se").status == 1
    assert run("check", "bad.yaml", "se").out == "bad.yaml: 1 error\nse (shipped): ok\n"


@pytest.mark.parametrize(
    ("args", "code", "status"),
    [
        ((*INSERT, "resnet19", "--json"), "unknown-backbone", 1),
        ((*INSERT, TINY, "--expect", "3", "--json"), "unexpected-count", 1),
        (("insert", "--json"), "usage", 2),
        (("inser", "--json"), "usage", 2),
        (("show", "sse", "--json"), "unknown-spec", 1),
        (("eject", "nowhere", "--json"), "not-a-composition", 1),
    ],
)
def test_json_of_errors(run, args, code, status):
    result = run(*args)
    assert result.status == status
    assert list(result.json) == ["version", "errors"]
    assert [error["code"] for error in result.json["errors"]] == [code]
    assert list(result.json["errors"][0])[:3] == ["code", "message", "help"]
    assert f"error[{code}]: {result.json['errors'][0]['message']}" in result.err


def test_json_of_check(run):
    Path("bad.yaml").write_text("name: bad\n")
    result = run("check", "bad.yaml", "nothing", "--json")
    assert result.status == 1
    assert [(f["file"], f["ok"]) for f in result.json["files"]] == [
        ("bad.yaml", False),
        ("nothing", False),
    ]


def test_what_no_message_foresaw(run, monkeypatch):
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("composer.artifact.report.describe", broken)
    result = run(*INSERT, TINY)
    assert result.status == 1
    assert result.err.startswith(
        "error[fault]: ZeroDivisionError: division by zero\n"
        "  help: this is a fault of Composer; please send the lines below and the file to "
        "Composer's "
        "authors\n"
        "    composer   "
    )


def test_a_backbone_that_does_not_run(run):
    text = NET.replace("return self.head(x.mean((2, 3)))", "return self.head(x.flatten(1))")
    Path("net.py").write_text(text)
    result = run(*INSERT, TINY)
    assert result.status == 1
    assert "help: " in result.err


def test_nan_in_both_is_no_difference(run):
    Image.new("RGB", (64, 64), "white").save("white.png")
    Path("net.py").write_text(NET.replace("return self.head(", "return float('nan') * self.head("))
    found = run.fine(*INSERT, TINY, "--init", "identity", "--input", "white.png", "--json").json
    assert found["difference"] == 0


@pytest.mark.long
def test_an_interrupt(tmp_path):
    (tmp_path / "net.py").write_text(
        "import time\ndef make():\n    print('ready', flush=True)\n    time.sleep(600)\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "composer", *INSERT, "net.py:make"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore it, and so would what they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, out, err.strip()) == (130, "", "stopped")
    assert names(tmp_path) == ["net.py"]


def test_usage_in_a_process_of_its_own(tmp_path):
    done = process("insert", "--spec", "se", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error[usage]: missing option '--into'")

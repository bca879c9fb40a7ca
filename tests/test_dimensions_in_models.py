"""Mechanisms inside networks for signals, volumes and videos."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from probe import randomise, spec_text
from signal_model import Tokens, signal, volume
from torch import Tensor, nn
from torch.fx import symbolic_trace

import composer
from composer.analysis.maps import CONVOLUTIONS
from composer.analysis.probe import probe
from composer.artifact.run import read_image
from composer.errors import ComposerError

HERE = Path(__file__).with_name("signal_model.py")


def output(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = model.eval()(x)
    return y if isinstance(y, Tensor) else y[0]


def made(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def video(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        models = pytest.importorskip("torchvision.models.video")
        model: nn.Module = getattr(models, name)(weights=None, num_classes=7)
        return model

    return make


def monai(name: str, **given: object) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        nets = pytest.importorskip("monai.networks.nets")
        model: nn.Module = getattr(nets, name)(**given)
        return model

    return make


_UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, str]] = {
    # made by; what it is run on; the blocks; the first site and what is there
    "signal": (signal, (2, 12, 200), 4, "layer1.0 residual 32×512"),
    "volume": (volume, (2, 1, 8, 12, 10), 4, "layer1.0 residual 32×8×56×56"),
    "r3d_18": (video("r3d_18"), (1, 3, 8, 48, 48), 8, "layer1.0 residual 64×16×56×56"),
    "mc3_18": (video("mc3_18"), (1, 3, 8, 48, 48), 8, "layer1.0 residual 64×16×56×56"),
    "r2plus1d_18": (video("r2plus1d_18"), (1, 3, 8, 48, 48), 8, "layer1.0 residual 64×16×56×56"),
    "swin3d_t": (video("swin3d_t"), (1, 3, 4, 64, 64), 12, "features.0.0 residual 96×8×28×28"),
    "resnet10": (monai("resnet10", spatial_dims=3, n_input_channels=1, num_classes=2),
                 (1, 1, 16, 48, 48), 4, "layer1.0 residual 64×8×56×56"),
    "UNet": (monai("UNet", **_UNET, channels=(8, 16, 32), strides=(2, 2), num_res_units=2),
             (1, 1, 16, 24, 24), 3, "model.0 residual 8×8×56×56"),
    "SegResNet": (monai("SegResNet", **_UNET, init_filters=8, blocks_down=(1, 1), blocks_up=(1,)),
                  (1, 1, 16, 24, 24), 3, "down_layers.0.1 residual 8×16×112×112"),
    "DynUNet": (monai("DynUNet", **_UNET, kernel_size=[3, 3, 3], strides=[1, 2, 2],
                      upsample_kernel_size=[2, 2], filters=[8, 16, 32], res_block=True),
                (1, 1, 16, 24, 24), 4, "downsamples.0 residual 16×8×56×56"),
}  # fmt: skip


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_mechanism_in_each_branch(name: str) -> None:
    make, shape, blocks, first = NETWORKS[name]
    model = made(make)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, state = output(model, x), copy.deepcopy(model.state_dict())
    params = {"reduction": 4}
    planned = composer.plan(model, "cbam", init="identity", params=params)
    site = planned.sites[0]
    assert len(planned.sites) == blocks
    sizes = "×".join(map(str, (site.channels, *site.size)))
    assert f"{site.path} {site.position} {sizes}" == first
    composed = composer.insert(model, "cbam", init="identity", params=params)
    assert float((output(composed, x) - before).abs().max()) == 0
    assert planned.flops_after == probe(composed).flops
    for key, tensor in state.items():
        assert torch.equal(composed.state_dict()[key], tensor)
    with torch.no_grad():
        for key, parameter in composed.named_parameters():
            if key.endswith(".blend"):
                parameter.fill_(0.5)
    assert not torch.equal(output(composed, x), before)  # it is in the branch, and does something
    copy.deepcopy(composed).train()(torch.cat([x, x]))
    back = composer.eject(composed)
    assert list(back.state_dict()) == list(state)
    assert torch.equal(output(back, x), before)


@pytest.mark.quick(1)
@pytest.mark.parametrize("spec", ["se", "eca", "ge_theta_minus", "bam", "sa"])
@pytest.mark.parametrize("factory", ["signal", "volume"])
def test_saved_and_loaded_by_its_factory(spec: str, factory: str, tmp_path: Path) -> None:
    params = {"reduction": 4} if spec in ("se", "bam") else {}
    params |= {"extent": 2} if spec == "ge_theta_minus" else {}
    own = tmp_path / "nets_of_a_user.py"  # under a name that nothing else is imported by
    own.write_text(HERE.read_text())
    composed = composer.insert(f"{own}:{factory}", spec, params=params)
    randomise(composed)
    composer.save(composed, str(tmp_path / "out"))
    loaded = composer.load(str(tmp_path / "out"), trust_code=True)
    x = torch.randn(NETWORKS[factory][1])
    assert torch.equal(output(loaded, x), output(composed, x))
    plain = composer.eject(loaded)
    assert list(plain.state_dict()) == list(made(signal if factory == "signal" else volume)
                                            .state_dict())  # fmt: skip


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize("factory", ["signal", "volume"])
def test_stand_ins_begin_as_their_convolutions(factory: str) -> None:
    model = randomise(made(signal if factory == "signal" else volume))
    x = torch.randn(NETWORKS[factory][1])
    before = output(model, x)
    for spec, match in (("dynamic_conv", {"kernel": 3, "position": None}), ("cond_conv", None)):
        composed = composer.insert(
            model, spec, init="identity", stages="1..2", match=match, params={"experts": 4}
        )
        torch.testing.assert_close(output(composed, x), before, rtol=1e-4, atol=1e-4)
        again = composer.sites(composed)
        assert again.attention_modules == 0
        assert again.convolutions < composer.sites(model).convolutions


def test_tokens_of_a_signal_behind_a_class_token() -> None:
    model = made(Tokens)
    planned = composer.plan(model, "se", params={"reduction": 4})
    assert [(s.layout, s.size) for s in planned.sites] == [(("b", "n", "c"), (128,))] * 2
    composed = composer.insert(model, "cbam", init="identity", params={"reduction": 4})
    x = torch.randn(2, 3, 160)
    assert torch.equal(output(composed, x), output(model, x))


def test_channels_last_of_volumes() -> None:
    model = volume().to(memory_format=torch.channels_last_3d)
    composed = composer.insert(model, "bam", params={"reduction": 4})
    kernel = composed.get_parameter("layer1.bam.context1.conv.weight")
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(("factory", "there"), [(signal, "b, c, t"), (volume, "b, c, d, h, w")])
def test_a_spec_that_is_for_images(factory: Callable[[], nn.Module], there: str) -> None:
    rows = spec_text("rows: {op: pool, over: w}\nout: {op: reweight, x: input, by: rows}")
    places = there.removeprefix("b, c, ")
    with pytest.raises(ComposerError) as failure:
        composer.plan(factory(), rows, at="block")
    assert failure.value.diagnostics[0].message == (
        f"'rows' names only 'w', so 'probe' is for maps [h, w], but this one is [{places}]"
    )
    with pytest.raises(ComposerError) as failure:
        composer.plan(factory(), "bot_mhsa")
    assert failure.value.diagnostics[0].message == (
        "'attend' uses positions along height and width, so 'bot_mhsa' is for maps [h, w], "
        f"but this one is [{places}]"
    )


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(("places", "make", "there"), [
    ("t", volume, "b, c, d, h, w"), ("d, h, w", signal, "b, c, t"),
])  # fmt: skip
def test_a_spec_that_is_written_for_other_maps(
    places: str, make: Callable[[], nn.Module], there: str
) -> None:
    text = spec_text(f"mean: {{op: pool, over: [{places}]}}\n"
                     "out: {op: reweight, x: input, by: mean}", f"b, c, {places}")  # fmt: skip
    with pytest.raises(ComposerError) as failure:
        composer.plan(make(), text, at="block")
    (first, *_) = failure.value.diagnostics
    assert first.message == (f"'probe' takes [b, c, {places}], and a feature map is [{there}]")
    assert first.help == "write 'input: [b, c, h, w]'"


@pytest.mark.long
def test_convolutions_are_counted_by_the_dimensions_of_the_model() -> None:
    for make, dimensions in ((signal, 1), (volume, 3)):
        model = make()
        count = sum(isinstance(m, CONVOLUTIONS[dimensions]) for m in model.modules())
        assert composer.sites(model).convolutions == count
        planned = composer.plan(model, "se", position="after:conv2", params={"reduction": 4})
        assert {site.position for site in planned.sites} == {"after:conv2"}


def test_a_model_that_takes_none_of_the_sizes() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(2, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no")

    with pytest.raises(ComposerError) as failure:
        composer.sites(Fails())
    (only,) = failure.value.diagnostics
    assert only.message == (
        "the forward pass of Fails fails on a batch of 2-channel volumes (16x112x112: no)"
    )
    assert only.help is not None
    assert only.help.startswith("sizes tried: 16×112×112, 16×224×224, 64×64×64, 96×96×96")


def test_an_image_for_a_model_of_volumes(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    with pytest.raises(ComposerError) as failure:
        read_image(tmp_path / "image.png", volume())
    (only,) = failure.value.diagnostics
    assert only.message == "the backbone takes volumes, and this is an image"


def test_example_inputs_of_a_volume() -> None:
    x = torch.randn(1, 1, 5, 8, 11)
    planned = composer.plan(volume(), "eca", example_inputs=x)
    assert planned.input_shape == (1, 5, 8, 11)
    assert planned.sites[0].size == (3, 4, 6)


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize("make", [signal, volume])
def test_what_a_trainer_and_a_deployer_do(make: Callable[[], nn.Module]) -> None:
    composed = composer.insert(made(make), "bam", params={"reduction": 4})
    composed = composer.insert(composed, "cbam", params={"reduction": 4}).eval()
    x = torch.randn(NETWORKS[make.__name__][1])
    want = composed(x)
    exported = torch.export.export(composed, (x,)).module()
    torch.testing.assert_close(exported(x), want)
    again = pickle.loads(pickle.dumps(composed))
    assert torch.equal(again(x), want)
    symbolic_trace(composed)
    composer.optimize(composed, for_="inference")
    torch.testing.assert_close(composed(x), want, rtol=1e-4, atol=1e-4)

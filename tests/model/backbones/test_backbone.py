import re

import pytest
import torch
from safetensors.torch import save_file
from timm.models import VisionTransformer
from torch import nn
from torchvision.models import resnet50

from common.errors import UsageError
from model.backbones import backbone as backbone_module
from model.backbones.backbone import BUILDERS, Backbone, build_backbone
from model.backbones.dino import Dino, vit_14
from model.backbones.resnet import SIZES, ResNet, ResNetSize
from model.backbones.swin import SwinB
from model.backbones.vgg import Vgg16
from tests.golden.golden_set import REPOSITORY_SET, GoldenSet

SMALL = ResNetSize((1, 1, 2, 2), planes=(4, 4, 8, 8), stem=(4, 4, 8))


def images(side: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def small_dino(registers: int) -> Dino:
    """Four patches by four, of 14 pixels."""
    return Dino(
        VisionTransformer(
            img_size=56,
            patch_size=14,
            embed_dim=16,
            depth=2,
            num_heads=2,
            init_values=1.0,
            num_classes=0,
            reg_tokens=registers,
            no_embed_class=registers > 0,
        )
    )


@pytest.fixture(scope="module")
def small_resnet() -> Backbone:
    torch.manual_seed(0)
    return Backbone("small", ResNet(SMALL))


@pytest.fixture(scope="module")
def swin() -> Backbone:
    return Backbone("swin_b", SwinB())


class Half(nn.Module):
    """A network whose numbers can be followed by eye: stage 3 is the image, stage 4 its double."""

    middle_channels, input_size = 6, None

    def middle(self, x):
        return x[..., ::2, ::2], x

    def high(self, stage3):
        return 2 * stage3


class TestBackbone:
    def test_the_second_stage_is_resized_to_the_third(self):
        ramp = torch.arange(5.0).expand(1, 3, 5, 5)
        middle = Backbone("half", Half()).extract(ramp).middle
        # columns 0, 2, 4 between aligned corners become 0, 1, 2, 3, 4 again
        torch.testing.assert_close(middle, torch.cat([ramp, ramp], dim=1))

    def test_the_mask_is_resized_to_the_nearest_and_multiplied_into_the_trunk(self):
        trunk = torch.ones(1, 3, 2, 2)
        mask = torch.zeros(1, 1, 4, 4)
        mask[..., :2, :2] = 1
        high = Backbone("half", Half()).high(trunk, mask)
        assert high[0, 0].tolist() == [[2, 0], [0, 0]]

    def test_a_mask_too_small_for_the_trunk_does_not_vanish(self):
        mask = torch.zeros(1, 1, 8, 8)
        mask[..., 6, 1] = 1
        high = Backbone("half", Half()).high(torch.ones(1, 3, 2, 2), mask)
        assert high[0, 0].tolist() == [[0, 0], [2, 0]]

    def test_without_a_mask_everything_is_seen(self, small_resnet):
        trunk = small_resnet.extract(images(64)).trunk
        everywhere = torch.ones(1, 1, 64, 64)
        torch.testing.assert_close(
            small_resnet.high(trunk, None), small_resnet.high(trunk, everywhere)
        )

    def test_the_mask_reaches_stage_4(self, small_resnet):
        trunk = small_resnet.extract(images(64)).trunk
        left = torch.zeros(1, 1, 64, 64)
        left[..., :32] = 1
        by_hand = trunk.clone()
        by_hand[..., 4:] = 0
        torch.testing.assert_close(
            small_resnet.high(trunk, left), small_resnet.network.layer4(by_hand)
        )

    def test_batch_norm_statistics_do_not_move_in_training(self, small_resnet):
        before = {name: value.clone() for name, value in small_resnet.state_dict().items()}
        nn.Sequential(small_resnet).train()
        small_resnet.high(small_resnet.extract(images(64, batch=2)).trunk, None)
        assert not any(module.training for module in small_resnet.modules())
        for name, value in small_resnet.state_dict().items():
            assert torch.equal(value, before[name]), name

    def test_no_gradient_flows(self, small_resnet):
        features = small_resnet.extract(images(64).requires_grad_())
        assert not any(parameter.requires_grad for parameter in small_resnet.parameters())
        assert not features.middle.requires_grad
        assert not small_resnet.high(features.trunk.requires_grad_(), None).requires_grad

    def test_an_image_does_not_depend_on_its_batch(self, small_resnet):
        pictures = images(64, batch=2)
        both, one = small_resnet.extract(pictures), small_resnet.extract(pictures[1:])
        torch.testing.assert_close(both.middle[1:], one.middle)


class TestShapes:
    """Of images of side 64."""

    @pytest.mark.parametrize(("name", "middle", "high"), [("resnet50", 1536, 2048)])
    def test_resnet(self, name, middle, high):
        backbone = build_backbone(name, None)
        features = backbone.extract(images(64))
        assert backbone.middle_channels == middle
        assert features.middle.shape == (1, middle, 8, 8)
        assert backbone.high(features.trunk, None).shape == (1, high, 8, 8)

    def test_vgg(self):
        backbone = Backbone("vgg16", Vgg16())
        features = backbone.extract(images(64))
        assert features.middle.shape == (1, backbone.middle_channels, 4, 4) == (1, 768, 4, 4)
        assert backbone.high(features.trunk, None).shape == (1, 512, 4, 4)

    def test_swin(self, swin):
        features = swin.extract(images(64))
        assert features.middle.shape == (1, swin.middle_channels, 4, 4) == (1, 768, 4, 4)
        assert swin.high(features.trunk, torch.ones(1, 1, 64, 64)).shape == (1, 1024, 2, 2)

    def test_the_stages_of_swin_are_its_own_forward_pass(self, swin):
        network, pictures = swin.network, images(64)
        with torch.no_grad():
            whole = network.norm(network.features(pictures)).permute(0, 3, 1, 2)
        torch.testing.assert_close(swin.high(swin.extract(pictures).trunk, None), whole)

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "side"), [("vgg16", 32), ("resnet50", 64), ("swin_b", 32)])
    def test_at_full_size(self, name, side):
        features = build_backbone(name, None).extract(images(512))
        assert features.middle.shape[-2:] == (side, side)

    @pytest.mark.slow
    def test_dinov2_at_full_size(self):
        backbone = build_backbone("dinov2_b_reg", None)
        features = backbone.extract(images(512))
        assert backbone.input_size == 896
        assert backbone.high(features.trunk, None).shape == (1, 768, 64, 64)


class TestResNet:
    def test_the_entry_of_a_dilated_stage_keeps_the_dilation_before_it(self):
        with torch.device("meta"):
            network = ResNet(SIZES["resnet50"])
        dilations = [
            [block.conv2.dilation[0] for block in stage]
            for stage in (network.layer2, network.layer3, network.layer4)
        ]
        assert dilations == [[1, 1, 1, 1], [1, 2, 2, 2, 2, 2], [2, 4, 4]]

    def test_torchvision_files_are_told_apart_by_their_keys(self, tmp_path):
        path = tmp_path / "resnet50.pth"
        state = resnet50().state_dict()  # with the classifier, which is left out
        torch.save(state, path)
        network = build_backbone("resnet50", path).network
        assert network.conv1.kernel_size == (7, 7)
        assert torch.equal(network.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])

    def test_with_torchvisions_strides_it_is_torchvisions_network(self, tmp_path):
        path = tmp_path / "resnet50.pth"
        reference = resnet50(replace_stride_with_dilation=[False, True, True]).eval()
        torch.save(reference.state_dict(), path)
        backbone, pictures = build_backbone("resnet50", path), images(64)
        children = [child for name, child in reference.named_children() if name[0] not in "af"]
        with torch.no_grad():
            expected = nn.Sequential(*children)(pictures)
        torch.testing.assert_close(
            backbone.high(backbone.extract(pictures).trunk, None), expected, rtol=1e-4, atol=1e-4
        )

    def test_deep_stem_files_are_told_apart_by_their_keys(self, tmp_path):
        path = tmp_path / "resnet50_v2.pth"
        state = ResNet(SIZES["resnet50"]).state_dict()
        state = {name: v for name, v in state.items() if "num_batches_tracked" not in name}
        state["fc.weight"] = torch.zeros(1000, 2048)
        torch.save(state, path)
        network = build_backbone("resnet50", path).network
        assert network.conv1.kernel_size == (3, 3)
        assert torch.equal(network.conv3.weight, state["conv3.weight"])


class TestDino:
    @pytest.mark.parametrize("registers", [0, 4])
    def test_a_whole_mask_gives_the_transformers_own_patch_tokens(self, registers):
        network = small_dino(registers)
        backbone, pictures = Backbone("dino", network), images(56)
        features = backbone.extract(pictures)
        assert features.middle is None
        assert backbone.middle_channels == 0
        with torch.no_grad():
            tokens = network.transformer.forward_features(pictures)[:, 1 + registers :]
        expected = tokens.transpose(1, 2).unflatten(2, (4, 4))
        torch.testing.assert_close(backbone.high(features.trunk, None), expected)
        torch.testing.assert_close(
            backbone.high(features.trunk, torch.ones(1, 1, 56, 56)), expected
        )

    def test_the_mask_acts_before_the_norm(self):
        network = small_dino(4)
        nn.init.constant_(network.transformer.norm.bias, 3.0)
        backbone = Backbone("dino", network)
        mask = torch.ones(1, 1, 4, 4)
        mask[..., 1, 2] = 0
        trunk = backbone.extract(images(56)).trunk
        seen, whole = backbone.high(trunk, mask), backbone.high(trunk, None)
        assert torch.equal(seen[0, :, 1, 2], torch.full((16,), 3.0))  # the norm of nothing
        torch.testing.assert_close(seen[0, :, 0], whole[0, :, 0])

    def test_images_of_another_size_are_resized(self):
        backbone = Backbone("dino", small_dino(0))
        resized = nn.functional.interpolate(
            images(40), (56, 56), mode="bilinear", align_corners=True
        )
        torch.testing.assert_close(
            backbone.extract(images(40)).trunk, backbone.extract(resized).trunk
        )

    @pytest.mark.parametrize("registers", [0, 4])
    @pytest.mark.parametrize("side", [(56, 56), (84, 84), (28, 70)])
    def test_with_the_hubs_positions_any_sides_will_do(self, registers, side):
        network = Dino(small_dino(registers).transformer, positions="hub")
        features = Backbone("dino", network).extract(torch.randn(2, 3, *side))
        assert features.trunk.shape == (2, 16, side[0] // 14, side[1] // 14)
        if side == (56, 56):  # its own grid: nothing is resized
            resized_once = Backbone("dino", Dino(network.transformer))
            pictures = images(56)
            torch.testing.assert_close(
                Backbone("dino", network).extract(pictures).trunk,
                resized_once.extract(pictures).trunk,
            )

    def test_the_hub_places_patches_a_tenth_of_a_patch_apart(self):
        network = Dino(vit_14("s", 280, embed_dim=16, depth=1, num_heads=2), positions="hub")
        ramp = torch.arange(20.0).expand(20, 20).flatten()  # a position is its own column
        network.transformer.pos_embed.data[:, 1:] = ramp.view(1, -1, 1).expand(1, -1, 16)
        for side in (10, 25):
            found = network.patch_positions((side, side))[0, 0, 0]
            places, last = (torch.arange(side) + 0.5) * 20, side - 3
            expected, by_size = places / (side + 0.1) - 0.5, places / side - 0.5
            # cubic interpolation with a = -0.75 bends lines by up to 0.03
            assert (found[last] - expected[last]).abs() < 0.04 < by_size[last] - found[last]

    @pytest.mark.parametrize("registers", [0, 4])
    def test_official_names_become_timms(self, registers):
        network = small_dino(registers)
        state = {name: torch.zeros_like(v) for name, v in network.transformer.state_dict().items()}
        state.pop("reg_token", None)
        if registers:
            state["register_tokens"] = torch.full((1, 4, 16), 7.0)
        state["mask_token"] = torch.zeros(1, 16)
        state["cls_token"] = torch.full((1, 1, 16), 5.0)
        state["pos_embed"] = torch.full((1, 1 + 2 * 2, 16), 2.0)  # a grid of two by two
        state["pos_embed"][:, 0] = 1.0

        renamed = network.rename_official(state)

        assert renamed.keys() == network.state_dict().keys()
        position, token = renamed["transformer.pos_embed"], renamed["transformer.cls_token"]
        patches = torch.full((1, 16, 16), 2.0)
        torch.testing.assert_close(position[:, -16:], patches)
        if registers:
            assert position.shape[1] == 16
            assert token.unique().tolist() == [6.0]
            assert renamed["transformer.reg_token"].unique().tolist() == [7.0]
        else:
            assert position[:, 0].unique().tolist() == [1.0]
            assert token.unique().tolist() == [5.0]


class TestBuildBackbone:
    def test_an_unknown_name_is_refused(self):
        with pytest.raises(UsageError, match=r"unknown backbone 'resnet18'.*resnet50"):
            build_backbone("resnet18", None)

    def test_weights_of_another_network_are_refused(self, tmp_path):
        path = tmp_path / "vgg.safetensors"
        save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
        with pytest.raises(UsageError, match=r"missing: conv1.weight.*unknown: features.0.weight"):
            build_backbone("tiny", path)

    def test_the_tiny_one_takes_the_shipped_half_precision_file(self, tmp_path, monkeypatch):
        state = ResNet(SIZES["tiny"]).state_dict()
        half = {n: v.half() if v.is_floating_point() else v for n, v in state.items()}
        path = tmp_path / "tiny.safetensors"
        save_file(half, path)
        monkeypatch.setattr(backbone_module, "TINY_WEIGHTS", path)
        network = build_backbone("tiny", None).network
        assert network.conv1.weight.dtype == torch.float32
        assert torch.equal(network.conv1.weight, half["conv1.weight"].float())

    def test_a_missing_file_is_explained(self, tmp_path):
        with pytest.raises(UsageError, match=r"dinov2_vitb14_reg4_pretrain.pth .* from https://dl"):
            build_backbone("dinov2_b_reg", tmp_path / "x.pth")


def released_name(name: str) -> str:
    """The name which the released implementation gives a parameter of ours."""
    kind, number, rest = re.fullmatch(r"(\D+)(\d+)\.?(.*)", name).groups()
    if kind == "features.":
        starts = (0, 7, 14, 24, 34)
        layer = max(i for i, start in enumerate(starts) if start <= int(number))
        return f"layer{layer}.{int(number) - starts[layer]}.{rest}"
    if kind in ("conv", "bn"):
        return f"layer0.{3 * int(number) - 3 + (kind == 'bn')}.{rest}"
    return name


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "vgg16"])
def test_the_stages_have_the_parameters_of_the_release(name):
    release = GoldenSet(REPOSITORY_SET).json(f"state_dicts/dcsam_image_{name}_samv1.json")
    expected = {
        key.removeprefix("module."): tuple(shape)
        for key, (shape, _) in release.items()
        if key.startswith("module.layer")
    }
    with torch.device("meta"):
        network = BUILDERS[name]({})
    state = network.state_dict()
    assert {released_name(key): tuple(v.shape) for key, v in state.items()} == expected

"""The official files of the foundation models, backbones and methods: what, whence, on what terms.

A file's name, address, licence, size and hash stand here and nowhere else. What no publisher gives
is left out: sizes are then asked of the server, and nothing is checked that is not known.
"""

from model.official_file import HubFile, OfficialFile

APACHE = "Apache-2.0"
BSD_IMAGENET = "BSD-3-Clause (torchvision), trained on ImageNet"
DINOV3_LICENCE = "DINOv3 License, passed on only with its text"
NONE_STATED = "none stated, do not pass it on"


def _sam() -> dict[str, OfficialFile]:
    sizes = {
        "vit_b": ("sam_vit_b_01ec64.pth", 375_042_383),
        "vit_l": ("sam_vit_l_0b3195.pth", 1_249_524_607),
        "vit_h": ("sam_vit_h_4b8939.pth", 2_564_550_879),
    }
    return {
        name: OfficialFile(
            file,
            APACHE,
            f"SAM ViT-{name[-1].upper()}: dc_sam, vrp_sam, persam, matcher, clicks",
            "https://github.com/facebookresearch/segment-anything",
            address=f"https://dl.fbaipublicfiles.com/segment_anything/{file}",
            size=size,
        )
        for name, (file, size) in sizes.items()
    } | {
        "vit_t": OfficialFile(
            "mobile_sam.pt",
            APACHE,
            "MobileSAM, SAM with a small encoder: persam on slow machines",
            "https://github.com/ChaoningZhang/MobileSAM",
            address="https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/master/weights/"
            "mobile_sam.pt",
            about=40_700_000,
        )
    }


def _sam2() -> dict[str, OfficialFile]:
    dates = {"sam2": "072824", "sam2.1": "092824"}
    sizes = {
        "t": ("tiny", 156_000_000),
        "s": ("small", 184_400_000),
        "b+": ("base_plus", 323_600_000),
        "l": ("large", 898_000_000),
    }
    uses = {"sam2": "SAM 2.0: sansa, videos", "sam2.1": "SAM 2.1: dc_sam, videos of any method"}
    return {
        f"{version}_hiera_{letter}": OfficialFile(
            f"{version}_hiera_{size}.pt",
            APACHE,
            uses[version],
            "https://github.com/facebookresearch/sam2",
            address="https://dl.fbaipublicfiles.com/segment_anything_2/"
            f"{date}/{version}_hiera_{size}.pt",
            hubs=(
                HubFile(
                    f"facebook/{version}-hiera-{size.replace('_', '-')}",
                    f"{version}_hiera_{size}.pt",
                    f"{version}_hiera_{size}.pt",
                ),
            ),
            about=about,
        )
        for version, date in dates.items()
        for letter, (size, about) in sizes.items()
    }


def _dinov2() -> dict[str, OfficialFile]:
    sizes = {
        "s": ("matcher", 88_300_000),
        "b": ("matcher, segic, dc_sam with --prior", 346_400_000),
        "l": ("matcher and segic (as published)", 1_217_600_000),
        "g": ("matcher, segic", 4_546_000_000),
    }
    files = {}
    for letter, (uses, about) in sizes.items():
        for suffix, registers in {"": "", "_reg": "reg4_"}.items():
            if registers:
                uses = "dc_sam with --prior" if letter == "b" else "nothing here yet"
            file = f"dinov2_vit{letter}14_{registers}pretrain.pth"
            words = " with registers" if registers else ""
            files[f"dinov2_{letter}{suffix}"] = OfficialFile(
                file,
                APACHE,
                f"DINOv2 ViT-{letter.upper()}/14{words}: {uses}",
                "https://github.com/facebookresearch/dinov2",
                address=f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{letter}14/{file}",
                about=about,
            )
    return files


def _dinov3() -> dict[str, OfficialFile]:
    sizes = {
        "s": ("small", "08c60483", 86_400_000),
        "b": ("base", "73cec8be", 342_700_000),
        "l": ("large", "8aa4cbdd", 1_212_600_000),
    }
    found = {}
    for letter, (size, digest, about) in sizes.items():
        timm, plain = (f"vit_{size}_patch16_dinov3{end}.lvd1689m" for end in ("_qkvb", ""))
        meta = f"dinov3-vit{letter}16-pretrain-lvd1689m"
        found[f"dinov3_{letter}"] = OfficialFile(
            f"{timm}.safetensors",
            DINOV3_LICENCE,
            f"DINOv3 ViT-{letter.upper()}/16: insid3",
            "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/",
            hubs=(
                HubFile(f"timm/{timm}", "model.safetensors", f"{timm}.safetensors"),
                HubFile(f"timm/{plain}", "model.safetensors", f"{plain}.safetensors"),
                HubFile(f"facebook/{meta}", "model.safetensors", f"{meta}.safetensors"),
            ),
            # Meta's own file, which a person gets by e-mail after filling in a form
            other_names=(f"dinov3_vit{letter}16_pretrain_lvd1689m-{digest}.pth",),
            about=about,
        )
    return found


def _backbones() -> dict[str, OfficialFile]:
    torchvision = "https://download.pytorch.org/models"
    folder = (
        "the Google Drive folder named in the README of the DC-SAM release, or of "
        "https://github.com/dvlab-research/PFENet,"
    )
    deep_stem = {
        f"resnet{depth}": OfficialFile(
            f"resnet{depth}_v2.pth",
            NONE_STATED,
            f"ResNet-{depth} with a deep stem: dc_sam, vrp_sam, pfenet",
            folder,
        )
        for depth in (50, 101)
    }
    files = {
        "vgg16": (
            "vgg16_bn-6c64b313.pth",
            "VGG-16 with BatchNorm: dc_sam, vrp_sam, pfenet",
            553_507_600,
        ),
        "swin_b": ("swin_b-68c6b09e.pth", "Swin-B: dc_sam", 351_654_600),
        "resnet50_torchvision": (
            "resnet50-11ad3fa6.pth",
            "ResNet-50 with a 7x7 stem: dc_sam by --backbone_weights",
            102_540_200,
        ),
        "resnet101_torchvision": (
            "resnet101-cd907fc2.pth",
            "ResNet-101 with a 7x7 stem: dc_sam by --backbone_weights",
            178_813_700,
        ),
    }
    return deep_stem | {
        name: OfficialFile(
            file,
            BSD_IMAGENET,
            purpose,
            "https://docs.pytorch.org/vision/stable/models.html",
            address=f"{torchvision}/{file}",
            about=about,
        )
        for name, (file, purpose, about) in files.items()
    }


def _sansa() -> dict[str, OfficialFile]:
    trained = {f"coco_fold{fold}": f"COCO-20i fold {fold}" for fold in range(4)}
    trained |= {f"lvis_fold{fold}": f"LVIS-92i fold {fold}" for fold in range(10)}
    trained |= {
        "fss": "FSS-1000",
        "generalist": "many data sets, in-context masks",
        "universal": "many data sets, points, boxes and scribbles too",
    }
    files = {"fss": "adapter_fss_fold0.pth"}
    other = {"fss": ("adapter_fss.pth",)}
    return {
        f"sansa_{name}": OfficialFile(
            files.get(name, f"adapter_{name}.pth"),
            NONE_STATED,
            f"sansa's adapters on SAM 2.0 large, trained on {text}",
            "https://github.com/ClaudiaCuttano/SANSA (the download folders of its README)",
            other_names=other.get(name, ()),
        )
        for name, text in trained.items()
    }


def _sine() -> dict[str, OfficialFile]:
    return {
        "sine": OfficialFile(
            "pytorch_model.bin",
            NONE_STATED,
            "sine, with DINOv2 ViT-L/14 in it, trained on COCO, ADE20K and Objects365",
            "https://github.com/aim-uofa/SINE (the download link of its README)",
            other_names=("sine_pytorch_model.bin",),
            about=1_292_600_000,
        )
    }


def _segic() -> dict[str, OfficialFile]:
    clip = "openai/clip-vit-large-patch14"
    tokens = "clip-vit-large-patch14.tokenizer.json"
    tower = "clip-vit-large-patch14.safetensors"
    decoders = {
        f"segic_l_{thousands}k": OfficialFile(
            f"segic_dinov2_l_{thousands}kx12e.pth",
            NONE_STATED,
            f"segic's decoder on DINOv2 ViT-L/14, {thousands},000 samples an epoch",
            "https://huggingface.co/menglc/SEGIC",
            hubs=(
                HubFile(
                    "menglc/SEGIC",
                    f"segic_dinov2_l_{thousands}kx12e.pth",
                    f"segic_dinov2_l_{thousands}kx12e.pth",
                ),
            ),
            about=21_550_000,
        )
        for thousands in (160, 80)
    }
    return decoders | {
        "clip_l": OfficialFile(
            tower,
            "MIT",
            "CLIP ViT-L/14: segic reads names of concepts with its text tower",
            f"https://huggingface.co/{clip}",
            hubs=(HubFile(clip, "model.safetensors", tower),),
            about=1_710_500_000,
        ),
        "clip_l_tokenizer": OfficialFile(
            tokens,
            "MIT",
            "CLIP ViT-L/14: how its text tower divides a text into tokens",
            f"https://huggingface.co/{clip}",
            hubs=(HubFile(clip, "tokenizer.json", tokens),),
            about=2_224_000,
        ),
    }


OFFICIAL: dict[str, OfficialFile] = (
    _backbones() | _dinov2() | _dinov3() | _sam() | _sam2() | _sansa() | _segic() | _sine()
)
"""Model name -> its official file."""

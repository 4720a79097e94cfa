"""Train DC-SAM for videos, in two stages.

Images:      python train_video.py --benchmark coco_all --logpath images
Mask tubes:  python train_video.py --benchmark coco_mask_tube --ckpt runs/images/last.safetensors

The first stage trains the prompt generator and SAM 2's decoder on COCO's images of all 80 classes;
the second one goes on with mask tubes, and SAM 2's memory learns too (sections 4.5 and 5). Without
--ckpt the second stage starts from an untrained prompt generator. A run's folder is as that of
train_image.py; its checkpoints also hold the weights of SAM 2 that were trained.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from common.cli import (
    apply_preset,
    checked_options,
    from_namespace,
    option,
    run_script,
    script_parser,
    to_json,
)
from common.distributed import Processes, process_group
from common.errors import UsageError
from common.logger import RunLogger, quiet_libraries
from common.run_options import RunOptions
from common.trainer import Trainer, TrainingOptions
from data.benchmarks import open_benchmark
from data.mask_tube import MaskTubeDataset, MaskTubes
from data.options import DataOptions
from data.sampler import EpisodeSampler, episode_hash, training_samplers
from evaluation.image import batches
from evaluation.iou import EpisodeScores
from model.checkpoint import load_model, model_options, read_model, tuned_names
from model.dc_sam.config import PRESETS, ModelOptions, build_model, frozen_fingerprint, load_tuned
from model.dc_sam.prompt_generator import kept_channels
from model.dc_sam.video import PARTS, DcSamVideo
from model.feature_store import FeatureStore
from model.losses import mask_loss
from model.sam.adapters import (
    adapter_dropout,
    adapter_names,
    add_adapters,
    unadapted_name,
    unfreeze_adapters,
)

DATA_TYPES = {"coco_all": "image", "coco_mask_tube": "video"}
STAGES = {
    "image": {"max_iterations": 40_000, "epochs": 40, "lr": 1e-4, "sam_lr": 1.0, "bsz": 8},
    "video": {"max_iterations": 10_000, "epochs": 10, "lr": 1e-5, "sam_lr": 1.0, "bsz": 1},
}
"""Section 5: defaults of each stage."""
TINY = {
    "image": {**PRESETS["tiny"], "sam_lr": 0.02},
    "video": {"epochs": 2, "lr": 5e-5, "sam_lr": 5.0, "bsz": 4},
}
"""The same for the preset "tiny": the rate of a new prompt generator would spoil SAM 2's decoder,
and that of a trained one would hardly move SAM 2's memory."""
EPISODES = {"image": 32_000, "video": 10_000}
"""In an epoch of the full-size presets."""


@dataclass(frozen=True)
class StageOptions:
    """What is trained on, and what learns."""

    benchmark: str = option("coco_all", "images, or mask tubes made of them", tuple(DATA_TYPES))
    data_type: str | None = option(None, "the same in other words", ("image", "video"))
    datapath: Path = option(Path("Datasets"), "folder that holds COCO2014/")
    nshot: int = option(1, "support images in an episode, 1 to 10")
    ckpt: Path | None = option(None, "go on from this checkpoint, with its model flags")
    train_parts: str | None = option(
        None,
        "what of SAM 2 learns: decoder, memory, decoder,memory or none (default: decoder on "
        "images, both on mask tubes)",
    )
    sam_lr: float = option(1.0, "learning rate of SAM 2's weights or adapters, a factor of --lr")
    lora: bool = option(
        False, "on mask tubes: instead, low-rank adapters on SAM 2's decoder and memory learn"
    )

    @property
    def tubes(self) -> bool:
        return "video" in (self.data_type, DATA_TYPES[self.benchmark])

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of SAM 2 whose own weights learn."""
        if self.lora:
            return ()
        default = "decoder,memory" if self.tubes else "decoder"
        named = default if self.train_parts is None else self.train_parts
        return tuple(name for name in named.split(",") if name not in ("", "none"))

    @property
    def data(self) -> DataOptions:
        return DataOptions(benchmark="coco_all", datapath=self.datapath, nshot=self.nshot)

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = self.data.problems()
        if self.data_type == "image" and self.tubes:
            found.append(f"--data_type image contradicts --benchmark {self.benchmark}")
        found += [
            f"--train_parts: no part {name!r}, there are {', '.join(PARTS)}"
            for name in self.parts
            if name not in PARTS
        ]
        if self.lora and self.train_parts is not None:
            found.append("--lora: its adapters learn instead of --train_parts; give one of the two")
        if (self.lora or "memory" in self.parts) and not self.tubes:
            flag = "--lora" if self.lora else "--train_parts memory"
            found.append(f"{flag}: images have no memory; use mask tubes")
        if self.sam_lr <= 0:
            found.append(f"--sam_lr must be above 0, not {self.sam_lr}")
        if self.ckpt and not self.ckpt.is_file():
            found.append(f"--ckpt: no such checkpoint: {self.ckpt}")
        return found


@dataclass(frozen=True)
class VideoRunOptions(RunOptions):
    """What a run writes, and how it is watched."""

    logpath: str = option("video", "name of the run's folder under runs/")
    episodes_per_epoch: int | None = option(
        None, "default: 32,000 images or 10,000 tubes; tiny: one for each training image"
    )


def main() -> int:
    stage, model_flags, training, run = parse_options()
    quiet_libraries()
    with process_group(training.device) as processes:
        benchmark = open_benchmark(stage.data, processes, lambda b: [b.training, b.held_out])
        model, options, tuned = build(stage, model_flags, training, processes)
        learning = {name for name, p in model.named_parameters() if p.requires_grad}
        sampler, validation = training_samplers(
            benchmark, stage.nshot, training.seed, run.episodes_per_epoch
        )
        rates = {"segmenter.": stage.sam_lr}
        trainer = Trainer(model, training, processes, sampler.episodes_per_epoch, rates)
        kept = learning | tuned
        if run.resume:
            weights = trainer.resume(run.folder)
            if weights.keys() != kept:
                raise UsageError(f"--resume: other weights learn in the run in {run.folder}")
            load_tuned(model, weights, run.folder)
        store = FeatureStore(model) if run.store_features else None
        log = RunLogger(run.folder, processes)
        facts = {
            "model": to_json(options),
            "stage": to_json(stage),
            "training": to_json(training),
            "frozen": frozen_fingerprint(model, tuned_names(kept)),
            "training_episodes": episode_hash(sampler.training_keys(0)),
        }
        while not trainer.finished:
            start = time.time()
            loss = train_one_epoch(trainer, sampler, stage, options, run, store)
            scores = validate(model, validation, stage, options, training, run, processes)
            record = {
                "epoch": trainer.epoch + 1,
                "update": trainer.update,
                "loss": loss,
                "learning_rate": trainer.schedule.get_last_lr()[0],
                "held_out_miou": scores.miou(),
                "seconds": round(time.time() - start, 1),
            }
            log.epoch(record)
            facts["metrics"] = record
            weights = {name: v for name, v in model.state_dict().items() if name in kept}
            trainer.finish_epoch(run.folder, weights, facts, record["held_out_miou"])
        log.close()
        if processes.is_main:
            print(f"trained {trainer.epoch} epochs; weights in {run.folder / 'last.safetensors'}")
    return 0


def parse_options() -> tuple[StageOptions, ModelOptions, TrainingOptions, VideoRunOptions]:
    groups = (StageOptions, ModelOptions, TrainingOptions, VideoRunOptions)
    parser = script_parser(__doc__, groups, PRESETS)
    parser.add_argument("--sam2_checkpoint", dest="sam_weights", type=Path, help="--sam_weights")
    parser.add_argument(
        "--sam2_cfg",
        dest="sam_model",
        type=lambda name: Path(name).name.removesuffix(".yaml"),
        help="--sam_model, also as the name of its configuration file",
    )
    parser.set_defaults(
        sam_version=2, epochs=None, lr=None, sam_lr=None, bsz=None, max_iterations=None
    )
    given = vars(parser.parse_args())
    apply_preset(parser, PRESETS)
    namespace = parser.parse_args()
    stage = from_namespace(StageOptions, namespace)
    data_type = "video" if stage.tubes else "image"
    defaults = TINY[data_type] if namespace.preset == "tiny" else STAGES[data_type]
    if namespace.preset != "tiny" and namespace.episodes_per_epoch is None:
        namespace.episodes_per_epoch = EPISODES[data_type]
    for name in STAGES[data_type]:
        setattr(namespace, name, defaults.get(name) if given[name] is None else given[name])
    options = checked_options(groups, namespace)
    if stage.tubes and namespace.store_features:
        raise UsageError("--store_features: the frames of mask tubes are new each time")
    if namespace.sam_version != 2:
        raise UsageError("--sam_version 1 has no memory: videos need SAM 2")
    return options


def build(
    stage: StageOptions, flags: ModelOptions, training: TrainingOptions, processes: Processes
) -> tuple[DcSamVideo, ModelOptions, set[str]]:
    """The model; its options; and the names of SAM 2's weights which the checkpoint changed.

    Raises:
        UsageError: the checkpoint cannot be used, or cannot go on in this way.
    """
    tuned: set[str] = set()
    if stage.ckpt:
        image_model, facts = load_model(stage.ckpt, processes.device)
        flags = model_options(facts, stage.ckpt)
        if flags.sam_version != 2:
            raise UsageError(f"--ckpt: {stage.ckpt} uses SAM 1, which has no memory")
        tuned = tuned_names(read_model(stage.ckpt)[1])
    else:
        torch.manual_seed(training.seed)
        image_model = build_model(flags).to(processes.device)
    model = DcSamVideo.from_image_model(image_model)
    model.unfreeze(stage.parts, levels=stage.tubes)
    adapted = bool(adapter_names(tuned))
    if adapted and not stage.lora:
        raise UsageError(f"--ckpt: {stage.ckpt} has adapters, which go on with --lora")
    if stage.lora and not adapted:
        torch.manual_seed(training.seed)
        add_adapters(model.segmenter.network)
        tuned = {name for name in model.state_dict() if unadapted_name(name) in tuned}
    if stage.lora:
        unfreeze_adapters(model.segmenter.network)
    return model, flags, tuned


def train_one_epoch(
    trainer: Trainer,
    sampler: EpisodeSampler,
    stage: StageOptions,
    options: ModelOptions,
    run: VideoRunOptions,
    store: FeatureStore | None,
) -> float:
    """Make this epoch's updates; returns the mean loss of all processes."""
    tubes = MaskTubeDataset(
        sampler.split,
        sampler.training_keys(trainer.epoch),
        options.image_size,
        trainer.options.seed,
        trainer.epoch,
        still=not stage.tubes,
    )

    def loss(model: nn.Module, positions: list[int], batch: MaskTubes) -> Tensor:
        return loss_of(model, positions, batch, trainer, run, store)

    return trainer.train_epoch(tubes, MaskTubes.join, loss)


def loss_of(
    model: nn.Module,
    positions: list[int],
    tubes: MaskTubes,
    trainer: Trainer,
    run: VideoRunOptions,
    store: FeatureStore | None,
) -> Tensor:
    """Equation 23, the mean over the frames; and of the first frame's pseudo mask if asked for."""
    tubes = tubes.to(trainer.processes.device)
    kept = kept_channels(
        trainer.episode_seeds(positions),
        1 + tubes.support_images.shape[1],
        trainer.model.generator.channels,
    ).to(trainer.processes.device)
    images, support = tubes.frames, tubes.support_images
    if store is not None:
        names = [(key.query, key.support) for key in tubes.keys]
        images, support = store.encode_episodes(names, images[:, 0], support)
    with adapter_dropout(trainer.model, trainer.episode_seeds(positions)):
        frames = model(images, support, tubes.support_masks, kept)
    masks, ignore = tubes.masks.unbind(1), tubes.ignore.unbind(1)
    losses = [
        mask_loss(frame.logits, mask, out).mean()
        for frame, mask, out in zip(frames, masks, ignore, strict=True)
    ]
    loss = torch.stack(losses).mean()
    if run.pseudo_weight:
        pseudo = mask_loss(frames[0].pseudo_logits, masks[0], ignore[0]).mean()
        loss = loss + run.pseudo_weight * pseudo
    return loss


@torch.no_grad()
def validate(
    model: DcSamVideo,
    sampler: EpisodeSampler,
    stage: StageOptions,
    options: ModelOptions,
    training: TrainingOptions,
    run: VideoRunOptions,
    processes: Processes,
) -> EpisodeScores:
    """Score held-out images of the training classes, or tubes of them; every frame counts."""
    model.eval()
    keys = sampler.evaluation_keys(run.validation_episodes)
    tubes = MaskTubeDataset(
        sampler.split, keys, options.image_size, training.seed, epoch=0, still=not stage.tubes
    )
    scores = EpisodeScores()
    for batch in batches(tubes, processes, training.nworker, "held out"):
        frames = model(batch.frames, batch.support_images, batch.support_masks)
        for number, frame in enumerate(frames):
            scores.add(
                [index * len(frames) + number for index in batch.indices],
                batch.class_ids,
                frame.masks,
                batch.masks[:, number] > 0.5,
                batch.ignore[:, number],
            )
    return EpisodeScores.merge(processes.gather(scores.state()))


if __name__ == "__main__":
    raise SystemExit(run_script(main))

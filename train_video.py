"""Train DC-SAM for videos, in two stages.

Images:      python train_video.py --benchmark coco_all --logpath images
Mask tubes:  python train_video.py --benchmark coco_mask_tube --ckpt runs/images/last.safetensors

The first stage trains the prompt generator and SAM 2's decoder on COCO's images of all 80 classes;
the second one goes on with mask tubes, and SAM 2's memory learns too (sections 4.5 and 5). Without
--ckpt the second stage starts from an untrained prompt generator. A run's folder is as that of
train_image.py; its checkpoints also hold the weights of SAM 2 that were trained.
"""

from dataclasses import dataclass
from pathlib import Path

from common.cli import answer_early, checked_options, early_flags, option, run_script, script_parser
from common.errors import UsageError
from common.run_options import RunOptions
from common.training_options import TrainingOptions
from data.classes import SAMPLERS
from data.options import DataOptions
from model.dc_sam.config import HYPER_PARAMETERS, PARTS, DcSamOptions
from model.method_options import LossOptions
from model.registry import PRESET

STAGES = {"coco_all": "image", "coco_mask_tube": "video"}


@dataclass(frozen=True)
class StageOptions:
    """What is trained on, and what learns."""

    benchmark: str = option(
        "coco_all", "what is trained on: images, or mask tubes made of them", tuple(STAGES)
    )
    data_type: str | None = option(
        None, "images or videos, the same as --benchmark says", ("image", "video")
    )
    datapath: Path = option(Path("Datasets"), "folder that holds COCO2014/")
    nshot: int = option(1, "support images in an episode, 1 to 10")
    sampler: str | None = option(
        None, "what an episode is drawn from first (default: class)", SAMPLERS
    )
    ckpt: Path | None = option(None, "checkpoint to go on from, with its model flags")
    train_parts: str | None = option(
        None,
        "parts of SAM 2 that learn: decoder, memory, decoder,memory or none (default: decoder on "
        "images, both on mask tubes)",
    )
    sam_lr: float = option(1.0, "learning rate of SAM 2's weights or adapters, a factor of --lr")
    lora: bool = option(
        False,
        "train low-rank adapters on SAM 2's decoder and memory instead of them, on mask tubes",
    )

    @property
    def tubes(self) -> bool:
        return "video" in (self.data_type, STAGES[self.benchmark])

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
        return DataOptions(
            benchmark="coco_all", datapath=self.datapath, nshot=self.nshot, sampler=self.sampler
        )

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


def parse_options() -> tuple[
    StageOptions, DcSamOptions, LossOptions, TrainingOptions, VideoRunOptions
]:
    early = early_flags(
        preset=PRESET[:2],
        benchmark=(tuple(STAGES), "coco_all"),
        data_type=(("image", "video"), None),
    )
    tubes = "video" in (early["data_type"], STAGES[early["benchmark"]])
    groups = (StageOptions, DcSamOptions, LossOptions, TrainingOptions, VideoRunOptions)
    parser = script_parser(__doc__, groups, {"preset": PRESET})
    parser.add_argument(
        "--sam2_checkpoint", dest="sam_weights", type=Path, help="file of SAM 2, as --sam_weights"
    )
    parser.add_argument(
        "--sam2_cfg",
        dest="sam_model",
        type=lambda name: Path(name).name.removesuffix(".yaml"),
        help="variant of SAM 2, as --sam_model, or the name of its configuration file",
    )
    numbers = HYPER_PARAMETERS[early["preset"]]["mask_tubes" if tubes else "video_images"]
    parser.set_defaults(sam_version=2, **numbers)
    flags = parser.parse_args()
    options = checked_options(groups, flags)
    if tubes and (flags.store_features or flags.feature_cache):
        raise UsageError("features cannot be kept: the frames of mask tubes are new each time")
    if flags.sam_version != 2:
        raise UsageError("--sam_version 1 has no memory: videos need SAM 2")
    return options


answer_early(__name__, parse_options)

import time

import numpy as np
import torch
from torch import Tensor

from common.cli import to_json
from common.distributed import Processes, process_group
from common.logger import RunLogger, quiet_libraries
from common.settings import claim_run
from common.stopping import StopSignal
from common.trainer import Trainer
from data.benchmarks import open_benchmark
from data.episode import EpisodeDataset
from data.episode_files import episode_hash
from data.mask_tube import MaskTubeDataset, MaskTubes
from data.sampler import EpisodeSampler, training_samplers
from evaluation.iou import EpisodeScores
from evaluation.validation import held_out_images, held_out_tubes
from model.checkpoint import frozen_fingerprint, options_of, read_checkpoint, restore_method
from model.dc_sam.builder import build_dc_sam
from model.dc_sam.network import DcSam
from model.dc_sam.video_training import TubeLoss, segment_tubes, unfreeze
from model.encoding import set_up_encoding
from model.layers import drawn_by_episode
from model.sam.adapters import adapter_names, add_adapters, unadapted_name, unfreeze_adapters
from model.weights import load_strictly


def main() -> int:
    stage, model_options, losses, training, run = parse_options()
    quiet_libraries()
    with process_group(training.device) as processes, StopSignal() as stop:
        benchmark = open_benchmark(stage.data, processes, lambda b: [b.training, b.held_out])
        model, model_options, tuned = build(stage, model_options, training, processes)
        model.refuse_shots(stage.nshot)
        learning = {name for name, p in model.named_parameters() if p.requires_grad}
        sampler, validation = training_samplers(
            benchmark, stage.nshot, training.seed, run.episodes_per_epoch
        )
        computed = TubeLoss(model) if stage.tubes else model
        rates = {"segmenter.": stage.sam_lr}
        length = sampler.episodes_per_epoch
        trainer = Trainer(model, training, processes, length, computed, rates, stop)
        saved = learning | tuned
        facts = {
            "method": model.name,
            "model": model_options.to_json(),
            "data": {**stage.data.to_json(), "fingerprint": benchmark.training.fingerprint()},
            "stage": {**to_json(stage), "datapath": None, "ckpt": stage.ckpt and stage.ckpt.name},
            "losses": to_json(losses),
            "domain": benchmark.training.domain,
            "training": to_json(training),
            "frozen": frozen_fingerprint(model, saved),
            "training_episodes": episode_hash(sampler.training_keys(0)),
        }
        deciding = {**training.deciding(trainer.update_size), **run.deciding}
        deciding |= {"method": facts["method"], "frozen": facts["frozen"]}
        groups = (facts["model"], facts["data"], facts["stage"], facts["losses"], deciding)
        settings = {name: value for group in groups for name, value in group.items()}
        claim_run(run.folder, settings, run.begun, processes)
        if run.begun:
            load_strictly(model, trainer.resume(run.folder), run.folder, saved)
        set_up_encoding(model, facts["model"], run, processes.is_main, run.store_features)
        log = RunLogger(run.folder, processes, trainer.update)
        while not trainer.finished:
            start = time.time()
            episodes = training_data(sampler, stage, trainer, model)
            loss = train_one_epoch(trainer, episodes, stage.tubes, losses)
            weights = {name: v for name, v in model.state_dict().items() if name in saved}
            if trainer.stopped:
                return trainer.leave(run.folder, weights)
            scores, sheet = validate(model, validation, stage, run, trainer)
            record = {
                "epoch": trainer.epoch + 1,
                "update": trainer.update,
                "loss": loss,
                "learning_rate": trainer.schedule.get_last_lr()[0],
                "held_out_miou": scores.miou(),
                "seconds": round(time.time() - start, 1),
                **trainer.setbacks.counts(),
            }
            log.epoch(record)
            if processes.is_main:
                log.picture(record["update"], "held-out classes", sheet)
            facts["metrics"] = record
            trainer.finish_epoch(run.folder, weights, facts, record["held_out_miou"])
        log.close()
        if processes.is_main:
            print(f"trained {trainer.epoch} epochs; weights in {run.folder / 'last.safetensors'}")
    return 0


def build(
    stage: StageOptions, options: DcSamOptions, training: TrainingOptions, processes: Processes
) -> tuple[DcSam, DcSamOptions, set[str]]:
    """The model; its options; and the names of SAM 2's weights which the checkpoint changed.

    Raises:
        UsageError: the checkpoint cannot be used, or cannot go on in this way.
    """
    tuned: set[str] = set()
    if stage.ckpt:
        facts, weights = read_checkpoint(stage.ckpt)
        options = options_of(facts, stage.ckpt)
        if not isinstance(options, DcSamOptions) or options.sam_version != 2:
            raise UsageError(f"--ckpt: {stage.ckpt} is not DC-SAM with SAM 2, which has a memory")
        model = restore_method(facts, weights, stage.ckpt)
        tuned = {name for name in weights if name.startswith("segmenter.")}
    else:
        torch.manual_seed(training.seed)
        model = build_dc_sam(options)
    model = model.to(processes.device)
    unfreeze(model, stage.parts, levels=stage.tubes)
    adapted = bool(adapter_names(tuned))
    if adapted and not stage.lora:
        raise UsageError(f"--ckpt: {stage.ckpt} has adapters, which go on with --lora")
    if stage.lora and not adapted:
        torch.manual_seed(training.seed)
        add_adapters(model.segmenter.network)
        tuned = {name for name in model.state_dict() if unadapted_name(name) in tuned}
    if stage.lora:
        unfreeze_adapters(model.segmenter.network)
    return model, options, tuned


def training_data(
    sampler: EpisodeSampler, stage: StageOptions, trainer: Trainer, model: DcSam
) -> EpisodeDataset | MaskTubeDataset:
    """The episodes of the trainer's present epoch."""
    keys, seed = sampler.training_keys(trainer.epoch), trainer.options.seed
    if stage.tubes:
        return MaskTubeDataset(sampler.split, keys, model.geometry, seed, trainer.epoch)
    return EpisodeDataset(sampler.split, keys, model.geometry)


def train_one_epoch(
    trainer: Trainer,
    episodes: EpisodeDataset | MaskTubeDataset,
    tubes: bool,
    options: LossOptions,
) -> float:
    """Make this epoch's updates; returns the mean loss of all processes.

    Args:
        tubes: frames of mask tubes are encoded with gradients, where the loss is computed.
    """
    model, accumulate = trainer.model.train(), trainer.options.accumulate
    totals = []
    for number, batch in enumerate(trainer.batches(episodes)):
        batch, last = batch.to(trainer.device), trainer.ends_update(number)
        dropout = drawn_by_episode(model, trainer.seeds(batch.indices), batch.shots)
        with trainer.synchronised(last):
            with trainer.autocast(), dropout:
                support = model.features(
                    batch.support_images.flatten(0, 1),
                    support_only=True,
                    sizes=batch.support_sizes.flatten(0, 1),
                )
                queries = (
                    [] if tubes else [model.features(batch.query_image, sizes=batch.query_sizes)]
                )
                losses = trainer.losses(*queries, support, batch, options)
                loss = sum(losses.values())
            trainer.scaler.scale(loss / accumulate).backward()
        totals.append(trainer.setbacks.noted(loss, batch.query_names))
        if last:
            if trainer.may_update():
                trainer.clip_gradients()
                trainer.scaler.step(trainer.optimizer)
                trainer.scaler.update()
            trainer.optimizer.zero_grad(set_to_none=True)
            trainer.schedule.step()
            trainer.update += 1
    return trainer.mean(totals)


def validate(
    model: DcSam,
    sampler: EpisodeSampler,
    stage: StageOptions,
    run: VideoRunOptions,
    trainer: Trainer,
) -> tuple[EpisodeScores, np.ndarray | None]:
    """Score held-out images of the training classes, or tubes of them; also a sheet of some."""
    training, processes, count = trainer.options, trainer.processes, run.validation_episodes
    tell = trainer.setbacks.name_unreadable if training.skip_bad else None
    if not stage.tubes:
        given = (model, sampler, count, processes, training.nworker)
        return held_out_images(*given, tell=tell)

    def segment(tubes: MaskTubes) -> Tensor:
        support = model.encode(tubes.support_images.flatten(0, 1), support_only=True)
        frames = segment_tubes(model, support, tubes.support_masks, tubes.frames)
        return torch.stack([frame.masks for frame in frames], dim=1)

    model.eval()
    keys = sampler.evaluation_keys(count)
    tubes = MaskTubeDataset(sampler.split, keys, model.geometry, training.seed, epoch=0)
    return held_out_tubes(segment, tubes, processes, training.nworker, tell)


if __name__ == "__main__":
    raise SystemExit(run_script(main))

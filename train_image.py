"""Train DC-SAM on few-shot segmentation of images.

One machine, CPU or one GPU:  python train_image.py --benchmark pascal --fold 0
Four GPUs:                    torchrun --nproc_per_node=4 train_image.py --benchmark coco --fold 0
A laptop, generated images:   python train_image.py --preset tiny --datapath Datasets/generated

A run's folder holds TensorBoard logs, log.jsonl, last.safetensors, best.safetensors (chosen on
held-out images of the training classes, never on the test classes) and state.pt, from which
--resume continues.
"""

import time
from typing import Any

import torch
from torch import Tensor, nn

from common.cli import (
    apply_preset,
    checked_options,
    run_script,
    script_parser,
    to_json,
)
from common.distributed import Processes, process_group
from common.logger import RunLogger, quiet_libraries
from common.run_options import RunOptions
from common.trainer import Trainer, TrainingOptions
from data.benchmarks import Benchmark, open_benchmark
from data.episode import Episode, EpisodeDataset
from data.options import DataOptions
from data.sampler import EpisodeSampler, episode_hash, training_samplers
from evaluation.contact_sheet import episode_sheet
from evaluation.image import Evaluation, MethodSegmenter, evaluate
from model.dc_sam.config import (
    PRESETS,
    ModelOptions,
    build_model,
    frozen_fingerprint,
    learnable_weights,
    load_learnable,
)
from model.dc_sam.network import DcSam
from model.dc_sam.prompt_generator import kept_channels
from model.feature_store import FeatureStore
from model.losses import mask_loss

PAPER_EPOCHS_AND_RATE = {"pascal": (100, 2e-4), "coco": (50, 1e-4)}
"""Section 5: what --epochs and --lr are by default for a benchmark; the others are as coco."""


def main() -> int:
    data, model_options, training, run = parse_options()
    quiet_libraries()
    with process_group(training.device) as processes:
        benchmark = open_benchmark(data, processes, lambda b: [b.training, b.held_out])
        torch.manual_seed(training.seed)
        model = build_model(model_options).to(processes.device)
        sampler, validation = training_samplers(
            benchmark, data.nshot, training.seed, run.episodes_per_epoch
        )
        say_what_is_left_out(sampler, benchmark, processes)
        trainer = Trainer(model, training, processes, sampler.episodes_per_epoch)
        if run.resume:
            load_learnable(model, trainer.resume(run.folder), run.folder)
        store = FeatureStore(model) if run.store_features else None
        log = RunLogger(run.folder, processes)
        facts = {
            "model": to_json(model_options),
            "data": to_json(data),
            "training": to_json(training),
            "frozen": frozen_fingerprint(model),
            "training_episodes": episode_hash(sampler.training_keys(0)),
        }
        while not trainer.finished:
            start = time.time()
            loss = train_one_epoch(trainer, sampler, model_options, run, store)
            scores, sheet = validate(model, validation, model_options, training, run, processes)
            miou = scores.squashed.miou()
            record = {
                "epoch": trainer.epoch + 1,
                "update": trainer.update,
                "loss": loss,
                "learning_rate": trainer.schedule.get_last_lr()[0],
                "held_out_miou": miou,
                "held_out_fb_iou": scores.squashed.fb_iou(),
                "seconds": round(time.time() - start, 1),
            }
            log.epoch(record)
            if processes.is_main:
                log.picture(record["update"], "held-out classes", sheet)
            facts["metrics"] = record
            trainer.finish_epoch(run.folder, learnable_weights(model), facts, miou)
        log.close()
        if processes.is_main:
            print(f"trained {trainer.epoch} epochs; weights in {run.folder / 'last.safetensors'}")
    return 0


def parse_options() -> tuple[DataOptions, ModelOptions, TrainingOptions, RunOptions]:
    groups = (DataOptions, ModelOptions, TrainingOptions, RunOptions)
    parser = script_parser(__doc__, groups, PRESETS)
    parser.set_defaults(epochs=None, lr=None)
    apply_preset(parser, PRESETS)
    namespace = parser.parse_args()
    epochs, rate = PAPER_EPOCHS_AND_RATE.get(namespace.benchmark, PAPER_EPOCHS_AND_RATE["coco"])
    namespace.epochs = epochs if namespace.epochs is None else namespace.epochs
    namespace.lr = rate if namespace.lr is None else namespace.lr
    return checked_options(groups, namespace)


def say_what_is_left_out(
    sampler: EpisodeSampler, benchmark: Benchmark, processes: Processes
) -> None:
    if sampler.left_out and processes.is_main:
        names = ", ".join(benchmark.training.class_names[c] for c in sampler.left_out)
        print(f"too few training images for an episode, left out: {names}")


def train_one_epoch(
    trainer: Trainer,
    sampler: EpisodeSampler,
    model_options: ModelOptions,
    run: RunOptions,
    store: FeatureStore | None,
) -> float:
    """Make this epoch's updates; returns the mean loss of all processes."""
    keys = sampler.training_keys(trainer.epoch)
    episodes = EpisodeDataset(sampler.split, keys, model_options.image_size)

    def loss(model: nn.Module, positions: list[int], batch: Episode) -> Tensor:
        return loss_of(model, positions, batch, trainer, run, store)

    return trainer.train_epoch(episodes, Episode.join, loss)


def loss_of(
    model: nn.Module,
    positions: list[int],
    episodes: Episode,
    trainer: Trainer,
    run: RunOptions,
    store: FeatureStore | None,
) -> Tensor:
    """Equation 23 of the final mask, and of the pseudo mask where that is asked for."""
    episodes = episodes.to(trainer.processes.device)
    kept = kept_channels(
        trainer.episode_seeds(positions),
        1 + episodes.support_images.shape[1],
        trainer.model.generator.channels,
    ).to(trainer.processes.device)
    query, support = episodes.query_image, episodes.support_images
    if store is not None:
        names = [(key.query, key.support) for key in episodes.keys]
        query, support = store.encode_episodes(names, query, support)
    found = model(query, support, episodes.support_masks, kept)
    loss = mask_loss(found.logits, episodes.query_mask, episodes.query_ignore).mean()
    if run.pseudo_weight:
        pseudo = mask_loss(found.pseudo_logits, episodes.query_mask, episodes.query_ignore)
        loss = loss + run.pseudo_weight * pseudo.mean()
    return loss


def validate(
    model: DcSam,
    sampler: EpisodeSampler,
    model_options: ModelOptions,
    training: TrainingOptions,
    run: RunOptions,
    processes: Processes,
) -> tuple[Evaluation, Any]:
    """Score held-out images of the training classes; also a sheet with the first of them."""
    model.eval()
    keys = sampler.evaluation_keys(run.validation_episodes)
    episodes = EpisodeDataset(sampler.split, keys, model_options.image_size, keep_original=True)
    segmenter = MethodSegmenter(model)
    scores = evaluate(segmenter, episodes, processes, training.nworker, "held-out classes")
    sheet = episode_sheet(segmenter, episodes, range(4), processes) if processes.is_main else None
    return scores, sheet


if __name__ == "__main__":
    raise SystemExit(run_script(main))

"""Train a method on few-shot segmentation of images.

One machine, CPU or one GPU:  python train_image.py --benchmark pascal --fold 0
Four GPUs:                    torchrun --nproc_per_node=4 train_image.py --benchmark coco --fold 0
A laptop, generated images:   python train_image.py --preset tiny --datapath Datasets/generated

A run's folder holds TensorBoard logs, log.jsonl, last.safetensors, best.safetensors (chosen on
held-out images of the training classes, never on the test classes) and state.pt, from which
--resume continues. SIGTERM saves the state after the present update; the exit code is then 75.
"""

from dataclasses import dataclass
from typing import Any

from common.cli import answer_early, checked_options, option, run_script, script_parser
from common.kinds import PROMPTS
from common.run_options import RunOptions
from common.training_options import TrainingOptions
from data.options import BENCHMARKS, DataOptions
from data.sources import SourceOptions
from model.registry import METHODS, training_flags


@dataclass(frozen=True)
class ImageRunOptions(RunOptions):
    """What a run writes, how it is watched, and what references it trains with."""

    prompt: str = option(
        "mask",
        "what marks the object in references: its mask, or what is drawn from it; "
        "multi: each has any of them",
        PROMPTS,
    )

    @property
    def deciding(self) -> dict[str, Any]:
        return {**super().deciding, "prompt": self.prompt}

    def marking(self, method: "Method", seed: int, epoch: int | None = None) -> "Marking | None":
        """How references are marked in an epoch, or (None) in validation; None: by their masks."""
        if self.prompt == "mask":
            return None
        return Marking(self.prompt, method.box_rule, epoch is not None, seed, epoch or 0)


def parse_options() -> tuple[
    DataOptions, SourceOptions, Any, Any, TrainingOptions, ImageRunOptions
]:
    method, choices, defaults = training_flags(BENCHMARKS, "method to train")
    groups = (
        *(DataOptions, SourceOptions, method.options, method.losses),
        *(TrainingOptions, ImageRunOptions),
    )
    parser = script_parser(__doc__, groups, choices)
    parser.set_defaults(**defaults)
    return checked_options(groups, parser.parse_args())


answer_early(__name__, parse_options)

import time
from functools import partial

import torch

from common.cli import to_json
from common.distributed import Processes, process_group
from common.errors import UsageError
from common.kinds import kinds_of
from common.logger import RunLogger, quiet_libraries
from common.settings import claim_run
from common.stopping import StopSignal
from common.trainer import Trainer
from data.benchmarks import open_benchmark
from data.class_index import name_some
from data.episode import Joinable
from data.marking import Marking
from data.sampler import training_samplers
from data.sources import open_mixture
from data.training import (
    MixtureEpisodes,
    TrainingData,
    TrainingEpisodes,
    TrainingPairs,
    whole_pictures,
)
from evaluation.validation import held_out_images
from model.checkpoint import frozen_fingerprint, learnable_weights
from model.encoding import set_up_encoding
from model.layers import drawn_by_episode
from model.method import Method
from model.weights import load_strictly


def main() -> int:
    data, sources, model_options, losses, training, run = parse_options()
    quiet_libraries()
    with process_group(training.device) as processes, StopSignal() as stop:
        benchmark = open_benchmark(data, processes, lambda b: [b.training, b.held_out])
        torch.manual_seed(training.seed)
        model = METHODS[model_options.method].build(model_options).to(processes.device)
        refuse_what_it_cannot(model, data, sources, run)
        sampler, validation = training_samplers(
            benchmark, data.nshot, training.seed, run.episodes_per_epoch
        )
        marking = partial(run.marking, model, training.seed)
        if sources.sources is None:
            items = TrainingEpisodes(sampler, model.geometry, marking)
        else:
            of_pairs = METHODS[model.name].pairs
            rules = of_pairs and of_pairs(model.image_size, losses)
            mixture = open_mixture(
                *(sources, benchmark, data.datapath, rules or whole_pictures(model.geometry)),
                *(run.episodes_per_epoch, training.seed, processes),
            )
            items = TrainingPairs(mixture) if of_pairs else MixtureEpisodes(mixture, marking)
        say_what_is_left_out(items, processes)
        trainer = Trainer(model, training, processes, items.per_epoch, stop=stop)
        drawn = items.facts()
        facts = {
            "method": model.name,
            "model": model_options.to_json(),
            "data": {**data.to_json(), **sources.to_json(), "fingerprint": drawn["fingerprint"]},
            "losses": to_json(losses),
            "domain": items.domain,
            "training": to_json(training),
            "frozen": frozen_fingerprint(model, learnable_weights(model)),
            "training_episodes": drawn["training_episodes"],
        }
        deciding = {**training.deciding(trainer.update_size), **run.deciding}
        deciding |= {"method": facts["method"], "frozen": facts["frozen"]}
        groups = (facts["model"], facts["data"], facts["losses"], deciding)
        settings = {name: value for group in groups for name, value in group.items()}
        claim_run(run.folder, settings, run.begun, processes)
        if run.begun:
            weights = trainer.resume(run.folder)
            load_strictly(model, weights, run.folder, learnable_weights(model))
        set_up_encoding(model, facts["model"], run, processes.is_main, run.store_features)
        log = RunLogger(run.folder, processes, trainer.update)
        while not trainer.finished:
            start = time.time()
            loss = train_one_epoch(trainer, items.at(trainer.epoch), losses)
            if trainer.stopped:
                return trainer.leave(run.folder, learnable_weights(model))
            scores, sheet = held_out_images(
                model,
                validation,
                run.validation_episodes,
                processes,
                training.nworker,
                run.marking(model, training.seed),
                trainer.setbacks.name_unreadable if training.skip_bad else None,
            )
            miou = scores.miou()
            record = {
                "epoch": trainer.epoch + 1,
                "update": trainer.update,
                "loss": loss,
                "learning_rate": trainer.schedule.get_last_lr()[0],
                "held_out_miou": miou,
                "held_out_fb_iou": scores.fb_iou(),
                "seconds": round(time.time() - start, 1),
                **trainer.setbacks.counts(),
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


def refuse_what_it_cannot(
    model: Method, data: DataOptions, sources: SourceOptions, run: ImageRunOptions
) -> None:
    """Check before work begins.

    Raises:
        UsageError: the flags ask for what the method cannot do.
    """
    model.refuse_shots(data.nshot)
    if sources.sources is not None and data.nshot > 1:
        raise UsageError("--nshot: pairs have one reference")
    if METHODS[model.name].pairs and run.stores:
        raise UsageError("features cannot be kept: no two views of a picture are the same in pairs")
    if METHODS[model.name].pairs and run.prompt != "mask":
        raise UsageError("--prompt: references of pairs are marked by their masks")
    if run.stores and model.encoder_learns:
        raise UsageError(f"features cannot be kept: {model.name} trains the encoder itself")
    model.refuse_kinds(kinds_of(run.prompt))


def say_what_is_left_out(items: TrainingData, processes: Processes) -> None:
    names = items.left_out()
    if names and processes.is_main:
        print(f"too few training images for an episode, left out: {name_some(names)}")


def train_one_epoch(trainer: Trainer, episodes: Joinable, options: Any) -> float:
    """Make this epoch's updates; returns the mean loss of all processes."""
    model, accumulate = trainer.model.train(), trainer.options.accumulate
    totals = []
    batches = trainer.weighed(trainer.batches(episodes), model.loss_terms)
    for number, (batch, weights) in enumerate(batches):
        batch, last = batch.to(trainer.device), trainer.ends_update(number)
        drawn = drawn_by_episode(model, trainer.seeds(batch.indices), batch.shots)
        with trainer.synchronised(last):
            with trainer.autocast(), drawn:
                support = model.features(
                    batch.support_images.flatten(0, 1),
                    support_only=True,
                    sizes=batch.support_sizes.flatten(0, 1),
                )
                query = model.features(batch.query_image, sizes=batch.query_sizes)
                losses = trainer.losses(query, support, batch, options)
                loss = sum(weights.get(name, 1) * loss for name, loss in losses.items())
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


if __name__ == "__main__":
    raise SystemExit(run_script(main))

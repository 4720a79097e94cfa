"""INSID3's basis, candidates, clusters, scores and masks are those of the released program."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.insid3.aggregation import mean_features, score_clusters
from model.insid3.candidates import (
    backward_votes,
    best_cells,
    candidate_cells,
    forward_cells,
    prototype,
    votes_needed,
)
from model.insid3.clusters import (
    cluster,
    merge_along_chains,
    merge_reciprocal_pairs,
    reached_cells,
)
from model.insid3.reference_mask import cell_mask
from model.insid3.segmentation import Thresholds, enlarge, find_object
from tests.golden.golden_set import Weights, assert_close
from tests.golden.insid3.insid3_case import BLACK, Insid3Case, bits, same_partition
from tests.golden.method_set import assert_changes_are_seen

TOLERANCES = {"": 1e-5}
BASIS_TOLERANCES = {".*singular_values": 1e-4, "": 1e-5}


def masks_of(case: Insid3Case, shots: int) -> Tensor:
    return torch.stack([cell_mask(m, case.grid) for m in case.reference_masks[:shots]])


@torch.no_grad()
def basis_values(case: Insid3Case) -> Weights:
    black = BLACK.view(1, 3, 1, 1).expand(1, 3, case.side, case.side)
    factors = case.golden.tensors("insid3_basis")["published_factors"]
    published = case.basis_of(factors.tolist())

    def projector(directions: Tensor) -> Tensor:
        return directions @ directions.T

    return {
        "basis": projector(case.basis.directions),
        "noise_features_s8": case.features(black)[0].T.unflatten(1, case.grid)[::8],
        "noise_image_value": BLACK,
        "projector_s4": projector(case.basis.directions)[::4, ::4],
        "published_factors": factors,
        "published_projector_s4": projector(published.directions)[::4, ::4],
        "published_singular_values": published.singular_values[:64].float(),
        "singular_values": case.basis.singular_values[:64].float(),
    }


def with_projector(values: Weights) -> Weights:
    """Signs of columns are free: the basis is compared as what it projects on."""
    return {**values, "basis": values["basis"] @ values["basis"].T}


def test_the_basis_spans_what_the_published_one_does(insid3_case):
    expected = with_projector(insid3_case.golden.tensors("insid3_basis"))
    assert_close(basis_values(insid3_case), expected, BASIS_TOLERANCES)
    assert_changes_are_seen(expected, BASIS_TOLERANCES)


def test_the_published_basis_differs_from_that_in_evaluation_as_the_release_says(insid3_case):
    factors = insid3_case.golden.tensors("insid3_basis")["published_factors"].tolist()
    published = insid3_case.basis_of(factors)
    cosines = torch.linalg.svdvals(published.directions.T @ insid3_case.basis.directions)
    expected = insid3_case.facts["results"]["principal_cosines_published_vs_eval"]
    assert cosines.tolist() == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def shot_values(case: Insid3Case, shots: int) -> Weights:
    """Every step on all cells, clusters under the labels of the file."""
    expected = case.golden.tensors(f"insid3_{shots}shot")
    masks, references = masks_of(case, shots).flatten(1), case.debiased(case.references[:shots])
    target, debiased = case.target, case.debiased(case.target)
    looked_for, means = prototype(references, masks)
    similarity = debiased @ looked_for
    votes = backward_votes(debiased, references, masks)
    candidates = candidate_cells(debiased, similarity, references, masks)
    labels = expected["labels"].flatten().long()
    assert same_partition(cluster(target @ target.T, case.facts["tau"]), labels)
    scores = score_clusters(labels, target, debiased, similarity, candidates, looked_for)
    matched = labels[candidates].unique()
    mask = (scores.combined > case.facts["merge_threshold"])[labels].view(case.grid)
    values = {
        "matched_ids": matched,
        "seed_id": torch.tensor([scores.seed]),
        "area_weights": scores.coverage,
        "combined": scores.combined,
        "cross_similarity": scores.cross,
        "forward_similarity": similarity,
        "intra_similarity": scores.intra,
        "prototype": looked_for,
        "seed_scores": scores.seed_similarity[matched],
        "shot_prototypes": means,
        "labels": labels,
        "last_best_index": best_cells(debiased, references[-1]),
        "votes": votes,
        "backward_mask": votes >= votes_needed(shots),
        "candidates": candidates,
        "final_bits": bits(enlarge(mask[None], case.side)),
        "final_small": mask,
        "forward_mask": forward_cells(similarity),
        "mask_small": masks,
    }
    if shots == 1:
        kept = {"reference": (case.references[0], 8), "target": (target, 4)}
        for name, (cells, step) in kept.items():
            maps = cells.T[::step].unflatten(1, case.grid)
            values[f"{name}_features_s{step}"] = maps
            values[f"{name}_debiased_s{step}"] = (
                case.debiased(cells).T[::step].unflatten(1, case.grid)
            )
        values["cluster_prototypes_debiased"] = mean_features(debiased, labels)
        values["cluster_prototypes_original"] = mean_features(target, labels)
    return {name: value.reshape(expected[name].shape) for name, value in values.items()}


@pytest.mark.parametrize("shots", [1, 2, 3])
class TestShots:
    def test_every_step_is_the_published_one(self, shots, insid3_case):
        expected = insid3_case.golden.tensors(f"insid3_{shots}shot")
        assert_close(shot_values(insid3_case, shots), expected, TOLERANCES)
        assert_changes_are_seen(expected, TOLERANCES)

    def test_clustering_only_reached_cells_gives_the_same_mask(self, shots, insid3_case):
        case, expected = insid3_case, insid3_case.golden.tensors(f"insid3_{shots}shot")
        thresholds = Thresholds(case.facts["tau"], case.facts["merge_threshold"])
        found = find_object(
            case.target,
            case.debiased(case.target),
            case.debiased(case.references[:shots]),
            masks_of(case, shots).flatten(1),
            thresholds,
        )
        assert torch.equal(found.mask, expected["final_small"].flatten().bool())
        reached = found.labels >= 0
        assert reached.any()
        assert same_partition(found.labels[reached], expected["labels"].flatten()[reached])
        results = case.facts["results"][f"{shots}shot"]
        assert int(found.candidates.sum()) == results["candidates"]
        assert int(enlarge(found.mask.view(1, *case.grid), case.side).sum()) == results["pixels"]

    def test_merging_many_pairs_at_a_time_gives_the_same_clusters(self, shots, insid3_case):
        case, expected = insid3_case, insid3_case.golden.tensors(f"insid3_{shots}shot")
        candidates = expected["candidates"].flatten().bool()
        reached = reached_cells(case.target, candidates, case.facts["tau"])
        labels = merge_reciprocal_pairs(reached.similarity, case.facts["tau"])
        assert same_partition(labels, expected["labels"].flatten()[reached.cells])


def test_an_object_that_is_not_there_is_not_found(insid3_case):
    case = insid3_case
    absent = case.facts["absent"]
    reference = case.debiased(case.features(case.scene("absent", absent)))
    mask = cell_mask(case.mask(absent["mask"]), case.grid).flatten()[None]
    found = find_object(case.target, case.debiased(case.target), reference, mask, Thresholds())
    assert int(found.candidates.sum()) == case.facts["results"]["absent"]["candidates"] == 0
    assert not found.mask.any()
    assert found.best_score == 0


def locate_values(case: Insid3Case) -> Weights:
    facts = case.facts["locate"]
    channels, grid, shots = facts["channels"], tuple(facts["grid"]), facts["shots"]

    def cells(name: str, count: int) -> Tensor:
        return F.normalize(case.input(name, 1, count, channels, *grid)[0], dim=1)

    references = cells("locate_ref", shots).flatten(2).transpose(1, 2)
    target = F.normalize(case.input("locate_tgt", 1, channels, *grid), dim=1)[0].flatten(1).T
    looked_for = F.normalize(case.input("locate_proto", channels, 1), dim=0)[:, 0]
    shapes = [case.mask([one], tuple(facts["mask_hw"])) for one in facts["masks"]]
    masks = torch.stack([cell_mask(mask, grid).flatten() for mask in shapes])
    values = {}
    for name, shift in {"plain": 0.0, "quantile": facts["shift"]}.items():
        moved = F.normalize(target - shift * looked_for, dim=1) if shift else target
        similarity = moved @ looked_for
        values |= {
            f"{name}_forward_similarity": similarity,
            f"{name}_votes": backward_votes(moved, references, masks),
            f"{name}_candidates": candidate_cells(moved, similarity, references, masks),
            f"{name}_forward_mask": forward_cells(similarity),
        }
    return {name: value.view(grid) for name, value in values.items()}


def test_candidates_also_where_nothing_is_similar(insid3_case):
    expected = insid3_case.golden.tensors("insid3_locate")
    assert_close(locate_values(insid3_case), expected, TOLERANCES)
    assert_changes_are_seen(expected, TOLERANCES)


def test_merge_heights_labels_and_prototypes_of_clusters(insid3_case):
    facts, expected = insid3_case.facts["cluster"], insid3_case.golden.tensors("insid3_cluster")
    points, channels, centres = facts["points"], facts["channels"], facts["centres"]
    middle = insid3_case.input("cluster_centres", centres, channels)
    noise = facts["noise"] * insid3_case.input("cluster_noise", points, channels)
    features = F.normalize(middle[torch.arange(points) % centres] + noise, dim=1)
    alike = features @ features.T
    _, merges = merge_along_chains(alike.numpy().copy(), -2)
    last = expected[f"labels_tau{facts['taus'][-1]}"]
    found = {
        "heights": 1 - torch.tensor(merges).sort(descending=True).values,
        "prototypes": mean_features(features, last.long()),
    }
    for tau in facts["taus"]:
        name = f"labels_tau{tau}"
        assert same_partition(cluster(alike.clone(), tau), expected[name])
        assert same_partition(merge_reciprocal_pairs(alike, tau), expected[name])
        found[name] = expected[name]
    assert_close(found, expected, TOLERANCES)
    assert_changes_are_seen(expected, TOLERANCES)
    assert not same_partition(cluster(alike.clone(), 0.61), expected["labels_tau0.6"])


def test_the_three_stages_of_a_small_mask(insid3_case):
    case, expected = insid3_case, insid3_case.golden.tensors("insid3_api", "small_mask")
    facts = case.facts["small_masks"]
    masks = [case.mask([shape], tuple(facts["hw"])) for shape in facts["shapes"]]
    found = {str(i): cell_mask(m, tuple(facts["grid"])) for i, m in enumerate(masks)}
    assert_close(found, expected)
    assert all(value.any() for value in expected.values())

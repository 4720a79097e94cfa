import numpy as np
import torch

from labelling.label_folder import LabelFolder
from labelling.loop import Labelling
from labelling.options import PredictionOptions
from model.label_map import Found


def labelling(tmp_path, **options):
    """Of two classes, 4 and 9; nothing in it is learned or segmented."""
    classes = {4: "dog", 9: "cat"}
    folder = LabelFolder(tmp_path, classes, calibrated=True)
    return Labelling(None, classes, folder, PredictionOptions(**options), threshold=0.5)


def found(scores):
    """Class 4 on the left half, class 9 on the right one, which two proposals part."""
    logits = torch.full((2, 4, 4), -1.0)
    logits[0, :, :2] = logits[1, :, 2:] = 1.0
    proposals = torch.zeros(2, 4, 4, dtype=torch.bool)
    proposals[0, :2], proposals[1, 2:] = True, True
    return Found(logits, scores, (None, proposals))


def test_classes_that_are_there_have_their_ids(tmp_path):
    labels = labelling(tmp_path).labels_of(found((0.9, 0.8)), (8, 8))
    assert labels.classes.shape == (8, 8)
    assert np.unique(labels.classes).tolist() == [4, 9]
    assert labels.scores == {4: 0.9, 9: 0.8}
    assert labels.numbers is None
    absent = labelling(tmp_path).labels_of(found((0.9, 0.4)), (8, 8))
    assert np.unique(absent.classes).tolist() == [0, 4]
    assert absent.scores == {4: 0.9, 9: 0.4}


def test_a_methods_proposals_are_objects_at_the_pictures_own_size(tmp_path):
    labels = labelling(tmp_path, instances=True).labels_of(found((0.9, 0.8)), (8, 8))
    assert labels.class_of == (4, 9, 9)
    whole, upper, lower = labels.objects
    assert whole.mask[:, :4].all()
    assert upper.mask[:4, 4:].all()
    assert lower.mask[4:, 4:].all()
    assert upper.mask.sum() == lower.mask.sum() == 16

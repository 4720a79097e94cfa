import torch

from model.sine.features import SineSupport
from model.sine.references import MaskedSums, inside_of, pool


def test_a_token_is_the_mean_inside_of_its_mask():
    features = torch.zeros(1, 2, 2, 2)
    features[0, 0, :, 1], features[0, 1] = 4.0, 1.0  # the right half differs in one channel
    left, whole = torch.zeros(8, 8), torch.ones(8, 8)
    left[:, :2] = 1
    sums = pool(features, torch.stack([left, whole]))
    assert sums.count.tolist() == [16, 64]
    torch.testing.assert_close(sums.tokens(), torch.tensor([[0.0, 1.0], [2.0, 1.0]]))


def test_thin_masks_mark_what_they_touch_and_published_ones_vanish():
    line = torch.zeros(1, 28, 28)
    line[:, :, 7] = 1  # the resize from 28 to 8 reads columns 1, 2, 4, 5, 8, 9, ...
    assert not inside_of(line, 8, plain=True).any()
    assert inside_of(line, 8).sum(dim=(1, 2)).tolist() == [8]  # a column of cells
    features = torch.ones(1, 3, 2, 2)
    assert pool(features, line, plain=True).tokens().tolist() == [[0, 0, 0]]
    torch.testing.assert_close(pool(features, line).tokens(), torch.ones(1, 3))


def test_other_masks_are_as_published():
    masks = (torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    assert torch.equal(inside_of(masks, 8), inside_of(masks, 8, plain=True))


def test_shots_count_by_their_area():
    shots = MaskedSums(torch.tensor([[[30.0], [10.0]]]), torch.tensor([[3.0, 5.0]]))
    support = SineSupport(shots)
    torch.testing.assert_close(support.identities, torch.tensor([[[10.0], [2.0]]]))
    torch.testing.assert_close(support.classes, torch.tensor([[[5.0]]]))
    assert support.expand(4).classes.shape == (4, 1, 1)

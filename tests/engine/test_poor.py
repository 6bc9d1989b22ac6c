"""Images are poor if layers miss much, for what they save."""

import torch

from sklearn_sprites._engine.search.poor import is_poor
from sklearn_sprites._engine.search_settings import SearchPlan


def test_images_are_poor_by_what_layers_save_and_cost():
    error, blank = torch.tensor([2.0, 1.0, 8.0]), torch.tensor([20.0, 20.0, 20.0])
    search = SearchPlan(poor=0.1)
    assert is_poor(error, blank, search, 0.5).tolist() == [True, False, True]
    assert is_poor(error, blank, search, 3.0).tolist() == [False, False, True]
    assert is_poor(error, blank, search, 0.5, 3).tolist() == [False, False, True]
    assert is_poor(error, blank, search, 9.0).tolist() == [False] * 3

import pytest
import torch

from BYOL.byol import BYOL
from BYOL.model.heads import PREDICTORS
from tests.model.test_byol import small_model


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_every_predictor_keeps_the_shape(predictor):
    model: BYOL = small_model(predictor=predictor)
    outputs = model(*torch.rand(2, 4, 3, 16, 16))
    assert all(o.shape == (4, 8) for o in outputs)

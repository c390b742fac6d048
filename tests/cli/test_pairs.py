"""Pairs of values on a command line."""

import subprocess
import sys

import pytest

from BYOL.cli.pairs import join_pairs
from BYOL.config import PretrainConfig
from BYOL.config.curation import DuplicatesConfig


@pytest.mark.parametrize(
    ("settings", "words", "expected"),
    [
        (DuplicatesConfig, "r d --between train test", "r d --between train,test"),
        (DuplicatesConfig, "--between test train r d", "--between test,train r d"),
        (DuplicatesConfig, "r --between train,test d", "r --between train,test d"),
        (DuplicatesConfig, "r --between=train,test d", "r --between=train,test d"),
        (DuplicatesConfig, "r d --between train --json", "r d --between train --json"),
        (DuplicatesConfig, "r d --between train", "r d --between train"),
        (PretrainConfig, "--crop-scale 0.2 1 photos", "--crop-scale 0.2,1 photos"),
        (PretrainConfig, "--crop_scale .2 1e0", "--crop_scale .2,1e0"),
        (PretrainConfig, "--crop-scale 0.2,1 7", "--crop-scale 0.2,1 7"),
        (PretrainConfig, "--crop-scale 0.2 photos", "--crop-scale 0.2 photos"),
        (PretrainConfig, "--batch-size 64 128", "--batch-size 64 128"),
    ],
)
def test_two_words_after_a_pair_are_joined(settings: type, words: str, expected: str) -> None:
    assert join_pairs(settings, words.split()) == expected.split()


def test_scikit_learn_works_after_it_was_imported_quickly() -> None:
    program = (
        "import sys; from BYOL.evaluation.sklearn_import import import_sklearn_quickly as quick; "
        "quick(); assert not {'scipy.stats', 'pandas'} & set(sys.modules); "
        "from sklearn.metrics import label_ranking_loss, roc_auc_score; "
        "assert roc_auc_score([0, 1, 1, 0], [.1, .5, .3, .4]) == .75; "
        "assert label_ranking_loss([[1, 0, 0]], [[.5, .2, .9]]) == .5; "
        "from sklearn.metrics import label_ranking_average_precision_score as precision; "
        "assert precision([[1, 0, 0]], [[.5, .2, .9]]) == .5; "  # it calls scipy.stats.rankdata
        "import scipy.stats; assert scipy.stats.norm.cdf(0) == .5"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

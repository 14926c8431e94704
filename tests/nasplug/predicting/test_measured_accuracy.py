"""Accuracies that were measured stand in the place of predicted ones."""

import numpy as np

import nasplug
from nasplug.predicting.measured_accuracy import HasAccuracies, MeasuredAccuracy
from nasplug.predicting.zoo import is_known

SPACE = nasplug.space("timm:mobilenetv3*")


def test_values_are_those_of_the_space_without_doubt():
    archs = list(SPACE)
    scorer = MeasuredAccuracy(SPACE)
    predicted = scorer.predict(archs)
    np.testing.assert_array_equal(predicted.mean, SPACE.accuracies(archs))
    assert np.ptp([predicted.lower, predicted.upper], axis=0).max() < 1e-5
    assert predicted.targets == SPACE.tasks
    below = predicted.probability_at_most(75.0, "imagenet")
    np.testing.assert_array_equal(below, predicted.mean[:, 0] <= 75)


def test_checksum_tells_parts_apart():
    other = MeasuredAccuracy(nasplug.space("timm:mobilenetv4*"))
    assert MeasuredAccuracy(SPACE).sha256 == MeasuredAccuracy(SPACE).sha256 != other.sha256


def test_only_spaces_of_trained_networks_have_it():
    assert isinstance(SPACE, HasAccuracies)
    assert is_known(SPACE, "accuracy")
    assert not isinstance(nasplug.space("fbnet"), HasAccuracies)
    assert not is_known(nasplug.space("fbnet"), "accuracy")

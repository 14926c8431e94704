"""Left-out errors that the intervals of NPUs and of GPUs of phones and boards are of."""

from experiments.zoo.train_class_models import FEWEST_CHIPS, residuals_of_lines


def test_residuals_of_a_line_are_of_its_chips_and_of_known_or_new_networks():
    groups = residuals_of_lines()
    known = groups["zero-shot other hexagon qnn int8"]
    new = groups["unfamiliar other hexagon qnn int8"]
    assert known.keys() == new.keys()
    assert len(known) >= FEWEST_CHIPS
    assert {chip: len(own) for chip, own in known.items()} == {
        chip: len(own) for chip, own in new.items()
    }
    assert known != new
    # Networks were known on four of the other NPUs, which say too little.
    assert groups["zero-shot other npu all"] == groups["unfamiliar other npu all"]
    assert "Adreno 640" in groups["zero-shot other adreno tflite"]
    assert "Adreno 640" not in known

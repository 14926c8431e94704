"""Protobuf message of a NAS-Bench-101 record, declared without TensorFlow.

One declaration reads two kinds of files: the benchmark's own, and those of EC-NAS, which add
energies. Field 6 of an evaluation is a text in the benchmark's files (the path of a checkpoint,
never needed) and a number in those of EC-NAS; protobuf skips a field whose type is not the declared
one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["metrics_class"]

_NUMBERS = (
    "current_epoch",
    "training_time",
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
    "energy",
)


@cache
def metrics_class() -> Any:
    """Make the class of the message `ModelMetrics`.

    Its fields are `evaluation_data` (before training, half-way, at the end), `trainable_parameters`
    and `total_time`. An evaluation holds epoch, seconds, three accuracies from 0 to 1, and for
    EC-NAS kilowatt-hours.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="nasplug/model_metrics.proto", package="nasplug", syntax="proto2"
    )
    evaluation = file.message_type.add(name="EvaluationData")
    for number, name in enumerate(_NUMBERS, start=1):
        evaluation.field.add(
            name=name, number=number, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL
        )
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".nasplug.EvaluationData",
        label=field.LABEL_REPEATED,
    )
    metrics.field.add(
        name="trainable_parameters", number=2, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL
    )
    metrics.field.add(
        name="total_time", number=3, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasplug.ModelMetrics"))

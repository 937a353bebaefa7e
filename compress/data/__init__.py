"""Data: from what people have to splits that training, pruning and measuring draw from."""

from edgepress.compress.data.dataset import Dataset, Split
from edgepress.compress.data.evaluation import evaluate, figures, predict
from edgepress.compress.data.opening import open_data
from edgepress.compress.data.tasks import Task

__all__ = ["Dataset", "Split", "Task", "evaluate", "figures", "open_data", "predict"]

"""The fixtures of training tests."""

from tests.support.training import make, run_job, tiny_config, tiny_model

__all__ = ["make", "run_job", "tiny_config", "tiny_model"]

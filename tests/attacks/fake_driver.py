"""Puts a question to an answer in the tests of the sandbox: arrays become tensors and come back."""

import numpy as np
import torch


def drive(name, variant, answer, inputs):
    if name == "as it is":
        return answer(), {"variant": variant}
    given = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    result = answer(**given)
    if isinstance(result, torch.Tensor):
        result = result.detach().cpu().numpy()
    return {"result": np.asarray(result)}, {"kind": type(result).__name__}

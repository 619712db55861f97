"""ONNX Runtime GenAI, int8 weights; rows are one batch, which it computes in step.

Usage: python onnx_peer.py JOB.json MODEL_DIR; see job.py.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime_genai as genai
from job import read_job, run


def main() -> None:
    job = read_job(sys.argv[1])
    config = genai.Config(sys.argv[2])
    options = {"intra_op_num_threads": job["threads"], "inter_op_num_threads": 1}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    model = genai.Model(config)

    def steps(prompts: list[list[int]], limit: int):
        params = genai.GeneratorParams(model)
        length = len(prompts[0]) + limit
        # min_length: an end of text is not drawn before.
        params.set_search_options(do_sample=False, batch_size=len(prompts), max_length=length, min_length=length)
        generator = genai.Generator(model, params)
        generator.append_tokens(np.array(prompts, np.int32))
        while not generator.is_done():
            generator.generate_next_token()
            yield list(enumerate(map(int, generator.get_next_tokens())))

    run(job, genai.__version__, steps)


if __name__ == "__main__":
    main()

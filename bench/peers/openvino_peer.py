"""OpenVINO GenAI, continuous batching, int8 weights.

Usage: python openvino_peer.py JOB.json MODEL_DIR [PRECISION]; see job.py.
PRECISION is what it computes with between linears, "f32" or "bf16"; by default its own choice.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
import openvino as ov
import openvino_genai as genai
from job import read_job, run

CACHE_GIB = 1


def main() -> None:
    job = read_job(sys.argv[1])
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = CACHE_GIB
    scheduler.max_num_batched_tokens = 512
    scheduler.max_num_seqs = max(len(m["prompts"]) for m in job["measurements"])
    scheduler.enable_prefix_caching = True
    # 64 gave the best prefill of 0, 32, 64, 128.
    properties = {"INFERENCE_NUM_THREADS": job["threads"], "DYNAMIC_QUANTIZATION_GROUP_SIZE": 64}
    if len(sys.argv) > 3:
        properties["INFERENCE_PRECISION_HINT"] = sys.argv[3]
    pipeline = genai.ContinuousBatchingPipeline(sys.argv[2], scheduler, "CPU", properties)
    ids = itertools.count()

    def steps(prompts: list[list[int]], limit: int):
        config = genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = limit, True, False
        handles = [pipeline.add_request(next(ids), ov.Tensor(np.array([p], np.int64)), config) for p in prompts]
        try:
            while pipeline.has_non_finished_requests():
                pipeline.step()
                yield [
                    (row, token)
                    for row, handle in enumerate(handles)
                    if handle.can_read()
                    for token in handle.read()[0].generated_ids
                ]
        finally:
            for handle in handles:
                handle.cancel()
            while pipeline.has_non_finished_requests():
                pipeline.step()

    run(job, genai.__version__.split("-")[0], steps)


if __name__ == "__main__":
    main()

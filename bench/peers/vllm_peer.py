"""vLLM's CPU wheel, W8A8: int8 weights per channel, activations per token (compressed-tensors, written by prepare.py).

Usage: python vllm_peer.py JOB.json MODEL_DIR; see job.py. The engine runs in this process.
"""

from __future__ import annotations

import itertools
import os
import sys

from job import read_job, run

# 45,000 tokens of SmolLM2 in bfloat16: more than twice what the largest case holds.
CACHE_GIB = 1


def main() -> None:
    job = read_job(sys.argv[1])
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # What it compiles at its first start is kept.
        "VLLM_CACHE_ROOT": os.path.join(os.path.dirname(os.path.abspath(sys.argv[2])), "vllm-cache"),
        "VLLM_CPU_KVCACHE_SPACE": str(CACHE_GIB),
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(os.sched_getaffinity(0))[: job["threads"]])),
        "OMP_NUM_THREADS": str(job["threads"]),
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    import vllm
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine = LLM(
        sys.argv[2],
        dtype="bfloat16",
        max_model_len=job["context"],
        max_num_seqs=max(len(m["prompts"]) for m in job["measurements"]),
        enable_prefix_caching=True,
        disable_log_stats=True,
    ).llm_engine
    numbers = itertools.count()

    def steps(prompts: list[list[int]], limit: int):
        params = SamplingParams(
            temperature=0, max_tokens=limit, ignore_eos=True, detokenize=False, output_kind=RequestOutputKind.DELTA
        )
        rows: dict[str, int] = {}
        for row, prompt in enumerate(prompts):
            name = str(next(numbers))
            # It may add a suffix to the name, and gives it back without.
            engine.add_request(name, {"prompt_token_ids": prompt}, params)
            rows[name] = row
        try:
            while engine.has_unfinished_requests():
                yield [
                    (rows[output.request_id], token)
                    for output in engine.step()
                    for token in output.outputs[0].token_ids
                ]
        finally:
            engine.abort_request(list(rows))
            while engine.has_unfinished_requests():
                engine.step()

    run(job, vllm.__version__, steps)


if __name__ == "__main__":
    main()

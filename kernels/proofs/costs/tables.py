"""All tables, as one file that is kept nowhere: some nine hundred lines."""

from __future__ import annotations

from ..compile.models import LLAMA_8B
from ..compile.store import Compiled
from . import calibration, carries, kernel_tables, model, published, step_tables
from .devices import DEVICES, H100
from .markdown import percent, table
from .steps import step
from .targets import targets
from .traffic import DECODE_CONTEXT


def everything(compiled: Compiled) -> str:
    """The whole file."""
    return "\n".join(
        [
            _INTRODUCTION,
            f"## Targets\n\n{target_table(compiled)}",
            _steps(compiled),
            _linears(compiled),
            _skipping(),
            _ops(compiled),
            _model(compiled),
            _compilations(compiled),
        ]
    )


_INTRODUCTION = f"""# What the Triton kernels cost on a GPU

Written by `make kernels-report`; do not edit. **Nothing here was measured: no GPU was there.** Every number is one of

- **counted**: in the machine code that the compiler makes (instructions, registers, shared memory), or from the sizes
  of operands (bytes, products);
- **computed**: by a small model, from what was counted and from data sheets; its assumptions stand at the end. Take it
  for a ranking: 30 % off is nothing to wonder at;
- **published**: by others, with the source.

A decode step has a sequence in each row, with {DECODE_CONTEXT} tokens each; a step of 512 or 2048 rows is one prompt.
The *floor* is what no kernel can beat: each byte of weights, scales and KV cache once, at the data sheet's bandwidth;
in prefill one dense int8 product of each linear at the data sheet's rate. It holds no arithmetic of attention.
"""


def target_table(compiled: Compiled) -> str:
    """Targets, met or not."""
    rows = [[one.name, one.kind, one.limit, one.found, "met" if one.met else "**missed**"] for one in targets(compiled)]
    return table(["", "kind", "at most", "found", ""], rows)


def _steps(compiled: Compiled) -> str:
    found = step(compiled, LLAMA_8B, 1, H100)
    return f"""## Whole steps

Computed milliseconds in a CUDA graph; in parentheses how many times the floor that is. Models of 70B and
more are computed as if one card could hold them: divide them among cards to run them. The floor is without attention,
of which a prompt of 2048 tokens has as much as a sixth of the linears' products.

{step_tables.totals(compiled)}
bitsandbytes' decode steps beside them. Published: {published.BITSANDBYTES}. It launches each kernel from Python; that
is most of its time, and why batches change it so little.

{step_tables.beside_published(compiled)}
### One decode step of Llama-3-8B on an H100

One sequence, launch by launch. Bytes are counted, times computed.

{step_tables.one_step(compiled, LLAMA_8B, 1, H100)}
Why it is {found.total / found.floor:.2f} times the floor:

{step_tables.where_time_goes(found)}
Programmatic dependent launch (sm_90 and newer): a linear asks for its weights while the kernel before it still runs.

{step_tables.dependent_launch(compiled)}"""


def _linears(compiled: Compiled) -> str:
    return f"""## int8 linears

Computed microseconds of one linear in a graph / its floor: the larger of its bytes once and one dense int8 product at
the data sheet's rate. What it waits for: m memory, t tensor cores, i issue slots, f float multiply-adds, l latency
(launch, first bytes, dependent instructions).

{kernel_tables.linears(compiled)}
Published, for comparison: a linear of a 7B model at 2048 rows on an A100 runs at {_list(published.A100_LINEAR_2048)}
TFLOP/s (Qcompiler/MIXQ, bench/).

### Issue slots in decode

Memory brings an SM 512 bytes of weights in the time in which its four schedulers issue so many instructions: the budget
(computed from the data sheet). The loop over the weights is counted in the machine code, per warp and pass.

{kernel_tables.issue(compiled)}"""


def _list(numbers: dict[str, int]) -> str:
    return ", ".join(f"{value} ({name})" for name, value in numbers.items())


def _skipping() -> str:
    at = carries.ways("down_proj")
    return f"""## Second digits in prefill

In decode both digits ride in the tile that one row pays for. In prefill their product comes on top of the dense product
of the low digits, so most of its zeros should be skipped. Extra time over the dense product (computed) by the way to do
it, under the carries of the adaptive threshold on real text (`docs/numerics.md`; emulated on SmolLM2-135M): the larger
of the extra tensor-core work and the extra bytes from L2, which a tile of 128 x 128 keeps equally busy.

{kernel_tables.skipping()}
The kernels keep lists of {carries.GROUP}-column groups. Compacted columns need fewer products, but a weight's row must
be read byte by byte: each brings a sector of 32 bytes with it, so they move the same bytes, cannot be copied
asynchronously (4 bytes are the least), and want another pass to gather the digits. Blocks of 64 columns are mostly
occupied. For `down_proj`, whose carries are scattered, every way costs nearly a second dense product
({percent(at[2].extra)}); there a higher threshold is what helps: with 6,
{percent(carries.BLOCKS_64["down_proj"][1])} of the blocks of 64 columns have a carry.
"""


def _ops(compiled: Compiled) -> str:
    return f"""## Every op at the shapes of Llama-3-8B

Bytes of operands and of scratch memory (which mostly stays in L2) are counted, as planned for sm_90; times are computed
microseconds of all launches of the op, with what the longest waits for, as above. Attention looks at the whole context.

{kernel_tables.others(compiled)}"""


def _model(compiled: Compiled) -> str:
    devices = [
        [
            *(one.name, f"sm_{one.architecture}", one.processors, one.gigahertz, one.memory, one.cache),
            *(f"{2 * one.int8 * one.processors * one.gigahertz / 1e3:.0f}", one.float32, f"{one.issue_budget:.0f}"),
        ]
        for one in DEVICES
    ]
    assumptions = [
        [
            "from node to node of a CUDA graph",
            f"{model.GRAPH_LAUNCH} us",
            "published for trivial kernels, GPU not named",
        ],
        ["the same, programmatic dependent launch", f"{model.DEPENDENT_LAUNCH} us", "published, same place"],
        ["start: until the first bytes are there", f"{model.START} us", "assumed"],
        ["end; with parts of K to add up", f"{model.TAIL} us; {model.SPLIT_TAIL} us", "assumed"],
        [
            "share of the bandwidth that a stream gets",
            percent(model.STREAM),
            "assumed; a copy on an H200: 90 % (published)",
        ],
        ["latency of memory under load (Little's law)", f"{model.LATENCY} us", "assumed"],
        ["from L2 into an SM", f"{model.PORT} bytes per clock", "assumed"],
        ["clocks per instruction of a single warp", model.DEPENDENCY, "assumed"],
        ["clocks a tensor core idles at each wait for wgmma", model.WAIT, "assumed; none with two programs on the SM"],
        ["loops of kernels other than linears and attention", "once per chunk of a row", "assumed"],
        ["boost clocks, no power limit", "", "assumed; large products run up to 20 % slower"],
    ]
    head = ["GPU", "architecture", "SMs", "GHz", "GB/s", "L2 GB/s (assumed)", "int8 TOP/s", "fma per SM and clock"]
    return f"""## The model and its assumptions

A launch takes launch + start + body + end. The body is the longest of: bytes over bandwidth; instructions over the
issue slots of the busiest SM; float multiply-adds; int8 products; and the chain of one warp's instructions.

{table(["assumption", "value", "source"], assumptions)}
{table([*head, "issue budget per 512 B"], devices)}
Checked against published times of kernels like these:

{calibration.calibration()}"""


def _compilations(compiled: Compiled) -> str:
    return f"""## Every compilation

Counted. Occupancy is of the card of the architecture named above (sm_100 has none there). "Inner loop" is the loop over
the weights, or the longest innermost loop: instructions per warp and pass, and most of what they are.

{kernel_tables.compilations(compiled)}"""

"""The handle table: id -> tensor, program or group. The orchestrator makes the ids: they have to be new or known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo_kernels import ErrorCode, Executable, KernelError, Tensor
from octavo_kernels.tensor import PAGES_FROM

if TYPE_CHECKING:
    from octavo_kernels.cpu.group import Group


@dataclass(frozen=True)
class DefinedProgram:
    """A defined program and the tensors and group it works with: these cannot be freed before it."""

    executable: Executable
    uses: frozenset[int]
    operations: int


class Handles:
    """Every method checks all of its arguments before it changes anything, and looks at no other handles: what a
    request costs does not grow with how many are alive (a difference of `keys()` would walk through all of them).
    """

    def __init__(self) -> None:
        self.tensors: dict[int, Tensor] = {}
        #: Of these, the tensors that have pages of their own.
        self.paged: dict[int, Tensor] = {}
        self.programs: dict[int, DefinedProgram] = {}
        self.groups: dict[int, Group] = {}
        #: Of tensors; a group's memory is the orchestrator's.
        self.bytes = 0
        # How many programs work with a tensor or a group.
        self._users: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.tensors) + len(self.programs) + len(self.groups)

    def tensor(self, handle: int) -> Tensor:
        try:
            return self.tensors[handle]
        except KeyError:
            raise self._other(handle, "a tensor") from None

    def program(self, handle: int) -> DefinedProgram:
        try:
            return self.programs[handle]
        except KeyError:
            raise self._other(handle, "a program") from None

    def group(self, handle: int) -> Group:
        try:
            return self.groups[handle]
        except KeyError:
            raise self._other(handle, "a group") from None

    def check_new(self, handles: Sequence[int]) -> None:
        for handle in handles:
            if self._kind(handle) is not None:
                raise KernelError(ErrorCode.PROTOCOL, f"handle {handle} exists already")
        if len(set(handles)) != len(handles):
            raise KernelError(ErrorCode.PROTOCOL, "a handle is listed twice")

    def add(self, handle: int, tensor: Tensor) -> None:
        self.tensors[handle] = tensor
        if tensor.memory.nbytes >= PAGES_FROM:
            self.paged[handle] = tensor
        self.bytes += tensor.memory.nbytes

    def add_program(self, handle: int, program: DefinedProgram) -> None:
        self.programs[handle] = program
        for used in program.uses:
            self._users[used] = self._users.get(used, 0) + 1

    def add_group(self, handle: int, group: Group) -> None:
        self.groups[handle] = group

    def free(self, handles: Iterable[int]) -> None:
        """Tensors, programs and groups, all or none."""
        wanted = set(handles)
        unknown = [handle for handle in wanted if self._kind(handle) is None]
        if unknown:
            raise KernelError(ErrorCode.DISPOSED, f"handle {min(unknown)} is not a live handle of this worker")
        programs = [handle for handle in wanted if handle in self.programs]
        ending: dict[int, int] = {}
        for handle in programs:
            for used in self.programs[handle].uses:
                ending[used] = ending.get(used, 0) + 1
        for handle in wanted:
            if handle not in self.programs and self._users.get(handle, 0) > ending.get(handle, 0):
                raise KernelError(ErrorCode.BAD_ARGUMENT, f"handle {handle} is used by a program; free that first")
        for handle in programs:
            program = self.programs.pop(handle)
            program.executable.close()
            for used in program.uses:
                self._users[used] -= 1
                if not self._users[used]:
                    del self._users[used]
        for handle in wanted:
            tensor = self.tensors.pop(handle, None)
            self.paged.pop(handle, None)
            if tensor is not None:
                self.bytes -= tensor.memory.nbytes
            group = self.groups.pop(handle, None)
            if group is not None:
                group.close()

    def _kind(self, handle: int) -> str | None:
        if handle in self.tensors:
            return "a tensor"
        if handle in self.programs:
            return "a program"
        return "a group" if handle in self.groups else None

    def _other(self, handle: int, wanted: str) -> KernelError:
        kind = self._kind(handle)
        text = "not a live handle of this worker" if kind is None else f"{kind}, not {wanted}"
        return KernelError(ErrorCode.DISPOSED, f"handle {handle} is {text}")

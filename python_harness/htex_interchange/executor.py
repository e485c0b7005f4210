"""Executors that fail, rather than hang, when their interchange is gone."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any, TypeVar

from parsl import executors
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput import executor as parsl_executor
from parsl.executors.high_throughput.errors import CommandClientBadError
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobStatus

from htex_interchange.command import launch_command
from htex_interchange.errors import InterchangeLost, interchange_lost
from htex_interchange.flags import (
    EXACT_CAPACITY,
    SURVIVE,
    placement_flags,
    share_of,
    survives,
    with_flags,
)
from htex_interchange.guards import GuardedCommands, GuardedResults, GuardedTasks
from htex_interchange.placement import ROUTINGS, check, split
from htex_interchange.restarts import KeptMessages, Restarts
from htex_interchange.watch import ProcessWatch

logger = logging.getLogger(__name__)

# Results that came before the end are given this long to be handled; then all that is left fails.
DRAIN_S = 0.5
# Tells an interchange that the executor with this command port sees its end by itself: what it
# would say of that could only come before the exit status is known. src/last_words.rs reads it.
WATCHED = "HTEX_INTERCHANGE_WATCHED"
# A loss that is being told is told to its end before a shutdown goes on.
TELLING_S = 5.0
# Where nobody says whether a broker that is killed has a successor.
SURVIVE_UNLESS_TOLD = False


@contextlib.contextmanager
def _watched(command_port: int) -> Iterator[None]:
    """What is started meanwhile by other executors has another port, and is not misled."""
    before = os.environ.get(WATCHED)
    os.environ[WATCHED] = str(command_port)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(WATCHED, None)
        else:
            os.environ[WATCHED] = before


# Bases are Parsl's, after `LinkedEnds`; a type checker is told so.
if TYPE_CHECKING:
    _Executor = parsl_executor.HighThroughputExecutor
    # Older releases have `Future` here.
    from parsl.executors.high_throughput.executor import HTEXFuture
else:
    _Executor = object

AFuture = TypeVar("AFuture", bound=Future[Any])


class LinkedEnds(_Executor):
    """Put before a HighThroughputExecutor of Parsl's in the bases of a class: starts
    htex-interchange (an `interchange_launch_cmd` that is given wins), and watches that process.

    If it ends before `shutdown()`, then within a second all futures fail with `InterchangeLost`,
    `bad_state_is_set`, and everything that would wait for the interchange raises the same error.
    The command must stay in front: one that ends while its interchange runs on counts as its end.

    Args:
        survive: whether another broker takes over when the one at work is killed. Tasks that did
            not arrive are sent again; one whose result was lost fails with `ResultLost`. The
            process that Parsl has started stays, and only its end is a loss. For that the
            messages of tasks are kept until the interchange says that it has them. Told to an
            `interchange_launch_cmd` that begins with htex-interchange; behind a launcher name
            `--survive` in it.

    Raises:
        FileNotFoundError: from the constructor, if no binary is found and none is named.
    """

    _watch: ProcessWatch | None = None
    # Stands in `incoming_q` from the start of the interchange on.
    _results: GuardedResults
    # None where no broker takes over from another one.
    _restarts: Restarts | None = None
    _loss: InterchangeLost | None = None
    # Between a complete start and the begin of a shutdown, an end is a loss.
    _serving = False
    _shut = False
    _process: subprocess.Popen[bytes] | None = None

    def __init__(self, *args: Any, survive: bool = SURVIVE_UNLESS_TOLD, **kwargs: Any) -> None:
        if not isinstance(survive, bool):
            raise TypeError(f"survive is True or False, not {survive!r}")
        self._phase = threading.Lock()
        super().__init__(*args, **kwargs)
        self.survive = survive
        if self.interchange_launch_cmd is parsl_executor.DEFAULT_INTERCHANGE_LAUNCH_CMD:
            self.interchange_launch_cmd = launch_command()
        if survive:
            flags = [SURVIVE, EXACT_CAPACITY] if self.enable_mpi_mode else [SURVIVE]
            self.interchange_launch_cmd = with_flags(self.interchange_launch_cmd, flags)

    @property
    def interchange_proc(self) -> subprocess.Popen[bytes] | None:
        """The process, watched from the moment that Parsl has started it."""
        return self._process

    @interchange_proc.setter
    def interchange_proc(self, process: subprocess.Popen[bytes] | None) -> None:
        self._process = process
        if process is not None:
            self._watch = ProcessWatch(process, self._interchange_ended)

    def start(self) -> None:
        """Starts the interchange and the initial parts of the executor; nothing is left of a
        start that fails.

        Raises:
            InterchangeLost: the interchange ended before it was ready.
            ValueError: htex-interchange refused to start; the text says why.
        """
        try:
            super().start()  # type: ignore[no-untyped-call]  # Parsl's has no types
        except BaseException:
            self._abandon_start()
            raise

    def submit(
        self,
        func: Callable[..., Any],
        resource_specification: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> HTEXFuture:
        """As Parsl's.

        Raises:
            InterchangeLost: there is no interchange any more.
        """
        self._raise_if_lost()
        return self._unless_too_late(super().submit(func, resource_specification, *args, **kwargs))

    # Parsl 2025.9.29 and later.
    if hasattr(parsl_executor.HighThroughputExecutor, "submit_payload"):

        def submit_payload(self, context: dict[str, Any], buffer: bytes) -> HTEXFuture:
            """As Parsl's.

            Raises:
                InterchangeLost: there is no interchange any more.
            """
            self._raise_if_lost()
            return self._unless_too_late(super().submit_payload(context, buffer))

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        """As Parsl's, but the first reason stays, a future that was cancelled or a task that is
        submitted meanwhile does no harm, and `InterchangeLost` reaches futures as it is."""
        if not self.bad_state_is_set:
            logger.error("Setting bad state due to exception", exc_info=exception)
            self._executor_exception = exception
            self._executor_bad_state.set()
        self._fail_outstanding()

    def status(self) -> dict[str, JobStatus]:
        """The blocks' states; without the interchange, what the provider alone knows."""
        if self._loss is None:
            try:
                return super().status()
            except InterchangeLost:
                pass
        return BlockProviderExecutor.status(self)

    def scale_out_facade(self, n: int) -> list[str]:
        """Starts `n` blocks, unless they would have nobody to register with."""
        if self._loss is not None:
            return []
        return super().scale_out_facade(n)

    def scale_in(self, blocks: int, max_idletime: float | None = None) -> list[str]:
        """Ends up to `blocks` blocks, those idle for `max_idletime` seconds if that is given.
        Without the interchange nobody knows which are idle; any are ended where all may be."""
        if self._loss is None:
            try:
                return super().scale_in(blocks, max_idletime)
            except InterchangeLost:
                pass
        return BlockProviderExecutor.scale_in(self, blocks) if max_idletime is None else []

    def shutdown(self, timeout: float = 10.0) -> None:
        """Ends the interchange, killing it after `timeout` seconds. After a loss, the blocks are
        cancelled as well: Parsl does not scale in an executor that is in a bad state."""
        if self._shut:
            return
        watch = self._watch
        if watch is not None and self._serving and watch.has_ended():
            watch.join(TELLING_S)
        with self._phase:
            self._serving = False
            self._shut = watch is not None
        if self._loss is not None:
            self._cancel_blocks()
        if self._restarts is not None:
            self._restarts.stop_sending()
        super().shutdown(timeout)
        if watch is not None:
            # The result thread closes it, unless an exception ended it.
            self.incoming_q.close()
            watch.join(TELLING_S)

    def _start_local_interchange_process(self) -> None:
        def ended() -> bool:
            return self._watch is not None and self._watch.ended.is_set()

        kept = KeptMessages(self._tasks) if survives(self.interchange_launch_cmd) else None
        # To a type checker these are still the pipes that they stand before.
        tasks: Any = GuardedTasks(self.outgoing_q, ended, self._completed, kept)
        if kept is not None:
            self._restarts = Restarts(
                self.label, self._tasks, self._fail, kept, tasks.send_again, tasks.settle
            )
        results: Any = GuardedResults(self.incoming_q, ended, self._restarts)
        commands: Any = GuardedCommands(
            self.command_client, ended, self._why_no_reply, self._restarts
        )
        self._results = results
        self.outgoing_q, self.incoming_q, self.command_client = tasks, results, commands
        try:
            with _watched(commands.port):
                super()._start_local_interchange_process()
        except BrokenPipeError:
            # It had ended before its configuration was written.
            if self._watch is None or not self._watch.ended.wait(1):
                raise
            raise self._lost() from None
        with self._phase:
            self._serving = not ended()
        if not self._serving:
            raise self._lost()

    def _completed(self, message: dict[str, Any]) -> dict[str, Any]:
        """A task's message as it is sent; in the thread that submits it."""
        return message

    def _interchange_ended(self) -> None:
        """In the watching thread. A start or a shutdown that is under way tells it itself."""
        with self._phase:
            if not self._serving:
                return
            self._results.drained.wait(DRAIN_S)
            self._results.drained.set()
            self._loss = self._lost()
        # Parsl collects it at the shutdown, which may be hours away.
        if self._process is not None:
            self._process.poll()
        self.set_bad_state_and_fail_all(self._loss)

    def _lost(self) -> InterchangeLost:
        exit_code = None if self._watch is None else self._watch.exit_code
        return interchange_lost(self.label, exit_code, self.logdir)

    def _why_no_reply(self) -> Exception:
        return CommandClientBadError("the executor was shut down") if self._shut else self._lost()

    def _raise_if_lost(self) -> None:
        if self._loss is not None:
            raise self._loss.copy()

    def _unless_too_late(self, future: AFuture) -> AFuture:
        """A task that came into the books after all others were failed is failed here."""
        if self.bad_state_is_set:
            self._fail_outstanding()
        return future

    def _fail_outstanding(self) -> None:
        reason = self.executor_exception
        for task_id in list(self._tasks):
            lost = isinstance(reason, InterchangeLost)
            self._fail(task_id, reason.copy() if lost else BadStateException(self, reason))

    def _fail(self, task_id: object, reason: Exception) -> bool:
        """Each future once: whoever takes it out of the books answers it."""
        future = self._tasks.pop(task_id, None)
        if future is None:
            return False
        try:
            future.set_exception(reason)
        except InvalidStateError:
            logger.debug("Task %s was cancelled before", task_id)
        return True

    def _cancel_blocks(self) -> None:
        try:
            self.scale_in_facade(len(self.blocks_to_job_id))
        except Exception:
            logger.exception("Blocks could not be cancelled; managers end by themselves")

    def _abandon_start(self) -> None:
        """Parsl leaves its result thread and its sockets behind; nobody calls `shutdown`."""
        if self._process is not None:
            self.shutdown()
            return
        self._result_queue_thread_exit.set()
        thread = getattr(self, "_result_queue_thread", None)
        if thread is not None:
            thread.join()
        for name in ("outgoing_q", "incoming_q", "command_client"):
            if hasattr(self, name):
                getattr(self, name).close()
        if self.zmq_monitoring:
            self.zmq_monitoring.close()


Initialiser = Callable[..., None]


def _with_signature_of(parsls: type[Any]) -> Callable[[Initialiser], Initialiser]:
    """Parsl prints its executors from the signature of their constructor, seen through one
    wrapper. What the constructor here has of its own stands at the end."""

    def wrap(init: Initialiser) -> Initialiser:
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        own = [p for p in inspect.signature(init).parameters.values() if p.kind is keyword_only]
        theirs: Any = getattr(parsls.__init__, "__wrapped__", parsls.__init__)
        signature = inspect.signature(theirs)

        def shown() -> None:
            """Has the signature alone."""

        both: Any = shown
        both.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])
        wrapped = functools.wraps(parsls.__init__)(init)
        wrapped.__wrapped__ = both
        return wrapped

    return wrap


class HighThroughputExecutor(LinkedEnds, executors.HighThroughputExecutor):
    """Parsl's HighThroughputExecutor, with every option that it has, linked to
    htex-interchange: see `LinkedEnds`. It takes resource specifications that say where a task
    fits (`htex_interchange.placement`), and tells its interchange what that depends on.

    Args:
        task_type_routing: what a `task_type` means where a task has no `routing` of its own.
            `soft`: managers that have run the type are preferred; `hard`: and a manager holds
            tasks of one type at a time.
        hold_failing_managers: whether a manager that fails all its tasks, fast, while others do
            not, gets nothing any more.
        survive: see `LinkedEnds`.
    """

    @_with_signature_of(executors.HighThroughputExecutor)
    def __init__(
        self,
        *args: Any,
        task_type_routing: str = "soft",
        hold_failing_managers: bool = False,
        survive: bool = SURVIVE_UNLESS_TOLD,
        **kwargs: Any,
    ) -> None:
        if task_type_routing not in ROUTINGS:
            raise ValueError(f"task_type_routing is 'soft' or 'hard', not {task_type_routing!r}")
        if not isinstance(hold_failing_managers, bool):
            raise TypeError(
                f"hold_failing_managers is True or False, not {hold_failing_managers!r}"
            )
        super().__init__(*args, survive=survive, **kwargs)
        self.task_type_routing = task_type_routing
        self.hold_failing_managers = hold_failing_managers
        self.interchange_launch_cmd = with_flags(self.interchange_launch_cmd, placement_flags(self))
        self._share = share_of(self)
        # What outstanding tasks take beyond one slot each.
        self._more_slots = 0
        self._counting = threading.Lock()
        # The placement of the task that this thread is submitting.
        self._submitting = threading.local()

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        """As Parsl's, for what htex-interchange takes as well.

        Raises:
            InvalidResourceSpecification: the text names the key, and says what it takes.
        """
        if resource_specification:
            check(resource_specification, self._share)

    # Parsl 2025.9.29 and later.
    if hasattr(executors.HighThroughputExecutor, "submit_payload"):

        def submit_payload(self, context: dict[str, Any], buffer: bytes) -> HTEXFuture:
            """As Parsl's; words in its `resource_spec` that say where the task fits become its
            `placement`, which workers do not see.

            Raises:
                InterchangeLost: there is no interchange any more.
                InvalidResourceSpecification: a word has a value that it does not take.
            """
            specification = context.get("resource_spec")
            seen, placement = split(specification)
            if seen is not specification:
                context = {**context, "resource_spec": seen}
            if placement:
                context["placement"] = placement
            return self._count(super().submit_payload(context, buffer), placement)

    else:

        def submit(
            self,
            func: Callable[..., Any],
            resource_specification: dict[str, Any],
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            """As Parsl's. These releases write the specification into the task itself, for the
            worker: words that say where it fits are taken out before.

            Raises:
                InterchangeLost: there is no interchange any more.
            """
            self.validate_resource_spec(resource_specification)
            seen, placement = split(resource_specification)
            self._submitting.placement = placement
            try:
                future = super().submit(func, seen, *args, **kwargs)
            finally:
                del self._submitting.placement
            return self._count(future, placement)

        def _completed(self, message: dict[str, Any]) -> dict[str, Any]:
            placement = getattr(self._submitting, "placement", None)
            return {**message, "placement": placement} if placement else message

    def _outstanding(self) -> int:
        """How many slots the tasks take that are not done: with so many, Parsl asks for as many
        blocks as they need."""
        return len(self.tasks) + self._more_slots

    # A property in the first releases.
    _IS_PROPERTY = isinstance(executors.HighThroughputExecutor.outstanding, property)
    outstanding: Any = property(_outstanding) if _IS_PROPERTY else _outstanding

    def _count(self, future: AFuture, placement: dict[str, Any]) -> AFuture:
        more = self._share.slots_of(placement) - 1 if placement else 0
        if more:
            self._add_slots(more)
            future.add_done_callback(lambda _: self._add_slots(-more))
        return future

    def _add_slots(self, more: int) -> None:
        with self._counting:
            self._more_slots += more


class MPIExecutor(LinkedEnds, executors.MPIExecutor):
    """Parsl's MPIExecutor, with every option that it has, linked in the same way.

    Args:
        survive: see `LinkedEnds`.
    """

    @_with_signature_of(executors.MPIExecutor)
    def __init__(self, *args: Any, survive: bool = SURVIVE_UNLESS_TOLD, **kwargs: Any) -> None:
        super().__init__(*args, survive=survive, **kwargs)

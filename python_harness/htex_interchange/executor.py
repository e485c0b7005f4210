"""Executors whose futures fail, instead of hanging, when the interchange is gone."""

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

# Seconds to handle the results that arrived before the interchange's end. After that, all remaining
# futures fail.
DRAIN_S = 0.5
# Environment variable with the command port of an executor that detects the end of its interchange
# itself. That interchange sends the executor no last message: it could only arrive before the exit
# status is known. src/last_words.rs reads the variable.
WATCHED = "HTEX_INTERCHANGE_WATCHED"
# Seconds that a shutdown waits for the watching thread to finish reporting a loss.
TELLING_S = 5.0
# The default of `survive`: whether a killed broker gets a successor.
SURVIVE_UNLESS_TOLD = False


@contextlib.contextmanager
def _watched(command_port: int) -> Iterator[None]:
    """Sets WATCHED for the interchange that is started in this context. Interchanges that other
    executors start at the same time have another command port and ignore the value."""
    before = os.environ.get(WATCHED)
    os.environ[WATCHED] = str(command_port)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(WATCHED, None)
        else:
            os.environ[WATCHED] = before


# At run time, Parsl's class follows `LinkedEnds` in the bases. This line declares it to a type
# checker.
if TYPE_CHECKING:
    _Executor = parsl_executor.HighThroughputExecutor
    # Older releases of Parsl return `Future` instead of `HTEXFuture`.
    from parsl.executors.high_throughput.executor import HTEXFuture
else:
    _Executor = object

AFuture = TypeVar("AFuture", bound=Future[Any])


class LinkedEnds(_Executor):
    """A base class, to be listed before one of Parsl's HighThroughputExecutors. It starts
    htex-interchange, or the given `interchange_launch_cmd`, and watches that process.

    If the process ends before `shutdown()`, then within a second all futures fail with
    `InterchangeLost`, `bad_state_is_set` becomes true, and every call that would wait for the
    interchange raises the same error. The command must stay in the foreground: if it ends while its
    interchange runs on, that counts as the interchange's end.

    Args:
        survive: whether another broker takes over when the current one is killed. Tasks that did
            not arrive are sent again; a task whose result was lost fails with `ResultLost`. The
            process that Parsl has started stays, and only its end is a loss. The executor keeps
            the messages of tasks until the interchange confirms that it has them. The option is
            added to an `interchange_launch_cmd` that begins with htex-interchange; for a command
            that begins with a launcher, put `--survive` in the command.

    Raises:
        FileNotFoundError: from the constructor, if no binary is found and none is named.
    """

    _watch: ProcessWatch | None = None
    # The wrapper that replaces Parsl's `incoming_q` when the interchange is started.
    _results: GuardedResults
    # None unless another broker takes over from a killed one.
    _restarts: Restarts | None = None
    _loss: InterchangeLost | None = None
    # Whether the end of the process counts as a loss: true from a complete start until a shutdown
    # begins.
    _serving = False
    # Whether a shutdown has begun, and whether one is complete. One that an exception ended, such
    # as KeyboardInterrupt, can be repeated.
    _ending = False
    _shut = False
    _process: subprocess.Popen[bytes] | None = None

    def __init__(self, *args: Any, survive: bool = SURVIVE_UNLESS_TOLD, **kwargs: Any) -> None:
        if not isinstance(survive, bool):
            raise TypeError(f"survive must be True or False, not {survive!r}")
        self._phase = threading.Lock()
        self._shutting = threading.Lock()
        super().__init__(*args, **kwargs)
        self.survive = survive
        if self.interchange_launch_cmd is parsl_executor.DEFAULT_INTERCHANGE_LAUNCH_CMD:
            self.interchange_launch_cmd = launch_command()
        if survive:
            flags = [SURVIVE, EXACT_CAPACITY] if self.enable_mpi_mode else [SURVIVE]
            self.interchange_launch_cmd = with_flags(self.interchange_launch_cmd, flags)

    @property
    def interchange_proc(self) -> subprocess.Popen[bytes] | None:
        """The interchange's process, watched from the moment that Parsl has started it."""
        return self._process

    @interchange_proc.setter
    def interchange_proc(self, process: subprocess.Popen[bytes] | None) -> None:
        self._process = process
        if process is not None:
            self._watch = ProcessWatch(process, self._interchange_ended)

    def start(self) -> None:
        """Starts the interchange and the initial parts of the executor. A start that fails leaves
        nothing behind.

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
        """Submits a task as Parsl's method does.

        Raises:
            InterchangeLost: the interchange has ended.
        """
        self._raise_if_lost()
        return self._unless_too_late(super().submit(func, resource_specification, *args, **kwargs))

    # Parsl 2025.9.29 and later have `submit_payload`.
    if hasattr(parsl_executor.HighThroughputExecutor, "submit_payload"):

        def submit_payload(self, context: dict[str, Any], buffer: bytes) -> HTEXFuture:
            """Submits a serialized task as Parsl's method does.

            Raises:
                InterchangeLost: the interchange has ended.
            """
            self._raise_if_lost()
            return self._unless_too_late(super().submit_payload(context, buffer))

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        """Sets the bad state and fails all futures as Parsl's method does, with three differences.
        The first reason is kept. A cancelled future, or a task submitted at the same time, does no
        harm. Futures get an `InterchangeLost` unwrapped."""
        if not self.bad_state_is_set:
            logger.error("Setting bad state due to exception", exc_info=exception)
            self._executor_exception = exception
            self._executor_bad_state.set()
        self._fail_outstanding()

    def status(self) -> dict[str, JobStatus]:
        """Returns the blocks' states; without the interchange, only what the provider knows."""
        if self._loss is None:
            try:
                return super().status()
            except InterchangeLost:
                pass
        return BlockProviderExecutor.status(self)

    def scale_out_facade(self, n: int) -> list[str]:
        """Starts `n` blocks; none after a loss, when their managers would have no interchange to
        register with."""
        if self._loss is not None:
            return []
        return super().scale_out_facade(n)

    def scale_in(self, blocks: int, max_idletime: float | None = None) -> list[str]:
        """Ends up to `blocks` blocks; with `max_idletime`, only blocks that have been idle for that
        many seconds. Without the interchange, idle times are unknown: any blocks are ended if
        `max_idletime` is None, else none."""
        if self._loss is None:
            try:
                return super().scale_in(blocks, max_idletime)
            except InterchangeLost:
                pass
        return BlockProviderExecutor.scale_in(self, blocks) if max_idletime is None else []

    def shutdown(self, timeout: float = 10.0) -> None:
        """Ends the interchange, and kills it after `timeout` seconds. After a loss, this also
        cancels the blocks: Parsl does not scale in an executor that is in a bad state. A call
        during another one returns immediately."""
        # Not a wait: the call may come from a callback in a thread that the other call joins.
        if not self._shutting.acquire(blocking=False):
            return
        try:
            if not self._shut:
                self._shut_down(timeout)
        finally:
            self._shutting.release()

    def _shut_down(self, timeout: float) -> None:
        watch = self._watch
        if watch is not None and self._serving and watch.has_ended():
            watch.join(TELLING_S)
        with self._phase:
            self._serving = False
            self._ending = watch is not None
        if self._loss is not None:
            self._cancel_blocks()
        if self._restarts is not None:
            self._restarts.stop_sending()
        super().shutdown(timeout)
        if watch is not None:
            # The result thread closes the queue, unless an exception ended that thread.
            self.incoming_q.close()
            watch.join(TELLING_S)
        self._shut = self._ending

    def _start_local_interchange_process(self) -> None:
        def ended() -> bool:
            return self._watch is not None and self._watch.ended.is_set()

        kept = KeptMessages(self._tasks) if survives(self.interchange_launch_cmd) else None
        # Typed `Any`, because to a type checker the attributes still hold Parsl's own pipes.
        tasks: Any = GuardedTasks(self.outgoing_q, ended, self._completed, kept)
        if kept is not None:
            self._restarts = Restarts(
                self.label, self._tasks, self._fail, kept, tasks.send_again, tasks.settle
            )
        results: Any = GuardedResults(
            self.incoming_q, ended, self.set_bad_state_and_fail_all, self._restarts
        )
        commands: Any = GuardedCommands(
            self.command_client, ended, self._why_no_reply, self._restarts
        )
        self._results = results
        self.outgoing_q, self.incoming_q, self.command_client = tasks, results, commands
        try:
            with _watched(commands.port):
                super()._start_local_interchange_process()
        except BrokenPipeError:
            # The process had ended before its configuration was written.
            if self._watch is None or not self._watch.ended.wait(1):
                raise
            raise self._lost() from None
        with self._phase:
            self._serving = not ended()
        if not self._serving:
            raise self._lost()

    def _completed(self, message: dict[str, Any]) -> dict[str, Any]:
        """Returns a task's message as it is sent. Called in the thread that submits the task."""
        return message

    def _interchange_ended(self) -> None:
        """Fails all futures after the end of the interchange; runs in the watching thread. Outside
        the time between a start and a shutdown it does nothing: both of these handle the end
        themselves."""
        with self._phase:
            if not self._serving:
                return
            self._results.drained.wait(DRAIN_S)
            self._results.drained.set()
            self._loss = self._lost()
        # Reaped here, because Parsl reaps the process only at the shutdown, which may be hours
        # away.
        if self._process is not None:
            self._process.poll()
        self.set_bad_state_and_fail_all(self._loss)

    def _lost(self) -> InterchangeLost:
        exit_code = None if self._watch is None else self._watch.exit_code
        return interchange_lost(self.label, exit_code, self.logdir)

    def _why_no_reply(self) -> Exception:
        return CommandClientBadError("the executor was shut down") if self._ending else self._lost()

    def _raise_if_lost(self) -> None:
        if self._loss is not None:
            raise self._loss.copy()

    def _unless_too_late(self, future: AFuture) -> AFuture:
        """Returns `future`, and fails it here if its task was registered after all others had been
        failed."""
        if self.bad_state_is_set:
            self._fail_outstanding()
        return future

    def _fail_outstanding(self) -> None:
        reason = self.executor_exception
        raised: list[BaseException] = []
        for task_id in list(self._tasks):
            lost = isinstance(reason, InterchangeLost)
            try:
                self._fail(task_id, reason.copy() if lost else BadStateException(self, reason))
            except BaseException as fault:
                # A callback of that future called `sys.exit`, for example: the others fail first.
                raised.append(fault)
        if raised:
            raise raised[0]

    def _fail(self, task_id: object, reason: Exception) -> bool:
        """Fails the future of a task; returns False if the task is not outstanding. Only the caller
        that removes a task from `_tasks` answers its future, so each future is answered once."""
        future = self._tasks.pop(task_id, None)
        if future is None:
            return False
        try:
            future.set_exception(reason)
        except InvalidStateError:
            logger.debug("Task %s was already cancelled", task_id)
        return True

    def _cancel_blocks(self) -> None:
        try:
            self.scale_in_facade(len(self.blocks_to_job_id))
        except Exception:
            logger.exception("Blocks could not be cancelled; managers end automatically")

    def _abandon_start(self) -> None:
        """Releases what a failed start leaves behind: Parsl leaves its result thread and its
        sockets, and does not call `shutdown`."""
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
    """Gives a constructor the signature of Parsl's, followed by its own keyword-only parameters.
    Parsl prints an executor from the signature of its constructor, and looks through one wrapper
    for that signature."""

    def wrap(init: Initialiser) -> Initialiser:
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        own = [p for p in inspect.signature(init).parameters.values() if p.kind is keyword_only]
        theirs: Any = getattr(parsls.__init__, "__wrapped__", parsls.__init__)
        signature = inspect.signature(theirs)

        def shown() -> None:
            """Only carries the signature."""

        both: Any = shown
        both.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])
        wrapped = functools.wraps(parsls.__init__)(init)
        wrapped.__wrapped__ = both
        return wrapped

    return wrap


class HighThroughputExecutor(LinkedEnds, executors.HighThroughputExecutor):
    """Parsl's HighThroughputExecutor, with all its options, linked to htex-interchange: see
    `LinkedEnds`. It accepts resource specifications that say where a task fits
    (`htex_interchange.placement`), and passes the settings that this depends on to its interchange.

    Args:
        task_type_routing: what a `task_type` means for a task without its own `routing`. `soft`:
            managers that have run tasks of the type are preferred. `hard`: in addition, a manager
            holds tasks of only one type at a time.
        hold_failing_managers: whether a manager gets no more tasks if all its tasks fail fast
            while tasks of other managers do not.
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
            raise ValueError(
                f"task_type_routing must be 'soft' or 'hard', not {task_type_routing!r}"
            )
        if not isinstance(hold_failing_managers, bool):
            raise TypeError(
                f"hold_failing_managers must be True or False, not {hold_failing_managers!r}"
            )
        super().__init__(*args, survive=survive, **kwargs)
        self.task_type_routing = task_type_routing
        self.hold_failing_managers = hold_failing_managers
        self.interchange_launch_cmd = with_flags(self.interchange_launch_cmd, placement_flags(self))
        self._share = share_of(self)
        # Worker slots that outstanding tasks take in addition to one slot each.
        self._more_slots = 0
        self._counting = threading.Lock()
        # The placement of the task that the current thread is submitting.
        self._submitting = threading.local()

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        """Validates a resource specification as Parsl's method does, and also accepts what only
        htex-interchange supports.

        Raises:
            InvalidResourceSpecification: the text names the key, and says which values it accepts.
        """
        if resource_specification:
            check(resource_specification, self._share)

    # Parsl 2025.9.29 and later have `submit_payload`.
    if hasattr(executors.HighThroughputExecutor, "submit_payload"):

        def submit_payload(self, context: dict[str, Any], buffer: bytes) -> HTEXFuture:
            """Submits a serialized task as Parsl's method does. Keys of its `resource_spec` that
            say where the task fits move to its `placement`, which workers do not see.

            Raises:
                InterchangeLost: the interchange has ended.
                InvalidResourceSpecification: a key has a value that it does not accept.
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
            """Submits a task as Parsl's method does. These releases write the specification into
            the task itself, for the worker: keys that say where the task fits are removed first.

            Raises:
                InterchangeLost: the interchange has ended.
            """
            self.validate_resource_spec(resource_specification)
            seen, placement = split(resource_specification)
            # A callback of a future that this call fails may submit another task.
            before = getattr(self._submitting, "placement", None)
            self._submitting.placement = placement
            try:
                future = super().submit(func, seen, *args, **kwargs)
            finally:
                self._submitting.placement = before
            return self._count(future, placement)

        def _completed(self, message: dict[str, Any]) -> dict[str, Any]:
            placement = getattr(self._submitting, "placement", None)
            return {**message, "placement": placement} if placement else message

    def _outstanding(self) -> int:
        """Returns how many worker slots the unfinished tasks take. Parsl requests as many blocks as
        that number needs."""
        return len(self.tasks) + self._more_slots

    # `outstanding` is a property in the first supported releases of Parsl, and a method in later
    # ones.
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
    """Parsl's MPIExecutor, with all its options, linked to htex-interchange in the same way.

    Args:
        survive: see `LinkedEnds`.
    """

    @_with_signature_of(executors.MPIExecutor)
    def __init__(self, *args: Any, survive: bool = SURVIVE_UNLESS_TOLD, **kwargs: Any) -> None:
        super().__init__(*args, survive=survive, **kwargs)

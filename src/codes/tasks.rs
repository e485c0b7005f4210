//! Codes about tasks and results.

use tracing::Level;

use super::Code;
use super::Who::{Interchange, Manager, SubmitSide, Task};

table! {
    INTAKE_PAUSED: WARN, "intake-paused", SubmitSide,
        "Queued tasks and unsent results have reached the memory bound. The interchange reads no \
         more tasks until some bytes are free; new tasks wait in the submit process. Nothing is \
         lost.",
        "Add workers, or raise `--max-queued-bytes`. If most bytes are results, the executor does \
         not read them.";
    INTAKE_RESUMED: INFO, "intake-resumed", SubmitSide,
        "The interchange reads tasks again.",
        "Nothing.";
    TASK_UNREADABLE: WARN, "task-unreadable", Task,
        "A message on the task channel has a task id but is not a task that HTEX could send, or \
         its id is too large. The task's future fails with the reason.",
        "Use Parsl's own executor, or correct the program that writes the task.";
    TASK_MESSAGE_DROPPED: WARN, "task-message-dropped", Task,
        "A message on the task channel is not a task and contains no task id, so no future can \
         fail. The interchange drops it.",
        "Find out which other program connects to the submit side's ports.";
    TASK_DUPLICATE: WARN, "task-duplicate", Task,
        "A task has the id of a task that is queued or in flight. The interchange drops the \
         second one.",
        "Correct the client: an executor must give each task a different id.";
    TASK_AFTER_END: WARN, "task-after-end", Task,
        "A task arrived while the interchange was ending. The interchange drops it.",
        "Nothing: the run is over.";
    TASK_TOO_COMPLEX: WARN, "task-too-complex", Task,
        "A task's pickle is too long or too deeply nested to be scanned. The task runs with the \
         lowest priority, on any manager.",
        "Pass large data by files, or as an argument that is a plain value.";
    PRIORITY_UNREADABLE: WARN, "priority-unreadable", Task,
        "The priority of a task is not a number. The task gets the lowest priority.",
        "Give a number as `priority` in the resource specification.";
    NEEDS_UNREADABLE: WARN, "needs-unreadable", Task,
        "A task requests something (cores, memory, a node, …) in an unknown form. The interchange \
         ignores that request and runs the task. It logs only the first such task.",
        "Use a form that the guide's page `use` lists, or the package's executor, which checks \
         them.";
    NO_MANAGER_FITS: WARN, "no-manager-fits", Task,
        "Tasks request more than any registered manager offers, or their affinity names a manager \
         that cannot hold them. They wait. Each kind of request is logged once.",
        "Nothing, if a block that offers it is about to start. Otherwise request less, or other \
         blocks: `status` shows how much is missing. An affinity ends when its manager is held or \
         lost.";
    TASKS_LOST: WARN, "tasks-lost", Manager,
        "The tasks of a removed manager failed with ManagerLost.",
        "See manager-lost. `Config(retries=1)` runs such tasks again, if running them twice is \
         safe.";
    DOUBTFUL_TASKS_LOST: WARN, "doubtful-tasks-lost", Manager,
        "Some tasks were in transit when a manager's connection broke, and no result followed \
         after the manager reconnected. They failed with ManagerLost.",
        "`--reconnect-patience` sets how long the interchange waits for such results. \
         `Config(retries=1)` runs the tasks again, if running them twice is safe.";
    MANAGER_ENDED_BY_TASK: WARN, "manager-ended-by-task", Task,
        "A lost manager had tasks whose context looks up a class or function that may be missing \
         on the node. A manager that cannot import such a name crashes.",
        "Install the module on the nodes, or put only plain data into the task's resource \
         specification.";
    TASKS_UNANSWERED: WARN, "tasks-unanswered", SubmitSide,
        "Tasks were queued or in flight when the interchange ended.",
        "A program that needs all results must wait for its futures before it ends.";
    RESULT_UNREADABLE: WARN, "result-unreadable", Manager,
        "The interchange cannot parse the result of a task. The task's future fails with the \
         reason.",
        "The manager may be of another release, or not a manager of Parsl: check its node.";
    RESULT_NOT_HELD: WARN, "result-not-held", Manager,
        "A manager sent a result of a task that it does not have: the task was given up before, \
         or the result is a duplicate. The interchange drops it.",
        "If the task was given up: see doubtful-tasks-lost.";
    RESULT_UNSENT: WARN, "result-unsent", SubmitSide,
        "The socket to the submit side did not accept a result. Its future may never complete.",
        "Check the submit process, and report the error behind the colon.";
    RESULTS_UNTAKEN: WARN, "results-untaken", SubmitSide,
        "When the interchange ended, the executor had not read all results in time.",
        "Check the submit process: it was busy, stopped or had ended.";
    TASK_FORGOTTEN: ERROR, "task-forgotten", Interchange,
        "The interchange has lost track of a task. Its future will never complete.",
        "Report it, with the log.";
}

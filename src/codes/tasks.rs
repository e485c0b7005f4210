//! Codes about tasks and results.

use tracing::Level;

use super::Code;
use super::Who::{Interchange, Manager, SubmitSide, Task};

table! {
    INTAKE_PAUSED: WARN, "intake-paused", SubmitSide,
        "The interchange holds as many bytes of tasks and results as it may, and receives no more \
         tasks until some have left: they wait in the submit process. Nothing is lost.",
        "More workers, or a larger `--max-queued-bytes`. If results are what is held: the \
         executor does not take them.";
    INTAKE_RESUMED: INFO, "intake-resumed", SubmitSide,
        "Tasks are received again.",
        "Nothing.";
    TASK_UNREADABLE: WARN, "task-unreadable", Task,
        "The message of a task is no task that HTEX could send, or its id is too large. Its \
         future fails with the reason.",
        "Use Parsl's own executor, or correct the program that writes the task.";
    TASK_MESSAGE_DROPPED: WARN, "task-message-dropped", Task,
        "A message on the channel for tasks is no task and names none, so no future can fail. It \
         is dropped.",
        "Find out what else connects to the submit side's ports.";
    TASK_DUPLICATE: WARN, "task-duplicate", Task,
        "A task has the id of one that is queued or in flight. The second one is dropped.",
        "Correct the client: an executor gives each task an id of its own.";
    TASK_AFTER_END: WARN, "task-after-end", Task,
        "A task came while the interchange was ending, and is dropped.",
        "Nothing: the run is over.";
    TASK_TOO_COMPLEX: WARN, "task-too-complex", Task,
        "A task's pickle is too long or too deep to be searched. The task runs with the lowest \
         priority, on any manager.",
        "Pass large data by files, or as an argument that is a plain value.";
    PRIORITY_UNREADABLE: WARN, "priority-unreadable", Task,
        "The priority of a task is no number. The task has the lowest.",
        "Give a number as `priority` in the resource specification.";
    NEEDS_UNREADABLE: WARN, "needs-unreadable", Task,
        "A task asks for something (cores, memory, a node, …) in a form that is not known. The \
         task runs as if the word were not there. Of later tasks this is not logged.",
        "Use the forms that the guide's page on placement lists, or the package's executor, which \
         checks them.";
    NO_MANAGER_FITS: WARN, "no-manager-fits", Task,
        "Tasks ask for more than any manager here has, or must go to one that cannot hold them. \
         They wait. Each kind is logged once.",
        "Nothing, if a block that has it is on its way. Otherwise ask for less, or for other \
         blocks: `status` says how much is missing. An affinity ends when its manager is held or \
         lost.";
    TASKS_LOST: WARN, "tasks-lost", Manager,
        "The tasks of a manager that was removed have failed with ManagerLost.",
        "See manager-lost. `Config(retries=1)` runs such tasks again, if they may be run twice.";
    DOUBTFUL_TASKS_LOST: WARN, "doubtful-tasks-lost", Manager,
        "Tasks that were on their way when a manager's connection broke have had no result since \
         the manager came back. They have failed with ManagerLost.",
        "`--reconnect-patience` sets how long they are waited for. `Config(retries=1)` runs them \
         again, if they may be run twice.";
    MANAGER_ENDED_BY_TASK: WARN, "manager-ended-by-task", Task,
        "A lost manager had tasks that name a class of a module of their own. No manager survives \
         a name in a task's context that it cannot import.",
        "Install the module on the nodes, or put plain data into the task's resource \
         specification.";
    TASKS_UNANSWERED: WARN, "tasks-unanswered", SubmitSide,
        "Tasks were queued or in flight when the interchange ended.",
        "A program that wants all results waits for its futures before it ends.";
    RESULT_UNREADABLE: WARN, "result-unreadable", Manager,
        "The result of a task cannot be passed on. Its future fails with the reason.",
        "The manager may be of another release, or no manager of Parsl's: look at its node.";
    RESULT_NOT_HELD: WARN, "result-not-held", Manager,
        "A manager has sent the result of a task that it does not hold: one that was given up \
         before, or a result that comes twice. It is dropped.",
        "If it is of a task that was given up: see doubtful-tasks-lost.";
    RESULT_UNSENT: WARN, "result-unsent", SubmitSide,
        "The socket to the submit side did not accept a result. Its future may have no end.",
        "Look at the submit process, and report the error behind the colon.";
    RESULTS_UNTAKEN: WARN, "results-untaken", SubmitSide,
        "At its end the interchange had results that the executor did not take in time.",
        "Look at the submit process: it was busy, stopped, or gone.";
    TASK_FORGOTTEN: ERROR, "task-forgotten", Interchange,
        "The interchange has lost track of a task. Its future has no end.",
        "Report it, with the log.";
}

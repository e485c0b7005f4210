//! Codes about managers, and about the user's own selector.

use tracing::Level;

use super::Code;
use super::Who::{Manager, Peer, Selector, SubmitSide};

table! {
    MANAGER_REGISTERED: INFO, "manager-registered", Manager,
        "A manager has registered: its node, block, capacity and versions.",
        "Nothing. If blocks run and no such line comes: their workers do not start, or do not \
         reach the address or the port. `manager.log` in the block's directory has the addresses \
         that they tried; `submit_scripts` has the blocks' output.";
    MANAGER_REREGISTERED: WARN, "manager-reregistered", Manager,
        "A registered manager has registered again by the same connection. It keeps its tasks.",
        "Nothing, unless it repeats; then look at its `manager.log`.";
    MANAGER_REPLACED: WARN, "manager-replaced", Manager,
        "A manager has registered under the identity of another one. The earlier registration is \
         discarded, and its tasks fail with ManagerLost.",
        "Two processes have one identity: find out who copied a manager's command line with its \
         uid.";
    VERSION_MISMATCH: ERROR, "version-mismatch", Manager,
        "A manager has another version of Python or of Parsl than the submit side. As in Parsl, \
         one such manager ends the run: every task fails with VersionMismatch.",
        "Let the provider's `worker_init` enter an environment with the same Python and Parsl.";
    VERSIONS_UNKNOWN: WARN, "versions-unknown", SubmitSide,
        "The versions of the submit side could not all be found. Those of the first manager are \
         what others are compared with.",
        "Nothing, if all nodes have one environment.";
    MANAGER_DISCONNECTED: INFO, "manager-disconnected", Manager,
        "The connection of a manager has closed. It gets no more tasks until it speaks; if it does \
         not, it is lost later. At the end of a run every manager goes so.",
        "Nothing, if manager-back follows. Otherwise look at its node and its block.";
    MANAGER_BACK: INFO, "manager-back", Manager,
        "A manager whose connection had closed speaks again, and gets tasks again.",
        "Nothing.";
    MANAGER_LOST: WARN, "manager-lost", Manager,
        "A manager has been silent for longer than the heartbeat threshold, or has not come back \
         since its connection closed. It is removed, and its tasks fail with ManagerLost.",
        "Look at the end of its `manager.log` and at its block's standard error: a batch job's \
         end, memory that ran out, a node that failed. If file systems stall, raise \
         `heartbeat_threshold`. `Config(retries=1)` runs lost tasks again.";
    MANAGERS_VANISHED: WARN, "managers-vanished", Manager,
        "Managers of one block have vanished together. The others of that block get nothing new \
         until they have spoken.",
        "Look at the block: its batch job may have ended.";
    MANAGER_HELD: INFO, "manager-held", Manager,
        "A request to hold a manager has come: from Parsl, which holds the managers of a block \
         that it takes away, or from `top`. It gets no more tasks.",
        "Nothing.";
    HOLD_UNKNOWN: WARN, "hold-unknown", SubmitSide,
        "A request to hold a manager names one that is not registered. It has no effect.",
        "Nothing, if that manager has just ended.";
    MANAGER_DRAINING: INFO, "manager-draining", Manager,
        "A manager has reached its drain time: it gets no more tasks, and ends when it has none.",
        "Nothing.";
    MANAGER_DRAINED: INFO, "manager-drained", Manager,
        "A draining manager has no task any more and is told to exit.",
        "Nothing.";
    MANAGER_CLOGGED: WARN, "manager-clogged", Manager,
        "A manager does not receive the tasks that it was sent. It gets no more until it does.",
        "Its node is stopped, or the network to it is slow. Others get the work; if it lasts, look \
         at the node.";
    MANAGER_UNCLOGGED: INFO, "manager-unclogged", Manager,
        "A manager that did not receive its tasks does so again.",
        "Nothing.";
    MANAGER_FAILING: WARN, "manager-failing", Manager,
        "The last tasks of a manager have all raised, faster than tasks of other managers are \
         done. Its node may be broken: a mount, a GPU, the environment.",
        "Look at the node, and at what its tasks raised. `--hold-failing-managers` holds such a \
         manager.";
    NOT_REGISTERED: WARN, "not-registered", Manager,
        "A message of an identity that is not registered, or not any more. A manager that was \
         removed is told to exit.",
        "It was silent for too long: see manager-lost. One that was never registered is no \
         manager of this run.";
    ADDRESS_CHANGED: WARN, "address-changed", Peer,
        "A manager speaks from another address than before: a second interface, or somebody else.",
        "If it is no node of yours: restart with new keys.";
    SELECTOR_FAILED: WARN, "selector-failed", Selector,
        "The user's own manager selector raised, took too long, gave no usable answer, or its \
         process ended. Managers are chosen at random instead.",
        "Its traceback is in the log. While it goes on, a line a minute counts the failures.";
    SELECTOR_RESTARTED: WARN, "selector-restarted", Selector,
        "The process of the user's own manager selector has ended, and is started once more.",
        "Its standard error is in the interchange's.";
    SELECTOR_ABANDONED: ERROR, "selector-abandoned", Selector,
        "The user's own manager selector is not asked any more: managers are chosen at random for \
         the rest of the run.",
        "Do as the reason behind the colon says, before the next run.";
}

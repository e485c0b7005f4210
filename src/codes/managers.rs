//! Codes about managers, and about the user's own selector.

use tracing::Level;

use super::Code;
use super::Who::{Manager, Peer, Selector, SubmitSide};

table! {
    MANAGER_REGISTERED: INFO, "manager-registered", Manager,
        "A manager registered. The line shows its node, block, capacity and versions.",
        "Nothing. If blocks run and no manager registers, their workers do not start or cannot \
         reach the address. `manager.log` in the block's directory shows the addresses that they \
         tried; `submit_scripts` has the output of the blocks.";
    MANAGER_REREGISTERED: WARN, "manager-reregistered", Manager,
        "A registered manager registered again over the same connection. It keeps its tasks.",
        "Nothing, unless it repeats; then read its `manager.log`.";
    MANAGER_REPLACED: WARN, "manager-replaced", Manager,
        "A second manager registered with the identity of a registered one. The earlier \
         registration is discarded, and its tasks fail with ManagerLost.",
        "Two processes use one identity: look for a copied manager command line with the same uid.";
    VERSION_MISMATCH: ERROR, "version-mismatch", Manager,
        "A manager has another version of Python or Parsl than the submit side. As in Parsl, one \
         such manager ends the run: every task fails with VersionMismatch.",
        "Have the provider's `worker_init` activate an environment with the same Python and Parsl.";
    VERSIONS_UNKNOWN: WARN, "versions-unknown", SubmitSide,
        "The interchange could not determine all versions of the submit side. It compares \
         managers with the first manager instead.",
        "Nothing, if all nodes have one environment.";
    MANAGER_DISCONNECTED: INFO, "manager-disconnected", Manager,
        "A manager's connection closed. The manager gets no tasks until it sends a message; if it \
         stays silent, it is lost later. At the end of a run every manager disconnects.",
        "Nothing, if manager-back follows. Otherwise check its node and its block.";
    MANAGER_BACK: INFO, "manager-back", Manager,
        "A manager whose connection had closed has sent a message and is eligible for tasks again.",
        "Nothing.";
    MANAGER_LOST: WARN, "manager-lost", Manager,
        "A manager was silent for longer than the heartbeat threshold, or did not reconnect after \
         its connection closed. The interchange removes it, and its tasks fail with ManagerLost.",
        "Read the end of its `manager.log` and its block's standard error: the batch job may have \
         ended, memory may have run out, or the node failed. If file systems stall, raise \
         `heartbeat_threshold`. `Config(retries=1)` runs lost tasks again.";
    MANAGERS_VANISHED: WARN, "managers-vanished", Manager,
        "Several managers of one block disappeared together. The other managers of that block get \
         no tasks until they send a message.",
        "Check the block: its batch job may have ended.";
    MANAGER_HELD: INFO, "manager-held", Manager,
        "Parsl or a user of `top` requested to hold a manager; Parsl does so before it removes a \
         block. The manager gets no more tasks.",
        "Nothing.";
    HOLD_UNKNOWN: WARN, "hold-unknown", SubmitSide,
        "A request to hold a manager names a manager that is not registered. It has no effect.",
        "Nothing, if that manager has just ended.";
    MANAGER_DRAINING: INFO, "manager-draining", Manager,
        "A manager has reached its drain time. It gets no more tasks and exits after its last one.",
        "Nothing.";
    MANAGER_DRAINED: INFO, "manager-drained", Manager,
        "A draining manager has finished its last task, and the interchange tells it to exit.",
        "Nothing.";
    MANAGER_CLOGGED: WARN, "manager-clogged", Manager,
        "A manager does not read the tasks sent to it. It gets no more tasks until it reads.",
        "Its node is stopped, or the network to it is slow. Other managers get the work; if it \
         lasts, check the node.";
    MANAGER_UNCLOGGED: INFO, "manager-unclogged", Manager,
        "A manager reads its tasks again.",
        "Nothing.";
    MANAGER_FAILING: WARN, "manager-failing", Manager,
        "The last tasks of a manager all raised exceptions, and sooner than tasks on other \
         managers finish. Its node may be broken: a mount, a GPU, the environment.",
        "Check the node, and the exceptions of its tasks. `--hold-failing-managers` holds such a \
         manager.";
    NOT_REGISTERED: WARN, "not-registered", Manager,
        "A message arrived from an identity that is not registered. If the interchange had \
         removed that manager, it now tells it to exit.",
        "The manager was silent for too long: see manager-lost. If it never registered, it is not \
         a manager of this run.";
    ADDRESS_CHANGED: WARN, "address-changed", Peer,
        "A manager now sends from another address: it uses a second interface, or another process \
         uses its identity.",
        "If the address is not one of your nodes: restart the run with new keys.";
    SELECTOR_FAILED: WARN, "selector-failed", Selector,
        "The user's manager selector raised, took too long, returned no usable answer, or its \
         process ended. The interchange chooses managers at random instead.",
        "The log has its traceback. If it continues to fail, one line a minute counts the \
         failures.";
    SELECTOR_RESTARTED: WARN, "selector-restarted", Selector,
        "The process of the user's manager selector ended, and the interchange started it once \
         more.",
        "The selector writes its standard error to that of the interchange.";
    SELECTOR_ABANDONED: ERROR, "selector-abandoned", Selector,
        "The interchange no longer uses the user's manager selector. It chooses managers at \
         random for the rest of the run.",
        "Fix the cause named behind the colon before the next run.";
}

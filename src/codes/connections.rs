//! Codes about sockets, descriptors, keys, and the submit side.

use tracing::Level;

use super::Code;
use super::Who::{Interchange, Manager, Peer, SubmitSide};

table! {
    LISTENING: INFO, "listening", Interchange,
        "Managers can connect to the port that the line has.",
        "Nothing.";
    CONNECTED: INFO, "connected", SubmitSide,
        "The interchange connects to the submit side's address and ports that the line has.",
        "Nothing.";
    CONNECTION_BROKEN: WARN, "connection-broken", SubmitSide,
        "A connection to the submit side broke and is made again. What was on its way is lost, and \
         its futures may have no end. A message that memory has no room for does that; then the \
         line names the limit.",
        "Raise the limit that the line names, or pass large data by files. Otherwise look at what \
         is between the two processes.";
    CONNECTION_LOST: ERROR, "connection-lost", SubmitSide,
        "A connection to the submit side broke and could not be made again. What it carries does \
         not pass any more.",
        "End the run, and report the error behind the colon.";
    COMMAND_UNREADABLE: WARN, "command-unreadable", SubmitSide,
        "A request on the command channel could not be read. It is answered with None.",
        "Find out what else connects to the submit side's ports, or which release it is of.";
    COMMAND_UNKNOWN: WARN, "command-unknown", SubmitSide,
        "A request on the command channel is none that this interchange knows. It is answered with \
         None, as in Parsl.",
        "The submit side's Parsl may be newer: see parsl-newer.";
    REPLY_UNSENT: WARN, "reply-unsent", SubmitSide,
        "The reply to a command could not be sent.",
        "Look at the submit process: it may have ended.";
    EXECUTOR_STYLE_UNKNOWN: WARN, "executor-style-unknown", SubmitSide,
        "Whether the executor asks for the state of the interchange or waits for it could not be \
         found out. It is served as one that asks.",
        "Nothing, if `parsl.load()` returns.";
    MESSAGE_UNREADABLE: WARN, "message-unreadable", Peer,
        "Bytes on the worker port are no message of a manager. They are dropped.",
        "Look at the sender: a manager of another release, or no part of Parsl.";
    MESSAGE_CUT_OFF: WARN, "message-cut-off", Manager,
        "A connection closed in the middle of a message to a manager.",
        "See manager-disconnected, which follows.";
    ACCEPT_FAILED: WARN, "accept-failed", Interchange,
        "A connection to the worker port could not be accepted.",
        "If it repeats: descriptors or memory run out.";
    HANDSHAKE_FAILED: WARN, "handshake-failed", Peer,
        "A connection to the worker port ended in its handshake. The peer does not speak as the \
         port does (encrypted or not), or has another server's key.",
        "Set `encrypted` alike on both sides, without a proxy in between. Otherwise it is no \
         manager of this run: look at the address.";
    KEY_REFUSED: WARN, "key-refused", Peer,
        "A peer has a key that is not in the certificate directory. It is refused.",
        "A manager of another run, or of an earlier one: end it. If it belongs to this run, it \
         must read the very files of `cert_dir`.";
    PEER_REFUSED: WARN, "peer-refused", Peer,
        "Authentication refused a peer, for the reason in the line. key-refused has the same peer.",
        "See key-refused.";
    AUTH_MALFORMED: WARN, "auth-malformed", Interchange,
        "The request of libzmq to authenticate a peer could not be read. The peer is refused.",
        "Report it, with the log.";
    DESCRIPTORS_SCARCE: WARN, "descriptors-scarce", Interchange,
        "Most of the descriptors that the process may have are in use. Each manager needs one; at \
         95 % of the limit no more managers are accepted.",
        "Raise the hard limit (`ulimit -Hn`) where Parsl is started.";
    DESCRIPTORS_RAN_OUT: ERROR, "descriptors-ran-out", Interchange,
        "Descriptors ran out: new managers are refused until some leave. Those that are connected \
         are served.",
        "Raise the hard limit (`ulimit -Hn`) where Parsl is started, or ask for fewer blocks.";
    DESCRIPTORS_FREE: INFO, "descriptors-free", Interchange,
        "There are descriptors again, and managers are accepted again.",
        "Nothing.";
    DESCRIPTORS_UNWATCHED: WARN, "descriptors-unwatched", Interchange,
        "The descriptors of the worker port cannot be watched. If they run out, the process is \
         busy for nothing.",
        "Report it, with the error behind the colon.";
    WORKER_PORT_STUCK: WARN, "worker-port-stuck", Interchange,
        "The worker port could not be closed to new managers, or not opened again.",
        "If managers cannot connect: restart the run. Report the error behind the colon.";
    PORT_UNRESERVED: WARN, "port-unreserved", Interchange,
        "The worker port cannot be kept between the end of this process and the start of another \
         one in its place (`--survive`). Another program may take it.",
        "Nothing, as long as no process ends.";
}

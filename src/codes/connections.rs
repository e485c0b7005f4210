//! Codes about sockets, descriptors, keys, and the submit side.

use tracing::Level;

use super::Code;
use super::Who::{Interchange, Manager, Peer, SubmitSide};

table! {
    LISTENING: INFO, "listening", Interchange,
        "Managers can connect to the port that the line shows.",
        "Nothing.";
    CONNECTED: INFO, "connected", SubmitSide,
        "The interchange connects to the submit side. The line shows the address and the ports.",
        "Nothing.";
    CONNECTION_BROKEN: WARN, "connection-broken", SubmitSide,
        "A connection to the submit side broke, and the interchange reconnects. Messages in \
         transit are lost, and their futures may never complete. A message too large for the \
         available memory is one cause; the line then shows the limit.",
        "Raise the limit that the line shows, or pass large data by files. Otherwise check the \
         network between the two processes.";
    CONNECTION_LOST: ERROR, "connection-lost", SubmitSide,
        "A connection to the submit side broke, and reconnecting failed. No more messages pass \
         over it.",
        "End the run, and report the error behind the colon.";
    COMMAND_UNREADABLE: WARN, "command-unreadable", SubmitSide,
        "The interchange could not parse a request on the command channel. The reply is None.",
        "Find out which other program connects to the submit side's ports, or which release of \
         Parsl sent it.";
    COMMAND_UNKNOWN: WARN, "command-unknown", SubmitSide,
        "The submit side sent a command that this interchange does not know. The reply is None, \
         as in Parsl.",
        "The submit side's Parsl may be newer: see parsl-newer.";
    REPLY_UNSENT: WARN, "reply-unsent", SubmitSide,
        "The interchange could not send the reply to a command.",
        "Check the submit process: it may have ended.";
    EXECUTOR_STYLE_UNKNOWN: WARN, "executor-style-unknown", SubmitSide,
        "The interchange could not determine whether the executor polls it or waits for its \
         messages. It assumes that the executor polls.",
        "Nothing, if `parsl.load()` returns.";
    MESSAGE_UNREADABLE: WARN, "message-unreadable", Peer,
        "The worker port received bytes that are not a manager's message. The interchange drops \
         them.",
        "Check the sender: it is a manager of another release, or not a part of Parsl.";
    MESSAGE_CUT_OFF: WARN, "message-cut-off", Manager,
        "A connection closed in the middle of a message to a manager.",
        "See manager-disconnected, which follows.";
    ACCEPT_FAILED: WARN, "accept-failed", Interchange,
        "The interchange could not accept a connection to the worker port.",
        "If it repeats: descriptors or memory are running out.";
    HANDSHAKE_FAILED: WARN, "handshake-failed", Peer,
        "A connection to the worker port failed in its handshake. One side encrypts and the other \
         does not, or the peer has the key of another interchange.",
        "Set `encrypted` to the same value on both sides, and use no proxy between them. \
         Otherwise the peer is not a manager of this run: check its address.";
    KEY_REFUSED: WARN, "key-refused", Peer,
        "A peer has a key that is not in the certificate directory. The interchange refuses it.",
        "If the peer is a manager of another or an earlier run: end it. A manager of this run \
         must read the files of this run's `cert_dir`.";
    PEER_REFUSED: WARN, "peer-refused", Peer,
        "Authentication refused a peer, for the reason in the line. A line with key-refused names \
         the same peer.",
        "See key-refused.";
    AUTH_MALFORMED: WARN, "auth-malformed", Interchange,
        "The interchange could not parse an authentication request of libzmq. It refuses the peer.",
        "Report it, with the log.";
    DESCRIPTORS_SCARCE: WARN, "descriptors-scarce", Interchange,
        "The interchange uses most of its descriptors. Each manager needs one; at 95 % of the \
         limit the interchange refuses new managers.",
        "Raise the hard limit (`ulimit -Hn`) where Parsl is started.";
    DESCRIPTORS_RAN_OUT: ERROR, "descriptors-ran-out", Interchange,
        "The interchange has run out of descriptors and refuses new connections until some close. \
         It continues to serve connected managers.",
        "Raise the hard limit (`ulimit -Hn`) where Parsl is started, or ask for fewer blocks.";
    DESCRIPTORS_FREE: INFO, "descriptors-free", Interchange,
        "Descriptors are available again, and the interchange accepts new managers.",
        "Nothing.";
    DESCRIPTORS_UNWATCHED: WARN, "descriptors-unwatched", Interchange,
        "The interchange cannot watch the descriptors of the worker port. If they run out, the \
         process uses a full core.",
        "Report it, with the error behind the colon.";
    WORKER_PORT_STUCK: WARN, "worker-port-stuck", Interchange,
        "The interchange could not close the worker port to new managers, or could not open it \
         again.",
        "If managers cannot connect: restart the run. Report the error behind the colon.";
    PORT_UNRESERVED: WARN, "port-unreserved", Interchange,
        "The interchange cannot reserve the worker port for a restart (`--survive`). Another \
         program could take the port between the end of this process and the start of the next.",
        "Nothing, as long as the process is not killed.";
}

//! Codes about monitoring, metrics, status and events: services on which no task depends.

use tracing::Level;

use super::Code;
use super::Who::{Monitoring, SideServices};

table! {
    SIDE_SERVICE_FAILED: WARN, "side-service-failed", SideServices,
        "Metrics, events or status could not begin, for the reason behind the colon: a port that \
         is taken, a directory that is not there, a full disk. Tasks are not concerned.",
        "Do as the line says. `--strict` refuses such a start.";
    STATUS_SERVED: INFO, "status-served", SideServices,
        "`status` and `top` find the interchange at the socket that the line has.",
        "Nothing.";
    METRICS_SERVED: INFO, "metrics-served", SideServices,
        "Metrics are served at the address that the line has.",
        "Nothing.";
    EVENTS_BEGUN: INFO, "events-begun", SideServices,
        "Events are written to the file that the line has.",
        "Nothing.";
    EVENTS_SHARED: WARN, "events-shared", SideServices,
        "Two executors name one file of events. Each writes to a file of its own, and the line has \
         the other name.",
        "Nothing: `report` reads both. A name for each executor gives them the names that you \
         choose.";
    EVENTS_MOVED: WARN, "events-moved", SideServices,
        "The file of events was moved away or removed (by `logrotate`, for one). Another one is \
         begun.",
        "Nothing: what was in it is where it was moved to.";
    EVENTS_NOT_ROTATED: WARN, "events-not-rotated", SideServices,
        "The file of events has reached its size, and a new one cannot be begun, for the reason in \
         the line. Lines go on in the file at hand; nothing is lost.",
        "Make room, or let the directory be written to.";
    MONITORING_CONNECTED: INFO, "monitoring-connected", Monitoring,
        "Records go to Parsl's monitoring hub at the address that the line has.",
        "Nothing.";
    MONITORING_UNREACHABLE: WARN, "monitoring-unreachable", Monitoring,
        "There is no connection to Parsl's monitoring hub. Tasks are not concerned; the database \
         has nothing of this executor's nodes.",
        "Do as the error behind the colon says.";
    MONITORING_DROPPED: WARN, "monitoring-dropped", Monitoring,
        "Parsl's monitoring hub takes no records: it is stuck or gone. They are dropped, the \
         oldest first. Tasks are not concerned.",
        "Look at the hub's log in the run's directory.";
}

//! Codes about monitoring, metrics, status and events: services on which no task depends.

use tracing::Level;

use super::Code;
use super::Who::{Monitoring, SideServices};

table! {
    SIDE_SERVICE_FAILED: WARN, "side-service-failed", SideServices,
        "Metrics, events or status could not start, for the reason behind the colon: a port in \
         use, a missing directory, a full disk. Tasks are not affected.",
        "Follow the line. With `--strict` the interchange refuses to start in this case.";
    STATUS_SERVED: INFO, "status-served", SideServices,
        "`status` and `top` can connect to the interchange at the socket that the line shows.",
        "Nothing.";
    METRICS_SERVED: INFO, "metrics-served", SideServices,
        "The interchange serves metrics at the address that the line shows.",
        "Nothing.";
    EVENTS_BEGUN: INFO, "events-begun", SideServices,
        "The interchange writes events to the file that the line shows.",
        "Nothing.";
    EVENTS_SHARED: WARN, "events-shared", SideServices,
        "Two executors use the same path for their events. Each writes to its own file; the line \
         shows the other name.",
        "Nothing: `report` reads both files. To choose the names, give each executor its own path.";
    EVENTS_MOVED: WARN, "events-moved", SideServices,
        "Another program (`logrotate`, for example) moved or removed the events file. The \
         interchange starts a new file.",
        "Nothing: earlier events are in the file that was moved.";
    EVENTS_NOT_ROTATED: WARN, "events-not-rotated", SideServices,
        "The events file has reached its maximum size, but the interchange cannot start a new \
         file, for the reason in the line. It continues to write to the current file, which grows \
         beyond `--events-max-bytes`. No event is lost.",
        "Free disk space, or make the directory writable.";
    MONITORING_CONNECTED: INFO, "monitoring-connected", Monitoring,
        "The interchange sends records to Parsl's monitoring hub at the address that the line \
         shows.",
        "Nothing.";
    MONITORING_UNREACHABLE: WARN, "monitoring-unreachable", Monitoring,
        "The interchange cannot connect to Parsl's monitoring hub. Tasks are not affected; the \
         monitoring database will not show this executor's nodes.",
        "Follow the error behind the colon.";
    MONITORING_DROPPED: WARN, "monitoring-dropped", Monitoring,
        "Parsl's monitoring hub does not read its records: it is stuck or has ended. The \
         interchange drops the oldest ones. Tasks are not affected.",
        "Read the hub's log in the run's directory.";
}

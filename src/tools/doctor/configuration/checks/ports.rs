//! Ports: whether they are free, and which process has them. A check listens at a port for a
//! moment.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process, all_processes};

use crate::doctor::configuration::description::{Executor, PortRange};
use crate::shared::finding::Finding;
use crate::shared::process::command_line;
use submit_side::address::Address;

/// Ports of the submit process for tasks, results and commands. Monitoring's hub needs one more.
const SUBMIT_PORTS: usize = 3;
const COMMAND_CHARACTERS_MAX: usize = 120;

/// Examines the port to which managers connect.
pub(in crate::doctor) fn worker_port(
    executor: &Executor,
    address: Option<&Address>,
) -> Vec<Finding> {
    // Parsl treats 0 as no port, because it tests the number with Python's `if`.
    if let Some(port) = executor.worker_port.filter(|port| *port != 0) {
        return match u16::try_from(port) {
            Ok(port) => fixed(address, port).into_iter().collect(),
            Err(_) => vec![
                Finding::problem("port-invalid", format!("worker_port is {port}."))
                    .because("A port is a number from 0 to 65535.")
                    .remedy("Leave worker_port out, or set another port.")
                    .shown_by(format!("worker_port={port}")),
            ],
        };
    }
    let Some((first, end)) = executor.worker_port_range else {
        return vec![
            Finding::problem(
                "port-range-invalid",
                "Neither worker_port nor worker_port_range is set.",
            )
            .because("The interchange refuses to start without a port for managers.")
            .remedy("Leave worker_port_range out, or set it to a pair of numbers.")
            .shown_by("worker_port and worker_port_range have no port"),
        ];
    };
    range(
        "worker_port_range",
        "port-range-exhausted",
        address,
        (first, end),
        1,
    )
    .into_iter()
    .collect()
}

/// Examines the ports at which the submit process expects its interchange.
pub(in crate::doctor) fn submit_ports(executor: &Executor, loopback: &Address) -> Option<Finding> {
    let name = "interchange_port_range";
    let ends = match executor.interchange_port_range? {
        PortRange::Ends(first, end) => (first, end),
        PortRange::None => {
            return Some(
                Finding::problem("port-range-invalid", format!("{name} is None."))
                    .because(
                        "Parsl takes its own ports from this range, and cannot start without it.",
                    )
                    .remedy("Leave it out, or set it to a pair of numbers.")
                    .shown_by(format!("{name}=None")),
            );
        }
    };
    let wanted = SUBMIT_PORTS + usize::from(executor.monitoring == Some(true));
    range(name, "submit-ports-exhausted", Some(loopback), ends, wanted)
}

/// Examines the port at which the submit process receives managers' monitoring messages, if the
/// configuration names the port: with `MonitoringHub(hub_port=…)` until 2025.06.23, with
/// `UDPRadio(port=…)` of the executor since.
pub(in crate::doctor) fn monitoring_port(executor: &Executor) -> Option<Finding> {
    let port = executor.monitoring_port.filter(|port| *port != 0)?;
    let Ok(number) = u16::try_from(port) else {
        return Some(
            Finding::problem("port-invalid", format!("The port of monitoring is {port}."))
                .because("A port is a number from 0 to 65535.")
                .remedy("Leave it out, or set another port.")
                .shown_by(format!("port={port}")),
        );
    };
    // Parsl's receiver also listens at every address.
    let error = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, number)).err()?;
    let finding = match error.kind() == ErrorKind::PermissionDenied {
        true => Finding::problem(
            "port-forbidden",
            format!("You are not permitted to use UDP port {port} for monitoring: {error}."),
        ),
        false => Finding::problem(
            "monitoring-port-taken",
            format!("UDP port {port} is not available for monitoring: {error}."),
        ),
    };
    Some(
        finding
            .because("Parsl's monitoring cannot start without its port, and parsl.load() raises.")
            .remedy("Set another port, leave the port out, or end the process that uses it.")
            .shown_by(format!("port={port}"))
            .shown_by(format!("`ss -lun 'sport = :{port}'`")),
    )
}

/// Reports executors of one Config that have the same port.
pub(in crate::doctor) fn twice(executors: &[Executor]) -> Vec<Finding> {
    let fixed = |port: Option<i64>| port.filter(|port| *port != 0);
    let of_managers = clashes(executors, |one, other| {
        let port = fixed(one.worker_port).filter(|_| {
            one.address == other.address
                || one.is_reached_everywhere()
                || other.is_reached_everywhere()
        })?;
        (fixed(other.worker_port) == Some(port)).then(|| {
            Finding::problem(
                "port-twice",
                format!("{} both have worker_port {port}.", both(one, other)),
            )
            .because("The second of these executors refuses to start.")
            .remedy("Give them different ports, or set no port.")
            .shown_by(format!("worker_port={port} (executor {})", one.label()))
            .shown_by(format!("worker_port={port} (executor {})", other.label()))
        })
    });
    let of_monitoring = clashes(executors, |one, other| {
        let port = fixed(one.monitoring_port)?;
        (fixed(other.monitoring_port) == Some(port)).then(|| {
            Finding::problem(
                "port-twice",
                format!("{} both have port {port} for monitoring.", both(one, other)),
            )
            .because("The second receiver cannot use the port, and parsl.load() raises.")
            .remedy("Give each executor its own radio, with a different port or none.")
            .shown_by(format!("port={port} of the radio of {}", one.label()))
            .shown_by(format!("port={port} of the radio of {}", other.label()))
        })
    });
    of_managers.chain(of_monitoring).collect()
}

fn both(one: &Executor, other: &Executor) -> String {
    format!("Executors {} and {}", one.label(), other.label())
}

/// Returns the findings of `clash` for executors of one Config: for each executor, its first clash
/// with an earlier one.
fn clashes<'a>(
    executors: &'a [Executor],
    clash: impl Fn(&Executor, &Executor) -> Option<Finding> + 'a,
) -> impl Iterator<Item = Finding> + 'a {
    executors.iter().enumerate().filter_map(move |(place, it)| {
        let mut earlier = executors[..place].iter();
        earlier.find_map(|earlier| clash(earlier, it).filter(|_| earlier.is_beside(it)))
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system has many kinds of errors"
)]
fn fixed(address: Option<&Address>, port: u16) -> Option<Finding> {
    let error = try_port(address, port).err()?;
    match error.kind() {
        ErrorKind::AddrInUse => {
            let who = taker(port).unwrap_or_else(|| "another process".to_owned());
            Some(
                Finding::problem(
                    "port-taken",
                    format!("worker_port {port} is in use by {who}."),
                )
                .because("The interchange refuses to start if its port is in use.")
                .remedy("End that process, set another port, or leave worker_port out.")
                .shown_by(format!("worker_port={port}"))
                .shown_by(format!("`ss -ltn 'sport = :{port}'`")),
            )
        }
        ErrorKind::PermissionDenied => Some(
            Finding::problem(
                "port-forbidden",
                format!("You are not permitted to use worker_port {port}: {error}."),
            )
            .because("The interchange refuses to start if it cannot listen at its port.")
            .remedy("Set a port above 1023, or leave worker_port out.")
            .shown_by(format!("worker_port={port}"))
            .shown_by(format!("doctor tried to listen at this port: {error}")),
        ),
        // Other errors are about the address, which has its own check.
        _ => None,
    }
}

/// Reports a range with fewer than `wanted` free ports. The range begins with `first` and ends
/// before `end`.
fn range(
    name: &str,
    id: &'static str,
    address: Option<&Address>,
    (first, end): (i64, i64),
    wanted: usize,
) -> Option<Finding> {
    let is_range = (1..=65535).contains(&first) && (2..=65536).contains(&end) && first < end;
    if !is_range {
        return Some(
            Finding::problem("port-range-invalid", format!("{name} is ({first}, {end})."))
                .because(
                    "It must be a pair of ports, the first less than the second. The second is not \
                     used.",
                )
                .remedy("Correct it, or leave it out.")
                .shown_by(format!("{name}=({first}, {end})")),
        );
    }
    let mut free = 0;
    for port in first..end {
        let Ok(port) = u16::try_from(port) else { break };
        match try_port(address, port) {
            Ok(_) => free += 1,
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            // The address or the system allows no port at all: the range is not the reason.
            Err(_) => return None,
        }
        if free == wanted {
            return None;
        }
    }
    Some(
        Finding::problem(
            id,
            format!(
                "Only {free} ports in {name} ({first}, {end}) are free, but {wanted} are needed."
            ),
        )
        .because("Without enough ports the executor cannot start.")
        .remedy("Set a larger range, or end the processes that use its ports.")
        .shown_by(format!("{name}=({first}, {end})"))
        .shown_by(format!(
            "doctor tried to listen at each port; `ss -ltn 'sport >= :{first} and sport < :{end}'`"
        )),
    )
}

/// Listens at a port of `address`; without an address, at all IPv4 addresses.
pub(in crate::doctor) fn try_port(address: Option<&Address>, port: u16) -> io::Result<TcpListener> {
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    TcpListener::bind(address.map_or(Ok(everywhere), |address| address.at(port))?)
}

/// Returns the process that listens at a port, if this user may see that process.
fn taker(port: u16) -> Option<String> {
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let inode = tables
        .into_iter()
        .flatten()
        .find_map(|table| inode_of(&table, port))?;
    let has_it = |process: &Process| {
        let mut open = process.fd().into_iter().flatten().flatten();
        open.any(|descriptor| descriptor.target == FDTarget::Socket(inode))
    };
    let process = all_processes().ok()?.flatten().find(has_it)?;
    let command = command_line(u32::try_from(process.pid).ok()?);
    let command: String = command.chars().take(COMMAND_CHARACTERS_MAX).collect();
    Some(format!("process {} ({command})", process.pid))
}

/// Returns the inode of the socket that listens at a port, from the kernel's table of sockets.
fn inode_of(table: &[TcpNetEntry], port: u16) -> Option<u64> {
    let is_it = |entry: &&TcpNetEntry| {
        entry.local_address.port() == port && entry.state == TcpState::Listen
    };
    table.iter().find(is_it).map(|entry| entry.inode)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use procfs::FromBufReadSI as _;
    use procfs::net::TcpNetEntries;

    use super::*;

    fn loopback() -> Address {
        IpAddr::V4(Ipv4Addr::LOCALHOST).into()
    }

    fn ids(found: impl IntoIterator<Item = Finding>) -> Vec<&'static str> {
        found.into_iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn the_port_of_monitoring_is_tried_as_its_receiver_does() {
        let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let taken = i64::from(holder.local_addr().unwrap().port());
        let id = |port| {
            let executor = Executor {
                monitoring_port: port,
                ..Executor::default()
            };
            monitoring_port(&executor).map(|finding| finding.id)
        };
        assert_eq!(id(Some(taken)), Some("monitoring-port-taken"));
        drop(holder);
        assert_eq!(id(Some(taken)), None);
        assert_eq!((id(None), id(Some(0))), (None, None));
        assert_eq!(id(Some(65536)), Some("port-invalid"));
    }

    #[test]
    fn a_taken_port_is_reported_with_its_process() {
        let holder = try_port(Some(&loopback()), 0).unwrap();
        let port = holder.local_addr().unwrap().port();
        let executor = Executor {
            worker_port: Some(port.into()),
            ..Executor::default()
        };
        let found = worker_port(&executor, Some(&loopback()));
        assert_eq!(ids(found.clone()), ["port-taken"]);
        let process = format!("process {} (", std::process::id());
        assert!(found[0].what.contains(&process), "{found:?}");
        drop(holder);
        assert_eq!(worker_port(&executor, Some(&loopback())), []);
        // The check itself does not keep the port open.
        assert_eq!(worker_port(&executor, Some(&loopback())), []);
    }

    #[test]
    fn a_range_without_enough_free_ports_is_reported() {
        let holder = try_port(Some(&loopback()), 0).unwrap();
        let port = i64::from(holder.local_addr().unwrap().port());
        let given = |ends| Executor {
            worker_port_range: Some(ends),
            interchange_port_range: Some(PortRange::Ends(ends.0, ends.1)),
            ..Executor::default()
        };
        assert_eq!(
            ids(worker_port(&given((port, port + 1)), Some(&loopback()))),
            ["port-range-exhausted"]
        );
        let found = submit_ports(&given((port, port + 3)), &loopback());
        assert_eq!(ids(found), ["submit-ports-exhausted"]);
        for bad in [(0, 10), (10, 10), (20, 10), (60000, 70000)] {
            assert_eq!(
                ids(worker_port(&given(bad), Some(&loopback()))),
                ["port-range-invalid"],
                "{bad:?}"
            );
        }
        assert_eq!(
            ids(worker_port(&Executor::default(), Some(&loopback()))),
            ["port-range-invalid"]
        );
    }

    #[test]
    fn an_explicit_none_is_no_range() {
        let given: Executor = serde_json::from_str(r#"{"interchange_port_range": null}"#).unwrap();
        assert_eq!(
            ids(submit_ports(&given, &loopback())),
            ["port-range-invalid"]
        );
        // If this Parsl lacks the attribute, there is no finding.
        assert_eq!(submit_ports(&Executor::default(), &loopback()), None);
    }

    #[test]
    fn executors_with_the_same_port_are_reported() {
        let with = |port, address: Option<&str>| Executor {
            config: Some(1),
            worker_port: Some(port),
            address: address.map(str::to_owned),
            ..Executor::default()
        };
        assert_eq!(ids(twice(&[with(5, None), with(6, None)])), [""; 0]);
        assert_eq!(ids(twice(&[with(0, None), with(0, None)])), [""; 0]);
        assert_eq!(
            ids(twice(&[with(5, None), with(5, Some("a"))])),
            ["port-twice"]
        );
        assert_eq!(
            ids(twice(&[with(5, Some("b")), with(5, Some("a"))])),
            [""; 0]
        );
        for all in ["", "*"] {
            let both = [with(5, Some(all)), with(5, Some("a"))];
            assert_eq!(ids(twice(&both)), ["port-twice"], "{all:?}");
        }
        // A program starts only one of several Configs in a file.
        let of = |config| Executor {
            config,
            monitoring_port: Some(6),
            ..with(5, None)
        };
        for apart in [[of(Some(1)), of(Some(2))], [of(None), of(None)]] {
            assert_eq!(ids(twice(&apart)), [""; 0]);
        }
        let beside = [of(Some(1)), of(Some(2)), of(Some(1))];
        assert_eq!(ids(twice(&beside)), ["port-twice"; 2]);
    }

    #[test]
    fn the_table_of_sockets_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode\n   0: 0100007F:D431 00000000:0000 0A 00000000:00000000 \
                     00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   1: \
                     0100007F:D432 00000000:0000 01 00000000:00000000 00:00000000 00000000     0 \
                     0 4712 1 0 100 0 0 10 0\n";
        let table = TcpNetEntries::from_buf_read(table.as_bytes(), procfs::current_system_info())
            .unwrap()
            .0;
        assert_eq!(inode_of(&table, 0xD431), Some(4711));
        assert_eq!(inode_of(&table, 0xD432), None, "it does not listen");
        assert_eq!(inode_of(&table, 1), None);
    }
}

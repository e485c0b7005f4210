//! Addresses: whether they belong to this machine, and whether other machines reach them.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::ports::try_port;
use crate::doctor::configuration::description::{Executor, Where};
use crate::shared::finding::Finding;
use submit_side::address::Address;

const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
const ADDRESSES_SHOWN: usize = 8;

/// Returns the address at which the interchange would listen; None for all of the machine's
/// addresses.
pub(in crate::doctor) fn listened_at(executor: &Executor) -> Option<Address> {
    executor.named_address()?.parse().ok()
}

/// Examines `address`, by which managers reach the interchange.
pub(in crate::doctor) fn of_managers(executor: &Executor) -> Vec<Finding> {
    let Some(text) = executor.named_address() else {
        let all = executor.addresses();
        let found = no_network(executor, &all).or_else(|| any_address(&all));
        return found.into_iter().collect();
    };
    if text == "*" {
        return Vec::new();
    }
    let Ok(address) = text.parse::<Address>() else {
        return vec![no_literal(text)];
    };
    if let Some(finding) = not_here("address", text, &address) {
        return vec![finding];
    }
    let mut found = Vec::new();
    if is_loopback(address.ip())
        && let Some((name, nodes)) = other_machines(executor)
    {
        found.push(
            Finding::problem(
                "address-loopback",
                format!("address is {text}, but {name} starts managers on other machines."),
            )
            .because("Only this machine can connect to its loopback address.")
            .remedy(
                "Leave address out, so that managers try every address of this machine, or set the \
                 address that the nodes can reach (parsl.addresses.address_by_interface).",
            )
            .shown_by(format!("address={text:?}"))
            .shown_by(nodes),
        );
    }
    found.extend(unreachable(text, &address));
    found
}

/// Examines monitoring's own address, to which tasks on other machines send by UDP.
pub(in crate::doctor) fn of_monitoring(executor: &Executor) -> Option<Finding> {
    let text = executor.monitoring_address.as_deref()?;
    let is_named = text.parse().is_ok_and(is_loopback);
    let (name, nodes) = other_machines(executor).filter(|_| is_named || text == "localhost")?;
    Some(
        Finding::warning(
            "monitoring-loopback",
            format!(
                "Monitoring's address is {text}, but {name} starts managers on other machines."
            ),
        )
        .because(
            "The tasks' reports about state and resources would not arrive. The tasks still run.",
        )
        .remedy("Set an address of this machine that the nodes can reach, or leave the radio out.")
        .shown_by(format!("address={text:?} of monitoring"))
        .shown_by(nodes),
    )
}

/// Returns the provider's name, and evidence that the provider starts managers on other machines.
fn other_machines(executor: &Executor) -> Option<(&str, String)> {
    let provider = executor.provider.as_ref()?;
    let name = provider.name();
    let shown = match provider.nodes_per_block {
        Some(nodes) => format!("provider={name}, nodes_per_block={nodes}"),
        None => format!("provider={name}"),
    };
    (executor.managers_run() == Where::Elsewhere).then_some((name, shown))
}

/// Whether an address is a loopback address; also recognizes an IPv4 address in IPv6 notation.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Examines `loopback_address`, by which submit process and interchange connect.
pub(in crate::doctor) fn loopback(executor: &Executor) -> Result<Address, Box<Finding>> {
    let text = executor.loopback_address.as_deref().unwrap_or("127.0.0.1");
    let address = text.parse::<Address>().map_err(|_| {
        let what = format!("loopback_address is {text:?}.");
        let finding = Finding::problem("loopback-address", what)
            .because("Parsl requires an IP address here, and accepts no names.")
            .remedy("Leave loopback_address out, or set it to 127.0.0.1.")
            .shown_by(format!("loopback_address={text:?}"));
        Box::new(finding)
    })?;
    match not_here("loopback_address", text, &address) {
        Some(finding) => Err(Box::new(Finding {
            id: "loopback-address",
            ..finding
        })),
        None => Ok(address),
    }
}

fn no_literal(text: &str) -> Finding {
    let resolved = (text, 0).to_socket_addrs().map(|found| {
        let mut found: Vec<String> = found.map(|place| place.ip().to_string()).collect();
        found.sort();
        found.dedup();
        found.join(", ")
    });
    let remedy = match &resolved {
        Ok(found) => format!(
            "On this machine it resolves to {found}; write the address that the nodes can reach."
        ),
        Err(error) => {
            format!("It cannot be resolved on this machine either ({error}); leave address out.")
        }
    };
    Finding::problem(
        "address-is-a-name",
        format!("address is {text:?}, which is not an IP address."),
    )
    .because("Parsl's managers and the interchange accept only IP addresses.")
    .remedy(remedy)
    .shown_by(format!("address={text:?}"))
}

/// Reports an address of another machine, at which the interchange cannot listen.
fn not_here(name: &str, text: &str, address: &Address) -> Option<Finding> {
    let error = try_port(Some(address), 0).err()?;
    if is_link_local(address) && error.kind() == ErrorKind::InvalidInput {
        return Some(
            Finding::problem(
                "address-not-here",
                format!("{name} is {text}, a link-local address without an interface."),
            )
            .because(
                "Each interface may have this address, so a program can listen there only if the \
                 interface is named.",
            )
            .remedy(format!("Name the interface too, as in {text}%eth0."))
            .shown_by(format!("{name}={text:?}")),
        );
    }
    (error.kind() == ErrorKind::AddrNotAvailable).then(|| {
        Finding::problem(
            "address-not-here",
            format!("{name} is {text}, which is not an address of this machine."),
        )
        .because(format!("The interchange cannot listen there: {error}."))
        .remedy(format!(
            "Start the run on the machine that has this address, leave {name} out, or set an \
             address of this machine (`ip address` lists them)."
        ))
        .shown_by(format!("{name}={text:?}; `ip address` does not list it"))
    })
}

fn is_link_local(address: &Address) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Reports an address by which this machine cannot connect to itself: a firewall blocks it.
fn unreachable(text: &str, address: &Address) -> Option<Finding> {
    let listener = try_port(Some(address), 0).ok()?;
    let place: SocketAddr = listener.local_addr().ok()?;
    let error = TcpStream::connect_timeout(&place, CONNECTED_WITHIN).err()?;
    Some(
        Finding::problem(
            "address-unreachable",
            format!("Even this machine cannot connect to a port at {text}: {error}."),
        )
        .because("Managers connect to that address.")
        .remedy("Let the firewall pass the ports of worker_port_range, or use another address.")
        .shown_by(format!("connecting to a test port at {place}: {error}")),
    )
}

/// Reports that all addresses that managers would try are loopback addresses.
fn no_network(executor: &Executor, all: &[String]) -> Option<Finding> {
    let is_loopback = |text: &String| {
        let address = text.parse::<Address>();
        address.is_ok_and(|address| address.ip().is_loopback())
    };
    let is_alone = !all.is_empty() && all.iter().all(is_loopback);
    let provider = executor.provider.as_ref()?.name();
    (is_alone && executor.managers_run() == Where::Elsewhere).then(|| {
        let all = all.join(", ");
        Finding::problem(
            "address-loopback",
            format!(
                "This machine has only the addresses {all}, but {provider} starts managers on \
                 other machines."
            ),
        )
        .because("Only this machine can connect to its loopback address.")
        .remedy(
            "Start the run on a machine that the nodes can reach, or connect this machine to their \
             network.",
        )
        .shown_by(format!("all_addresses={all}; `ip -brief address`"))
        .shown_by(format!("provider={provider}"))
    })
}

fn any_address(all: &[String]) -> Option<Finding> {
    let beyond: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .filter(|text| {
            let address = text.parse::<Address>();
            address.is_ok_and(|address| !address.ip().is_loopback())
        })
        .collect();
    (beyond.len() > 1).then(|| {
        let shown = beyond[..beyond.len().min(ADDRESSES_SHOWN)].join(", ");
        Finding::note(
            "address-any",
            format!("address is not set, so managers try {shown}."),
        )
        .because(
            "A manager tries all of them at once, and uses the first that answers. Every machine \
             that can reach one of them can connect to the worker port.",
        )
        .remedy(
            "If the nodes reach only one network, set address to this machine's address in that \
             network.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::configuration::description::{Provider, Words};

    fn ids(address: &str) -> Vec<&'static str> {
        let executor = Executor {
            address: Some(address.to_owned()),
            ..Executor::default()
        };
        of_managers(&executor)
            .iter()
            .map(|finding| finding.id)
            .collect()
    }

    #[test]
    fn an_address_is_an_ip_address_of_this_machine() {
        assert_eq!(ids("127.0.0.1"), [""; 0]);
        assert_eq!(ids("*"), [""; 0]);
        assert_eq!(ids(""), [""; 0]);
        assert_eq!(ids("::1%lo"), [""; 0]);
        assert_eq!(ids("fe80::1%nowhere0"), ["address-not-here"]);
        assert_eq!(ids("fe80::1"), ["address-not-here"]);
        assert_eq!(ids("203.0.113.7"), ["address-not-here"]);
        assert_eq!(ids("localhost"), ["address-is-a-name"]);
        assert!(no_literal("localhost").remedy.contains("127.0.0.1"));
        assert!(
            no_literal("no such host")
                .remedy
                .contains("cannot be resolved")
        );
    }

    #[test]
    fn other_machines_cannot_reach_a_loopback_address() {
        let at = |address: &str, class: &str, nodes: i64| {
            let executor = Executor {
                address: Some(address.to_owned()),
                monitoring_address: Some(address.to_owned()),
                provider: Some(Provider {
                    class: format!("parsl.providers.{class}"),
                    nodes_per_block: Some(nodes),
                    launcher: Some("parsl.launchers.launchers.SrunLauncher".to_owned()),
                    ..Provider::default()
                }),
                ..Executor::default()
            };
            let found = of_managers(&executor)
                .into_iter()
                .chain(of_monitoring(&executor));
            found.map(|finding| finding.id).collect::<Vec<_>>()
        };
        for address in ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1"] {
            for (class, nodes) in [
                ("slurm.slurm.SlurmProvider", 1),
                ("condor.condor.CondorProvider", 1),
                ("kubernetes.kube.KubernetesProvider", 1),
                ("local.local.LocalProvider", 4),
            ] {
                let both = ["address-loopback", "monitoring-loopback"];
                assert_eq!(at(address, class, nodes), both, "{address} {class}");
            }
            assert_eq!(at(address, "local.local.LocalProvider", 1), [""; 0]);
        }
        let by_name = at("localhost", "slurm.slurm.SlurmProvider", 1);
        assert_eq!(by_name, ["address-is-a-name", "monitoring-loopback"]);
        assert_eq!(at("*", "slurm.slurm.SlurmProvider", 1), [""; 0]);
    }

    #[test]
    fn several_addresses_are_worth_a_note() {
        let texts = |all: &[&str]| -> Vec<String> { all.iter().map(|&one| one.into()).collect() };
        assert_eq!(any_address(&texts(&["127.0.0.1", "203.0.113.7"])), None);
        let two = texts(&["127.0.0.1", "203.0.113.7", "203.0.113.8"]);
        assert!(any_address(&two).is_some_and(|note| note.what.contains("203.0.113.8")));
    }

    #[test]
    fn without_a_network_managers_must_run_on_this_machine() {
        let told = |class: &str, launcher: &str, nodes, all: &[&str]| {
            let all: Vec<String> = all.iter().map(|&one| one.to_owned()).collect();
            let executor = Executor {
                all_addresses: Some(Words::Many(all)),
                provider: Some(Provider {
                    class: format!("parsl.providers.{class}"),
                    launcher: Some(format!("parsl.launchers.launchers.{launcher}")),
                    nodes_per_block: Some(nodes),
                    ..Provider::default()
                }),
                ..Executor::default()
            };
            let found = of_managers(&executor);
            found.iter().map(|finding| finding.id).collect::<Vec<_>>()
        };
        let (local, slurm) = ("local.local.LocalProvider", "slurm.slurm.SlurmProvider");
        let alone = ["127.0.0.1", "::1"];
        for (class, launcher, nodes) in [
            (slurm, "SimpleLauncher", 1),
            (local, "SrunLauncher", 4),
            (local, "GnuParallelLauncher", 2),
        ] {
            assert_eq!(told(class, launcher, nodes, &alone), ["address-loopback"]);
            assert_eq!(
                told(class, launcher, nodes, &["127.0.0.1", "203.0.113.7"]),
                [""; 0]
            );
            assert_eq!(told(class, launcher, nodes, &[]), [""; 0]);
        }
        assert_eq!(told(local, "SrunLauncher", 1, &alone), [""; 0]);
        assert_eq!(told(local, "SingleNodeLauncher", 4, &alone), [""; 0]);
    }

    #[test]
    fn the_loopback_address_is_examined_too() {
        let with = |text: Option<&str>| {
            loopback(&Executor {
                loopback_address: text.map(str::to_owned),
                ..Executor::default()
            })
            .map_err(|finding| finding.id)
        };
        assert!(with(None).is_ok());
        assert_eq!(with(Some("203.0.113.7")), Err("loopback-address"));
        assert_eq!(with(Some("localhost")), Err("loopback-address"));
    }
}

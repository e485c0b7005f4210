//! An IP address as Python's `ipaddress` and libzmq write it. A zone follows the address
//! (`fe80::1%eth0`) if the address alone denotes different machines on different interfaces.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// The kernel's limit on the name of an interface, without the NUL.
const INTERFACE_BYTES_MAX: usize = 15;

/// The IP address of a machine, with an optional IPv6 zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    ip: IpAddr,
    /// The IPv6 zone: the name of an interface, or its number.
    zone: Option<String>,
}

/// The text is not an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not an IP address")]
pub struct NoAddress;

impl Address {
    /// Returns the IP address without its zone.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Returns the address with a port, in the form that system calls need.
    ///
    /// # Errors
    /// [`ErrorKind::AddrNotAvailable`]: this machine has no interface with the zone's name.
    pub fn at(&self, port: u16) -> io::Result<SocketAddr> {
        Ok(match self.ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, port)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.zone_number()?).into(),
        })
    }

    /// Returns the address as it precedes the port in a libzmq endpoint. The zone is written as a
    /// number, because libzmq accepts an interface's name as a zone only if it begins with a
    /// letter.
    ///
    /// # Errors
    /// The same as for [`Self::at`].
    pub fn zmq_host(&self) -> io::Result<String> {
        Ok(match (self.ip, self.zone_number()?) {
            (IpAddr::V4(ip), _) => ip.to_string(),
            (IpAddr::V6(ip), 0) => format!("[{ip}]"),
            (IpAddr::V6(ip), zone) => format!("[{ip}%{zone}]"),
        })
    }

    /// Formats the address with a port, such as `127.0.0.1:80` or `[fe80::1%eth0]:80`.
    pub fn with_port(&self, port: u16) -> String {
        match self.ip {
            IpAddr::V4(_) => format!("{self}:{port}"),
            IpAddr::V6(_) => format!("[{self}]:{port}"),
        }
    }

    /// Returns the zone's number (scope id); 0 if the address has no zone.
    fn zone_number(&self) -> io::Result<u32> {
        let Some(zone) = &self.zone else {
            return Ok(0);
        };
        let is_number = !zone.starts_with(|first: char| first.is_ascii_alphabetic());
        if let Some(number) = zone.parse().ok().filter(|_| is_number) {
            return Ok(number);
        }
        number_of_interface(zone).map_err(|_| {
            let text = format!("this machine has no interface {zone}");
            io::Error::new(ErrorKind::AddrNotAvailable, text)
        })
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self { ip, zone: None }
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    /// Parses an address. IPv6 may be in brackets.
    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let text = text.trim_matches(['[', ']']);
        let Some((ip, zone)) = text.split_once('%') else {
            return Ok(text.parse::<IpAddr>().map_err(|_| NoAddress)?.into());
        };
        let ip = ip.parse().map(IpAddr::V6).map_err(|_| NoAddress)?;
        let zone = Some(zone.to_owned()).filter(|zone| may_be_zone(zone));
        Ok(Self {
            ip,
            zone: Some(zone.ok_or(NoAddress)?),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            None => write!(f, "{}", self.ip),
            Some(zone) => write!(f, "{}%{zone}", self.ip),
        }
    }
}

fn number_of_interface(name: &str) -> rustix::io::Result<u32> {
    let flags = SocketFlags::CLOEXEC;
    let any = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    name_to_index(any, name)
}

/// Whether an interface may have this name.
fn may_be_zone(text: &str) -> bool {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '%' | '/');
    (1..=INTERFACE_BYTES_MAX).contains(&text.len()) && !text.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, NoAddress> {
        text.parse()
    }

    #[test]
    fn a_zone_belongs_to_an_address() {
        for (text, shown) in [
            ("fe80::1%lo", "fe80::1%lo"),
            ("[::1%lo]", "::1%lo"),
            ("FE80:0::1%1", "fe80::1%1"),
            ("fe80::1%br-0.7@x", "fe80::1%br-0.7@x"),
            ("10.0.0.7", "10.0.0.7"),
            ("::ffff:10.0.0.7", "::ffff:10.0.0.7"),
        ] {
            assert_eq!(
                read(text).map(|address| address.to_string()).as_deref(),
                Ok(shown)
            );
        }
        for text in [
            "",
            "%lo",
            "*",
            "localhost",
            "127.0.0.1%lo",
            "fe80::1%",
            "fe80::1%a%b",
            "fe80::1%a b",
            "fe80::1%a\n",
            "fe80::1%a/b",
            "fe80::1%a-name-too-long0",
            "127.0.0.1 ",
        ] {
            assert_eq!(read(text), Err(NoAddress), "{text:?}");
        }
    }

    #[test]
    fn the_system_and_libzmq_get_the_number_of_a_zone() {
        let lo = number_of_interface("lo").expect("every machine has it");
        let named = read("fe80::1%lo").unwrap();
        assert_eq!(named.zmq_host().unwrap(), format!("[fe80::1%{lo}]"));
        let SocketAddr::V6(place) = named.at(80).unwrap() else {
            panic!("{named} is of IPv6");
        };
        assert_eq!((place.scope_id(), place.port()), (lo, 80));
        assert_eq!(named.with_port(80), "[fe80::1%lo]:80");
        let numbered = read("fe80::1%77").unwrap();
        assert_eq!(numbered.zmq_host().unwrap(), "[fe80::1%77]");
        assert_eq!(read("::1").unwrap().zmq_host().unwrap(), "[::1]");
        assert_eq!(read("127.0.0.1").unwrap().zmq_host().unwrap(), "127.0.0.1");
        assert_eq!(read("127.0.0.1").unwrap().with_port(80), "127.0.0.1:80");
    }

    #[test]
    fn a_missing_interface_is_named_in_the_error() {
        let error = read("fe80::1%nowhere0").unwrap().at(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        assert_eq!(error.to_string(), "this machine has no interface nowhere0");
    }
}

//! The network sockets, with every option set before they connect or bind.
//!
//! Stock leaves all high-water marks at 0, which means "never drop, never block" and also "grow
//! without limit". Here they are finite, and every send uses DONTWAIT. Messages that cannot be sent
//! stay in the turn and are counted there. Seen from outside, nothing is dropped and nothing
//! blocks.

use std::io;
use std::time::Duration;

use rand::seq::SliceRandom;
use zmq::{Context, Socket, SocketType};

use super::frame_socket::FrameSocket;
use super::reserved_port::ReservedPort;
use super::zmq_calls;
use submit_side::address::Address;
use submit_side::config::{PortChoice, SubmitSide};
use submit_side::curve::Certificates;

/// Maximum number of messages that libzmq holds per peer, in each direction.
const HIGH_WATER_MESSAGES: i32 = 1000;
/// Maximum number of messages that libzmq reads ahead per manager: results may be large, and many
/// managers send them.
const WORKER_RECEIVE_HIGH_WATER_MESSAGES: i32 = 200;
/// Maximum size of a manager's message: far above real results, but too small to exhaust a machine.
pub(crate) const WORKER_MESSAGE_BYTES_MAX: i64 = 16 << 30;
/// Backlog of the worker port, since thousands of managers connect at once; the kernel reduces this
/// to its own maximum.
const LISTEN_BACKLOG: i32 = 65_535;
/// Minimum silence after which the kernel probes a connection. A node that vanishes closes no
/// connection; the probes detect this and free the descriptor. Probing starts no earlier than the
/// manager counts as lost, because messages in transit may still arrive when the network recovers.
const PROBED_AFTER_SILENCE_MIN: Duration = Duration::from_secs(60);
/// Maximum silence before probing; the kernel accepts no larger value.
const PROBED_AFTER_SILENCE_MAX: Duration = Duration::from_secs(32_767);
const PROBED_EVERY_S: i32 = 15;
const PROBES: i32 = 8;
/// Every CURVE socket names a ZAP domain, so that libzmq refuses all peers if the ZAP handler is
/// missing.
const ZAP_DOMAIN: &str = "htex-interchange";
/// The port range with which Parsl lets the system choose the port.
const EPHEMERAL_RANGE: (u16, u32) = (49_152, 65_536);

/// Additional pipe capacity for the peer's key. In a CURVE handshake libzmq puts the key into the
/// pipe and counts it as a message, but never reads it (4.3.5, `write_credential` and
/// `pipe_t::read`). At a limit of 1 no task would arrive.
const KEYS_IN_A_PIPE: usize = 1;

/// Returns how many tasks libzmq may receive before they are read. If the user sets no bound, low
/// CPU use matters more than a bound that holds for tasks of any size.
pub(super) fn read_ahead_tasks(named_bound_bytes: Option<usize>, is_encrypted: bool) -> usize {
    let keys = if is_encrypted { KEYS_IN_A_PIPE } else { 0 };
    turn::read_ahead_tasks(named_bound_bytes.unwrap_or(usize::MAX)) + keys
}

/// The three sockets towards the executor. The executor binds and the interchange connects; yet the
/// executor is the CURVE client.
pub(super) struct SubmitSockets {
    pub(super) tasks: FrameSocket,
    pub(super) results: FrameSocket,
    pub(super) commands: FrameSocket,
    /// The endpoints of these three sockets, in this order, once they are connected.
    endpoints: [String; 3],
}

impl SubmitSockets {
    /// Opens the sockets; they connect later, when their monitors listen. `read_ahead_tasks` is the
    /// number of tasks, of any size, that libzmq may receive before they are read. (The limit
    /// cannot change later with the size of tasks: a peer that receives a lower limit while its
    /// count of read messages lags behind stops for ever.)
    pub(super) fn open(
        context: &Context,
        certificates: Option<&Certificates>,
        read_ahead_tasks: usize,
    ) -> io::Result<Self> {
        let open = |kind| open_served(context, kind, certificates);
        let tasks = open(zmq::DEALER)?;
        tasks.set_rcvhwm(read_ahead_tasks as i32)?;
        // With this option a connection that recovers gets a new pipe, so that keys do not
        // accumulate in one pipe. Unread messages in the old pipe are still read.
        tasks.set_immediate(true)?;
        Ok(Self {
            tasks,
            results: open(zmq::DEALER)?,
            commands: open(zmq::REP)?,
            endpoints: Default::default(),
        })
    }

    pub(super) fn connect(&mut self, submit_side: &SubmitSide) -> io::Result<()> {
        let host = submit_side.address.zmq_host()?;
        self.endpoints = [
            submit_side.task_port,
            submit_side.result_port,
            submit_side.command_port,
        ]
        .map(|port| endpoint(&host, port));
        for (socket, endpoint) in self.with_endpoints() {
            zmq_calls::connect(socket.socket_mut(), endpoint)?;
        }
        Ok(())
    }

    /// Reconnects the socket at this place. libzmq itself reconnects after a connection broke. It
    /// does not reconnect after it closed the connection itself, as for a message that it has no
    /// memory for.
    pub(super) fn connect_again(&mut self, place: usize) -> io::Result<()> {
        for (socket, endpoint) in self.with_endpoints().into_iter().skip(place).take(1) {
            zmq_calls::disconnect(socket.socket_mut(), endpoint)?;
            zmq_calls::connect(socket.socket_mut(), endpoint)?;
        }
        Ok(())
    }

    fn with_endpoints(&mut self) -> [(&mut FrameSocket, &str); 3] {
        let [tasks, results, commands] = &self.endpoints;
        [
            (&mut self.tasks, tasks),
            (&mut self.results, results),
            (&mut self.commands, commands),
        ]
    }
}

/// The routing id of the executor, the only peer that the ROUTER for commands connects to.
pub(super) const EXECUTOR: &[u8] = b"executor";

/// The sockets that report that the broker was killed. Messages sent through them linger until they
/// have left.
pub(super) struct LastSockets {
    /// Connected so that an executor does not block while it sends a task.
    pub(super) tasks: FrameSocket,
    pub(super) results: FrameSocket,
    /// A ROUTER, where the executor is [`EXECUTOR`]: unlike a REP, a ROUTER can send without a
    /// request.
    pub(super) commands: FrameSocket,
    pub(super) workers: FrameSocket,
}

impl LastSockets {
    pub(super) fn open(
        context: &Context,
        certificates: Option<&Certificates>,
        linger_ms: i32,
    ) -> io::Result<Self> {
        let sockets = Self {
            tasks: open_served(context, zmq::DEALER, certificates)?,
            results: open_served(context, zmq::DEALER, certificates)?,
            commands: open_served(context, zmq::ROUTER, certificates)?,
            workers: open_workers(context, certificates)?,
        };
        sockets.set_linger(linger_ms)?;
        Ok(sockets)
    }

    pub(super) fn set_linger(&self, linger_ms: i32) -> io::Result<()> {
        let Self {
            tasks,
            results,
            commands,
            workers,
        } = self;
        for socket in [tasks, results, commands, workers] {
            socket.set_linger(linger_ms)?;
        }
        Ok(())
    }

    pub(super) fn connect(&mut self, side: &SubmitSide) -> io::Result<()> {
        let host = side.address.zmq_host()?;
        zmq_calls::name_next_peer(self.commands.socket_mut(), EXECUTOR)?;
        for (socket, port) in [
            (&mut self.tasks, side.task_port),
            (&mut self.results, side.result_port),
            (&mut self.commands, side.command_port),
        ] {
            zmq_calls::connect(socket.socket_mut(), &endpoint(&host, port))?;
        }
        Ok(())
    }
}

/// Opens the socket that managers connect to, without binding it.
pub(super) fn open_workers(
    context: &Context,
    certificates: Option<&Certificates>,
) -> io::Result<FrameSocket> {
    let socket = open_served(context, zmq::ROUTER, certificates)?;
    // A manager probes and then connects under one identity. Without this option, a connection that
    // opens before the previous one is torn down receives nothing.
    socket.set_router_handover(true)?;
    // With this option a send fails if its manager is not connected.
    socket.set_router_mandatory(true)?;
    socket.set_backlog(LISTEN_BACKLOG)?;
    socket.set_rcvhwm(WORKER_RECEIVE_HIGH_WATER_MESSAGES)?;
    socket.set_maxmsgsize(WORKER_MESSAGE_BYTES_MAX)?;
    Ok(socket)
}

/// Makes the kernel probe silent connections. `silence` is the time after which a manager is lost.
pub(super) fn probe_if_silent(workers: FrameSocket, silence: Duration) -> io::Result<FrameSocket> {
    let probed_after = silence.clamp(PROBED_AFTER_SILENCE_MIN, PROBED_AFTER_SILENCE_MAX);
    workers.set_tcp_keepalive(1)?;
    workers.set_tcp_keepalive_idle(probed_after.as_secs() as i32)?;
    workers.set_tcp_keepalive_intvl(PROBED_EVERY_S)?;
    workers.set_tcp_keepalive_cnt(PROBES)?;
    Ok(workers)
}

/// Why no port for managers could be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses to bind this port.
    #[error("cannot listen for workers on {place}, port {port}: {error}")]
    Port {
        /// The address, or the text "every address".
        place: String,
        /// The port, from the configuration or the range.
        port: u16,
        /// The system's error.
        error: io::Error,
    },
    /// The system refuses to bind any port.
    #[error("cannot listen for workers on {place}: {error}")]
    AnyPort {
        /// The address, or the text "every address".
        place: String,
        /// The system's error.
        error: io::Error,
    },
    /// libzmq does not report the port that it bound, so managers could not be given a port.
    #[error("libzmq does not report the port that it bound")]
    UnknownPort,
    /// Every port of the range is already in use.
    #[error(
        "cannot listen for workers on {place}: all {count} ports of worker_port_range ({first}, \
         {end}) are in use"
    )]
    AllInUse {
        /// The address, or the text "every address".
        place: String,
        /// The number of ports that were tried.
        count: usize,
        /// The first port of the range.
        first: u16,
        /// The port after the last one of the range.
        end: u32,
    },
}

/// Binds the worker socket and returns the port, with its reservation if that is wanted and
/// possible.
///
/// # Errors
/// The error names the port or the range, and what prevented the binding.
pub(super) fn bind_workers(
    socket: &mut Socket,
    address: Option<&Address>,
    choice: PortChoice,
    reserves: bool,
) -> Result<(u16, Option<ReservedPort>), BindError> {
    let place = address.map_or("every address".to_owned(), Address::to_string);
    let host = match address.map_or(Ok("*".to_owned()), Address::zmq_host) {
        Ok(host) => host,
        Err(error) => return Err(BindError::AnyPort { place, error }),
    };
    // If reserving fails because the port is in use, the bind below reports the error.
    let reserve = |port| {
        let reserved = reserves.then(|| ReservedPort::open(address, port).ok());
        reserved.flatten()
    };
    let mut bind =
        |port, reserved| zmq_calls::bind(socket, &endpoint(&host, port)).map(|()| (port, reserved));
    match choice {
        PortChoice::Fixed(port) => {
            bind(port, reserve(port)).map_err(|error| BindError::Port { place, port, error })
        }
        PortChoice::Range { first, end } if (first, end) == EPHEMERAL_RANGE => {
            let reserved = reserve(0).and_then(|reserved| Some((reserved.port().ok()?, reserved)));
            let bound = reserved.map(|(port, reserved)| bind(port, Some(reserved)));
            if let Some(Ok(bound)) = bound {
                return Ok(bound);
            }
            zmq_calls::bind(socket, &format!("tcp://{host}:*"))
                .map_err(|error| BindError::AnyPort { place, error })?;
            Ok((bound_port(socket).ok_or(BindError::UnknownPort)?, None))
        }
        PortChoice::Range { first, end } => {
            bind_in_range(|port| bind(port, reserve(port)), place, first, end)
        }
    }
}

/// Tries the ports in random order, as stock does, so that several runs on one machine rarely
/// collide; but tries each port once.
fn bind_in_range<T>(
    mut bind: impl FnMut(u16) -> io::Result<T>,
    place: String,
    first: u16,
    end: u32,
) -> Result<T, BindError> {
    let mut ports: Vec<u16> = (u32::from(first)..end).map(|port| port as u16).collect();
    ports.shuffle(&mut rand::rng());
    for &port in &ports {
        match bind(port) {
            Ok(bound) => return Ok(bound),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(BindError::Port { place, port, error }),
        }
    }
    Err(BindError::AllInUse {
        place,
        count: ports.len(),
        first,
        end,
    })
}

fn bound_port(socket: &Socket) -> Option<u16> {
    let endpoint = socket.get_last_endpoint().ok()?.ok()?;
    endpoint
        .rsplit_once(':')?
        .1
        .trim_end_matches('\0')
        .parse()
        .ok()
}

/// Opens the socket towards the monitoring hub. The interchange is the CURVE client, if the hub
/// uses CURVE.
pub(super) fn open_hub(
    context: &Context,
    certificates: Option<&Certificates>,
) -> io::Result<Socket> {
    let socket = open(context, zmq::DEALER)?;
    if let Some(certificates) = certificates {
        let keys = certificates
            .hub()
            .map_err(|error| io::Error::other(error.to_string()))?;
        socket.set_curve_publickey(keys.client_public.as_bytes())?;
        socket.set_curve_secretkey(keys.client_secret.as_bytes())?;
        socket.set_curve_serverkey(keys.server_public.as_bytes())?;
    }
    Ok(socket)
}

/// Opens a socket with the options that all sockets share.
fn open(context: &Context, kind: SocketType) -> io::Result<Socket> {
    let socket = context.socket(kind)?;
    // The default, waiting for ever, would block the exit if a peer is dead.
    socket.set_linger(0)?;
    socket.set_ipv6(true)?;
    socket.set_sndhwm(HIGH_WATER_MESSAGES)?;
    socket.set_rcvhwm(HIGH_WATER_MESSAGES)?;
    Ok(socket)
}

/// Opens a socket whose peers are CURVE clients, if there are certificates.
fn open_served(
    context: &Context,
    kind: SocketType,
    certificates: Option<&Certificates>,
) -> io::Result<FrameSocket> {
    let mut socket = open(context, kind)?;
    serve_curve(&mut socket, certificates)?;
    FrameSocket::of(socket)
}

fn serve_curve(socket: &mut Socket, certificates: Option<&Certificates>) -> io::Result<()> {
    let Some(certificates) = certificates else {
        return Ok(());
    };
    socket.set_curve_server(true)?;
    socket.set_curve_secretkey(certificates.server_secret().as_bytes())?;
    socket.set_zap_domain(ZAP_DOMAIN)?;
    zmq_calls::enforce_zap_domain(socket)
}

pub(super) fn endpoint(host: &str, port: u16) -> String {
    format!("tcp://{host}:{port}")
}

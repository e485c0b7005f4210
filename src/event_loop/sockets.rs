//! The network sockets, with every option set before they connect or bind.
//!
//! Stock leaves all high-water marks at 0, which means "never drop, never block" and also "grow
//! without end". Here they are finite, every send is a DONTWAIT, and what cannot leave waits with
//! the turn, counted: seen from outside, nothing is dropped and nothing blocks.

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

/// Messages that libzmq may hold for us per peer, in each direction.
const HIGH_WATER_MESSAGES: i32 = 1000;
/// Results may be large and come from many managers: few of each are taken off the wire before
/// they are read.
const WORKER_RECEIVE_HIGH_WATER_MESSAGES: i32 = 200;
/// Largest message of a manager: far above real results, below what would exhaust a machine.
pub(crate) const WORKER_MESSAGE_BYTES_MAX: i64 = 16 << 30;
/// Thousands of managers connect at once; the kernel cuts this to its own maximum.
const LISTEN_BACKLOG: i32 = 65_535;
/// A node that vanished closes nothing. Its connection is asked for a sign of life by the kernel,
/// and its descriptor comes back: after this much silence at the earliest, and not before its
/// manager is lost, because what is on its way may still arrive when the network heals.
const PROBED_AFTER_SILENCE_MIN: Duration = Duration::from_secs(60);
/// The kernel takes no more.
const PROBED_AFTER_SILENCE_MAX: Duration = Duration::from_secs(32_767);
const PROBED_EVERY_S: i32 = 15;
const PROBES: i32 = 8;
/// Every CURVE socket names a domain, so that a missing ZAP handler keeps everybody out.
const ZAP_DOMAIN: &str = "htex-interchange";
/// The range for which Parsl lets the system choose.
const EPHEMERAL_RANGE: (u16, u32) = (49_152, 65_536);

/// With a CURVE handshake libzmq puts the peer's key into the pipe, and counts it as a message that
/// nobody ever reads (4.3.5, `write_credential` and `pipe_t::read`): at a limit of 1 no task would
/// come.
const KEYS_IN_A_PIPE: usize = 1;

/// How many tasks libzmq may take off the wire before they are read. Where nobody names a bound,
/// less CPU is worth more than a bound that holds for tasks of any size.
pub(super) fn read_ahead_tasks(named_bound_bytes: Option<usize>, is_encrypted: bool) -> usize {
    let keys = if is_encrypted { KEYS_IN_A_PIPE } else { 0 };
    turn::read_ahead_tasks(named_bound_bytes.unwrap_or(usize::MAX)) + keys
}

/// The three sockets towards the executor. It binds, we connect; yet it is the CURVE client.
pub(super) struct SubmitSockets {
    pub(super) tasks: FrameSocket,
    pub(super) results: FrameSocket,
    pub(super) commands: FrameSocket,
    /// Of these three, in this order, once they are connected.
    endpoints: [String; 3],
}

impl SubmitSockets {
    /// Opens the sockets; they are connected once their monitors listen. So many tasks may be taken
    /// off the wire before they are read, of whatever size. (The limit cannot follow their size
    /// later: a peer that is told a lower one while its view of what was read lags behind stops for
    /// ever.)
    pub(super) fn open(
        context: &Context,
        certificates: Option<&Certificates>,
        read_ahead_tasks: usize,
    ) -> io::Result<Self> {
        let open = |kind| open_served(context, kind, certificates);
        let tasks = open(zmq::DEALER)?;
        tasks.set_rcvhwm(read_ahead_tasks as i32)?;
        // A connection that heals has a pipe of its own then, and keys do not gather in one. What
        // stands unread in the one before is still read.
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

    /// The one of that place. libzmq does that itself where a connection broke, but not where it
    /// ended one, as it does with a message that it has no memory for.
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

/// The name of the only peer that a ROUTER connects to.
pub(super) const EXECUTOR: &[u8] = b"executor";

/// Those by which it is told that the broker was killed: what is sent by them stays there until it
/// has left.
pub(super) struct LastSockets {
    /// So that nobody waits who sends a task.
    pub(super) tasks: FrameSocket,
    pub(super) results: FrameSocket,
    /// A ROUTER, to which the executor is [`EXECUTOR`]: it may answer what it was not asked.
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

/// The socket that managers connect to, not bound yet.
pub(super) fn open_workers(
    context: &Context,
    certificates: Option<&Certificates>,
) -> io::Result<FrameSocket> {
    let socket = open_served(context, zmq::ROUTER, certificates)?;
    // A manager probes and then connects under one identity. Without this, a connection that comes
    // before the one before it is torn down stays deaf.
    socket.set_router_handover(true)?;
    // Tells when a batch has nowhere to go.
    socket.set_router_mandatory(true)?;
    socket.set_backlog(LISTEN_BACKLOG)?;
    socket.set_rcvhwm(WORKER_RECEIVE_HIGH_WATER_MESSAGES)?;
    socket.set_maxmsgsize(WORKER_MESSAGE_BYTES_MAX)?;
    Ok(socket)
}

/// Has the kernel probe connections that nothing comes by. After `silence` a manager is lost.
pub(super) fn probe_if_silent(workers: FrameSocket, silence: Duration) -> io::Result<FrameSocket> {
    let probed_after = silence.clamp(PROBED_AFTER_SILENCE_MIN, PROBED_AFTER_SILENCE_MAX);
    workers.set_tcp_keepalive(1)?;
    workers.set_tcp_keepalive_idle(probed_after.as_secs() as i32)?;
    workers.set_tcp_keepalive_intvl(PROBED_EVERY_S)?;
    workers.set_tcp_keepalive_cnt(PROBES)?;
    Ok(workers)
}

/// Why there is no port for managers.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses this port.
    #[error("cannot listen for workers on {place}, port {port}: {error}")]
    Port {
        /// The address, or that it is every one.
        place: String,
        /// As the config or the range names it.
        port: u16,
        /// The system's.
        error: io::Error,
    },
    /// The system refuses any port.
    #[error("cannot listen for workers on {place}: {error}")]
    AnyPort {
        /// The address, or that it is every one.
        place: String,
        /// The system's.
        error: io::Error,
    },
    /// No manager could be told where to connect to.
    #[error("libzmq does not tell the port it bound")]
    UnknownPort,
    /// Somebody listens at each port of the range already.
    #[error(
        "cannot listen for workers on {place}: all {count} ports of worker_port_range ({first}, \
         {end}) are in use"
    )]
    AllInUse {
        /// The address, or that it is every one.
        place: String,
        /// How many ports were tried.
        count: usize,
        /// The range's first port.
        first: u16,
        /// The port behind its last one.
        end: u32,
    },
}

/// Binds the worker socket, and returns the port; reserved, if that is wanted and can be.
///
/// # Errors
/// It names the port or the range, and what was in the way.
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
    // Whoever has a port in the way is libzmq's to tell.
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

/// At random, as stock does, so that neighbours on one machine rarely meet; but each port once.
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

/// The socket towards the monitoring hub: here we are the CURVE client, where the hub wants it.
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

/// What all of them share.
fn open(context: &Context, kind: SocketType) -> io::Result<Socket> {
    let socket = context.socket(kind)?;
    // The default, for ever, would hang our end on a peer that is dead.
    socket.set_linger(0)?;
    socket.set_ipv6(true)?;
    socket.set_sndhwm(HIGH_WATER_MESSAGES)?;
    socket.set_rcvhwm(HIGH_WATER_MESSAGES)?;
    Ok(socket)
}

/// One whose peers are clients of CURVE, where there are certificates.
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
